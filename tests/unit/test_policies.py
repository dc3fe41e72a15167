"""Policies as objects: what is read, whom they are for, and that a broken one takes no limit away."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel
from tests.unit.test_crd import nodes

from spark_allocation.api.crd import cluster_policy_crd, policy_crd
from spark_allocation.api.policies import InvalidPolicy, StoredPolicy, read_policy
from spark_allocation.api.policy_v1alpha1 import (
    ExecutorAllowList,
    SettingLimits,
    SettingValues,
)
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.controller.effective_settings import EffectiveSettings, effective_settings
from spark_allocation.controller.policy_directory import (
    PolicyDirectory,
    SelectedPolicies,
    watch_policy_file,
)
from spark_allocation.core.budgets import Budget
from spark_allocation.core.pod_allow_list import PodAllowList
from spark_allocation.core.setting_catalogue import SETTINGS
from spark_allocation.core.setting_layers import Limit, Scope
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion
from spark_allocation.kube.api_client import ApiAnswer, ApiUnavailable
from spark_allocation.sources.policies_watch import PoliciesWatch

Document = dict[str, Any]
PATIENCE_SECONDS = 60.0


def cluster(name: str = "prod", **spec: Any) -> Document:
    return {"kind": "ClusterSparkAllocationPolicy", "metadata": {"name": name}, "spec": spec}


def own(name: str = "team", namespace: str = "jobs", **spec: Any) -> Document:
    metadata = {"name": name, "namespace": namespace}
    return {"kind": "SparkAllocationPolicy", "metadata": metadata, "spec": spec}


def stored(body: Document) -> StoredPolicy:
    read = read_policy(body)
    assert isinstance(read, StoredPolicy), read
    return read


# -- reading ----------------------------------------------------------------------------------------------------------


def test_every_part_of_a_cluster_policy_reaches_the_core() -> None:
    policy = stored(
        cluster(
            priority=3,
            defaults={"dynamicAllocation": {"executorIdleTimeout": "2min"}},
            userDefaults={"___alice___.spark.dynamicAllocation.maxExecutors": "4"},
            limits={
                "dynamicAllocation": {
                    "maxExecutors": {"min": 1, "max": 50},
                    "shuffleTracking": {"timeout": {"max": "30"}},
                    "executorAllocationRatio": {"min": 0.25},
                },
                "decommission": {"gracePeriod": {"max": "1h"}},
                "streaming": {"stepUp": {"share": {"max": 0.5}}, "cooldown": {"min": "1min"}},
            },
            locks={"dynamicAllocation": {"shuffleTracking": {"enabled": True}}},
        )
    ).policy
    assert (policy.name, policy.scope, policy.priority) == ("prod", Scope.CLUSTER, 3)
    assert policy.defaults == {"dynamicAllocation.executorIdleTimeout": "120000ms"}
    assert policy.user_defaults == {"___alice___.spark.dynamicAllocation.maxExecutors": "4"}
    assert policy.limits == {
        "dynamicAllocation.maxExecutors": Limit("1", "50"),
        "dynamicAllocation.shuffleTracking.timeout": Limit(None, "30000ms"),
        "dynamicAllocation.executorAllocationRatio": Limit("0.25", None),
        "decommission.gracePeriod": Limit(None, "3600000ms"),
        "streaming.stepUp.share": Limit(None, "0.5"),
        "streaming.cooldown": Limit("60000ms", None),
    }
    assert policy.locks == {"dynamicAllocation.shuffleTracking.enabled": "true"}


def test_each_setting_has_a_field_in_defaults_and_each_that_has_limits_one_in_limits() -> None:
    def fields(model: Any, path: str = "") -> set[str]:
        found = set()
        for name, field in model.model_fields.items():
            inner = next(
                (part for part in getattr(field.annotation, "__args__", ()) if hasattr(part, "model_fields")),
                None,
            )  # fmt: skip
            alias = f"{path}{field.alias or name}"
            leaf = inner is None or set(inner.model_fields) == {"min", "max"}
            found |= {alias} if leaf else fields(inner, f"{alias}.")
        return found

    assert fields(SettingValues) == {each.field for each in SETTINGS}
    assert fields(SettingLimits) == {each.field for each in SETTINGS if each.limitable}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (cluster(limits={"dynamicAllocation": {"maxExecutors": {"max": 0}}}), "spec.limits.dynamicAllocation.maxExecutors.max"),
        (cluster(limits={"dynamicAllocation": {"maxExecutor": {"max": 1}}}), "is maxExecutors meant?"),
        (cluster(priority="high"), "spec.priority"),
        (cluster(selector={"namespaces": ["Team_A"]}), "spec.selector.namespaces.0"),
        (own(locks={"dynamicAllocation": {"maxExecutors": 1}}), "spec.locks"),
        (own(selector={"namespaces": ["jobs"]}), "spec.selector.namespaces"),
        ({"kind": "ConfigMap", "metadata": {"name": "x"}}, "ConfigMap"),
        ({}, "None"),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_read_names_the_field(body: Document, words: str) -> None:
    read = read_policy(body, strict=True)
    assert isinstance(read, InvalidPolicy)
    assert words in read.message


@settings(max_examples=60, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=6), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["selector", "limits", "locks", "defaults", "dynamicAllocation", "maxExecutors", "min", "max", "userDefaults"]), inner, max_size=4), max_leaves=10))  # fmt: skip
def test_a_policy_of_any_kind_is_read_or_refused_and_nothing_else(spec: Any) -> None:
    for body in (cluster(), own()):
        assert isinstance(read_policy({**body, "spec": spec}), StoredPolicy | InvalidPolicy)


# -- whom it is for ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "selected"),
    [
        (cluster(), True),
        (cluster(selector={"namespaces": ["jobs"]}), True),
        (cluster(selector={"namespaces": ["other", "jo*"]}), True),
        (cluster(selector={"namespaces": ["*"]}), True),
        (cluster(selector={"namespaces": ["job"]}), False),
        (cluster(selector={"namespaces": ["jobs-*"]}), False),
        (cluster(selector={"driverLabels": {"team": "a"}}), True),
        (cluster(selector={"driverLabels": {"team": "b"}}), False),
        (cluster(selector={"namespaces": ["jobs"], "driverLabels": {"team": "b"}}), False),
        (own(), True),
        (own(namespace="other"), False),
        (own(selector={"driverLabels": {"team": "a"}}), True),
        (own(selector={"driverLabels": {"team": "a", "x": "y"}}), False),
    ],
)  # fmt: skip
def test_whom_a_policy_is_for(body: Document, selected: bool) -> None:
    assert stored(body).selects("jobs", {"team": "a", "z": "1"}) is selected


# -- what applies -----------------------------------------------------------------------------------------------------


def effective(*bodies: Document, driver: Document | None = None, **spec: Any) -> EffectiveSettings:
    found = effective_settings(
        SparkAllocationSpec.model_validate({"driver": {"podName": "d"}, **spec}),
        SparkConf({"spark.decommission.enabled": "true", **(driver or {})}),
        SparkVersion.parse("4.1.4"),
        SelectedPolicies(tuple(stored(body).policy for body in bodies)),
        "alice",
    )
    assert isinstance(found, EffectiveSettings), found
    return found


def test_the_core_gets_what_the_layers_make() -> None:
    found = effective(
        cluster(
            limits={
                "dynamicAllocation": {"maxExecutors": {"max": 20}, "shuffleTracking": {"timeout": {"max": "10min"}}},
                "decommission": {"gracePeriod": {"max": "90s"}, "maxConcurrent": {"max": 3}},
            },
            locks={"allocation": {"maxPendingPods": 7}},
        ),
        driver={"spark.kubernetes.allocation.batch.delay": "2000"},
        dynamicAllocation={"minExecutors": 2},
        allocation={"maxPendingPods": 99},
    )  # fmt: skip
    assert (found.core.dynamic.min_executors, found.core.dynamic.max_executors) == (2, 20)
    assert found.core.dynamic.shuffle_tracking_timeout_ms == 600_000
    assert found.core.pods.max_pending_pods == 7
    assert found.core.pods.batch_delay_ms == 2000
    assert found.core.max_concurrent_drains == 3
    assert found.drain_grace_seconds == 90


def test_executors_may_be_deleted_at_once_and_a_driver_that_cannot_decommission_is_not_asked_to() -> (
    None
):
    by_default = effective()
    assert (by_default.drains, by_default.core.dynamic.decommission_enabled) == (True, True)
    at_once = effective(decommission={"enabled": False, "gracePeriod": "1h"})
    assert (at_once.drains, at_once.core.dynamic.decommission_enabled) == (False, False)
    assert at_once.drain_grace_seconds == 5
    cannot = effective(
        driver={"spark.decommission.enabled": "false"}, decommission={"enabled": True}
    )
    assert (cannot.drains, cannot.core.dynamic.decommission_enabled) == (False, False)
    assert cannot.drain_grace_seconds is None
    platform = cluster(locks={"decommission": {"enabled": True}})
    assert effective(platform, decommission={"enabled": False}).drains


def test_the_target_rises_at_once_where_that_is_wished() -> None:
    assert not effective().core.dynamic.immediate_ramp_up
    assert effective(allocation={"rampUp": "Immediate"}).core.dynamic.immediate_ramp_up


def test_without_policies_everything_is_as_spark_has_it() -> None:
    found = effective()
    assert found.core.dynamic.max_executors == 2**31 - 1
    assert (
        found.core.pods.batch_size == 100
    )  # but for this: whole waves (docs/designs/0011-waves.md)
    assert found.core.max_concurrent_drains is None
    assert found.drain_grace_seconds == 600
    assert not found.resolution.changes


# -- what executors may have ------------------------------------------------------------------------------------------


def test_the_lists_of_all_policies_of_a_namespace_add_up() -> None:
    directory = PolicyDirectory()
    directory.update(
        "cluster", cluster("a", allow={"images": ["x/*"], "fields": ["spec.hostNetwork"]})
    )
    directory.update(
        "cluster", cluster("b", allow={"images": ["y", "x/*"], "serviceAccounts": ["sa"]})
    )
    directory.update(
        "cluster", cluster("c", selector={"namespaces": ["other"]}, allow={"images": ["*"]})
    )
    found = directory.selected("jobs", {}).allowed
    assert sorted(found.images) == ["x/*", "y"]
    assert (found.service_accounts, found.fields) == (("sa",), ("spec.hostNetwork",))
    assert directory.selected("jobs", {"a": "b"}).allowed == found


def test_every_list_of_the_core_can_be_written() -> None:
    names = {field.alias or name for name, field in ExecutorAllowList.model_fields.items()}
    assert names == {to_camel(each.name) for each in dataclasses.fields(PodAllowList)}


def test_what_executors_may_have_is_allowed_to_namespaces_only() -> None:
    labelled = cluster(selector={"driverLabels": {"a": "b"}}, allow={"images": ["*"]})
    read = read_policy(labelled)
    assert isinstance(read, InvalidPolicy)
    assert "driver labels are what the tenant writes" in read.message
    assert isinstance(read_policy(own(allow={"images": ["*"]}), strict=True), InvalidPolicy)


# -- the directory ----------------------------------------------------------------------------------------------------


def test_a_policy_that_breaks_is_kept_as_it_last_made_sense() -> None:
    directory = PolicyDirectory()
    directory.update("cluster", cluster(limits={"dynamicAllocation": {"maxExecutors": {"max": 5}}}))
    directory.update(
        "cluster", cluster(limits={"dynamicAllocation": {"maxExecutors": {"max": "x"}}})
    )
    found = directory.selected("jobs", {})
    assert found.policies[0].limits["dynamicAllocation.maxExecutors"] == Limit(None, "5")
    assert "its last good version holds" in found.problems[0]
    directory.remove("cluster", cluster())
    assert directory.selected("jobs", {}) == SelectedPolicies()


def test_a_policy_of_another_namespace_is_nobody_else_s_problem() -> None:
    directory = PolicyDirectory()
    directory.replace_all("own", [own(namespace="other", priority="x"), own()])
    found = directory.selected("jobs", {})
    assert [policy.name for policy in found.policies] == ["team"]
    assert found.problems == ()


def put(file: Path, content: str) -> None:
    """In one step, as the kubelet does: a file that is written in place is empty for a moment, which means no policies."""
    written = file.with_suffix(".new")
    written.write_text(content)
    written.replace(file)


async def test_a_mounted_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    directory, synced, file = PolicyDirectory(), asyncio.Event(), tmp_path / "policies.yaml"
    watching = asyncio.create_task(
        watch_policy_file(file, directory, synced=synced, every_seconds=0.01)
    )
    changes = asyncio.Event()
    try:
        with directory.subscription(changes.set):
            await asyncio.sleep(0.05)
            assert not synced.is_set(), "nobody is served before the limits are known"
            put(file, yaml.safe_dump_all([cluster("a"), cluster("b")]))
            await asyncio.wait_for(changes.wait(), PATIENCE_SECONDS)
            assert synced.is_set()
            assert len(directory) == 2
            changes.clear()
            for broken in ("{", "when: 2026-13-45", "a: !!bool z", "[" * 5000, "metadata: a"):
                put(file, broken)
                await asyncio.sleep(0.05)
                assert len(directory) == 2, "what cannot be read takes nothing away"
                assert not watching.done(), broken[:20]
            put(file, yaml.safe_dump(cluster("a")))
            await asyncio.wait_for(changes.wait(), PATIENCE_SECONDS)
            assert len(directory) == 1
    finally:
        watching.cancel()


# -- the watch --------------------------------------------------------------------------------------------------------


class ScriptedApi:
    """An API server that answers lists and watches as told, and hangs when there is nothing more to say."""

    def __init__(self, lists: list[Any], watches: list[Any]) -> None:
        self.lists, self.watches = lists, watches
        self.asked: list[str] = []

    async def request(self, method: str, path: str) -> ApiAnswer:
        self.asked.append(path)
        answer = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def stream(self, path: str, *, query: dict[str, str]) -> AsyncIterator[bytes]:
        self.asked.append(f"{path}?{query['resourceVersion']}")
        lines = self.watches.pop(0) if self.watches else None
        for line in lines or ():
            yield line if isinstance(line, bytes) else yaml_json(line)
        if lines is None:
            await asyncio.Event().wait()


def yaml_json(document: Any) -> bytes:
    import json

    return json.dumps(document).encode()


def listing(*bodies: Document, version: str = "10") -> ApiAnswer:
    items = [{key: value for key, value in body.items() if key != "kind"} for body in bodies]
    return ApiAnswer(200, yaml_json({"metadata": {"resourceVersion": version}, "items": items}))


def event(kind: str, body: Document, version: str = "11") -> Document:
    return {
        "type": kind,
        "object": {**body, "metadata": {**body["metadata"], "resourceVersion": version}},
    }


async def watched(api: ScriptedApi, holds: Any) -> PolicyDirectory:
    directory = PolicyDirectory()
    watch = PoliciesWatch(
        api,  # type: ignore[arg-type]
        kind="ClusterSparkAllocationPolicy",
        plural="clustersparkallocationpolicies",
        namespace=None,
        sink=directory,
        first_pause_seconds=0.01,
        not_there_pause_seconds=0.01,
    )
    running = asyncio.create_task(watch.run())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await watch.synced.wait()
            while not holds(directory):
                await asyncio.sleep(0.005)
    finally:
        running.cancel()
    return directory


def names(directory: PolicyDirectory) -> list[str]:
    return sorted(policy.name for policy in directory.selected("jobs", {}).policies)


async def test_a_list_and_then_its_changes() -> None:
    api = ScriptedApi(
        [listing(cluster("a"), cluster("b"))],
        [[event("ADDED", cluster("c")), event("DELETED", cluster("a"), "12")]],
    )
    await watched(api, lambda directory: names(directory) == ["b", "c"])
    assert api.asked[1].endswith("?10")


@pytest.mark.parametrize(
    "line",
    [{"type": "ERROR", "object": {"code": 410}}, b"{", b"[]", {"type": "ADDED"}, b"7"],
)
async def test_any_doubt_means_list_again(line: Any) -> None:
    api = ScriptedApi([listing(cluster("a")), listing(cluster("b"))], [[line]])
    await watched(api, lambda directory: names(directory) == ["b"])


async def test_a_watch_that_is_refused_is_no_storm_of_lists() -> None:
    many = 200
    refusal = {"type": "ERROR", "object": {"code": 403}}
    api = ScriptedApi([listing(cluster("a"))] * many, [[refusal]] * many)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await watched(api, lambda _: len(api.asked) > 60)


@pytest.mark.parametrize("status", [403, 404])
async def test_a_kind_that_is_not_there_counts_as_empty_until_it_is(status: int) -> None:
    api = ScriptedApi([ApiAnswer(status, b"{}"), listing(cluster("late"))], [])
    await watched(api, lambda directory: names(directory) == ["late"])


@pytest.mark.parametrize("answer", [ApiAnswer(403, b"{}"), ApiAnswer(503, b"{}"), ApiUnavailable("gone")])  # fmt: skip
async def test_limits_stay_when_the_api_server_turns_away(answer: Any) -> None:
    api = ScriptedApi([listing(cluster("a")), answer], [[b"{"]])
    directory = await watched(api, lambda _: len(api.asked) > 5)
    assert names(directory) == ["a"]


# -- budgets ----------------------------------------------------------------------------------------------------------


def test_a_budget_reaches_the_core_with_whom_it_covers_and_how() -> None:
    policy = stored(
        cluster(
            selector={"namespaces": ["team-*"]},
            budgets=[
                {
                    "name": "batch",
                    "selector": {"namespaces": ["team-a", "team-b"], "driverLabels": {"kind": "batch"}},
                    "executors": 40,
                    "cores": "1500m",
                    "memory": "1.5Gi",
                    "pendingPods": 7,
                    "weights": [
                        {"namespaces": ["team-a"], "driverLabels": {"urgent": "yes"}, "weight": 5},
                        {"namespaces": ["team-a"], "weight": 2},
                    ],
                },
                {"name": "all", "cores": 400},
            ],
        )
    )  # fmt: skip
    batch, everything = policy.budgets
    assert batch.key == "prod/batch"
    assert batch.budget == Budget("batch", 40, 1500, 1536, 7)
    assert everything.budget == Budget("all", milli_cores=400_000)
    label = {"kind": "batch"}
    assert batch.covers("team-a", label)
    assert not batch.covers("team-a", {}), "the budget's own labels"
    assert not batch.covers("team-c", label), "the budget's own namespaces"
    assert not everything.covers("other", {}), "what the policy does not select"
    assert everything.covers("team-c", {})
    weights = [batch.weight(*each) for each in (("team-a", {**label, "urgent": "yes"}), ("team-a", label), ("team-b", label))]  # fmt: skip
    assert weights == [5, 2, 1]
    # of a driver that nobody has seen the labels may be any
    assert batch.covers("team-b", None)
    assert batch.looks_at_labels
    assert not everything.looks_at_labels


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"name": "a"}, "at least one of executors, cores, memory and pendingPods"),
        ({"executors": 1}, "spec.budgets.0.name"),
        ({"name": "A", "executors": 1}, "spec.budgets.0.name"),
        ({"name": "a", "executors": -1}, "spec.budgets.0.executors"),
        ({"name": "a", "pendingPods": 0}, "spec.budgets.0.pendingPods"),
        ({"name": "a", "cores": -1}, "must be a number of cores"),
        ({"name": "a", "cores": "1Gi"}, "must be a number of cores"),
        ({"name": "a", "cores": True}, "must be a number of cores"),
        ({"name": "a", "memory": "12 apples"}, "must be a quantity of memory"),
        ({"name": "a", "memory": [1]}, "must be a quantity of memory"),
        ({"name": "a", "executors": 1, "weights": [{"weight": 0}]}, "weights.0.weight"),
        ({"name": "a", "executors": 1, "weights": []}, "spec.budgets.0.weights"),
        ({"name": "a", "executors": 1, "namespaces": ["b"]}, "spec.budgets.0.namespaces"),
    ],
)
def test_a_budget_that_makes_no_sense_is_told_with_its_field(budget: Document, words: str) -> None:
    """What the schema refuses at a server is refused in a file too, where no server has looked."""
    read = read_policy(cluster(budgets=[budget]), strict=True)
    assert isinstance(read, InvalidPolicy)
    assert words in read.message


def test_two_budgets_of_a_policy_have_two_names() -> None:
    read = read_policy(cluster(budgets=[{"name": "a", "executors": 1}, {"name": "a", "cores": 1}]))
    assert isinstance(read, InvalidPolicy)
    assert "each budget of a policy has a name of its own" in read.message


def test_a_policy_of_a_namespace_has_no_budgets() -> None:
    policy = own(budgets=[{"name": "a", "executors": 1}])
    assert isinstance(read_policy(policy, strict=True), InvalidPolicy)


# -- the schemas ------------------------------------------------------------------------------------------------------

DEFINITIONS = [policy_crd(), cluster_policy_crd()]


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each["spec"]["names"]["kind"])
def test_the_schema_is_structural_described_and_bounded(definition: Document) -> None:
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, node in nodes(schema):
        if node.get("x-kubernetes-int-or-string"):
            assert node["description"], path
            continue
        assert isinstance(node.get("type"), str), path
        assert not {"$ref", "anyOf", "oneOf", "allOf", "title", "default"} & node.keys(), path
        if path.startswith(".spec"):
            assert node.get("description") or path.endswith("[]"), path
            if node["type"] == "array":
                assert "maxItems" in node, path
            if isinstance(node.get("additionalProperties"), dict):
                assert "maxProperties" in node, path
