"""When an executor that looks idle is believed to be idle.

Theory of operation
-------------------
A driver writes an executor's row of its REST API at once when its last task has ended. That a task has *begun* is written
only when the row is not younger than ``spark.ui.liveUpdate.period`` (100 ms); otherwise with the next event of that executor,
and at the latest with the next heartbeat of any executor or of the driver. A task that begins right after another one has
ended, as between two stages of a job, or right after its executor has registered, may therefore be invisible for as long as
heartbeats are apart (``spark.executor.heartbeatInterval``, 10 s), though it runs all the time. Nothing in the row tells.

So an executor that looks idle while a stage of its profile runs is believed to be idle only when it has looked so, without
a sign of work in between, for longer than a beginning can stay invisible. With the default idle timeout of a minute that
changes nothing; shorter ones are as long as that while a stage runs. While none does, nobody can have a task.

What REST shows is told by a queue of events besides, which falls behind when the driver has too little CPU. An answer of a driver
whose queue is long says nothing about who is idle now.

Source: ``AppStatusListener`` (``onTaskStart``, ``maybeUpdate``, ``onExecutorMetricsUpdate``), ``AsyncEventQueue``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from spark_allocation.core.driver_report import DriverReport, ExecutorReport
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.jvm_numbers import LONG_MAX
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.spark_conf import MILLISECOND, NANOSECOND, SECOND, SparkConf

BEHIND_EVENTS = 100
"""Events that wait; so many are handled within milliseconds, or the driver is short of CPU."""
MARGIN_NS = 2 * SECOND
"""For an event's way through the queue and for the poll."""


@dataclass(frozen=True, slots=True)
class IdleSightConf:
    """How late a driver tells what its executors do.

    Attributes:
        told_within_ns: the longest time for which a task can run unseen, in nanoseconds; `LONG_MAX` when rows are not
            kept up to date at all.
    """

    told_within_ns: int = 10 * SECOND + 100 * MILLISECOND + MARGIN_NS

    @classmethod
    def from_spark_conf(cls, conf: SparkConf) -> "IdleSightConf":
        """Read the driver's configuration.

        Raises:
            InvalidSetting: for what Spark refuses.
        """
        period = conf.time("spark.ui.liveUpdate.period", 100 * MILLISECOND, NANOSECOND)
        if period < 0:
            return cls(LONG_MAX)
        flush = conf.time("spark.ui.liveUpdate.minFlushPeriod", SECOND, NANOSECOND)
        heartbeat = conf.time("spark.executor.heartbeatInterval", 10_000, MILLISECOND)
        return cls(min(LONG_MAX, max(flush, heartbeat * MILLISECOND) + period + MARGIN_NS))


@dataclass(frozen=True, slots=True)
class _Sight:
    """What an executor looked like when it first looked as it does."""

    since_ns: int
    total_tasks: int


class IdleSight:
    """Of one life of a driver. Times are nanoseconds of the clock of polls.

    Args:
        conf: may be replaced by `reconfigure`.
    """

    def __init__(self, conf: IdleSightConf) -> None:
        self._conf = conf
        self._idle: Mapping[ExecutorId, _Sight] = {}
        self._at_work: frozenset[ProfileId] = frozenset()
        self._behind = False

    def reconfigure(self, conf: IdleSightConf) -> None:
        """Judge by other rules from the next poll on."""
        self._conf = conf

    def take(self, report: DriverReport, now_ns: int) -> None:
        """Take one poll."""
        before, idle = self._idle, {}
        for executor in report.executors:
            if executor.active_tasks == 0:
                sight = before.get(executor.id)
                if sight is None or sight.total_tasks != executor.total_tasks:
                    sight = _Sight(now_ns, executor.total_tasks)
                idle[executor.id] = sight
        self._idle = idle
        self._at_work = frozenset(stage.profile_id for stage in report.stages)
        self._behind = report.events_behind > BEHIND_EVENTS

    def believed_at_ns(self, executor: ExecutorReport) -> int:
        """From when on an executor of the last poll, if it goes on looking idle, is idle; 0 when it is now."""
        if self._behind:
            return LONG_MAX
        sight = self._idle.get(executor.id)
        if sight is None or executor.profile_id not in self._at_work:
            return 0
        return min(LONG_MAX, sight.since_ns + self._conf.told_within_ns)
