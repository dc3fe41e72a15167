"""What one SparkAllocation says of itself: conditions, state, profiles, decisions, Events and log lines."""

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from spark_allocation.api.conditions import ConditionType, Reason
from spark_allocation.api.v1alpha1 import (
    FailureLimitStatus,
    Mode,
    ProfileStatus,
    SparkAllocationStatus,
)
from spark_allocation.controller.driver_life import Observation
from spark_allocation.controller.hidden_values import without_hidden
from spark_allocation.controller.recommending import sentence
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.driver_report import Application, DriverPod
from spark_allocation.core.exit_reasons import ExecutorExitReason
from spark_allocation.core.pods_plan import RequestBound
from spark_allocation.core.profile_states import ProfileState
from spark_allocation.epoch_clock import epoch_seconds
from spark_allocation.reports.decisions import Decisions
from spark_allocation.reports.events import EventWriter
from spark_allocation.reports.executor_ends import ExecutorEnds
from spark_allocation.reports.failure_words import REMEDIES, reaction, too_few
from spark_allocation.reports.held_words import always_busy, held_for_ever
from spark_allocation.reports.metrics import EXECUTOR_COUNTS
from spark_allocation.reports.status import (
    LARGEST_STATUS_PROFILES,
    Conditions,
    Statement,
    StatusWriter,
    timestamp,
    totals,
)
from spark_allocation.reports.streams import (
    NO_STREAMS,
    decision_statuses,
    figures,
    message_of,
    query_statuses,
    statements,
)

STREAMING_CONDITIONS = (
    ConditionType.SCALING_INEFFECTIVE,
    ConditionType.STREAMING_REFUSED,
    ConditionType.STREAMING_METRICS_MISSING,
)

log = structlog.get_logger("allocation")

_WARNINGS = frozenset(
    {
        (ConditionType.DRIVER_REACHABLE, False),
        (ConditionType.DRIVER_PASSIVE, False),
        (ConditionType.STALLED, True),
        (ConditionType.CONFLICTED, True),
        (ConditionType.AMBIGUOUS_DRIVER, True),
        (ConditionType.DECOMMISSIONING, False),
        (ConditionType.POLICY_CONFLICT, True),
        *((condition, True) for condition in STREAMING_CONDITIONS),
    }
)

_URGENT = frozenset({Reason.BUDGET_BELOW_MINIMA})
"""Reasons that want somebody's attention whatever the condition."""

_MEANT_SO = frozenset({Reason.RECOMMENDING})
"""Reasons that want nobody's attention: a driver that allocates for itself is what Recommend is for."""


def _wants_attention(condition: str, holds: bool | None, reason: str) -> bool:
    return reason not in _MEANT_SO and ((condition, holds) in _WARNINGS or reason in _URGENT)


class AllocationReporter:
    """Collects statements and writes them; nothing reads them back but a restart of the operator."""

    def __init__(
        self,
        writer: StatusWriter,
        events: EventWriter,
        stored: Mapping[str, Any],
        count_end: Callable[[str], None] = lambda _: None,
    ) -> None:
        """
        Args:
            stored: the ``status`` of the object as read.
            count_end: told the reason of each executor's end.
        """
        self._writer = writer
        self._events = events
        self.conditions = Conditions(stored)
        self._decisions = Decisions(stored.get("decisions") or ())
        self.generation = 0
        self.spec_problem = ""
        """What is wrong with the newest spec, while the last good settings stay in force."""
        self._fields: dict[str, Any] = {}
        self._last_failure = ""
        self._last_unasked = ""
        self._ends = ExecutorEnds(count_end)
        self.streaming = NO_STREAMS
        """Of the last step."""
        self._avoided_nodes: frozenset[str] = frozenset()
        self._pending_events: list[tuple[str, str, str, bool]] = []

    @property
    def object_gone(self) -> bool:
        """The SparkAllocation itself is no more."""
        return self._writer.object_gone

    @property
    def executors(self) -> dict[str, int]:
        """Sums over the profiles that were reported last, by the keys of `EXECUTOR_COUNTS`."""
        profiles: list[ProfileStatus] = self._fields.get("profiles") or []
        sums = {name: sum(getattr(each, name) for each in profiles) for name in EXECUTOR_COUNTS}
        sums["pending"] += sum(each.unacknowledged for each in profiles)
        return sums

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Condition and reason of what wants somebody's attention."""
        finished = self.conditions[ConditionType.FINISHED]
        if finished is not None and finished.status == "True":
            return []
        return [
            (each.type, each.reason)
            for each in self.conditions.all()
            if each.status != "Unknown"
            and _wants_attention(each.type, each.status == "True", each.reason)
        ]

    def say(
        self, condition: ConditionType, holds: bool | None, reason: Reason, message: str = ""
    ) -> None:
        """Set a condition; a change of status or reason becomes an Event."""
        message = without_hidden(message)
        if self.conditions.say(condition, Statement(holds, reason, message), self.generation):
            log.info("condition", condition=condition, holds=holds, reason=reason, message=message)
            warning = _wants_attention(condition, holds, reason)
            worth_an_event = holds is not None and (
                warning or condition in (ConditionType.READY, ConditionType.FINISHED)
            )
            if worth_an_event:
                self._pending_events.append((condition, reason, message or condition, warning))

    def set(self, **fields: Any) -> None:
        """Set plain fields of the status."""
        self._fields.update(fields)

    def begin_life(self, driver: DriverPod, application: Application, incarnation: str) -> None:
        """Name the driver and the application that the status speaks of."""
        self._ends.begin_anew()
        self._last_failure = ""
        self._last_unasked = ""
        self.set(
            driver_pod=driver.name,
            driver_pod_uid=driver.uid,
            application_id=application.id,
            incarnation=incarnation,
            spark_version=application.spark_version,
            finished_at=None,
        )

    def state(self, word: str, message: str) -> None:
        """The STATE column and its sentence."""
        self.set(state=word, message=without_hidden(message)[:1024])

    async def write(self) -> float:
        """Write what is new, and return in how many seconds more can be written; 0 when nothing is left.

        Raises:
            ApiUnavailable: nothing is lost; the next call tries again.
        """
        events, self._pending_events = self._pending_events, []
        for about, reason, message, warning in events:
            await self._events.post(about, reason, message, warning=warning)
        return await self._writer.write(
            SparkAllocationStatus(
                observed_generation=self.generation,
                conditions=self.conditions.all(),
                decisions=self._decisions.newest_first or None,
                **self._fields,
            )
        )

    async def observed(self, observation: Observation) -> float:
        """Report one step of a life; returns as `write` does.

        Raises:
            ApiUnavailable: see `write`.
        """
        step = observation.step
        for removal in step.removals:
            if removal.failed:
                self._last_failure = removal.exit.message[:300]
            if removal.exit.reason is not ExecutorExitReason.DRAINED:
                self._last_unasked = removal.exit.message[:300]
        self._note_ends(step)
        recommending = observation.settings.mode is Mode.RECOMMEND
        self._decisions.take(step, advice=recommending)
        profiles = [_profile_status(profile) for profile in step.profiles[:LARGEST_STATUS_PROFILES]]
        self.set(profiles=profiles, failed=observation.failed_executors, **totals(profiles))
        self._say_reachable(observation)
        self._say_budgets(observation)
        self._say_streams(observation)
        if recommending:
            self.set(recommendation=observation.recommendation)
            self._say_recommending(observation)
        else:
            self._say_draining(observation)
            self._say_allocating(observation)
        return await self.write()

    def _say_reachable(self, observation: Observation) -> None:
        unreachable = observation.unreachable
        if unreachable is None:
            self.say(
                ConditionType.DRIVER_REACHABLE,
                True,
                Reason.ANSWERS,
                "the driver's REST API answers",
            )
        else:
            self.say(ConditionType.DRIVER_REACHABLE, False, unreachable.reason, unreachable.message)

    def _say_draining(self, observation: Observation) -> None:
        if observation.drain_obstacle is not None:
            obstacle = observation.drain_obstacle
            self.say(ConditionType.DECOMMISSIONING, False, obstacle.reason, obstacle.message)
        elif observation.settings.drain_grace_seconds is None:
            self.say(
                ConditionType.DECOMMISSIONING,
                False,
                Reason.DECOMMISSION_OFF,
                "the driver has spark.decommission.enabled off: idle executors are deleted without handing on what "
                "they run or store",
            )
        elif not observation.settings.drains:
            self.say(
                ConditionType.DECOMMISSIONING,
                False,
                Reason.DECOMMISSION_OFF,
                "decommission.enabled is false: idle executors are deleted at once, without handing on what they store",
            )
        elif observation.settings.core.shuffle.migration_obstacle:
            self.say(
                ConditionType.DECOMMISSIONING,
                False,
                Reason.MIGRATION_OFF,
                f"spec.decommission.migrate is true, but in the driver {observation.settings.core.shuffle.migration_obstacle}: executors with "
                "shuffle data are held. Start the driver with what `spark-allocation driver-conf --migrate` prints",
            )
        else:
            self.say(
                ConditionType.DECOMMISSIONING,
                True,
                Reason.DRAINS,
                "executors that leave finish their tasks first",
            )

    def _say_budgets(self, observation: Observation) -> None:
        covered = [each for each in observation.step.profiles if each.grant_reason]
        if not covered:
            self.conditions.drop(ConditionType.BUDGET_LIMITED)
            return
        limited = [each for each in covered if each.is_short_of_budget]
        told = "; ".join(
            f"profile {each.profile_id}: {each.grant_reason}" for each in limited or covered
        )
        if any(each.below_minimum for each in limited):
            remedy = "Raise the budget, or lower minExecutors."
            self.say(
                ConditionType.BUDGET_LIMITED, True, Reason.BUDGET_BELOW_MINIMA, f"{told}. {remedy}"
            )
        elif limited:
            self.say(ConditionType.BUDGET_LIMITED, True, Reason.BUDGET_EXHAUSTED, told)
        else:
            self.say(ConditionType.BUDGET_LIMITED, False, Reason.WITHIN_BUDGET, told)

    def _say_streams(self, observation: Observation) -> None:
        decisions = observation.step.streaming
        self.streaming = figures(decisions)
        self.set(
            streaming=None
            if observation.settings.core.streaming is None
            else query_statuses(decisions, observation.learned_streams) or None,
            streaming_decisions=decision_statuses(decisions) or None,
        )
        told = list(observation.streams)
        for decision in decisions:
            told += statements(decision.problems)
        for condition in STREAMING_CONDITIONS:
            of_condition = [each for each in told if each.condition is condition]
            if of_condition:
                self.say(condition, True, of_condition[0].reason, message_of(of_condition))
            else:
                self.conditions.drop(condition)

    def _say_allocating(self, observation: Observation) -> None:
        profiles = observation.step.profiles
        target = sum(profile.target for profile in profiles)
        running = sum(profile.running for profile in profiles)
        pending = sum(profile.pending + profile.unacknowledged for profile in profiles)
        leaving = sum(profile.decommissioning for profile in profiles)
        idle = sum(profile.idle for profile in profiles)
        by_shuffle = sum(profile.held_by_shuffle for profile in profiles)
        by_cache = sum(profile.held_by_cache for profile in profiles)
        counts = f"{running} of {target} executors run"
        if pending:
            counts += f", {pending} pending"
        if leaving:
            counts += f", {leaving} draining"
        if idle:
            held = [
                f"{count} held by {what}"
                for count, what in ((by_shuffle, "shuffle"), (by_cache, "cache"))
                if count
            ]
            counts += f", {idle} idle" + (f" ({', '.join(held)})" if held else "")
        if any(each.is_short_of_budget for each in profiles):
            counts += ", a budget allows no more"
        obstacle = observation.obstacle
        short = any(each.target > each.running + each.pending for each in profiles)
        problem = observation.step.start_problem
        if observation.settings.mode is Mode.PAUSED:
            self.say(
                ConditionType.READY,
                False,
                Reason.PAUSED,
                "spec.mode is Paused: everything stays as it is",
            )
            self.state("Paused", counts)
            return
        if obstacle is not None and short and obstacle.reason is Reason.QUOTA_EXCEEDED:
            self.say(ConditionType.QUOTA_EXCEEDED, True, Reason.QUOTA_EXCEEDED, obstacle.message)
        else:
            self.conditions.drop(ConditionType.QUOTA_EXCEEDED)
        if obstacle is not None and short:
            remedy = REMEDIES.get(obstacle.reason, "")
            self._say_stalled(obstacle.reason, f"{obstacle.message.rstrip('. ')}. {remedy}".strip())
        elif problem is not None:
            unschedulable = problem.reason is ExecutorExitReason.UNSCHEDULABLE
            self._say_stalled(
                Reason.UNSCHEDULABLE if unschedulable else Reason.EXECUTORS_FAIL_TO_START,
                problem.message,
            )
        elif observation.step.held_back:
            self._say_stalled(Reason.EXECUTORS_FAIL, too_few(observation.step, self._last_failure))
        elif observation.step.failures.reached and short:
            self._say_stalled(Reason.FAILURE_LIMIT, too_few(observation.step, self._last_unasked))
        elif always_busy(observation.step):
            self._say_stalled(Reason.ALWAYS_BUSY, held_for_ever(observation.step))
        else:
            self.say(
                ConditionType.STALLED,
                False,
                Reason.AS_WANTED,
                "executors come as they are asked for",
            )
        if not self._said_what_stands_in_the_way(observation):
            stalled = self.conditions[ConditionType.STALLED]
            short = stalled is not None and stalled.status == "True"
            self.say(
                ConditionType.READY,
                True,
                Reason.RUNNING,
                "the driver is served, but not as wanted: see Stalled"
                if short
                else "executors are kept at the target",
            )
        scaling_up = any(each.target > each.running for each in profiles)
        self.say(
            ConditionType.ALLOCATING,
            scaling_up,
            Reason.SCALING_UP if scaling_up else Reason.AS_WANTED,
            counts,
        )
        stalled = self.conditions[ConditionType.STALLED]
        if observation.unreachable is not None:
            self.state("DriverUnreachable", observation.unreachable.message)
        elif stalled is not None and stalled.status == "True":
            self.state("Stalled", f"{counts}; {stalled.message}")
        elif scaling_up:
            self.state("ScalingUp", counts)
        elif leaving:
            self.state("Draining", counts)
        elif running == 0 and target == 0:
            self.state("Idle", "no executor is needed")
        else:
            self.state("Running", counts)

    def _say_recommending(self, observation: Observation) -> None:
        """Nothing is done: how Spark's own allocation compares, or why there is nothing to compare with."""
        self.conditions.drop(ConditionType.ALLOCATING)
        self.conditions.drop(ConditionType.DECOMMISSIONING)
        if observation.unreachable is not None:
            self._said_what_stands_in_the_way(observation)
            self.state("DriverUnreachable", observation.unreachable.message)
            return
        if observation.settings.nobody_allocates:
            message = (
                "spec.mode is Recommend, and the driver leaves allocation to the operator: nobody allocates. Set "
                "spec.mode to Allocate, or start the driver with its own dynamic allocation"
            )
            self._say_stalled(Reason.NOBODY_ALLOCATES, f"{message}.")
            self.say(ConditionType.READY, False, Reason.NOBODY_ALLOCATES, message)
            self.state("NobodyAllocates", message)
            return
        self.conditions.drop(ConditionType.STALLED)
        if not self._said_what_stands_in_the_way(observation):
            self.say(
                ConditionType.READY,
                True,
                Reason.RECOMMENDING,
                "spec.mode is Recommend: no pod is touched",
            )
        told = observation.recommendation
        self.state(
            "Recommending", "the first comparison is to come" if told is None else sentence(told)
        )

    def _said_what_stands_in_the_way(self, observation: Observation) -> bool:
        """Say why the allocation is not Ready, if the driver or the spec is the reason."""
        unreachable = observation.unreachable
        if unreachable is not None:
            self.say(ConditionType.READY, False, unreachable.reason, unreachable.message)
        elif self.spec_problem:
            self.say(
                ConditionType.READY,
                False,
                Reason.INVALID_SPEC,
                f"{self.spec_problem}; the last settings that made sense stay in force",
            )
        return unreachable is not None or bool(self.spec_problem)

    def _say_stalled(self, reason: Reason, message: str) -> None:
        """Executors are wanted and cannot be had: why, what to do, and since when there has been a reason."""
        before = self.conditions[ConditionType.STALLED]
        since = (
            before.last_transition_time
            if before is not None and before.status == "True"
            else timestamp()
        )
        self.say(ConditionType.STALLED, True, reason, f"{message} Stalled since {since}.")

    def _note_ends(self, step: Step) -> None:
        for event in self._ends.take(step.removals, epoch_seconds()):
            self._pending_events.append((event.reason, event.reason, event.message, event.warning))
        if step.avoid_nodes - self._avoided_nodes:
            nodes = ", ".join(sorted(step.avoid_nodes))
            words = f"New executors are sent away from {nodes}: several in a row came to nothing there, others work elsewhere"
            self._pending_events.append(("nodes", "NodeAvoided", words, True))
        self._avoided_nodes = step.avoid_nodes
        failures = step.failures
        self.set(
            executor_ends=self._ends.status(lambda reason: reaction(reason, step)) or None,
            failure_limit=FailureLimitStatus(
                ended=failures.ended,
                limit=failures.limit,
                window_seconds=failures.window_ms // 1000,
            ),
            avoided_nodes=sorted(step.avoid_nodes) or None,
        )


def _profile_status(profile: ProfileState) -> ProfileStatus:
    reason = profile.reason
    if profile.is_short_of_budget or (
        profile.bound is not RequestBound.NOTHING
        and profile.target > profile.running + profile.pending
    ):
        reason = f"{reason}/{profile.bound}"
    return ProfileStatus(
        id=profile.profile_id,
        desired=profile.desired,
        target=profile.target,
        granted=profile.granted,
        grant_reason=profile.grant_reason[:300] or None,
        running=profile.running,
        registered=profile.registered,
        pending=profile.pending,
        unacknowledged=profile.unacknowledged,
        idle=profile.idle,
        held_by_shuffle=profile.held_by_shuffle,
        held_by_cache=profile.held_by_cache,
        decommissioning=profile.decommissioning,
        reason=reason,
    )
