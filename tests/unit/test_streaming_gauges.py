"""Streaming queries as a driver shows them: its gauges, its jobs and the helper's documents, read and put together."""

import math
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.core.driver_report import DriverReport, StageReport
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.streaming.observations import (
    BatchSample,
    QueryName,
    QueryObservation,
    QueryState,
    StageProgress,
    StreamingObservation,
    Trigger,
)
from spark_allocation.core.streaming_report import QueryGauges, QueryProgress, StreamingJob
from spark_allocation.sources.driver_requests import open_driver_session
from spark_allocation.sources.driver_rest import find_driver
from spark_allocation.sources.streaming_batches import MOST_STAGES_FOLLOWED, StreamBatches
from spark_allocation.sources.streaming_gauges import (
    MOST_QUERIES,
    Job,
    read_streaming,
    streaming_job,
)
from spark_allocation.testing.driver import QUERY_ID, RUN_ID, FakeDriver

ORDERS = QueryName("orders")
NEXT_RUN = "68b3424f-51a5-476f-9c09-b226c56413dc"
EPOCH_MS = 1_795_268_170_000.0


# -- what is read --------------------------------------------------------------------------------------------------------


def gauges(**of: Any) -> dict[str, Any]:
    """Gauges as Spark keys them, below an application's id."""
    return {f"spark-0123.{key}": value for key, value in of.items()}


@pytest.mark.parametrize(
    "name", ["orders", 'orders. "a/b" ü latency', "a.b.latency", "x.driver.spark.streaming.y", "…", QUERY_ID]
)  # fmt: skip
def test_a_query_may_have_any_name(name: str) -> None:
    report = read_streaming(gauges(**FakeDriver.query(name, latency_ms=4798, input_rate=38.7)))

    (found,) = report.gauges
    assert (found.name, found.latency_ms, found.input_rate) == (name, 4798.0, 38.7)


@given(st.text(min_size=1, max_size=60), st.text(max_size=30))
def test_any_name_in_any_namespace_of_metrics_is_read_back(name: str, namespace: str) -> None:
    if ".driver.spark.streaming." in f"{namespace}.driver.spark.streaming.":
        namespace = namespace.replace(".driver.spark.streaming.", "")
    keyed = {f"{namespace}.{key}": value for key, value in FakeDriver.query(name, latency_ms=1).items()}  # fmt: skip

    assert [each.name for each in read_streaming(keyed).gauges] == [name]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (17, 17.0),
        (-3, -3.0),
        ("NaN", math.nan),
        ("Infinity", math.inf),
        (10**400, math.inf),
        (True, None),
        ("many", None),
        (None, None),
        ([1], None),
        ({"a": 1}, None),
    ],
)
def test_a_number_is_taken_as_it_is_and_nothing_else_is_one(value: Any, read: float | None) -> None:
    report = read_streaming({"app.driver.spark.streaming.orders.latency": value})

    assert repr(report.gauges) == repr((QueryGauges("orders", latency_ms=read),))


def test_gauges_of_other_things_are_left_out() -> None:
    keys = ("queue.streams.size", "spark.streaming.latency", "spark.streaming.orders.unheard-of", "spark.streaming.")  # fmt: skip

    assert read_streaming({f"app.driver.{key}": 1 for key in keys}).gauges == ()


def test_of_queries_without_number_some_are_looked_at() -> None:
    shown: dict[str, Any] = {}
    for number in range(3 * MOST_QUERIES):
        shown |= gauges(**FakeDriver.query(f"query-{number}", latency_ms=1))
        shown |= gauges(**FakeDriver.progress(id=f"query-{number}"))

    report = read_streaming(shown)

    assert (len(report.gauges), len(report.progress)) == (MOST_QUERIES, MOST_QUERIES)


def test_the_helper_is_read() -> None:
    report = read_streaming(
        gauges(**FakeDriver.progress(batchId=7, rows=480, durationMs=4798, rowsBehind=12, atMs=5))
    )

    assert report.progress == (
        QueryProgress(
            "progress",
            QUERY_ID,
            RUN_ID,
            "orders",
            5.0,
            "ProcessingTime",
            10_000.0,
            batch_id=7,
            rows=480.0,
            duration_ms=4798.0,
            rows_behind=12.0,
        ),
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "",
        "[]",
        "{}",
        "{" * 5000,
        '{"format":2,"event":"progress","id":"a","runId":"b"}',
        '{"format":1,"event":"progress","id":"","runId":"b"}',
        '{"format":1,"event":"progress","id":"a","runId":"b","rows":"many"}',
        " " * 100_000,
    ],
)
def test_a_document_of_another_form_is_told(value: Any) -> None:
    key = "app.driver.AccumulatorSource.sparkallocation.streaming.a"

    report = read_streaming({key: value})

    assert (report.progress, len(report.unreadable)) == ((), 1)


@pytest.mark.parametrize("line_break", ["\n", "<br/>"])
@pytest.mark.parametrize("name", [None, "orders", "two\nlines", "id = x\nrunId = y\nbatch = 3"])
def test_a_job_names_query_run_and_batch(name: str | None, line_break: str) -> None:
    text = FakeDriver.batch(7, name=name)["description"].replace(f"\nid = {QUERY_ID}", f"{line_break}id = {QUERY_ID}")  # fmt: skip

    found = streaming_job(Job(3, text, RUN_ID, [4, 5], 16), 99)

    assert found == StreamingJob(RUN_ID, QUERY_ID, name, 7, (4, 5), 16, 99)


@pytest.mark.parametrize(
    ("description", "group"),
    [(None, None), ("count at report.py:7", "nightly"), ("batch = 7", None), ("id = 1\nrunId = 2\nbatch = 3", "")],
)  # fmt: skip
def test_other_jobs_are_none_of_a_stream(description: str | None, group: str | None) -> None:
    assert streaming_job(Job(3, description, group), None) is None


def test_a_job_that_the_application_describes_still_has_the_run_as_group() -> None:
    assert streaming_job(Job(3, "our own words", RUN_ID), None) == StreamingJob(RUN_ID)


@pytest.fixture
async def driver() -> AsyncIterator[FakeDriver]:
    async with FakeDriver() as fake:
        yield fake


async def test_one_poll_of_a_driver_has_it_all(driver: FakeDriver) -> None:
    driver.streaming = FakeDriver.query(latency_ms=4798) | FakeDriver.progress(batchId=7)
    driver.jobs = [3, FakeDriver.batch(8)]
    async with open_driver_session() as session:
        found = await find_driver(session, driver.host, (driver.port,), "")
        assert isinstance(found, tuple)

        report = await found[0].poll(with_dead_executors=False)

    assert isinstance(report, DriverReport)
    assert report.running_jobs == (3, 0)
    assert [each.name for each in report.streaming.gauges] == ["orders"]
    assert [each.batch_id for each in report.streaming.progress] == [7]
    assert [(each.batch_id, each.submitted_at_ms) for each in report.streaming.jobs] == [(8, 1795268163028)]  # fmt: skip


# -- what is made of it --------------------------------------------------------------------------------------------------


class World:
    """Looks at a driver, one a second."""

    def __init__(self) -> None:
        self.batches = StreamBatches()
        self.now = 1000.0
        self.gauges: dict[str, Any] = {}
        self.jobs: list[StreamingJob] = []
        self.stages: list[StageReport] = []

    def look(self, after: float = 1.0, **more: Any) -> StreamingObservation | None:
        self.now += after
        return self.batches.observe(
            read_streaming(self.gauges, self.jobs),
            self.stages,
            now=self.now,
            epoch_ms=EPOCH_MS + self.now * 1000,
            **more,
        )

    def query(self, after: float = 1.0, **more: Any) -> QueryObservation:
        observation = self.look(after, **more)
        assert observation is not None
        (query,) = observation.queries
        return query

    def helper(self, event: str = "progress", **fields: Any) -> None:
        at_ms = EPOCH_MS + self.now * 1000
        self.gauges = gauges(**FakeDriver.progress(event, **{"atMs": at_ms} | fields))

    def spark(
        self, latency_ms: float, input_rate: float = 1.0, processing_rate: float = 1.0
    ) -> None:
        shown = FakeDriver.query(latency_ms=latency_ms, input_rate=input_rate, processing_rate=processing_rate)  # fmt: skip
        self.gauges = gauges(**shown)

    def runs(self, batch: int | None, *stage_ids: int, tasks: int = 8, run: str = RUN_ID) -> None:
        submitted = int(EPOCH_MS + self.now * 1000)
        self.jobs = [StreamingJob(run, QUERY_ID, "orders", batch, stage_ids, tasks, submitted)]


@pytest.fixture
def world() -> World:
    return World()


def stage(stage_id: int, tasks: int, profile: int = 0) -> StageReport:
    return StageReport(stage_id, 0, ProfileId(profile), tasks, 0, 0)


def test_a_batch_is_told_once_however_often_it_is_seen(world: World) -> None:
    world.helper(batchId=7, rows=480, durationMs=4798, rowsBehind=12, inputRate=48.0)

    assert world.query().batches == (BatchSample(1000.0, 4.798, 7, 480.0, 48.0, None, 12.0),)
    assert [world.query().batches for _ in range(3)] == [()] * 3

    world.helper(batchId=8, rows=480, durationMs=4798)
    assert [each.batch_id for each in world.query().batches] == [8]


def test_gauges_alone_tell_a_batch_by_another_value(world: World) -> None:
    world.spark(0, 0.0, 0.0)
    assert world.query().batches == ()

    world.spark(4798, 48.0, 100.0)
    assert world.query().batches == (
        BatchSample(1002.0, 4.798, input_rate=48.0, processing_rate=100.0),
    )
    assert world.query().batches == ()

    world.spark(4798, 48.0, 100.1)
    assert len(world.query().batches) == 1


def test_numbers_that_cannot_be_are_handed_on_once_for_the_core_to_judge(world: World) -> None:
    world.spark(-5, math.nan, -1.0)

    (sample,) = world.query().batches

    assert sample.duration_s == -0.005
    assert math.isnan(sample.input_rate or 0)
    assert world.query().batches == ()


def test_the_age_of_the_batch_that_runs_is_that_of_its_first_job(world: World) -> None:
    world.helper(batchId=7, durationMs=4000)
    world.look()
    world.runs(8, 0)

    ages = [query.running.age_s for query in (world.query() for _ in range(3)) if query.running]

    assert ages == [1.0, 2.0, 3.0]


def test_a_batch_goes_on_between_two_of_its_jobs(world: World) -> None:
    world.spark(0, 0.0, 0.0)
    world.runs(8, 0)
    world.look()
    world.jobs = []
    assert world.query(after=5).running is None

    world.runs(8, 1)
    running = world.query().running

    assert running is not None
    assert (running.batch_id, running.age_s) == (8, 7.0)


@pytest.mark.parametrize("clock", [-3_600_000, 3_600_000], ids=["an hour behind", "an hour ahead"])
def test_a_driver_whose_clock_is_wrong_is_not_believed(world: World, clock: int) -> None:
    world.helper(batchId=7, durationMs=4000)
    world.look()
    world.jobs = [StreamingJob(RUN_ID, QUERY_ID, "orders", 8, submitted_at_ms=int(EPOCH_MS + world.now * 1000) + clock)]  # fmt: skip

    running = world.query().running

    assert running is not None
    assert 0.0 <= running.age_s <= 1.0


def test_an_old_document_is_placed_where_it_was_written(world: World) -> None:
    """After a restart of the operator."""
    world.helper(batchId=7, durationMs=4000)

    (sample,) = world.query(after=60).batches

    assert sample.ended_at == 1000.0


@pytest.mark.parametrize("clock_ms", [-3_600_000, 0, 3_600_000])
def test_batches_are_as_far_apart_as_the_driver_says_whenever_they_are_seen(
    world: World, clock_ms: int
) -> None:
    """Looks come up to a second late; who measures intervals would take that for a wait."""
    ended: list[float] = []
    for number, late in enumerate((0.9, 0.0, 0.4, 0.8, 0.1)):
        world.now = 1000.0 + 10.0 * number
        world.look(0.0)
        world.helper(batchId=number, durationMs=4000, atMs=EPOCH_MS + clock_ms + world.now * 1000)
        ended += [each.ended_at for each in world.query(after=late).batches]

    assert ended[1:] == pytest.approx([1010.0, 1020.0, 1030.0, 1040.0], abs=0.001)


def test_a_driver_s_clock_that_is_set_does_not_move_batches_out_of_the_time_between_two_looks(
    world: World,
) -> None:
    world.helper(batchId=1, durationMs=10)
    world.look()
    for jump_ms in (-7_200_000, 7_200_000):
        world.helper(batchId=jump_ms, durationMs=10, atMs=EPOCH_MS + world.now * 1000 + jump_ms)
        (sample,) = world.query().batches
        assert world.now - 1.0 <= sample.ended_at <= world.now


def test_the_largest_stage_is_exact_once_all_are_seen(world: World) -> None:
    world.helper("started")
    world.runs(0, 4, 5, tasks=208)
    world.stages = [stage(4, 8, profile=1)]
    running = world.query().running
    assert running is not None
    assert running.largest_stage_tasks == 200

    world.stages = [stage(5, 200, profile=1)]
    world.look()
    world.jobs = []
    world.helper(batchId=0, durationMs=3000)
    observation = world.look()

    assert observation is not None
    assert observation.profile_id == 1
    assert observation.queries[0].batches[0].largest_stage_tasks == 200


def test_streams_run_where_most_of_their_tasks_do(world: World) -> None:
    world.helper("started")
    profiles = []
    for batch in range(4):
        world.runs(batch, 10 * batch, 10 * batch + 1, tasks=28)
        world.stages = [stage(10 * batch, 8, profile=0), stage(10 * batch + 1, 20, profile=1)]
        world.look()
        world.stages = world.stages[:1]
        observation = world.look()
        assert observation is not None
        profiles.append(observation.profile_id)

    assert profiles == [1] * 4


@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=6).flatmap(
        lambda tasks: st.tuples(st.just(tasks), st.sets(st.integers(0, len(tasks) - 1)))
    )
)
def test_the_largest_stage_is_never_too_small(case: tuple[list[int], set[int]]) -> None:
    tasks, seen = case
    world = World()
    world.helper("started")
    world.runs(0, *range(len(tasks)), tasks=sum(tasks))
    world.stages = [stage(number, tasks[number]) for number in seen]

    running = world.query().running

    assert running is not None
    assert max(tasks) <= (running.largest_stage_tasks or 0) <= sum(tasks)


def test_of_the_running_batch_is_told_how_far_its_active_stages_are(world: World) -> None:
    """The driver's clock is an hour behind; the second stage was submitted four seconds after the job."""
    hour_ms = 3_600_000
    world.helper("started")
    world.look()
    submitted = int(EPOCH_MS + world.now * 1000) - hour_ms
    world.jobs = [StreamingJob(RUN_ID, QUERY_ID, "orders", 0, (4, 5), 208, submitted)]
    world.stages = [StageReport(4, 0, ProfileId(0), 8, 3, 2, submitted)]
    running = world.query().running
    assert running is not None
    assert running.stages == (StageProgress(4, 8, 3, 2, running.age_s),)

    world.stages = [
        StageReport(5, 0, ProfileId(0), 200, 12, 4, submitted + 4000),
        StageReport(77, 0, ProfileId(0), 9, 1, 1, submitted),
    ]
    running = world.query(after=7.0).running
    assert running is not None
    assert running.stages == (StageProgress(5, 200, 12, 4, running.age_s - 4.0),), (
        "stage 77 is of somebody else, and stage 4 has ended"
    )

    world.stages = []
    running = world.query().running
    assert running is not None
    assert running.stages == ()


def test_a_stage_of_which_the_driver_does_not_say_when_it_began_began_when_it_was_seen(
    world: World,
) -> None:
    world.helper("started")
    world.runs(0, 4, 5)
    world.query(after=3.0)
    world.stages = [stage(5, 8)]
    ages = [query.running.stages[0].age_s for query in (world.query() for _ in range(3)) if query.running]  # fmt: skip
    assert ages == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(("stages", "map_only"), [((4,), True), ((4, 5), False)])
def test_a_query_without_shuffle_is_known_by_its_jobs(
    world: World, stages: tuple[int, ...], map_only: bool
) -> None:
    world.helper("started")
    world.runs(0, *stages)

    assert world.query().map_only is map_only


def test_trigger_and_partitions_come_from_the_helper(world: World) -> None:
    world.helper(batchId=7, durationMs=10, partitions=24)

    query = world.query()

    assert (query.trigger, query.trigger_interval_s) == (Trigger.PROCESSING_TIME, 10.0)
    assert query.source_partitions == 24


@pytest.mark.parametrize(
    ("trigger", "seen"),
    [
        ("AvailableNow", Trigger.AVAILABLE_NOW),
        ("OneTime", Trigger.ONCE),
        ("Continuous", Trigger.CONTINUOUS),
        ("RealTime", Trigger.CONTINUOUS),
        ("", Trigger.UNKNOWN),
        ("Odd", Trigger.UNKNOWN),
    ],
)
def test_other_triggers_have_no_interval(world: World, trigger: str, seen: Trigger) -> None:
    world.helper("started", trigger=trigger, triggerIntervalMs=1000)

    query = world.query()

    assert (query.trigger, query.trigger_interval_s) == (seen, None)


@pytest.mark.parametrize(
    ("event", "state"),
    [
        ("started", QueryState.ACTIVE),
        ("progress", QueryState.ACTIVE),
        ("idle", QueryState.IDLE),
        ("terminated", QueryState.TERMINATED),
    ],
)
def test_the_helper_tells_what_a_query_does(world: World, event: str, state: QueryState) -> None:
    world.helper(event)

    assert world.query().state is state


def test_without_the_helper_a_query_of_which_nothing_is_seen_is_idle(world: World) -> None:
    world.spark(4000)
    world.look()

    assert world.query(after=9).state is QueryState.ACTIVE
    assert world.query(after=2).state is QueryState.IDLE
    world.spark(4001)
    assert world.query().state is QueryState.ACTIVE


def test_a_query_with_a_long_interval_is_not_idle_between_its_batches(world: World) -> None:
    world.spark(4000)
    world.look()

    assert world.query(after=110, interval_s=60.0).state is QueryState.ACTIVE
    assert world.query(after=20, interval_s=60.0).state is QueryState.IDLE


def test_a_query_that_is_gone_is_told_no_more(world: World) -> None:
    world.spark(4000)
    world.look()
    world.gauges = {}

    observation = world.look()

    assert observation is not None
    assert observation.queries == ()


def test_a_restarted_query_has_another_run_and_its_batches_count_anew(world: World) -> None:
    world.helper(batchId=7, durationMs=4000)
    assert world.query().run_id == RUN_ID

    world.helper(batchId=7, durationMs=4000, runId=NEXT_RUN)
    query = world.query()

    assert (query.run_id, len(query.batches)) == (NEXT_RUN, 1)


def test_without_the_helper_only_another_run_is_told_as_one(world: World) -> None:
    world.spark(4000)
    assert world.query().run_id == ""
    world.runs(7, 0)
    assert world.query().run_id == ""

    world.runs(0, 0, run=NEXT_RUN)

    assert world.query().run_id == NEXT_RUN


def test_a_name_that_is_taken_again_is_the_query_that_lives(world: World) -> None:
    world.gauges = gauges(**FakeDriver.progress("terminated", atMs=9), **FakeDriver.progress("started", id=NEXT_RUN, atMs=8))  # fmt: skip

    assert world.query().state is QueryState.ACTIVE


def test_a_helper_that_has_fallen_silent_is_not_believed_for_ever(world: World) -> None:
    world.helper("terminated")
    document = world.gauges
    world.spark(4000)
    world.gauges |= document
    world.runs(3, 0, run=NEXT_RUN)
    assert world.query().state is QueryState.TERMINATED

    states = [world.query().state for _ in range(6)]

    assert states[-1] is QueryState.ACTIVE


def test_streams_that_run_and_show_nothing_are_missing_metrics(world: World) -> None:
    assert world.look() == StreamingObservation(1001.0)
    world.runs(3, 0)
    assert world.look() is None


def test_a_backlog_from_elsewhere_is_told_with_the_query(world: World) -> None:
    world.helper("started")

    assert world.query(backlogs={ORDERS: 1200.0}).backlog_rows == 1200.0


_DOCUMENT = st.fixed_dictionaries(
    {},
    optional={
        "event": st.sampled_from(["started", "progress", "idle", "terminated", "new"]),
        "runId": st.sampled_from([RUN_ID, NEXT_RUN]),
        "batchId": st.none() | st.integers(),
        "durationMs": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "rows": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "triggerIntervalMs": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "atMs": st.floats(allow_nan=False, allow_infinity=False),
    },
)
_JOB = st.builds(
    StreamingJob,
    st.sampled_from([RUN_ID, NEXT_RUN, "other"]),
    st.sampled_from(["", QUERY_ID]),
    st.sampled_from([None, "orders"]),
    st.none() | st.integers(0, 5),
    st.lists(st.integers(0, 9), max_size=3).map(tuple),
    st.integers(0, 99),
    st.none() | st.integers(0, 2**62),
)


@given(st.lists(st.tuples(_DOCUMENT, st.lists(_JOB, max_size=3), st.floats(0, 1e6)), max_size=8))
def test_whatever_a_driver_says_there_is_an_observation(
    looks: list[tuple[dict[str, Any], list[StreamingJob], float]],
) -> None:
    """Ages are never negative, no batch ends after it is seen, and none is told twice in a row."""
    world = World()
    told: list[tuple[str, int | None]] = []
    for document, jobs, after in looks:
        world.gauges, world.jobs = gauges(**FakeDriver.progress(**document)), jobs
        observation = world.look(after)
        for query in observation.queries if observation is not None else ():
            assert query.running is None or query.running.age_s >= 0
            for sample in query.batches:
                assert sample.ended_at <= world.now
                if query.name == ORDERS:
                    told.append((query.run_id, sample.batch_id))
    assert all(one != other for one, other in pairwise(told))


def test_of_jobs_alone_no_more_queries_and_stages_are_followed_than_anybody_has(
    world: World,
) -> None:
    # given as many jobs as fit into an answer, each of a query of its own and all with the same stages
    world.stages = [stage(number, tasks=10) for number in range(500)]
    stages = tuple(range(500))
    world.jobs = [
        StreamingJob(f"run-{number}", f"query-{number}", None, 1, stages, 5_000, None)
        for number in range(200)
    ]
    # when the driver shows gauges of one of them, so that streams are not unseen
    world.gauges = gauges(**FakeDriver.query("query-0", latency_ms=4798))
    seen = world.look()
    # then
    assert seen is not None
    assert len(seen.queries) <= MOST_QUERIES
    running = [each.running for each in seen.queries if each.running is not None]
    assert running
    assert all(len(each.stages) <= MOST_STAGES_FOLLOWED for each in running)
