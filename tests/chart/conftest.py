"""Helm, and what it makes of the values in matrix.py, each rendered once."""

from collections.abc import Callable

import pytest
from tests.chart.helm import Helm, Object, helm
from tests.chart.matrix import MATRIX


@pytest.fixture(scope="session")
def program() -> Helm:
    return helm()


@pytest.fixture(scope="session")
def rendered(program: Helm) -> Callable[[str], list[Object]]:
    """Name of values in the matrix → the chart's objects."""
    known: dict[str, list[Object]] = {}

    def objects(name: str) -> list[Object]:
        if name not in known:
            known[name] = program.objects(MATRIX[name])
        return known[name]

    return objects
