"""Which executors hold shuffle data that somebody may still read, as far as polls of a driver tell.

Theory of operation
-------------------
Spark knows which shuffle a job reads and when a shuffle is cleaned. A poll shows two things only: how many bytes of
shuffle an executor has written since it started, and which jobs run. A job counts as begun at the last poll that did not
show it, by our own clock: never later than it began. From these:

- An executor *holds* when it has written something, or when it may have received what another one handed on while it
  left (REST does not show migrated blocks): everyone who was there during such a drain counts as a holder.
- A held executor is *active*, and does not time out at all, while a running job may read what it holds:

  - `ShuffleHold.STRICT`: while any job runs. Never earlier than Spark.
  - `ShuffleHold.TIMEOUT`: while a job runs that began no later than the shuffle timeout after the executor's last
    work, or before the jobs that wrote had all ended. For drivers in which some job always runs (Connect, the Thrift
    server, notebooks), where the strict rule would hold everybody for ever. With an endless timeout it is the same as the strict one.

- A driver in which some job always runs holds everybody for ever under the strict rule. It is recognized by jobs that
  take turns without a pause (`busy_for_ms`), counted from the moment at which those that ran at first have all ended:
  what executors hold for a single long job they hold rightly.
- Nobody holds when shuffle data does not go with its executor.
- With migration, a holder may leave as if it held nothing, as long as somebody is there to take its blocks; the last one
  is held like any other.
- An executor that runs tasks of a stage which writes shuffle data holds what they are about to write, though nothing is there
  yet. A stage of which no task has ended may be one.

After the jobs have ended, the monitor keeps a holder for the shuffle timeout, which is endless by default, as in Spark.

Source: ``ExecutorMonitor``'s shuffle tracking; ``BlockManagerDecommissioner``.
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from spark_allocation.core.driver_report import DriverReport, ExecutorReport
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.jvm_numbers import LONG_MAX
from spark_allocation.core.resource_profiles import ProfileId

_NANOSECONDS_PER_MILLISECOND = 1_000_000


class ShuffleHold(StrEnum):
    """How long executors with local shuffle data are held while jobs run."""

    STRICT = "Strict"
    TIMEOUT = "Timeout"


@dataclass(frozen=True, slots=True)
class ShuffleHoldConf:
    """What decides who is held.

    Attributes:
        local: shuffle data goes with its executor.
        hold: which running jobs hold.
        hands_over: whoever leaves hands its shuffle data on to those that stay, whoever asked it to go: so the driver is set.
        migrates: and that may be relied on to let executors go. Implies ``hands_over``.
        migration_obstacle: why it may not, although it was asked for; "" when there is no such contradiction.
        fallback_storage: and to a storage of its own when nobody stays (``spark.storage.decommission.fallbackStorage.path``).
        cached_too: whoever hands its shuffle data on hands on its cached blocks as well.
    """

    local: bool = True
    hold: ShuffleHold = ShuffleHold.STRICT
    hands_over: bool = False
    migrates: bool = False
    migration_obstacle: str = ""
    fallback_storage: bool = False
    cached_too: bool = True


@dataclass(slots=True)
class _Work:
    """What an executor has done last; times in epoch milliseconds of the polls.

    Attributes:
        at: the last poll that showed a sign of work.
        jobs: those that ran then.
        jobs_seen_at: the last poll at which one of them still ran.
    """

    written: int
    tasks: int
    at: int
    jobs: AbstractSet[int]
    jobs_seen_at: int


class ShuffleHolders:
    """Of one life of a driver.

    Args:
        conf: may be replaced by `reconfigure`.
        shuffle_timeout_ns: of a profile, nanoseconds.
    """

    def __init__(
        self, conf: ShuffleHoldConf, shuffle_timeout_ns: Callable[[ProfileId], int]
    ) -> None:
        self._conf = conf
        self._shuffle_timeout_ns = shuffle_timeout_ns
        self._work: dict[ExecutorId, _Work] = {}
        self._received: set[ExecutorId] = set()
        self._writing: frozenset[ProfileId] = frozenset()
        self._jobs_since_ms: dict[int, int] = {}
        self._oldest_job_ms = 0
        self._polled_at_ms: int | None = None
        self._first_jobs: frozenset[int] = frozenset()
        self._turns_since_ms: int | None = None
        self._some_take_over = False
        self._looked_back = False

    @property
    def conf(self) -> ShuffleHoldConf:
        """The rules in force."""
        return self._conf

    def reconfigure(self, conf: ShuffleHoldConf) -> None:
        """Judge by other rules from the next poll on; what is known of executors stays known."""
        self._conf = conf

    def take(self, report: DriverReport, *, leaving: AbstractSet[ExecutorId], now_ms: int) -> None:
        """Take one poll.

        Args:
            report: what the driver said.
            leaving: executors on their way out, which take nothing over.
            now_ms: epoch milliseconds.
        """
        jobs = frozenset(report.running_jobs)
        before = now_ms if self._polled_at_ms is None else self._polled_at_ms
        self._jobs_since_ms = {job: self._jobs_since_ms.get(job, before) for job in jobs}
        self._oldest_job_ms = min(self._jobs_since_ms.values(), default=0)
        self._polled_at_ms = now_ms
        self._note_turns(jobs, now_ms)
        self._writing = frozenset(
            stage.profile_id for stage in report.stages if stage.may_write_shuffle
        )
        listed = {executor.id for executor in report.executors}
        staying = listed - leaving
        self._received &= listed
        if self._conf.local and self._conf.hands_over:
            self._note_receivers(report, staying)
        self._some_take_over = self._conf.fallback_storage or len(staying) >= 2
        if self._conf.local and self._conf.hold is ShuffleHold.TIMEOUT:
            self._note_work(report.executors, jobs, now_ms)
        else:
            self._work.clear()

    def holds(self, executor: ExecutorReport) -> bool:
        """It has shuffle data, or may have, that goes with it."""
        return self._conf.local and (
            executor.shuffle_write_bytes > 0 or executor.id in self._received
        )

    def is_held(self, executor: ExecutorReport) -> bool:
        """It holds, and nobody would take over what it holds."""
        return self.holds(executor) and not (self._conf.migrates and self._some_take_over)

    @property
    def hands_on(self) -> bool:
        """Holders may leave, because others take over what they hold."""
        return self._conf.local and self._conf.migrates and self._some_take_over

    def would_lose(self, executor: ExecutorReport) -> bool:
        """With it would go what it holds, or what its tasks are about to leave on it."""
        if executor.rdd_blocks > 0 and not (self.hands_on and self._conf.cached_too):
            return True
        return not self.hands_on and self.holds_or_writes(executor)

    def holds_or_writes(self, executor: ExecutorReport) -> bool:
        """It holds, or is at work for a stage that leaves shuffle data on it, for all that is known."""
        writes = executor.active_tasks > 0 and executor.profile_id in self._writing
        return self.holds(executor) or (self._conf.local and writes)

    def busy_for_ms(self, now_ms: int) -> int:
        """For how long jobs have taken turns without a pause; 0 where that holds nobody."""
        if (
            self._turns_since_ms is None
            or not self._conf.local
            or self._conf.hold is not ShuffleHold.STRICT
            or self.hands_on
        ):
            return 0
        return max(0, now_ms - self._turns_since_ms)

    def is_active(self, executor: ExecutorReport) -> bool:
        """A running job may read what it holds."""
        if not self._jobs_since_ms:
            return False
        work = self._work.get(executor.id)
        if self._conf.hold is ShuffleHold.STRICT or work is None:
            return True
        timeout_ns = self._shuffle_timeout_ns(executor.profile_id)
        if timeout_ns >= LONG_MAX:
            return True
        until = max(work.at + timeout_ns // _NANOSECONDS_PER_MILLISECOND, work.jobs_seen_at)
        return self._oldest_job_ms <= until

    def _note_turns(self, jobs: frozenset[int], now_ms: int) -> None:
        if not jobs:
            self._turns_since_ms = None
            self._first_jobs = jobs
        elif self._turns_since_ms is None:
            before, self._first_jobs = self._first_jobs, (self._first_jobs & jobs) or jobs
            if before and not before & jobs:
                self._turns_since_ms = now_ms

    def _note_receivers(self, report: DriverReport, staying: AbstractSet[ExecutorId]) -> None:
        """Everyone who is there while a holder leaves may have received what it held, and so may all at the first look."""
        if staying <= self._received:
            return
        gone: Iterable[ExecutorReport] = ()
        if not self._looked_back and report.dead_executors is not None:
            self._looked_back = True
            gone = report.dead_executors
        leave = (executor for executor in report.executors if executor.id not in staying)
        if any(self.holds_or_writes(executor) for executor in (*leave, *gone)):
            self._received |= staying

    def _note_work(
        self, executors: Iterable[ExecutorReport], jobs: AbstractSet[int], now_ms: int
    ) -> None:
        before, self._work = self._work, {}
        for executor in executors:
            work = before.get(executor.id)
            tasks, written = executor.total_tasks, executor.shuffle_write_bytes
            worked = executor.active_tasks > 0
            if work is None or worked or work.tasks != tasks or work.written != written:
                # unknown before, as after a restart of the operator: as if it had worked until now
                work = _Work(written, tasks, now_ms, jobs, now_ms)
            elif not work.jobs.isdisjoint(jobs):
                work.jobs_seen_at = now_ms
            self._work[executor.id] = work
