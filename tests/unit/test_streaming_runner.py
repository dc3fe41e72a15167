"""A SparkAllocation with spec.streaming, from what the driver shows to executors, status, conditions and metrics.

Drivers and API server are told what to say; everything of the operator is real. How the numbers come about is tried with
the policies themselves (tests of core/streaming).
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.prometheus_world import prometheus_serving
from tests.unit.runner_world import Operator, served

from spark_allocation.api.streaming_v1alpha1 import PromQuery
from spark_allocation.api.v1alpha1 import SparkAllocationStatus
from spark_allocation.controller.allocation_runner import AllocationRunner
from spark_allocation.controller.streaming_backlogs import ANSWERED, BacklogAsking
from spark_allocation.controller.streaming_life import LifeStreams
from spark_allocation.controller.streaming_settings import BacklogQuestions
from spark_allocation.core.driver_report import DriverReport, StageReport
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.decisions import (
    PolicyWant,
    QueryStanding,
    StreamingCondition,
    StreamingDecision,
    StreamingPolicy,
    StreamingProblem,
    StreamingReason,
)
from spark_allocation.core.streaming.observations import QueryName
from spark_allocation.core.streaming.settings import StreamingSettings
from spark_allocation.core.streaming_report import QueryGauges, StreamingJob, StreamingReport
from spark_allocation.kube.status_size import LARGEST_STATUS_BYTES, within_size
from spark_allocation.reports import streams
from spark_allocation.sources.driver_requests import open_driver_session
from spark_allocation.sources.promql import BacklogFault, PrometheusQueries, PrometheusServer
from spark_allocation.testing.driver import FakeDriver

BOUNDS = {"minExecutors": 2, "maxExecutors": 10}
AT_ONCE = {"cooldown": "0s", "batchDuration": {}}
ORDERS = QueryName("orders")


@pytest.fixture
async def driver() -> AsyncIterator[FakeDriver]:
    async with FakeDriver() as fake:
        yield fake


def batches(
    driver: FakeDriver, seconds: float, *, interval: float = 0.1, rows: int = 100, **fields: Any
) -> None:
    """From now on one batch follows the other and takes so long, though one may take `interval` only."""
    ended_at, number = time.monotonic(), 50

    def look(path: str) -> None:
        nonlocal ended_at, number
        if path.startswith("/metrics") and time.monotonic() >= ended_at + max(seconds, interval):
            ended_at, number = time.monotonic(), number + 1
            driver.streaming = FakeDriver.progress(
                **{
                    "batchId": number,
                    "rows": rows,
                    "durationMs": seconds * 1000,
                    "triggerIntervalMs": interval * 1000,
                }
                | fields
            )

    driver.when_asked = look


def query(operator: Operator) -> dict[str, Any]:
    return next(iter(operator.allocations.status("job").get("streaming") or ()), {})


async def streaming(
    operator: Operator, driver: FakeDriver, seconds: float, wishes: dict[str, Any]
) -> AllocationRunner:
    """Executors that have been there for long, and then a stream whose batches take so long."""
    runner = await served(operator, driver, dynamicAllocation=BOUNDS)
    batches(driver, seconds)
    operator.change(runner, dynamicAllocation=BOUNDS, streaming=wishes)
    return runner


async def test_a_stream_that_is_late_gets_executors_and_the_status_says_why(
    operator: Operator, driver: FakeDriver
) -> None:
    runner = await streaming(operator, driver, 0.3, AT_ONCE)

    await operator.until(lambda: len(operator.executors) > 2, within=8)
    await operator.until(lambda: query(operator))
    shown = query(operator)
    assert (shown["query"], shown["intervalSeconds"], shown["batchSeconds"]) == ("orders", 0.1, 0.3)
    assert shown["utilization"] > 0.2
    assert shown["desired"] > 2
    (decision,) = operator.allocations.status("job")["streamingDecisions"]
    assert (decision["query"], decision["profile"]) == ("orders", 0)
    assert runner.figures.streaming.queries == runner.figures.streaming.late == 1


async def test_without_it_a_stream_is_like_any_other_application(
    operator: Operator, driver: FakeDriver
) -> None:
    batches(driver, 0.3)

    runner = await served(operator, driver, dynamicAllocation=BOUNDS)
    await operator.until(lambda: operator.state() == "Running")

    assert len(operator.executors) == 2
    assert "streaming" not in operator.allocations.status("job")

    operator.change(runner, dynamicAllocation=BOUNDS, streaming=AT_ONCE)
    await operator.until(lambda: len(operator.executors) > 4, within=8)


async def test_streams_that_nobody_can_see_are_told(operator: Operator, driver: FakeDriver) -> None:
    await served(operator, driver, streaming={"onMissingMetrics": {"after": "1s"}})

    driver.jobs = [FakeDriver.batch(7)]

    await operator.until(
        lambda: operator.condition("StreamingMetricsMissing")["reason"] == "MetricsMissing",
        within=8,
    )
    assert "metricsEnabled" in operator.condition("StreamingMetricsMissing")["message"]


async def test_what_cannot_be_done_is_a_condition_that_goes_with_its_cause(
    operator: Operator, driver: FakeDriver
) -> None:
    batches(driver, 0.3, triggerIntervalMs=0)
    runner = await served(operator, driver, streaming={"batchDuration": {}})
    await operator.until(
        lambda: operator.condition("StreamingRefused")["reason"] == "NoTargetDuration", within=8
    )
    assert "query orders: " in operator.condition("StreamingRefused")["message"]
    assert ("StreamingRefused", "NoTargetDuration") in runner.figures.problems

    operator.change(runner, dynamicAllocation={"minExecutors": 2}, streaming={"batchDuration": {}, "targetDuration": "10s"})  # fmt: skip

    await operator.until(lambda: operator.condition("StreamingRefused")["status"] == "", within=8)


@pytest.mark.parametrize(
    ("told", "streaming", "condition"),
    [
        ({}, {"queries": [{"name": "order", "ignored": True}]}, ("StreamingRefused", "UnknownQuery")),
        ({"trigger": "Continuous"}, {}, ("StreamingRefused", "ContinuousTrigger")),
        ({"processingRate": -5.0}, {}, ("StreamingMetricsMissing", "BadSamples")),
        ({"rows": -5}, {}, ("StreamingMetricsMissing", "BadSamples")),
        ({"durationMs": -1}, {}, ("StreamingMetricsMissing", "BadSamples")),
        ({"durationMs": "long"}, {}, ("StreamingMetricsMissing", "ProgressUnreadable")),
    ],
    ids=["a query that nobody has", "continuous", "negative rate", "negative rows", "negative time", "no number"],
)  # fmt: skip
async def test_what_a_driver_or_user_says_that_cannot_be_is_a_condition_and_nobody_leaves(
    operator: Operator,
    driver: FakeDriver,
    told: dict[str, Any],
    streaming: dict[str, Any],
    condition: tuple[str, str],
) -> None:
    batches(driver, 0.05, **told)
    await served(operator, driver, streaming=streaming)
    await operator.until(lambda: operator.condition(condition[0])["reason"] == condition[1], within=8)  # fmt: skip
    assert operator.pods.made("delete") == []


@pytest.mark.parametrize("trigger", ["AvailableNow", "OneTime"])
async def test_queries_that_take_what_there_is_and_stop_are_served_by_their_tasks(
    operator: Operator, driver: FakeDriver, trigger: str
) -> None:
    batches(driver, 0.3, trigger=trigger)
    await served(operator, driver, streaming=AT_ONCE)
    decisions = lambda: operator.allocations.status("job").get("streamingDecisions") or ()  # noqa: E731
    await operator.until(lambda: [each["reason"] for each in decisions()] == ["BatchDemand"], within=8)  # fmt: skip
    driver.work(5)
    await operator.until(lambda: len(operator.executors) == 5, within=8)
    assert operator.condition("StreamingRefused")["reason"] == ""


async def test_a_query_that_stops_leaves_its_executors_to_tasks_and_one_that_restarts_decides_again(
    operator: Operator, driver: FakeDriver
) -> None:
    await streaming(operator, driver, 0.3, {**AT_ONCE, "stabilization": {"down": "1s"}})
    await operator.until(lambda: len(operator.executors) > 2, within=8)
    reasons = lambda: [each["reason"] for each in operator.allocations.status("job").get("streamingDecisions") or ()]  # noqa: E731  # fmt: skip
    # when it stops
    driver.when_asked = lambda _: None
    driver.streaming = FakeDriver.progress("terminated", batchId=9)
    await operator.until(lambda: reasons() == ["NoQuery"], within=12)
    # and another run of it begins, which counts its batches anew
    batches(driver, 0.3, runId="9c0e5d4e-0000-0000-0000-000000000000")
    await operator.until(lambda: reasons() != ["NoQuery"] and query(operator).get("desired", 0) > 2, within=12)  # fmt: skip


async def test_a_document_that_cannot_be_read_is_told(
    operator: Operator, driver: FakeDriver
) -> None:
    await served(operator, driver, streaming={})
    driver.streaming = {"driver.AccumulatorSource.sparkallocation.streaming.a": "{"}

    await operator.until(
        lambda: operator.condition("StreamingMetricsMissing")["reason"] == "ProgressUnreadable",
        within=8,
    )


async def test_a_spec_that_makes_no_sense_leaves_the_last_one_in_force(
    operator: Operator, driver: FakeDriver
) -> None:
    batches(driver, 0.05)
    runner = await served(operator, driver, streaming={})

    operator.change(runner, streaming={"batchDuration": {"band": 0.9}})

    await operator.until(lambda: operator.condition("Ready")["reason"] == "InvalidSpec")
    assert "streaming.batchDuration.band" in operator.condition("Ready")["message"]


async def test_what_was_learned_of_a_query_outlives_the_operator(
    operator: Operator, driver: FakeDriver
) -> None:
    runner = await streaming(operator, driver, 0.05, {})
    await operator.until(lambda: query(operator).get("learned"), within=15)

    before = query(operator)["learned"]

    assert streams.restored([query(operator)]) == {ORDERS: LearnedCost.restored(before)}
    assert LearnedCost.restored(before).is_known
    assert runner.served_uid


def test_a_profile_in_which_no_stream_runs_after_all_is_left_to_its_tasks() -> None:
    life = LifeStreams(BacklogAsking(PrometheusQueries(cast("Any", None)), "jobs"))
    life.reconfigure(StreamingSettings(), BacklogQuestions())
    idle = DriverReport((), (), (), None, streaming=StreamingReport((QueryGauges("orders", 10.0),)))
    job = StreamingJob("run", "id", "orders", 3, (7,), 8)
    at_work = replace(
        idle,
        stages=(StageReport(7, 0, ProfileId(1), 8, 0, 0),),
        streaming=replace(idle.streaming, jobs=(job,)),
    )

    first, second = (life.observe(each, answered_at_ns=10**9 * second, epoch_ms=0) for second, each in enumerate((idle, at_work)))  # fmt: skip

    assert [(each.profile_id, len(each.queries)) for each in first] == [(0, 1)]
    assert [(each.profile_id, len(each.queries)) for each in second] == [(1, 1)]


# -- the backlog from Prometheus -----------------------------------------------------------------------------------------


class Prometheus:
    """Says how many rows wait."""

    def __init__(self) -> None:
        self.rows = "120000"
        self.asked: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(str((await request.post())["query"]))
        result = [{"metric": {}, "value": [1.5, self.rows]}]
        body = {"status": "success", "data": {"resultType": "vector", "result": result}}
        return web.json_response(body)


@pytest.fixture
async def prometheus() -> AsyncIterator[Prometheus]:
    made = Prometheus()
    async with prometheus_serving(made.answer) as made.url:
        yield made


def grant(operator: Operator, prometheus: Prometheus, namespace: str = "jobs") -> None:
    server = {"name": "metrics", "url": prometheus.url, "requiredMatchers": [{"label": "namespace"}]}  # fmt: skip
    spec = {"selector": {"namespaces": [namespace]}, "prometheusServers": [server]}
    body = {"kind": "ClusterSparkAllocationPolicy", "metadata": {"name": "metrics"}, "spec": spec}
    operator.around.policies.update("cluster", body)


def asking(query: str) -> dict[str, Any]:
    return {"backlog": {"promQL": {"server": "metrics", "query": query}}}


OWN_LAG = 'sum(lag{namespace="jobs"})'


async def test_a_backlog_from_prometheus_is_in_the_status(
    operator: Operator, driver: FakeDriver, prometheus: Prometheus
) -> None:
    grant(operator, prometheus)
    batches(driver, 0.05)

    await served(operator, driver, dynamicAllocation=BOUNDS, streaming=asking(OWN_LAG))

    await operator.until(lambda: (query(operator).get("backlogSeconds") or 0) > 0, within=15)
    assert set(prometheus.asked) == {OWN_LAG}


@pytest.mark.parametrize(
    "case",
    [
        ("jobs", "sum(lag)", 'lacks the matcher namespace="jobs"'),
        ("others", OWN_LAG, "no cluster policy grants a Prometheus server 'metrics'"),
    ],
)
async def test_a_question_that_no_policy_grants_is_refused_and_never_asked(
    operator: Operator,
    driver: FakeDriver,
    prometheus: Prometheus,
    case: tuple[str, str, str],
) -> None:
    namespace, asked, words = case
    grant(operator, prometheus, namespace)

    await served(operator, driver, streaming=asking(asked))

    await operator.until(
        lambda: operator.condition("StreamingRefused")["reason"] == "BacklogQueryRefused"
    )
    assert words in operator.condition("StreamingRefused")["message"]
    assert prometheus.asked == []


async def test_a_number_that_is_no_count_is_told_and_not_used(
    operator: Operator, driver: FakeDriver, prometheus: Prometheus
) -> None:
    grant(operator, prometheus)
    prometheus.rows = "NaN"

    await served(operator, driver, streaming=asking(OWN_LAG))

    await operator.until(
        lambda: operator.condition("StreamingMetricsMissing")["reason"] == "BacklogUnknown"
    )
    assert "no count of rows" in operator.condition("StreamingMetricsMissing")["message"]


class Asking:
    """`BacklogAsking` against a server, with a clock of its own."""

    def __init__(self, backlogs: Callable[[Callable[[], float], Callable[[str], None]], BacklogAsking], url: str) -> None:  # fmt: skip
        self.now = 0.0
        self.counted: list[str] = []
        self.backlogs = backlogs(lambda: self.now, self.counted.append)
        self.servers = {"metrics": PrometheusServer("metrics", url, {"namespace": None})}

    def wants(self, common: str | None = None, **of_queries: str) -> None:
        self.backlogs.reconfigure(
            BacklogQuestions(
                None if common is None else PromQuery(server="metrics", query=common),
                {QueryName(name): PromQuery(server="metrics", query=query) for name, query in of_queries.items()},
                self.servers,
            )
        )  # fmt: skip

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not holds():
                await asyncio.sleep(0.005)


@pytest.fixture
async def ask(prometheus: Prometheus) -> AsyncIterator[Asking]:
    async with open_driver_session() as session:

        def made(clock: Callable[[], float], count: Callable[[str], None]) -> BacklogAsking:
            return BacklogAsking(PrometheusQueries(session), "jobs", count, every_seconds=0.02, clock=clock)  # fmt: skip

        world = Asking(made, prometheus.url)
        task = asyncio.create_task(world.backlogs.run())
        yield world
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_common_question_is_of_the_only_query_without_one_of_its_own(ask: Asking) -> None:
    ask.wants(OWN_LAG, audit=OWN_LAG)
    await ask.until(lambda: len(ask.counted) >= 2)

    ask.backlogs.assign([ORDERS, QueryName("audit")])
    assert ask.backlogs.known == {"orders": 120_000.0, "audit": 120_000.0}

    ask.backlogs.assign([ORDERS, QueryName("audit"), QueryName("returns")])
    assert ask.backlogs.known == {"audit": 120_000.0}
    assert ask.backlogs.problems[""].fault is BacklogFault.SEVERAL_QUERIES


async def test_a_backlog_that_nobody_confirms_is_unknown_after_a_minute(
    ask: Asking, prometheus: Prometheus
) -> None:
    ask.wants(orders=OWN_LAG)
    await ask.until(lambda: ask.backlogs.known)

    prometheus.rows = "NaN"
    await ask.until(lambda: BacklogFault.NOT_A_COUNT in ask.counted)
    assert ask.backlogs.known == {"orders": 120_000.0}
    ask.now = 61.0
    assert ask.backlogs.known == {}

    prometheus.rows = "7"
    await ask.until(lambda: ask.backlogs.known == {"orders": 7.0})
    assert ask.backlogs.problems == {}


async def test_other_questions_take_effect_at_once(ask: Asking, prometheus: Prometheus) -> None:
    ask.wants(orders="sum(lag)")
    await ask.until(lambda: ask.backlogs.problems)
    assert ask.backlogs.problems["orders"].refused

    ask.wants(orders=OWN_LAG)

    await ask.until(lambda: ask.backlogs.known)
    assert ask.backlogs.problems == {}
    assert set(ask.counted) == {BacklogFault.QUERY_REFUSED, ANSWERED}


# -- what is said --------------------------------------------------------------------------------------------------------

_ANY = st.none() | st.floats()
# long ones of few choices: an example of 140 names would otherwise be too much for Hypothesis to make
_NAME = st.builds(
    lambda part, times: QueryName((part * times)[:300]),
    st.text(min_size=1, max_size=6),
    st.sampled_from((1, 5, 300)),
)
_STANDING = st.builds(
    QueryStanding,
    _NAME,
    *([_ANY] * 7),
    st.lists(st.builds(PolicyWant, st.just(ORDERS), st.sampled_from(StreamingPolicy), st.integers(0, 10**6)), max_size=2).map(tuple),
)  # fmt: skip
_DECISION = st.builds(
    StreamingDecision,
    st.none() | st.integers(0, 10**6),
    st.sampled_from(StreamingReason),
    st.none() | st.integers(0, 10**6),
    st.none() | _NAME,
    st.none() | st.sampled_from(StreamingPolicy),
    st.lists(_STANDING, max_size=20).map(tuple),
    st.lists(st.builds(StreamingProblem, st.sampled_from(StreamingCondition), st.none() | _NAME, st.text(max_size=50)), max_size=20).map(tuple),
)  # fmt: skip


@given(st.lists(_DECISION, max_size=6))
def test_whatever_is_decided_can_be_written(decisions: list[StreamingDecision]) -> None:
    names = [each.query for decision in decisions for each in decision.queries]
    learned = dict.fromkeys(names, LearnedCost(*[123456.789012345] * len(LearnedCost().numbers)))
    status = SparkAllocationStatus(
        streaming=streams.query_statuses(decisions, learned),
        streaming_decisions=streams.decision_statuses(decisions),
    ).model_dump(mode="json", by_alias=True, exclude_none=True)

    written = within_size(status)

    SparkAllocationStatus.model_validate(written)
    assert len(json.dumps(written, separators=(",", ":"))) <= LARGEST_STATUS_BYTES
    for decision in decisions:
        message = streams.message_of(streams.statements(decision.problems))
        assert len(message) < 3000


@pytest.mark.parametrize("condition", StreamingCondition)
def test_every_problem_has_a_sentence_with_a_remedy_or_a_reason(
    condition: StreamingCondition,
) -> None:
    (told,) = streams.statements([StreamingProblem(condition, ORDERS, "12")])

    assert told.message.endswith("(12)")
    assert streams.message_of([told]).startswith("query orders: ")


def test_a_problem_of_several_queries_is_told_once() -> None:
    problems = [StreamingProblem(StreamingCondition.FIXED_COST, QueryName(name)) for name in "abcdef"]  # fmt: skip

    assert streams.message_of(streams.statements(problems)).startswith(
        "queries a, b, c, d and 2 more: what a batch costs"
    )


def test_what_was_learned_of_a_query_is_kept_while_it_does_not_run() -> None:
    cost = LearnedCost(*[2.0] * len(LearnedCost().numbers))
    decision = StreamingDecision(7, StreamingReason.STEADY, queries=(QueryStanding(ORDERS),))

    told = streams.query_statuses([decision], {ORDERS: cost, QueryName("audit"): cost, QueryName("new"): LearnedCost()})  # fmt: skip

    assert [(each.query, each.reason, each.learned is not None) for each in told] == [
        ("audit", "NotRunning", True),
        ("orders", "", True),
    ]


def test_figures_add_up() -> None:
    late = QueryStanding(ORDERS, batch_duration_s=12.0, interval_s=10.0, backlog_s=90.0)
    calm = QueryStanding(QueryName("audit"), batch_duration_s=4.0, interval_s=10.0)
    decisions = [
        StreamingDecision(7, StreamingReason.STEADY, queries=(late, calm)),
        StreamingDecision(None, StreamingReason.NO_QUERY, profile_id=ProfileId(1)),
    ]

    assert streams.figures(decisions) == streams.StreamingFigures(2, 1, 7, 90.0)
    assert streams.figures([]) == streams.NO_STREAMS


@pytest.mark.parametrize("learned", [None, 7, "text", [1, "a"], [1.0] * 99, [float("nan")] * 7])  # fmt: skip
def test_what_somebody_else_wrote_into_a_status_is_nothing_learned(learned: Any) -> None:
    found = streams.restored([{"query": "orders", "learned": learned}])

    assert not found.get(ORDERS, LearnedCost()).is_known
