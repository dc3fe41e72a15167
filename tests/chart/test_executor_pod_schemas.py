"""Executor pods have the shape that API servers of the oldest and of the newest Kubernetes take."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chart.schemas import schemas, versions
from tests.unit.test_executor_pod_properties import build, random_configuration

from spark_allocation.core.executor_pod_builder import ExecutorPodManifest

KNOWN = [schemas(version) for version in (versions()[0], versions()[-1])]
OF_THE_TEMPLATE = (".unknownField: there is no such field", ".ownField: there is no such field")
"""Random templates have these fields, to see that nothing of a template is lost."""
AS_IN_SPARK = ": two entries of the same name"
"""Spark adds its variables to those of a template without looking for the same name. A creation is not refused for that."""


@given(number=st.integers(0, 10**9), profile_id=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_an_executor_pod_has_no_field_that_an_api_server_does_not_know(
    number: int, profile_id: int
) -> None:
    conf, template = random_configuration(number)
    manifest = build(conf, template, profile_id=profile_id)
    if isinstance(manifest, ExecutorPodManifest):
        pod = {"apiVersion": "v1", "kind": "Pod", **manifest.pod}
        found = [problem for known in KNOWN for problem in known.problems(pod)]
        assert [each for each in found if not each.endswith((*OF_THE_TEMPLATE, AS_IN_SPARK))] == []


@pytest.mark.parametrize("known", KNOWN, ids=lambda each: each.version)
def test_a_plain_executor_pod_has_nothing_wrong_at_all(known) -> None:
    manifest = build({"spark.kubernetes.container.image": "spark:4"}, None)
    assert isinstance(manifest, ExecutorPodManifest)
    assert known.problems({"apiVersion": "v1", "kind": "Pod", **manifest.pod}) == []
