"""Pods made from one that was built are those that would have been built, whatever the configuration."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.test_executor_pod_properties import VERSIONS, build, random_configuration

from spark_allocation.core.executor_pod_blueprint import ExecutorPodBlueprint
from spark_allocation.core.executor_pod_builder import ExecutorPodManifest
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.pod_refusals import PodRefused

Builder = Callable[[int], ExecutorPodManifest | PodRefused]
IDS = (1, 2, 3, 9, 10, 11, 99, 100, 101, 500, 12_345, 12_346, 2_000_000_000, 2_000_000_001)


class Counted:
    """A builder and the ids that it was asked for."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.built: list[int] = []
        self.blueprint = ExecutorPodBlueprint[PodRefused](self)

    def __call__(self, executor_id: ExecutorId) -> ExecutorPodManifest | PodRefused:
        self.built.append(executor_id)
        return self.builder(executor_id)

    def manifests(self, *executor_ids: int) -> list[ExecutorPodManifest | PodRefused]:
        return [self.blueprint.manifest(ExecutorId(each)) for each in executor_ids]


def of(conf: dict[str, str], template: Any = None, **more: Any) -> Counted:
    with_image = {"spark.kubernetes.container.image": "spark:1", **conf}
    return Counted(lambda number: build(with_image, template, executor_id=number, **more))


def pod_of(number: int, **spec: Any) -> ExecutorPodManifest:
    pod = {"metadata": {"name": f"job-exec-{number}"}, "spec": {"containers": [], **spec}}
    return ExecutorPodManifest(pod=pod, resources=(), executor_container="")


@given(number=st.integers(0, 10**9), version=st.sampled_from(VERSIONS))
@settings(max_examples=60, deadline=None)
def test_a_pod_from_a_blueprint_is_the_pod_that_would_be_built(number: int, version: str) -> None:
    conf, template = random_configuration(number)
    counted = of(conf, template, version=version)
    assert counted.manifests(*IDS) == [counted.builder(each) for each in IDS]


def test_hundreds_of_pods_are_built_a_few_times() -> None:
    counted = of({"spark.executorEnv.TZ": "UTC"})
    wanted = list(range(1, 400))
    assert counted.manifests(*wanted) == [counted.builder(each) for each in wanted]
    in_whole = [each for each in counted.built if each in wanted]
    assert in_whole == [1, 2, 10, 100], "the first two, and the first of each length"
    assert len(counted.built) == len(in_whole) + 2


def test_a_single_pod_is_built_once() -> None:
    counted = of({})
    counted.manifests(1)
    assert counted.built == [1]


def test_a_setting_that_holds_the_digits_by_accident_stays_as_it_is() -> None:
    digits = {"spark.executorEnv.PHONE": "1234567809", "spark.executorEnv.OTHER": "2098765431"}
    counted = of(digits)
    assert counted.manifests(*IDS) == [counted.builder(each) for each in IDS]


def test_an_id_in_a_label_that_a_limit_may_judge_is_built_in_whole() -> None:
    counted = of({"spark.kubernetes.executor.label.seat": "seat-{{EXECUTOR_ID}}"})
    assert counted.manifests(*IDS) == [counted.builder(each) for each in IDS]
    assert [each for each in counted.built if each in IDS] == list(IDS)


def test_claims_are_built_with_each_pod() -> None:
    claim = "spark.kubernetes.executor.volumes.persistentVolumeClaim.data."
    counted = of(
        {
            claim + "mount.path": "/data",
            claim + "options.claimName": "OnDemand",
            claim + "options.storageClass": "fast",
            claim + "options.sizeLimit": "1Gi",
        }
    )
    found = counted.manifests(*IDS)
    assert found == [counted.builder(each) for each in IDS]
    names = {
        each.resources[0]["metadata"]["name"] for each in found if not isinstance(each, PodRefused)
    }
    assert len(names) == len(IDS)


@given(prefix=st.text("ab-1", min_size=1, max_size=20), longest=st.integers(1, 20))
def test_a_name_that_is_cut_to_a_length_is_cut_for_each_id(prefix: str, longest: int) -> None:
    counted = Counted(lambda number: pod_of(number, hostname=f"{prefix}-{number}"[-longest:]))
    assert counted.manifests(*IDS) == [counted.builder(each) for each in IDS]


def test_what_differs_otherwise_is_built_each_time() -> None:
    drawn = iter(range(1000))
    counted = Counted(lambda number: pod_of(number, priority=next(drawn)))
    found = counted.manifests(1, 2, 3, 4)
    priorities = [
        each.pod["spec"]["priority"] for each in found if not isinstance(each, PodRefused)
    ]
    assert len(set(priorities)) == 4


def test_a_refusal_is_asked_for_again_each_time() -> None:
    refused = build({"spark.executor.cores": "none"})
    assert isinstance(refused, PodRefused)
    answers: list[ExecutorPodManifest | PodRefused] = [refused] * 6
    counted = Counted(lambda number: answers.pop() if answers else pod_of(number))
    assert counted.manifests(1, 2, 3, 4) == [refused] * 4
    assert counted.manifests(5) == [pod_of(5)]


def test_one_pod_s_own_parts_are_not_those_of_another() -> None:
    counted = of({})
    first, *others = (
        each for each in counted.manifests(*range(1, 6)) if not isinstance(each, PodRefused)
    )
    first.pod["metadata"]["labels"]["spark-exec-id"] = "changed"
    assert [each.pod["metadata"]["labels"]["spark-exec-id"] for each in others] == [
        "2",
        "3",
        "4",
        "5",
    ]
