"""Which executors are idle, what holds them, and which of them have timed out.

Theory of operation
-------------------
Every executor has a tracker. An executor without running tasks is idle since its last task ended (or since it
registered), and times out when its deadline has passed:

    deadline = idle start + the greatest of: idle timeout; cached timeout, if it has cached blocks;
                                             shuffle timeout, if it has shuffle data

An executor with shuffle data that a running job may read is *shuffle busy* and does not time out at all; nor does one
that is already on its way out. A sum that leaves 64 bits means never.

Scanning thousands of executors ten times a second would be wasteful: trackers are kept in the order in which the answer
has to be given, those on their way out are remembered apart, and the monitor remembers the moment at which the answer
can next change (``nextTimeout``) and returns the last answer until then; whatever may change the answer earlier moves
that moment. Spark forgets to move it in one place, see `ExecutorMonitor.shuffle_block_added`.

The monitor can be driven in two ways, not to be mixed for one executor:

- by events, exactly as the listener bus drives Spark's class: `task_started`, `task_ended`, `rdd_block_updated`,
  `shuffle_block_added`, `job_started`, `job_ended`, …;
- by observation, for a driver that is polled: `observe_running_tasks`, `observe_cached_blocks`, `observe_shuffle`.

Profiles may have their own timeouts (`DynamicAllocationConf.overrides`), and `reconfigure` changes timeouts of executors
that are idle already. Both are ours; without them the behaviour is Spark's.

Source: ``org.apache.spark.scheduler.dynalloc.ExecutorMonitor``.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf, IdleTimeouts
from spark_allocation.core.executor_tracker import BUSY, ExecutorTracker, ExecutorView, HeldBy
from spark_allocation.core.jvm_numbers import LONG_MAX, LONG_MIN
from spark_allocation.core.resource_profiles import UNKNOWN_PROFILE_ID, ProfileId

DECOMMISSION_FINISHED = "Finished decommissioning"
DECOMMISSION_PREFIX = "Executor decommission: "

# Stand for whatever the driver's REST interface does not name: it says that there are blocks, not which.
_OBSERVED = -1


@dataclass(frozen=True, slots=True)
class RemovalCounters:
    """How executors left, each counted once (the counters of ``ExecutorAllocationManagerSource``)."""

    gracefully_decommissioned: int = 0
    decommission_unfinished: int = 0
    driver_killed: int = 0
    exited_unexpectedly: int = 0


@dataclass(slots=True)
class IdleCounts:
    """Executors of one profile that run no task and stay; among them those that would have gone but for what they hold."""

    idle: int = 0
    held_by_shuffle: int = 0
    held_by_cache: int = 0


class ExecutorMonitor:
    """Tracks the executors of one application. Times are nanoseconds of any monotonic clock.

    Args:
        conf: timeouts and what is tracked.
        is_executor_active: whether the driver counts an executor as registered and staying; events of others that might
            arrive late do not bring an executor back. By default every executor counts as active.
    """

    def __init__(
        self,
        conf: DynamicAllocationConf,
        is_executor_active: Callable[[str], bool] = lambda _executor_id: True,
    ) -> None:
        self._is_executor_active = is_executor_active
        self._executors: dict[str, ExecutorTracker] = {}
        self._in_text_order = True
        self._leaving: dict[str, ExecutorTracker] = {}
        self._profile_counts: Counter[ProfileId] = Counter()
        self._next_timeout = LONG_MAX
        self._timed_out: list[tuple[str, ProfileId]] = []
        self._jobs_of_shuffle: dict[int, list[int]] = {}
        self._shuffle_of_stage: dict[int, int] = {}
        self._stages_of_job: dict[int, tuple[int, ...]] = {}
        self._counters = RemovalCounters()
        self._timeouts: dict[ProfileId, IdleTimeouts] = {}
        self._apply(conf)

    # -- settings ----------------------------------------------------------------------------------------------------

    def reconfigure(self, conf: DynamicAllocationConf) -> None:
        """Change timeouts and tracking. Idle executors keep their idle start and get new deadlines.

        When shuffle tracking is switched off, what was known of shuffle data is forgotten; when it is switched on, only
        what is written afterwards is known.
        """
        self._apply(conf)
        if not self._tracks_shuffle:
            self._jobs_of_shuffle.clear()
            self._shuffle_of_stage.clear()
            self._stages_of_job.clear()
        for tracker in self._executors.values():
            tracker.timeouts = self._timeouts_of(tracker.profile_id)
            if not self._tracks_shuffle:
                tracker.shuffle_ids.clear()
                tracker.has_active_shuffle = False
            tracker.timeout_at = tracker.deadline()
        self._next_timeout = LONG_MIN

    def reset(self) -> None:
        """Forget all executors; jobs and shuffles stay known (``ExecutorMonitor.reset``)."""
        self._executors.clear()
        self._leaving.clear()
        self._profile_counts.clear()
        self._next_timeout = LONG_MAX
        self._timed_out = []

    # -- what the manager reads --------------------------------------------------------------------------------------

    def timed_out_executors(self, now_ns: int) -> list[tuple[str, ProfileId]]:
        """Executors that may be removed, with their profiles, ordered by id **as text** ("10" before "2")."""
        if now_ns >= self._next_timeout:
            self._scan(now_ns)
        return self._timed_out

    def executors_killed(self, executor_ids: Iterable[str]) -> None:
        """The manager had these killed."""
        for executor_id in executor_ids:
            tracker = self._executors.get(executor_id)
            if tracker is not None:
                tracker.pending_removal = True
                self._leaving[executor_id] = tracker
        self._next_timeout = LONG_MIN

    def executors_decommissioned(self, executor_ids: Iterable[str]) -> None:
        """The manager had these decommissioned."""
        for executor_id in executor_ids:
            tracker = self._executors.get(executor_id)
            if tracker is not None:
                tracker.decommissioning = True
                self._leaving[executor_id] = tracker
        self._next_timeout = LONG_MIN

    def executors_kept(self, executor_ids: Iterable[str]) -> None:
        """A removal that was granted did not happen after all (ours): the executor may time out again."""
        for executor_id in executor_ids:
            tracker = self._executors.get(executor_id)
            if tracker is not None:
                tracker.decommissioning = tracker.pending_removal = False
                self._leaving.pop(executor_id, None)
        self._next_timeout = LONG_MIN

    def executor_count(self, profile_id: ProfileId | None = None) -> int:
        """Tracked executors, those on their way out included; all, or of one profile."""
        if profile_id is None:
            return len(self._executors)
        return self._profile_counts[profile_id]

    def pending_removal_count(self, profile_id: ProfileId | None = None) -> int:
        """Executors that the manager had killed and that are still there."""
        return sum(
            1
            for tracker in self._executors.values()
            if tracker.pending_removal and profile_id in (None, tracker.profile_id)
        )

    def decommissioning_count(self, profile_id: ProfileId | None = None) -> int:
        """Executors that the manager had decommissioned and that are still there."""
        return sum(
            1
            for tracker in self._executors.values()
            if tracker.decommissioning and profile_id in (None, tracker.profile_id)
        )

    def remaining_counts(self) -> Counter[ProfileId]:
        """Executors per profile without those on their way out, from which removals are counted down."""
        remaining = self._profile_counts.copy()
        for tracker in self._leaving.values():
            # Spark counts one that is killed and decommissioned twice; it can be both only after a change of settings.
            remaining[tracker.profile_id] -= 1
        return remaining

    def idle_counts(self, now_ns: int) -> Mapping[ProfileId, IdleCounts]:
        """Executors that run no task and stay, per profile, and what holds those that are past the idle timeout."""
        counts: dict[ProfileId, IdleCounts] = {}
        for tracker in self._executors.values():
            if tracker.running_tasks or tracker.decommissioning or tracker.pending_removal:
                continue
            profile_id = tracker.profile_id
            if profile_id not in counts:
                counts[profile_id] = IdleCounts()
            count = counts[profile_id]
            count.idle += 1
            if now_ns - tracker.idle_start < tracker.timeouts.idle_ns:
                continue
            if tracker.has_active_shuffle or tracker.shuffle_ids or tracker.cached_blocks:
                held_by = tracker.held_by()
                if held_by is HeldBy.SHUFFLE:
                    count.held_by_shuffle += 1
                elif held_by is HeldBy.CACHE:
                    count.held_by_cache += 1
        return counts

    @property
    def counters(self) -> RemovalCounters:
        """How executors left so far."""
        return self._counters

    @property
    def next_timeout_ns(self) -> int:
        """When the list of timed-out executors can next change; the 64-bit limits mean at once and never."""
        return self._next_timeout

    def executor(self, executor_id: str) -> ExecutorView | None:
        """One executor, or None when it is not tracked."""
        tracker = self._executors.get(executor_id)
        return None if tracker is None else tracker.view(executor_id)

    def executors(self) -> Iterator[ExecutorView]:
        """All tracked executors."""
        for executor_id, tracker in self._executors.items():
            yield tracker.view(executor_id)

    # -- executors come and go ---------------------------------------------------------------------------------------

    def executor_added(self, executor_id: str, profile_id: ProfileId, now_ns: int) -> None:
        """An executor registered; its idle time begins."""
        tracker = self._ensure_tracked(executor_id, profile_id)
        self._update_running_tasks(tracker, 0, now_ns)

    def executor_removed(self, executor_id: str, reason: str) -> None:
        """The driver dropped an executor; ``reason`` is the driver's wording and decides which counter moves."""
        tracker = self._executors.pop(executor_id, None)
        if tracker is None:
            return
        self._leaving.pop(executor_id, None)
        self._count_out(tracker.profile_id)
        self._count_removal(tracker, reason)
        if not (tracker.pending_removal and tracker.decommissioning):
            self._next_timeout = LONG_MIN

    # -- driven by events --------------------------------------------------------------------------------------------

    def task_started(self, executor_id: str, now_ns: int) -> None:
        """A task started; on an executor that is not registered yet, it becomes known under `UNKNOWN_PROFILE_ID`."""
        if not self._is_executor_active(executor_id):
            return
        self._update_running_tasks(self._ensure_tracked(executor_id, UNKNOWN_PROFILE_ID), 1, now_ns)

    def task_ended(self, executor_id: str, stage_id: int, now_ns: int, *, succeeded: bool) -> None:
        """A task ended; a successful one of a shuffle map stage leaves shuffle data, however little."""
        tracker = self._executors.get(executor_id)
        if tracker is None:
            return
        if self._tracks_shuffle and succeeded:
            shuffle_id = self._shuffle_of_stage.get(stage_id)
            if shuffle_id is not None:
                tracker.add_shuffle(shuffle_id)
        self._update_running_tasks(tracker, -1, now_ns)

    def rdd_block_updated(
        self, executor_id: str, rdd_id: int, split: int, *, stored: bool, on_disk: bool
    ) -> None:
        """A cached block came, changed or went.

        Args:
            executor_id: where.
            rdd_id: the RDD.
            split: the partition.
            stored: the storage level is valid (memory or disk).
            on_disk: the storage level uses the disk: an external shuffle service can serve it.
        """
        if not self._is_executor_active(executor_id):
            return
        tracker = self._ensure_tracked(executor_id, UNKNOWN_PROFILE_ID)
        cached = tracker.cached_blocks
        if stored and not (self._fetches_rdd_blocks and on_disk):
            first = not cached
            cached.setdefault(rdd_id, set()).add(split)
            if first:
                self._update_timeout(tracker)
            return
        blocks = cached.get(rdd_id)
        if blocks is None:
            return
        blocks.discard(split)
        if not blocks:
            del cached[rdd_id]
            if not cached:
                self._update_timeout(tracker)

    def shuffle_block_added(self, executor_id: str, shuffle_id: int) -> None:
        """A shuffle data block was migrated to this executor.

        Spark does not rescan here: an executor that is on the list of timed-out ones already is still removed.
        """
        if not self._is_executor_active(executor_id):
            return
        tracker = self._ensure_tracked(executor_id, UNKNOWN_PROFILE_ID)
        if self._tracks_shuffle:
            tracker.add_shuffle(shuffle_id)

    def other_block_updated(self, executor_id: str) -> None:
        """A block of another kind changed: only shows that the executor is there."""
        if self._is_executor_active(executor_id):
            self._ensure_tracked(executor_id, UNKNOWN_PROFILE_ID)

    def rdd_unpersisted(self, rdd_id: int) -> None:
        """An RDD is no longer cached anywhere; deadlines count from the original idle start."""
        for tracker in self._executors.values():
            tracker.cached_blocks.pop(rdd_id, None)
            if not tracker.cached_blocks:
                self._update_timeout(tracker)

    def job_started(self, job_id: int, shuffle_stages: Iterable[tuple[int, int]]) -> None:
        """A job started.

        Args:
            job_id: the job.
            shuffle_stages: (stage id, shuffle id) of its shuffle map stages.
        """
        if not self._tracks_shuffle:
            return
        stages = tuple(shuffle_stages)
        reused = False
        for _, shuffle_id in stages:
            reused = reused or shuffle_id in self._jobs_of_shuffle
            self._jobs_of_shuffle.setdefault(shuffle_id, []).append(job_id)
        if reused:
            self._activate({shuffle_id for _, shuffle_id in stages})
        self._shuffle_of_stage.update(stages)
        self._stages_of_job[job_id] = tuple(stage_id for stage_id, _ in stages)

    def job_ended(self, job_id: int) -> None:
        """A job ended: shuffle data that no other running job uses is held by the shuffle timeout only."""
        if not self._tracks_shuffle:
            return
        active: set[int] = set()
        some_inactive = False
        for shuffle_id, jobs in self._jobs_of_shuffle.items():
            if job_id in jobs:
                jobs.remove(job_id)
            if jobs:
                active.add(shuffle_id)
            else:
                some_inactive = True
        if some_inactive:
            for tracker in self._executors.values():
                if tracker.has_active_shuffle:
                    self._update_active_shuffles(tracker, active)
        for stage_id in self._stages_of_job.pop(job_id, ()):
            self._shuffle_of_stage.pop(stage_id, None)

    def shuffle_cleaned(self, shuffle_id: int) -> None:
        """The driver's cleaner has removed a shuffle's data everywhere."""
        if not self._tracks_shuffle:
            return
        self._jobs_of_shuffle.pop(shuffle_id, None)
        for tracker in self._executors.values():
            if shuffle_id in tracker.shuffle_ids:
                tracker.shuffle_ids.remove(shuffle_id)
                if not tracker.shuffle_ids:
                    tracker.has_active_shuffle = False
                    if tracker.is_idle:
                        self._update_timeout(tracker)

    # -- driven by observation ---------------------------------------------------------------------------------------

    def observe_running_tasks(
        self,
        executor_id: str,
        running: int,
        now_ns: int,
        *,
        worked_since: bool = False,
        believed_at_ns: int = 0,
    ) -> None:
        """How many tasks an executor was seen to run.

        Args:
            executor_id: a tracked executor; others are left alone.
            running: tasks that run, at least 0.
            now_ns: when it was seen.
            worked_since: some task ended since the last observation: an idle executor's idle time starts again.
            believed_at_ns: before that it does not time out, whatever it seems to run.
        """
        tracker = self._executors.get(executor_id)
        if tracker is None:
            return
        same = running == tracker.running_tasks and not (running == 0 and worked_since)
        if same and believed_at_ns == tracker.believed_at:
            return
        tracker.believed_at = believed_at_ns
        if same:
            self._update_timeout(tracker)
        else:
            self._update_running_tasks(tracker, running - tracker.running_tasks, now_ns)

    def observe_cached_blocks(self, executor_id: str, *, cached: bool) -> None:
        """Whether an executor was seen to hold cached blocks; its idle start stays."""
        tracker = self._executors.get(executor_id)
        if tracker is None or cached == bool(tracker.cached_blocks):
            return
        if cached:
            tracker.cached_blocks[_OBSERVED] = set()
        else:
            tracker.cached_blocks.clear()
        self._update_timeout(tracker)

    def observe_shuffle(self, executor_id: str, *, held: bool, active: bool) -> None:
        """Whether an executor holds shuffle data, and whether a running job may read it; its idle start stays.

        Unlike a migrated block this takes effect on the very next decision. Ignored when shuffle is not tracked.
        """
        tracker = self._executors.get(executor_id)
        if tracker is None or not self._tracks_shuffle:
            return
        if held == bool(tracker.shuffle_ids) and (held and active) == tracker.has_active_shuffle:
            return
        if held:
            tracker.shuffle_ids.add(_OBSERVED)
        else:
            tracker.shuffle_ids.clear()
        tracker.has_active_shuffle = held and active
        tracker.timeout_at = tracker.deadline()
        self._next_timeout = LONG_MIN

    # -- inside ------------------------------------------------------------------------------------------------------

    def _apply(self, conf: DynamicAllocationConf) -> None:
        self._conf = conf
        self._tracks_shuffle = conf.tracks_shuffle
        self._fetches_rdd_blocks = conf.fetches_rdd_blocks_from_service
        self._timeouts.clear()

    def _timeouts_of(self, profile_id: ProfileId) -> IdleTimeouts:
        timeouts = self._timeouts.get(profile_id)
        if timeouts is None:
            timeouts = self._timeouts[profile_id] = self._conf.timeouts(profile_id)
        return timeouts

    def _scan(self, now_ns: int) -> None:
        if not self._in_text_order:
            self._executors = {each: self._executors[each] for each in sorted(self._executors)}
            self._in_text_order = True
        timed_out: list[tuple[str, ProfileId]] = []
        next_timeout = LONG_MAX
        for executor_id, tracker in self._executors.items():
            if tracker.pending_removal or tracker.has_active_shuffle or tracker.decommissioning:
                continue
            timeout_at = tracker.timeout_at
            if timeout_at > now_ns:
                if timeout_at < next_timeout:  # noqa: PLR1730  (thousands of calls)
                    next_timeout = timeout_at
                tracker.timed_out = False
            else:
                tracker.timed_out = True
                timed_out.append((executor_id, tracker.profile_id))
        self._timed_out = timed_out
        self._next_timeout = next_timeout

    def _ensure_tracked(self, executor_id: str, profile_id: ProfileId) -> ExecutorTracker:
        """``ensureExecutorIsTracked``: a task may start before its executor's registration is seen (SPARK-4951)."""
        tracker = self._executors.get(executor_id)
        if tracker is None:
            tracker = ExecutorTracker(profile_id, self._timeouts_of(profile_id))
            self._executors[executor_id] = tracker
            self._in_text_order = False
            self._profile_counts[profile_id] += 1
        elif profile_id not in (UNKNOWN_PROFILE_ID, tracker.profile_id) and (
            tracker.profile_id == UNKNOWN_PROFILE_ID
        ):
            tracker.profile_id = profile_id
            tracker.timeouts = self._timeouts_of(profile_id)
            self._profile_counts[profile_id] += 1
            self._count_out(UNKNOWN_PROFILE_ID)
        return tracker

    def _count_out(self, profile_id: ProfileId) -> None:
        self._profile_counts[profile_id] -= 1
        if self._profile_counts[profile_id] <= 0:
            del self._profile_counts[profile_id]

    def _update_running_tasks(self, tracker: ExecutorTracker, delta: int, now_ns: int) -> None:
        tracker.running_tasks = max(0, tracker.running_tasks + delta)
        tracker.idle_start = now_ns if tracker.running_tasks == 0 else BUSY
        self._update_timeout(tracker)

    def _update_timeout(self, tracker: ExecutorTracker) -> None:
        old = tracker.timeout_at
        new = tracker.timeout_at = tracker.deadline()
        if new > old and tracker.timed_out:
            self._next_timeout = LONG_MIN
        elif new < self._next_timeout:
            self._next_timeout = new

    def _activate(self, shuffle_ids: Collection[int]) -> None:
        """A new job uses shuffles that exist: executors that hold them must not time out."""
        for tracker in self._executors.values():
            if not tracker.has_active_shuffle and self._update_active_shuffles(
                tracker, shuffle_ids
            ):
                self._next_timeout = LONG_MIN

    def _update_active_shuffles(
        self, tracker: ExecutorTracker, shuffle_ids: Collection[int]
    ) -> bool:
        had = tracker.has_active_shuffle
        tracker.has_active_shuffle = not tracker.shuffle_ids.isdisjoint(shuffle_ids)
        if had and tracker.is_idle:
            self._update_timeout(tracker)
        return tracker.has_active_shuffle

    def _count_removal(self, tracker: ExecutorTracker, reason: str) -> None:
        counts = self._counters
        graceful = counts.gracefully_decommissioned
        unfinished = counts.decommission_unfinished
        killed = counts.driver_killed
        unexpected = counts.exited_unexpectedly
        if reason == DECOMMISSION_FINISHED or reason.startswith(DECOMMISSION_PREFIX):
            graceful += 1
        elif tracker.decommissioning:
            unfinished += 1
        elif tracker.pending_removal:
            killed += 1
        else:
            unexpected += 1
        self._counters = RemovalCounters(graceful, unfinished, killed, unexpected)
