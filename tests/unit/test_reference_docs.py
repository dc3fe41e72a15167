"""The reference pages speak of everything that the code can say."""

from pathlib import Path

import pytest

from spark_allocation.api.conditions import ConditionType, Reason

PAGE = (Path(__file__).parents[2] / "docs/reference/conditions.md").read_text()


@pytest.mark.parametrize("name", [*ConditionType, *Reason])
def test_every_condition_and_reason_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE
