"""A pod template is bounded before anybody copies it: each executor pod would hold it again."""

from typing import Any

import pytest

from spark_allocation.core.pod_refusals import PodNotBuildableError, RefusalReason
from spark_allocation.core.pod_template import DEEPEST_TEMPLATE, LARGEST_TEMPLATE, spark_pod_of


def nested(depth: int, kind: type) -> Any:
    inner: Any = "x"
    for _ in range(depth):
        inner = {"x": inner} if kind is dict else [inner]
    return inner


def refusal(template: dict[str, Any]) -> str:
    with pytest.raises(PodNotBuildableError) as caught:
        spark_pod_of(template, None)
    assert caught.value.refused.reason is RefusalReason.INVALID_TEMPLATE
    assert caught.value.refused.key == "spec.executor.podTemplate"
    return caught.value.refused.rule


@pytest.mark.parametrize("kind", [dict, list])
@pytest.mark.parametrize("depth", [DEEPEST_TEMPLATE, 900, 100_000])
def test_one_that_is_nested_too_deep_is_refused(depth: int, kind: type) -> None:
    assert refusal({"spec": {"x": nested(depth, kind)}}) == "must not be nested deeper than 64"


@pytest.mark.parametrize(
    "spec",
    [{"x": "y" * LARGEST_TEMPLATE}, {"y" * LARGEST_TEMPLATE: 1}, {"x": ["y"] * LARGEST_TEMPLATE}],
    ids=["a value", "a key", "many values"],
)
def test_one_that_is_too_large_is_refused(spec: dict[str, Any]) -> None:
    assert refusal({"spec": spec}) == "must not be larger than 256 KiB"


def test_one_of_a_usual_size_is_taken() -> None:
    env = [{"name": f"V{number}", "value": "x" * 100} for number in range(1000)]
    pod = spark_pod_of({"spec": {"containers": [{"name": "c", "env": env}]}}, None)
    assert pod.container["env"] == env
