"""The kube ports and the CRD against a real API server: what the fakes claim is what the server does."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.integration.operator_world import CRDS, NOBODY, OperatorWorld

from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.kube.allocations_api import KubernetesAllocationsApi
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.pods_api import CreateResult, DeleteResult, KubernetesPodsApi
from spark_allocation.kube.write_outcomes import WriteResult

pytestmark = pytest.mark.cluster


def pod(name: str = "exec-1", **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "spark:test", "resources": {"requests": {"cpu": "1m"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"spark-role": "executor"}},
        "spec": {"schedulerName": NOBODY, "containers": [container], **spec},
    }


# -- pods -------------------------------------------------------------------------------------------------------------


async def test_a_pod_is_created_once_and_deleted_by_its_uid(world: OperatorWorld) -> None:
    pods = KubernetesPodsApi(world.api)
    made = await pods.create(world.namespace, pod())
    assert made.result is CreateResult.CREATED
    assert (await pods.create(world.namespace, pod())).result is CreateResult.EXISTS
    stranger = await pods.delete(world.namespace, "exec-1", "another-uid")
    assert stranger.result is DeleteResult.NOT_THE_SAME
    stale = await pods.delete(world.namespace, "exec-1", made.uid, resource_version="1")
    assert stale.result is DeleteResult.NOT_THE_SAME
    found = await pods.get(world.namespace, "exec-1")
    assert found is not None
    version = found["metadata"]["resourceVersion"]
    gone = await pods.delete(world.namespace, "exec-1", made.uid, resource_version=version)
    assert gone.result is DeleteResult.ACCEPTED
    assert (await pods.delete(world.namespace, "exec-1", made.uid)).result is DeleteResult.GONE
    assert await pods.get(world.namespace, "exec-1") is None


async def test_the_server_s_words_of_an_invalid_pod(world: OperatorWorld) -> None:
    outcome = await KubernetesPodsApi(world.api).create(world.namespace, pod(restartPolicy="Maybe"))
    assert outcome.result is CreateResult.INVALID
    assert "restartPolicy" in outcome.message


async def test_a_quota_is_told_from_a_missing_right(world: OperatorWorld) -> None:
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "1"}}}
    path = f"/api/v1/namespaces/{world.namespace}/resourcequotas"
    await world.did("POST", path, quota)
    await world.did(
        "PATCH", f"{path}/few/status", {"status": {"hard": {"pods": "1"}, "used": {"pods": "1"}}}
    )
    outcome = await KubernetesPodsApi(world.api).create(world.namespace, pod())
    assert outcome.result is CreateResult.QUOTA_EXCEEDED
    assert "exceeded quota: few" in outcome.message


async def test_a_namespace_that_is_not_there(world: OperatorWorld) -> None:
    outcome = await KubernetesPodsApi(world.api).create("no-such-namespace", pod())
    assert outcome.result is CreateResult.NAMESPACE_TERMINATING


# -- our own kind -----------------------------------------------------------------------------------------------------


async def test_a_reservation_is_fenced_by_the_version(world: OperatorWorld) -> None:
    made = await world.allocate("job", {"driver": {"podName": "driver"}})
    metadata = made["metadata"]
    api = KubernetesAllocationsApi(world.api)

    async def reserve(until: int, uid: str, version: str) -> WriteResult:
        outcome = await api.reserve_executor_ids(
            world.namespace, "job", uid, next_executor_id=until, resource_version=version
        )
        return outcome.result

    assert await reserve(501, metadata["uid"], metadata["resourceVersion"]) is WriteResult.DONE
    assert await reserve(1001, metadata["uid"], metadata["resourceVersion"]) is WriteResult.CONFLICT
    assert (await world.status("job"))["nextExecutorId"] == 501


async def test_a_status_is_written_to_the_object_it_is_meant_for(world: OperatorWorld) -> None:
    made = await world.allocate("job", {"driver": {"podName": "driver"}})
    uid = made["metadata"]["uid"]
    api = KubernetesAllocationsApi(world.api)
    done = await api.patch_status(world.namespace, "job", uid, {"state": "Idle", "message": "m"})
    assert done.done
    stranger = await api.patch_status(world.namespace, "job", "another-uid", {"state": "Idle"})
    assert stranger.result is WriteResult.CONFLICT, "the answer tells, the server does not"
    await api.patch_status(world.namespace, "job", uid, {"message": None})
    assert await world.status("job") == {"state": "Idle"}
    assert (await api.patch_status(world.namespace, "none", uid, {})).result is WriteResult.GONE
    assert await api.uids(world.namespace) == {uid}
    assert (await api.delete(world.namespace, "job", "another-uid")).result is WriteResult.CONFLICT
    assert (await api.delete(world.namespace, "job", uid)).done
    assert await api.get(world.namespace, "job") is None


async def test_a_process_that_does_not_lead_writes_nothing(world: OperatorWorld) -> None:
    world.api.guard_writes(lambda: False)
    try:
        with pytest.raises(ApiUnavailable, match="does not lead"):
            await KubernetesPodsApi(world.api).create(world.namespace, pod())
        assert await KubernetesPodsApi(world.api).get(world.namespace, "exec-1") is None
    finally:
        world.api.guard_writes(lambda: True)


# -- the CRD ----------------------------------------------------------------------------------------------------------


async def test_it_is_applied_plainly_and_again(world: OperatorWorld) -> None:
    assert "unchanged" in world.cluster.kubectl("apply", "-f", str(CRDS))


@pytest.mark.parametrize(
    "field",
    ["spec.driver.selector", "spec.dynamicAllocation.shuffleTracking.timeout", "spec.executor.podTemplate",
     "status.conditions.lastTransitionTime", "status.profiles.heldByShuffle"],
)  # fmt: skip
async def test_kubectl_explains_each_field(world: OperatorWorld, field: str) -> None:
    explained = world.cluster.kubectl("explain", f"sparkallocations.{field}")
    assert "<empty>" not in explained
    assert "DESCRIPTION" in explained


async def test_a_pod_template_is_kept_as_it_is_written(world: OperatorWorld) -> None:
    template = {"spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}]}]}}
    made = await world.allocate(
        "job", {"driver": {"podName": "d"}, "executor": {"podTemplate": template}}
    )
    assert made["spec"] == {"driver": {"podName": "d"}, "executor": {"podTemplate": template}}, (
        "and no default was added"
    )


_durations = st.sampled_from(
    ["1s", "0", "10min", "2h", "99999999999999999999d", "1.5s", "soon", "", "-1s", "1 s", "5S"]
)
_counts = st.sampled_from([-1, 0, 1, 7, 2_147_483_647, 2_147_483_648])
_specs = st.fixed_dictionaries(
    {
        "driver": st.sampled_from(
            [{"podName": "d"}, {}, {"podName": ""}, {"podName": "x" * 254}, {"selector": {"matchLabels": {"a": "b"}}},
             {"selector": {"matchLabels": {}}}, {"podName": "d", "uiPort": 0}, {"podName": "d", "uiPort": 65535},
             {"selector": {"matchLabels": {"a": "b" * 64}}}]
        )
    },
    optional={
        "mode": st.sampled_from(["Allocate", "Recommend", "Paused", "allocate", ""]),
        "dynamicAllocation": st.fixed_dictionaries(
            {},
            optional={
                "minExecutors": _counts,
                "initialExecutors": _counts,
                "maxExecutors": _counts,
                "executorAllocationRatio": st.sampled_from([0, 0.5, 1, 1.01, -1]),
                "executorIdleTimeout": _durations,
                "shuffleTracking": st.fixed_dictionaries({}, optional={"timeout": _durations, "enabled": st.booleans()}),
            },
        ),
        "decommission": st.fixed_dictionaries({}, optional={"gracePeriod": _durations, "maxConcurrent": _counts}),
        "deletionPolicy": st.sampled_from(["Orphan", "Drain", "Delete"]),
        "ttlSecondsAfterFinished": st.sampled_from([-1, 0, 31_536_000, 31_536_001]),
        "sparkConf": st.sampled_from([{}, {"spark.x": "y"}, {"spark.x": "y" * 4097}]),
    },
)  # fmt: skip


async def test_the_schema_takes_exactly_what_the_models_take(world: OperatorWorld) -> None:
    differing = []
    for spec in _examples(250):
        answer = await _dry_run(world, spec)
        if answer.ok != _model_takes(spec):
            differing.append((spec, answer.ok, answer.message[:300]))
    assert differing == []


def _examples(count: int) -> list[dict[str, Any]]:
    gathered: list[dict[str, Any]] = []

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(_specs)
    def gather(spec: dict[str, Any]) -> None:
        gathered.append(json.loads(json.dumps(spec)))

    gather()
    return gathered


def _model_takes(spec: dict[str, Any]) -> bool:
    try:
        SparkAllocationSpec.model_validate(spec)
    except ValidationError:
        return False
    return True


async def _dry_run(world: OperatorWorld, spec: dict[str, Any]) -> Any:
    body = {
        "apiVersion": "sparkallocation.dev/v1alpha1",
        "kind": "SparkAllocation",
        "metadata": {"name": "dry"},
        "spec": spec,
    }
    return await world.request("POST", world.allocations_path, body, dryRun="All")
