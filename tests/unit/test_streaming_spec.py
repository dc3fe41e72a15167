"""``spec.streaming`` as users and policies write it, and what the core makes of it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from typer.testing import CliRunner

from spark_allocation.api.crd import structural_schema
from spark_allocation.api.field_types import seconds
from spark_allocation.api.policies import InvalidPolicy, StoredPolicy, read_policy
from spark_allocation.api.spark_keys import wished_settings
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.cli.app import app
from spark_allocation.controller.policy_directory import PolicyDirectory
from spark_allocation.controller.streaming_settings import (
    backlog_questions,
    query_resolutions,
    streaming_settings,
    wished_streaming,
)
from spark_allocation.core.setting_catalogue import BY_FIELD, STREAMING_SETTINGS, Setting
from spark_allocation.core.setting_layers import Layer, Limit, Origin, Policy, Resolution, Scope
from spark_allocation.core.setting_resolution import resolve
from spark_allocation.core.spark_conf import InvalidSetting
from spark_allocation.core.streaming.decisions import StreamingReason
from spark_allocation.core.streaming.observations import QueryName
from spark_allocation.core.streaming.settings import (
    BacklogSettings,
    BatchDurationSettings,
    FreezeWindow,
    Frozen,
    MissingMetrics,
    RateSettings,
    Sizing,
    StepLimits,
    StreamingSettings,
    VanishedMetrics,
)
from spark_allocation.sources.promql import PrometheusServer
from spark_allocation.sources.promql_selectors import query_problem


def spec(streaming: dict[str, Any] | None) -> SparkAllocationSpec:
    body: dict[str, Any] = {"driver": {"podName": "orders-driver"}}
    return SparkAllocationSpec.model_validate(body if streaming is None else body | {"streaming": streaming})  # fmt: skip


def resolution(
    wanted: SparkAllocationSpec,
    *policies: Policy,
    profile: tuple[Origin, Mapping[str, str]] | None = None,
) -> Resolution:
    allocation = {**wished_settings(wanted), **wished_streaming(wanted)}
    return resolve(driver={}, policies=policies, user="", allocation=allocation, profile=profile)


def of_queries(wanted: SparkAllocationSpec, *policies: Policy) -> dict[QueryName, Resolution]:
    return query_resolutions(
        wanted,
        lambda entry, said: resolution(
            wanted, *policies, profile=(Origin(Layer.PROFILE, entry=entry), said)
        ),
    )


def settings(streaming: dict[str, Any] | None, *policies: Policy) -> StreamingSettings | None:
    wanted = spec(streaming)
    return streaming_settings(wanted, resolution(wanted, *policies), of_queries(wanted, *policies))


@pytest.mark.parametrize("streaming", [None, {"enabled": False, "targetDuration": "10s"}])
def test_streams_have_no_say_unless_they_are_asked_for(streaming: dict[str, Any] | None) -> None:
    assert settings(streaming) is None


def test_an_empty_one_asks_for_it_with_the_defaults_of_the_core() -> None:
    assert settings({}) == StreamingSettings()


def test_to_name_a_policy_is_to_choose_it() -> None:
    said = settings({"batchDuration": {}, "backlog": {"promQL": QUERY}, "rate": {"enabled": False}})

    assert said is not None
    assert (said.batch_duration, said.rate, said.backlog) == (BatchDurationSettings(), None, BacklogSettings())  # fmt: skip


def test_everything_can_be_said() -> None:
    said = settings(
        {
            "targetDuration": "20s",
            "catchUpTime": "10min",
            "nominalRate": 5000,
            "batchDuration": {"targetUtilization": 0.6, "band": 0.2, "sizing": "Step", "step": 3},
            "rate": {"enabled": False},
            "backlog": {"target": "2min", "low": "20s", "lowUtilization": 0.5},
            "onMissingMetrics": {"behaviour": "Fixed", "executors": 7, "after": "5min"},
            "stabilization": {"up": "10s", "down": "15min", "downBatches": 5},
            "cooldown": "45s",
            "scaleDownInterval": "2min",
            "stepUp": {"share": 0.5, "executors": 2},
            "stepDown": {"share": 0.25, "executors": 1},
            "ineffectiveHold": "1h",
            "effectiveShare": 0.3,
            "boundaryWait": "10s",
            "freezeWindows": [
                {"start": "22:30", "duration": "8h", "weekdays": ["Friday", "Monday"]},
                {"start": "00:00", "duration": "7d", "frozen": "ScaleDown"},
            ],
            "queries": [
                {"name": "audit", "ignored": True},
                {"name": "orders", "targetDuration": "5s", "catchUpTime": "1min", "nominalRate": 10, "backlog": {"target": "30s"}},
            ],
        }
    )  # fmt: skip

    assert said is not None
    assert said.batch_duration == BatchDurationSettings(0.6, 0.2, Sizing.STEP, 3)
    assert said.rate is None
    assert said.backlog == BacklogSettings(120.0, 20.0, 0.5)
    assert (said.target_duration_s, said.catch_up_time_s, said.nominal_rate) == (20.0, 600.0, 5000)
    assert said.missing_metrics == VanishedMetrics(MissingMetrics.FIXED, 7, 300.0)
    assert (said.stabilization_up_s, said.stabilization_down_s, said.stabilization_down_batches) == (10.0, 900.0, 5)  # fmt: skip
    assert (said.cooldown_s, said.scale_down_interval_s, said.boundary_wait_s) == (45, 120, 10)
    assert (said.step_up, said.step_down) == (StepLimits(0.5, 2), StepLimits(0.25, 1))
    assert (said.ineffective_hold_s, said.effective_share) == (3600.0, 0.3)
    assert said.freeze_windows == (
        FreezeWindow(81_000, 28_800, frozenset({0, 4}), Frozen.ALL),
        FreezeWindow(0, 604_800, frozenset(range(7)), Frozen.SCALE_DOWN),
    )
    assert said.is_ignored(QueryName("audit"))
    of_orders = said.of_query(QueryName("orders"))
    assert (of_orders.target_duration_s, of_orders.catch_up_time_s, of_orders.nominal_rate) == (5, 60, 10)  # fmt: skip
    assert of_orders.backlog == BacklogSettings(target_s=30.0)
    assert of_orders.batch_duration == said.batch_duration


def test_a_policy_may_ask_for_it_and_lock_it() -> None:
    asks = Policy("streams", Scope.CLUSTER, defaults={"streaming.enabled": "true", "streaming.cooldown": "60000ms"})  # fmt: skip
    locks = Policy("careful", Scope.CLUSTER, locks={"streaming.stepUp.executors": "1"})

    by_default = settings(None, asks)
    locked = settings({"stepUp": {"executors": 50}, "cooldown": "5s"}, asks, locks)

    assert by_default is not None
    assert by_default.cooldown_s == 60.0
    assert locked is not None
    assert (locked.step_up.executors, locked.cooldown_s) == (1, 5.0)
    assert settings({"enabled": False}, asks) is None


def test_limits_of_policies_hold_for_streams_whoever_set_the_value() -> None:
    limits = Policy(
        "careful",
        Scope.CLUSTER,
        limits={
            "streaming.catchUpTime": Limit("60000ms", None),
            "streaming.stepUp.executors": Limit(None, "8"),
            "streaming.rate.targetUtilization": Limit("0.7", None),
            "streaming.stepDown.share": Limit(None, "0.25"),
            "streaming.backlog.target": Limit(None, "5000ms"),
        },
    )
    asks = Policy("hasty", Scope.NAMESPACE, defaults={"streaming.catchUpTime": "1000ms"})

    held = settings({"stepUp": {"executors": 50}, "rate": {"targetUtilization": 0.2}, "backlog": {}}, limits, asks)  # fmt: skip

    assert held is not None
    assert held.rate is not None
    assert held.backlog is not None
    assert (held.catch_up_time_s, held.step_up.executors) == (60.0, 8)
    assert (held.rate.target_utilization, held.step_down.share) == (0.7, 0.25)
    assert held.backlog.target_s == held.backlog.low_s == 5.0, "low follows target down"


def test_single_queries_get_no_further_than_locks_and_limits_allow() -> None:
    policy = Policy(
        "careful",
        Scope.CLUSTER,
        limits={
            "streaming.catchUpTime": Limit("60000ms", None),
            "streaming.rate.targetUtilization": Limit("0.85", None),
            "streaming.targetDuration": Limit("5000ms", "30000ms"),
        },
        locks={"streaming.nominalRate": "1000"},
    )
    orders = {"name": "orders", "catchUpTime": "1s", "rate": {"band": 0.05}, "nominalRate": 5}
    wanted = spec({"queries": [orders, {"name": "clicks", "targetDuration": "1s"}]})

    found = of_queries(wanted, policy)
    held = streaming_settings(wanted, resolution(wanted, policy), found)

    assert held is not None
    of_orders, of_clicks = (held.of_query(QueryName(name)) for name in ("orders", "clicks"))
    assert (of_orders.catch_up_time_s, of_orders.nominal_rate) == (60.0, 1000.0)
    assert of_orders.rate == RateSettings(target_utilization=0.85, band=0.05)
    assert of_clicks.target_duration_s == 5.0
    # and what was changed says whose value it was
    assert "streaming.catchUpTime: 1s (SparkAllocation queries[orders]) → 1min, lower limit of cluster policy careful" in map(
        str, found[QueryName("orders")].changes
    )  # fmt: skip


def test_a_trigger_interval_is_no_target_that_a_limit_moves_but_no_safeguard_is_lowered_to_one() -> (
    None
):
    limits = {"streaming.targetDuration": Limit("5000ms", "30000ms"), "streaming.nominalRate": Limit(None, "500")}  # fmt: skip
    held = settings({}, Policy("careful", Scope.CLUSTER, limits=limits))
    assert held is not None
    assert (held.target_duration_s, held.nominal_rate) == (None, 500.0)
    assert held.missing_metrics.executors is None


def test_every_setting_has_the_default_of_the_core_and_says_so() -> None:
    found = resolution(spec({}))

    shown = {each.field: each.shown(found.value(each)) for each in STREAMING_SETTINGS}

    assert shown["streaming.targetDuration"] == "trigger interval"
    assert shown["streaming.nominalRate"] == "none"
    assert found.value(BY_FIELD["streaming.cooldown"]) == f"{StreamingSettings().cooldown_s * 1000:.0f}ms"  # fmt: skip


@pytest.mark.parametrize("setting", STREAMING_SETTINGS, ids=lambda each: each.field)
def test_what_the_documentation_calls_the_default_is_the_default(setting: Setting) -> None:
    schema = structural_schema(SparkAllocationSpec)
    for part in setting.field.split("."):
        schema = schema["properties"][part]
    for value in re.findall(r"\((\S+) if left out\)|(\w+) \(if left out\)", schema["description"]):
        assert setting.measure("".join(value)) == setting.measure(setting.default)


@pytest.mark.parametrize(
    ("streaming", "words"),
    [
        ({"batchDuration": {"band": 0.8, "targetUtilization": 0.7}}, "band must be below"),
        ({"batchDuration": {"targetUtilization": 0}}, "greater than 0"),
        ({"batchDuration": {"sizing": "Wild"}}, "Proportional"),
        ({"backlog": {"low": "2min", "target": "60s"}}, "low must not be above"),
        ({"onMissingMetrics": {"behaviour": "Fixed"}}, "Fixed needs executors"),
        ({"targetDuration": "soon"}, "pattern"),
        ({"targetDuration": "-1s"}, "pattern"),
        ({"nominalRate": 0}, "greater than or equal to 1"),
        ({"freezeWindows": [{"start": "24:00", "duration": "1h"}]}, "pattern"),
        ({"freezeWindows": [{"start": "12:00", "duration": "1h", "weekdays": ["Caturday"]}]}, "Monday"),
        ({"queries": [{"targetDuration": "1s"}]}, "Field required"),
        ({"queries": [{"name": "orders", "rate": {"enabled": False}}]}, "Extra inputs"),
        ({"backlog": {"promQL": {"server": "http://10.0.0.1", "query": "up"}}}, "pattern"),
        ({"backlog": {"promQL": {"server": "metrics", "query": "x" * 3000}}}, "at most 2048"),
        ({"unheardOf": 1}, "Extra inputs"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_the_field(
    streaming: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        spec(streaming)


@pytest.mark.parametrize(
    ("streaming", "words"),
    [
        ({"batchDuration": {"band": 0.9}}, "streaming.batchDuration.band"),
        ({"backlog": {"target": "5s"}}, "streaming.backlog.low"),
        ({"targetDuration": "0s"}, "streaming.targetDuration"),
        ({"freezeWindows": [{"start": "12:00", "duration": "8d"}]}, "streaming.freezeWindows"),
        ({"queries": [{"name": "orders", "targetDuration": "0s"}]}, "streaming.queries.targetDur"),
    ],
)
def test_what_makes_no_sense_with_the_rest_is_an_invalid_setting(
    streaming: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidSetting, match=words):
        settings(streaming)


# -- where a backlog is asked for ----------------------------------------------------------------------------------------

QUERY = {"server": "metrics", "query": 'sum(lag{namespace="jobs"})'}
SERVER = {"name": "metrics", "url": "https://prometheus.monitoring:9090/", "requiredMatchers": [{"label": "namespace"}]}  # fmt: skip


def policy(name: str = "metrics", **fields: Any) -> dict[str, Any]:
    return {"kind": "ClusterSparkAllocationPolicy", "metadata": {"name": name}, "spec": fields}


def test_a_backlog_is_asked_for_at_servers_that_a_cluster_policy_names() -> None:
    directory = PolicyDirectory()
    directory.update("cluster", policy(prometheusServers=[SERVER], selector={"namespaces": ["jobs"]}))  # fmt: skip
    wanted = spec({"backlog": {"promQL": QUERY}, "queries": [{"name": "orders", "backlog": {"promQL": QUERY}}]})  # fmt: skip

    granted = backlog_questions(wanted, directory.selected("jobs", {}).prometheus_servers)
    elsewhere = backlog_questions(wanted, directory.selected("others", {}).prometheus_servers)

    assert granted.servers == {
        "metrics": PrometheusServer("metrics", "https://prometheus.monitoring:9090", {"namespace": None})
    }  # fmt: skip
    assert granted.servers["metrics"].required_in("jobs") == {"namespace": "jobs"}
    assert granted.common is not None
    assert set(granted.of_queries) == {"orders"}
    assert elsewhere.servers == {}


def test_of_two_policies_that_name_a_server_the_higher_priority_wins() -> None:
    directory = PolicyDirectory()
    for name, priority in (("a", 0), ("b", 5), ("c", 5)):
        server = SERVER | {"url": f"http://{name}:9090"}
        directory.update("cluster", policy(name, priority=priority, prometheusServers=[server]))

    servers = directory.selected("jobs", {}).prometheus_servers

    assert servers["metrics"].url == "http://b:9090"


@pytest.mark.parametrize(
    "fields",
    [
        {"prometheusServers": [SERVER], "selector": {"driverLabels": {"team": "a"}}},
        {"prometheusServers": [SERVER | {"url": "https://user:pw@prometheus:9090"}]},
        {"prometheusServers": [SERVER | {"url": "file:///etc/passwd"}]},
        {"prometheusServers": [SERVER | {"url": "http://prometheus:9090/?x=1"}]},
        {"prometheusServers": [{"name": "metrics", "url": "http://prometheus:9090"}]},
        {"defaults": {"streaming": {"queries": [{"name": "orders"}]}}},
        {"defaults": {"streaming": {"backlog": {"promQL": QUERY}}}},
    ],
    ids=[
        "granted by a label of the tenant's",
        "a password in an address",
        "no web address",
        "an address with a query",
        "no word on what is required",
        "a query as default",
        "PromQL as default",
    ],
)
def test_what_a_policy_may_not_say_is_refused(fields: dict[str, Any]) -> None:
    # as the operator's own file of policies is read, in which nothing that is not known is left out
    assert isinstance(read_policy(policy(**fields), strict=True), InvalidPolicy)
    assert isinstance(read_policy(policy(prometheusServers=[SERVER])), StoredPolicy)


def test_durations_are_sparks() -> None:
    assert (seconds("90"), seconds("2min"), seconds("1500ms")) == (90.0, 120.0, 1.5)


# -- what is written about it --------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/howto/streaming.md").read_text()


@pytest.mark.parametrize("reason", StreamingReason)
def test_every_reason_of_a_decision_is_explained(reason: StreamingReason) -> None:
    assert f"`{reason}`" in GUIDE


def test_the_examples_make_sense_together() -> None:
    body = yaml.safe_load((ROOT / "examples/streaming.yaml").read_text())
    stored = yaml.safe_load((ROOT / "examples/streaming-policy.yaml").read_text())
    directory = PolicyDirectory()
    directory.update("cluster", stored)
    wanted = SparkAllocationSpec.model_validate(body["spec"])
    namespace = body["metadata"]["namespace"]

    questions = backlog_questions(wanted, directory.selected(namespace, {}).prometheus_servers)
    policies = directory.selected(namespace, {}).policies
    said = streaming_settings(wanted, resolution(wanted, *policies), of_queries(wanted, *policies))

    assert questions.common is not None
    server = questions.servers[questions.common.server]
    assert query_problem(questions.common.query, server.required_in(namespace)) == ""
    assert said is not None
    assert (said.cooldown_s, said.step_up.executors) == (60.0, 8)


def test_the_guide_shows_what_is_a_spec() -> None:
    for text in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL):
        written = yaml.safe_load(text)
        spec(written.get("spec", written)["streaming"])


def test_driver_conf_shows_streams_only_when_asked() -> None:
    key = "spark.sql.streaming.metricsEnabled=true"

    assert key in CliRunner().invoke(app, ["driver-conf", "--streaming"]).output.splitlines()
    assert key not in CliRunner().invoke(app, ["driver-conf"]).output
