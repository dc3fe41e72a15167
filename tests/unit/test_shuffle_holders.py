"""Who is held for shuffle data: the strict rule, the rule for drivers in which some job always runs, and migration."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.served_driver import EPOCH_MS, executor

from spark_allocation.core.driver_report import DriverReport, ExecutorReport
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.jvm_numbers import LONG_MAX
from spark_allocation.core.shuffle_holders import ShuffleHold, ShuffleHoldConf, ShuffleHolders

MINUTE = 60.0
TIMEOUT = ShuffleHoldConf(hold=ShuffleHold.TIMEOUT)
MIGRATION = ShuffleHoldConf(hands_over=True, migrates=True)


class Polls:
    """A driver's polls, second by second; the shuffle timeout is a minute unless said otherwise."""

    def __init__(self, conf: ShuffleHoldConf | None = None, timeout_s: float = MINUTE) -> None:
        self.holders = ShuffleHolders(conf or ShuffleHoldConf(), lambda _: int(timeout_s * 1e9))
        self.seconds = 0.0
        self.executors: tuple[ExecutorReport, ...] = ()

    def poll(
        self,
        *executors: ExecutorReport,
        jobs: tuple[int, ...] = (),
        after: float = 1.0,
        leaving: tuple[int, ...] = (),
        dead: tuple[ExecutorReport, ...] | None = None,
    ) -> None:
        self.seconds += after
        self.executors = executors
        self.holders.take(
            DriverReport((), executors, jobs, None, dead),
            leaving=frozenset(map(ExecutorId, leaving)),
            now_ms=EPOCH_MS + int(self.seconds * 1000),
        )

    def held(self) -> set[int]:
        return {each.id for each in self.executors if self.holders.is_held(each)}

    def active(self) -> set[int]:
        return {each.id for each in self.executors if self.holders.is_active(each)} & self.held()


WRITER = executor(1, total=5, shuffle=100)
OTHER = executor(2, total=5)


def test_who_wrote_is_held_and_nobody_else() -> None:
    polls = Polls()
    polls.poll(WRITER, OTHER)
    assert (polls.held(), polls.active()) == ({1}, set())


def test_strictly_any_running_job_may_read_what_is_held() -> None:
    polls = Polls()
    polls.poll(WRITER, jobs=(0,))
    polls.poll(WRITER, after=1000)
    polls.poll(WRITER, jobs=(9,))
    assert polls.active() == {1}


def test_nobody_is_held_for_shuffle_that_is_elsewhere() -> None:
    polls = Polls(ShuffleHoldConf(local=False))
    polls.poll(WRITER, jobs=(0,))
    assert polls.held() == set()


class TestTimeout:
    def test_the_job_that_wrote_holds_as_long_as_it_runs(self) -> None:
        polls = Polls(TIMEOUT)
        polls.poll(WRITER, jobs=(0,))
        polls.poll(WRITER, jobs=(0,), after=100 * MINUTE)
        assert polls.active() == {1}

    def test_a_job_that_began_within_the_timeout_holds_as_long_as_it_runs(self) -> None:
        polls = Polls(TIMEOUT)
        polls.poll(WRITER, jobs=(0,))
        polls.poll(WRITER, after=50)
        polls.poll(WRITER, jobs=(1,))
        polls.poll(WRITER, jobs=(1,), after=100 * MINUTE)
        assert polls.active() == {1}

    def test_a_job_that_began_later_does_not(self) -> None:
        polls = Polls(TIMEOUT)
        polls.poll(WRITER, jobs=(0,))
        polls.poll(WRITER, after=1)
        polls.poll(WRITER, after=MINUTE + 1)
        polls.poll(WRITER, jobs=(1,))
        assert polls.active() == set()
        assert polls.held() == {1}, "it is still held by the shuffle timeout from its idle start"

    def test_a_job_that_began_beside_the_one_that_wrote_holds(self) -> None:
        polls = Polls(TIMEOUT)
        polls.poll(WRITER, jobs=(0,))
        polls.poll(WRITER, jobs=(0,), after=10 * MINUTE)
        polls.poll(WRITER, jobs=(0, 1))
        polls.poll(WRITER, jobs=(1,))
        polls.poll(WRITER, jobs=(1,), after=10 * MINUTE)
        assert polls.active() == {1}

    def test_of_jobs_that_follow_each_other_without_end_only_the_near_ones_hold(self) -> None:
        """A notebook, a Thrift server: some job always runs, and the executor does nothing for any of them."""
        polls = Polls(TIMEOUT)
        held_until = 0.0
        for number in range(100):
            polls.poll(WRITER, jobs=(number, number + 1), after=5)
            if polls.active():
                held_until = polls.seconds
        assert MINUTE <= held_until <= MINUTE + 20

    def test_every_task_begins_the_time_anew(self) -> None:
        polls = Polls(TIMEOUT)
        for number in range(50):
            polls.poll(executor(1, total=number, shuffle=100), jobs=(number,), after=30)
            assert polls.active() == {1}

    def test_a_job_counts_from_the_last_poll_that_did_not_show_it(self) -> None:
        """The driver was silent while the job began: it may have begun in time."""
        polls = Polls(TIMEOUT)
        polls.poll(WRITER, jobs=(0,))
        polls.poll(WRITER, after=1)
        polls.poll(WRITER, jobs=(1,), after=10 * MINUTE)
        assert polls.active() == {1}

    def test_without_a_timeout_it_is_the_strict_rule(self) -> None:
        polls = Polls(TIMEOUT, timeout_s=LONG_MAX / 1e9)
        polls.poll(WRITER, jobs=(0,))
        polls.poll(WRITER, after=1000 * MINUTE)
        polls.poll(WRITER, jobs=(7,))
        assert polls.active() == {1}

    def test_after_a_restart_everyone_counts_as_at_work_until_then(self) -> None:
        polls = Polls(TIMEOUT)
        polls.poll(WRITER, jobs=(4,))
        polls.poll(WRITER, jobs=(4,), after=100 * MINUTE)
        assert polls.active() == {1}


class TestMigration:
    def test_who_hands_on_what_it_holds_is_not_held(self) -> None:
        polls = Polls(MIGRATION)
        polls.poll(WRITER, OTHER, jobs=(0,))
        assert polls.held() == set()

    def test_the_last_one_is_held_like_any_other(self) -> None:
        polls = Polls(MIGRATION)
        polls.poll(WRITER, jobs=(0,))
        assert (polls.held(), polls.active()) == ({1}, {1})

    def test_who_leaves_takes_nothing_over(self) -> None:
        polls = Polls(MIGRATION)
        polls.poll(WRITER, OTHER, leaving=(2,))
        assert polls.held() == {1}

    def test_with_a_storage_of_its_own_to_fall_back_on_even_the_last_one_goes(self) -> None:
        polls = Polls(ShuffleHoldConf(hands_over=True, migrates=True, fallback_storage=True))
        polls.poll(WRITER, jobs=(0,))
        assert polls.held() == set()

    def test_everyone_who_was_there_when_a_holder_left_counts_as_a_holder(self) -> None:
        polls = Polls(MIGRATION)
        polls.poll(WRITER, OTHER)
        polls.poll(WRITER, OTHER, leaving=(1,))
        polls.poll(OTHER)
        assert polls.held() == {2}

    def test_whoever_asked_it_to_go_and_also_when_migration_is_not_relied_on(self) -> None:
        """An eviction hands blocks on as well when the driver is set so; they must not be lost afterwards."""
        polls = Polls(ShuffleHoldConf(hands_over=True))
        polls.poll(WRITER, OTHER, leaving=(1,))
        polls.poll(OTHER, executor(3))
        assert polls.held() == {2}

    def test_nobody_receives_anything_from_one_that_held_nothing(self) -> None:
        polls = Polls(MIGRATION)
        polls.poll(OTHER, executor(3), leaving=(3,))
        polls.poll(OTHER)
        assert polls.held() == set()

    def test_after_a_restart_the_dead_tell_that_there_was_something_to_receive(self) -> None:
        polls = Polls(MIGRATION)
        polls.poll(OTHER, dead=(executor(1, shuffle=100, alive=False),))
        assert polls.held() == {2}

    def test_what_was_received_goes_on_counting_when_migration_is_switched_off(self) -> None:
        polls = Polls(MIGRATION)
        polls.poll(WRITER, OTHER, executor(3), leaving=(1,))
        polls.holders.reconfigure(ShuffleHoldConf(hands_over=True))
        polls.poll(OTHER, executor(3))
        assert polls.held() == {2, 3}


_executors = st.lists(
    st.builds(
        executor,
        st.integers(1, 4),
        active=st.integers(0, 1),
        total=st.integers(0, 3),
        shuffle=st.sampled_from([0, 7]),
    ),
    unique_by=lambda each: each.id,
    max_size=4,
)
_polls = st.lists(
    st.tuples(
        _executors,
        st.frozensets(st.integers(0, 3), max_size=3),
        st.sampled_from([1.0, 20.0, 70.0]),
        st.frozensets(st.integers(1, 4), max_size=2),
    ),
    max_size=12,
)


@given(polls=_polls)
def test_the_rule_with_a_timeout_never_holds_more_than_the_strict_one(polls: list) -> None:
    strict, timeout = Polls(), Polls(TIMEOUT)
    for executors, jobs, after, leaving in polls:
        for each in (strict, timeout):
            each.poll(*executors, jobs=tuple(jobs), after=after, leaving=tuple(leaving))
        assert timeout.held() == strict.held()
        assert timeout.active() <= strict.active()


@given(polls=_polls)
def test_with_migration_somebody_is_held_whenever_only_one_stays_that_holds(polls: list) -> None:
    told = Polls(MIGRATION)
    for executors, jobs, after, leaving in polls:
        told.poll(*executors, jobs=tuple(jobs), after=after, leaving=tuple(leaving))
        staying = [each for each in executors if each.id not in leaving]
        if len(staying) == 1 and staying[0].shuffle_write_bytes:
            assert staying[0].id in told.held()
        if len(staying) >= 2:
            assert told.held() == set()


# -- drivers in which some job always runs ----------------------------------------------------------------------------


def busy_minutes(polls: Polls) -> float:
    return polls.holders.busy_for_ms(EPOCH_MS + int(polls.seconds * 1000)) / 60_000


def take_turns(polls: Polls, minutes: int) -> None:
    """Jobs that overlap, a new one every minute."""
    for job in range(1, minutes + 1):
        polls.poll(WRITER, jobs=(job, job + 1), after=MINUTE)


def test_jobs_that_take_turns_without_a_pause_are_noticed() -> None:
    polls = Polls()
    take_turns(polls, 15)
    assert 10 <= busy_minutes(polls) <= 13


def test_one_long_job_holds_what_it_holds_rightly() -> None:
    polls = Polls()
    for _ in range(120):
        polls.poll(WRITER, jobs=(1,), after=MINUTE)
    assert busy_minutes(polls) == 0


def test_a_pause_ends_it() -> None:
    polls = Polls()
    take_turns(polls, 15)
    polls.poll(WRITER)
    assert busy_minutes(polls) == 0
    polls.poll(WRITER, jobs=(99,))
    assert busy_minutes(polls) == 0


def test_it_is_no_matter_where_nobody_is_held_for_it() -> None:
    for conf in (TIMEOUT, ShuffleHoldConf(local=False)):
        polls = Polls(conf)
        take_turns(polls, 15)
        assert busy_minutes(polls) == 0
