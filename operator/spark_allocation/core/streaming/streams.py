"""The streams of an application: one demand per resource profile, and when what they do not need may leave.

Theory of operation
-------------------
The allocation tells what is observed and asks at each step. For a profile whose streams ask for a number, that number is the
target (`targets`), in place of what the backlog of tasks would ramp up to; for all other profiles nothing changes. What
runs beyond the target does not leave by its idle timeout alone, because executors of a stream are never idle for so long:
`may_leave` says how many go now (`batch_gap`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from spark_allocation.core.allocation_decisions import StreamTarget
from spark_allocation.core.dynamic_allocation_conf import ExecutorBounds
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.batch_gap import (
    NOBODY_LEAVES,
    BatchGap,
    GapDecision,
    GapVerdict,
)
from spark_allocation.core.streaming.decisions import (
    StreamingCondition,
    StreamingDecision,
    StreamingProblem,
)
from spark_allocation.core.streaming.demand import StreamingDemand
from spark_allocation.core.streaming.observations import QueryName, Slots, StreamingObservation
from spark_allocation.core.streaming.settings import StreamingSettings


class Streams:
    """Of one life of a driver. Times are seconds of one monotonic clock.

    Args:
        settings: None for an application without streams, or whose streams are not to be served: then nothing happens.
        learned: see `StreamingDemand`.
        resumed: an earlier run of the operator has asked for executors of this life.
    """

    def __init__(
        self,
        settings: StreamingSettings | None,
        learned: Mapping[QueryName, LearnedCost] | None = None,
        *,
        resumed: bool = False,
    ) -> None:
        self._settings = settings
        self._resumed = resumed
        self._restored = dict(learned or {})
        self._demands: dict[ProfileId, StreamingDemand] = {}
        self._gaps: dict[ProfileId, BatchGap] = {}
        self._decisions: dict[ProfileId, StreamingDecision] = {}

    def reconfigure(self, settings: StreamingSettings | None) -> None:
        """Judge by other settings, or not at all any more; what was learned stays known."""
        self._settings = settings
        if settings is None:
            self._forget()
            self._resumed = True
        for demand in self._demands.values():
            if settings is not None:
                demand.reconfigure(settings)

    @property
    def learned(self) -> Mapping[QueryName, LearnedCost]:
        """What batches of each query cost: to be kept over restarts."""
        learned = dict(self._restored)
        for demand in self._demands.values():
            learned.update(demand.learned)
        return learned

    @property
    def decisions(self) -> tuple[StreamingDecision, ...]:
        """The last ones, by profile."""
        return tuple(decision for _, decision in sorted(self._decisions.items()))

    @property
    def targets(self) -> Mapping[ProfileId, StreamTarget]:
        """Of the profiles whose streams ask for a number."""
        return {
            profile_id: StreamTarget(
                need=decision.executors if decision.wanted is None else decision.wanted,
                executors=decision.executors,
            )
            for profile_id, decision in self._decisions.items()
            if decision.executors is not None
        }

    def take(self, observation: StreamingObservation, slots: Slots) -> None:
        """Take one observation; nothing happens without settings.

        It is of all streams of the application: when their tasks are found to run in another profile than was thought, the
        former one is left to its tasks.
        """
        if self._settings is not None:
            self._demand(observation.profile_id, self._settings).take(observation, slots)

    def decide(
        self,
        *,
        now: float,
        wall_clock_s: float,
        slots: Callable[[ProfileId], Slots],
        bounds: Callable[[ProfileId], ExecutorBounds],
        finishes_tasks: bool,
    ) -> None:
        """Decide for each profile that was ever observed.

        Args:
            now: not before the last observation.
            wall_clock_s: the same moment, seconds since 1970-01-01 UTC.
            slots: of a profile.
            bounds: of a profile.
            finishes_tasks: an executor that leaves finishes what it runs.
        """
        for profile_id, demand in self._demands.items():
            within = bounds(profile_id)
            self._decisions[profile_id] = demand.decide(
                now=now,
                wall_clock_s=wall_clock_s,
                slots=slots(profile_id),
                min_executors=within.min_executors,
                max_executors=within.max_executors,
                finishes_tasks=finishes_tasks,
            )

    def may_leave(
        self,
        profile_id: ProfileId,
        surplus: int,
        *,
        now: float,
        migrates: bool,
        leaving: int,
        idle: bool,
        free: int,
    ) -> GapDecision:
        """Of executors beyond the target of a profile with streams, how many may begin to leave now.

        Args:
            surplus: how many there are; at most 0 when there are none.
            migrates: what they hold is handed on, or they hold nothing.
            leaving: executors of the profile that are on their way out.
            idle: no job of the application runs.
            free: executors of the profile that run nothing and have no cached blocks.
        """
        demand, settings = self._demands.get(profile_id), self._settings
        if demand is None or settings is None:
            return NOBODY_LEAVES
        gap = self._gaps.setdefault(profile_id, BatchGap())
        decided = gap.decide(
            surplus,
            demand.boundaries(),
            now=now,
            migrates=migrates,
            leaving=leaving,
            idle=idle,
            free=free,
            boundary_wait_s=settings.boundary_wait_s,
        )
        if decided.verdict is GapVerdict.NO_GAP:
            decision = self._decisions[profile_id]
            problem = StreamingProblem(StreamingCondition.NO_BATCH_GAP, detail=str(surplus))
            self._decisions[profile_id] = replace(decision, problems=(*decision.problems, problem))
        return decided

    def _forget(self) -> None:
        self._restored = dict(self.learned)
        self._demands.clear()
        self._gaps.clear()
        self._decisions.clear()

    def _demand(self, profile_id: ProfileId, settings: StreamingSettings) -> StreamingDemand:
        demand = self._demands.get(profile_id)
        if demand is None:
            self._forget()
            demand = StreamingDemand(
                settings,
                profile_id=profile_id,
                learned=self._restored,
                resumed=self._resumed,
            )
            self._demands[profile_id] = demand
        return demand
