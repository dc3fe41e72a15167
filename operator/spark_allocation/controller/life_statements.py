"""What a runner says while a life is served: each step as conditions, a state, profiles and counts.

Before a life, and after the end, `AllocationStatements` speaks. Nothing is asked here and nothing decided.
"""

from collections.abc import Callable

from spark_allocation.api.conditions import ConditionType, Reason
from spark_allocation.api.v1alpha1 import FailureLimitStatus, Mode, ProfileStatus
from spark_allocation.controller.allocation_reporter import (
    STREAMING_CONDITIONS,
    AllocationReporter,
)
from spark_allocation.controller.driver_life import Observation
from spark_allocation.controller.recommending import sentence
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.driver_report import Application, DriverPod
from spark_allocation.core.exit_reasons import ExecutorExitReason
from spark_allocation.core.pods_plan import RequestBound
from spark_allocation.core.profile_states import ProfileState
from spark_allocation.epoch_clock import epoch_seconds
from spark_allocation.reports.executor_ends import ExecutorEnds
from spark_allocation.reports.failure_words import REMEDIES, reaction, too_few
from spark_allocation.reports.held_words import always_busy, held_for_ever
from spark_allocation.reports.status import LARGEST_STATUS_PROFILES, timestamp, totals
from spark_allocation.reports.streams import (
    NO_STREAMS,
    decision_statuses,
    figures,
    message_of,
    query_statuses,
    statements,
)


class LifeStatements:
    """Puts the steps of one life after the other into words, for one SparkAllocation.

    Args:
        reporter: that is told.
        count_end: told the reason of each executor's end.
    """

    def __init__(
        self, reporter: AllocationReporter, count_end: Callable[[str], None] = lambda _: None
    ) -> None:
        self._reporter = reporter
        self._last_failure = ""
        self._last_unasked = ""
        self._ends = ExecutorEnds(count_end)
        self._avoided_nodes: frozenset[str] = frozenset()
        self.streaming = NO_STREAMS
        """Of the last step."""

    def begun(self, driver: DriverPod, application: Application, incarnation: str) -> None:
        """A life begins: from now on the status speaks of this driver and application."""
        self._ends.begin_anew()
        self._last_failure = ""
        self._last_unasked = ""
        self._reporter.set(
            driver_pod=driver.name,
            driver_pod_uid=driver.uid,
            application_id=application.id,
            incarnation=incarnation,
            spark_version=application.spark_version,
            finished_at=None,
        )

    def observed(self, observation: Observation, spec_problem: str) -> None:
        """One step of the life, and what came of it.

        Args:
            observation: the step.
            spec_problem: what is wrong with the newest spec, while an older one is in force; "" when nothing is.
        """
        step = observation.step
        for removal in step.removals:
            if removal.failed:
                self._last_failure = removal.exit.message[:300]
            if removal.exit.reason is not ExecutorExitReason.DRAINED:
                self._last_unasked = removal.exit.message[:300]
        self._note_ends(step)
        recommending = observation.settings.mode is Mode.RECOMMEND
        self._reporter.decisions.take(step, advice=recommending)
        profiles = [_profile_status(profile) for profile in step.profiles[:LARGEST_STATUS_PROFILES]]
        self._reporter.set(
            profiles=profiles, failed=observation.failed_executors, **totals(profiles)
        )
        self._say_reachable(observation)
        self._say_budgets(observation)
        self._say_streams(observation)
        if recommending:
            self._reporter.set(recommendation=observation.recommendation)
            self._say_recommending(observation, spec_problem)
        else:
            self._say_draining(observation)
            self._say_allocating(observation, spec_problem)

    def _say_reachable(self, observation: Observation) -> None:
        unreachable = observation.unreachable
        if unreachable is None:
            self._reporter.say(
                ConditionType.DRIVER_REACHABLE,
                True,
                Reason.ANSWERS,
                "the driver's REST API answers",
            )
        else:
            self._reporter.say(
                ConditionType.DRIVER_REACHABLE, False, unreachable.reason, unreachable.message
            )

    def _say_draining(self, observation: Observation) -> None:
        if observation.drain_obstacle is not None:
            obstacle = observation.drain_obstacle
            self._reporter.say(
                ConditionType.DECOMMISSIONING, False, obstacle.reason, obstacle.message
            )
        elif observation.settings.drain_grace_seconds is None:
            self._reporter.say(
                ConditionType.DECOMMISSIONING,
                False,
                Reason.DECOMMISSION_OFF,
                "the driver has spark.decommission.enabled off: idle executors are deleted without handing on what "
                "they run or store",
            )
        elif not observation.settings.drains:
            self._reporter.say(
                ConditionType.DECOMMISSIONING,
                False,
                Reason.DECOMMISSION_OFF,
                "decommission.enabled is false: idle executors are deleted at once, without handing on what they store",
            )
        elif observation.settings.core.shuffle.migration_obstacle:
            self._reporter.say(
                ConditionType.DECOMMISSIONING,
                False,
                Reason.MIGRATION_OFF,
                f"spec.decommission.migrate is true, but in the driver {observation.settings.core.shuffle.migration_obstacle}: executors with "
                "shuffle data are held. Start the driver with what `spark-allocation driver-conf --migrate` prints",
            )
        else:
            self._reporter.say(
                ConditionType.DECOMMISSIONING,
                True,
                Reason.DRAINS,
                "executors that leave finish their tasks first",
            )

    def _say_budgets(self, observation: Observation) -> None:
        covered = [each for each in observation.step.profiles if each.grant_reason]
        if not covered:
            self._reporter.conditions.drop(ConditionType.BUDGET_LIMITED)
            return
        limited = [each for each in covered if each.is_short_of_budget]
        told = "; ".join(
            f"profile {each.profile_id}: {each.grant_reason}" for each in limited or covered
        )
        if any(each.below_minimum for each in limited):
            remedy = "Raise the budget, or lower minExecutors."
            self._reporter.say(
                ConditionType.BUDGET_LIMITED, True, Reason.BUDGET_BELOW_MINIMA, f"{told}. {remedy}"
            )
        elif limited:
            self._reporter.say(ConditionType.BUDGET_LIMITED, True, Reason.BUDGET_EXHAUSTED, told)
        else:
            self._reporter.say(ConditionType.BUDGET_LIMITED, False, Reason.WITHIN_BUDGET, told)

    def _say_streams(self, observation: Observation) -> None:
        decisions = observation.step.streaming
        self.streaming = figures(decisions)
        self._reporter.set(
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
                self._reporter.say(
                    condition, True, of_condition[0].reason, message_of(of_condition)
                )
            else:
                self._reporter.conditions.drop(condition)

    def _say_allocating(self, observation: Observation, spec_problem: str) -> None:
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
            self._reporter.say(
                ConditionType.READY,
                False,
                Reason.PAUSED,
                "spec.mode is Paused: everything stays as it is",
            )
            self._reporter.state("Paused", counts)
            return
        if obstacle is not None and short and obstacle.reason is Reason.QUOTA_EXCEEDED:
            self._reporter.say(
                ConditionType.QUOTA_EXCEEDED, True, Reason.QUOTA_EXCEEDED, obstacle.message
            )
        else:
            self._reporter.conditions.drop(ConditionType.QUOTA_EXCEEDED)
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
            self._reporter.say(
                ConditionType.STALLED,
                False,
                Reason.AS_WANTED,
                "executors come as they are asked for",
            )
        if not self._said_what_stands_in_the_way(observation, spec_problem):
            stalled = self._reporter.conditions[ConditionType.STALLED]
            short = stalled is not None and stalled.status == "True"
            self._reporter.say(
                ConditionType.READY,
                True,
                Reason.RUNNING,
                "the driver is served, but not as wanted: see Stalled"
                if short
                else "executors are kept at the target",
            )
        scaling_up = any(each.target > each.running for each in profiles)
        self._reporter.say(
            ConditionType.ALLOCATING,
            scaling_up,
            Reason.SCALING_UP if scaling_up else Reason.AS_WANTED,
            counts,
        )
        stalled = self._reporter.conditions[ConditionType.STALLED]
        if observation.unreachable is not None:
            self._reporter.state("DriverUnreachable", observation.unreachable.message)
        elif stalled is not None and stalled.status == "True":
            self._reporter.state("Stalled", f"{counts}; {stalled.message}")
        elif scaling_up:
            self._reporter.state("ScalingUp", counts)
        elif leaving:
            self._reporter.state("Draining", counts)
        elif running == 0 and target == 0:
            self._reporter.state("Idle", "no executor is needed")
        else:
            self._reporter.state("Running", counts)

    def _say_recommending(self, observation: Observation, spec_problem: str) -> None:
        """Nothing is done: how Spark's own allocation compares, or why there is nothing to compare with."""
        self._reporter.conditions.drop(ConditionType.ALLOCATING)
        self._reporter.conditions.drop(ConditionType.DECOMMISSIONING)
        if observation.unreachable is not None:
            self._said_what_stands_in_the_way(observation, spec_problem)
            self._reporter.state("DriverUnreachable", observation.unreachable.message)
            return
        if observation.settings.nobody_allocates:
            message = (
                "spec.mode is Recommend, and the driver leaves allocation to the operator: nobody allocates. Set "
                "spec.mode to Allocate, or start the driver with its own dynamic allocation"
            )
            self._say_stalled(Reason.NOBODY_ALLOCATES, f"{message}.")
            self._reporter.say(ConditionType.READY, False, Reason.NOBODY_ALLOCATES, message)
            self._reporter.state("NobodyAllocates", message)
            return
        self._reporter.conditions.drop(ConditionType.STALLED)
        if not self._said_what_stands_in_the_way(observation, spec_problem):
            self._reporter.say(
                ConditionType.READY,
                True,
                Reason.RECOMMENDING,
                "spec.mode is Recommend: no pod is touched",
            )
        told = observation.recommendation
        self._reporter.state(
            "Recommending", "the first comparison is to come" if told is None else sentence(told)
        )

    def _said_what_stands_in_the_way(self, observation: Observation, spec_problem: str) -> bool:
        """Say why the allocation is not Ready, if the driver or the spec is the reason."""
        unreachable = observation.unreachable
        if unreachable is not None:
            self._reporter.say(ConditionType.READY, False, unreachable.reason, unreachable.message)
        elif spec_problem:
            self._reporter.say(
                ConditionType.READY,
                False,
                Reason.INVALID_SPEC,
                f"{spec_problem}; the last settings that made sense stay in force",
            )
        return unreachable is not None or bool(spec_problem)

    def _say_stalled(self, reason: Reason, message: str) -> None:
        """Executors are wanted and cannot be had: why, what to do, and since when there has been a reason."""
        before = self._reporter.conditions[ConditionType.STALLED]
        since = (
            before.last_transition_time
            if before is not None and before.status == "True"
            else timestamp()
        )
        self._reporter.say(ConditionType.STALLED, True, reason, f"{message} Stalled since {since}.")

    def _note_ends(self, step: Step) -> None:
        for event in self._ends.take(step.removals, epoch_seconds()):
            self._reporter.event(event.reason, event.reason, event.message, warning=event.warning)
        if step.avoid_nodes - self._avoided_nodes:
            nodes = ", ".join(sorted(step.avoid_nodes))
            words = f"New executors are sent away from {nodes}: several in a row came to nothing there, others work elsewhere"
            self._reporter.event("nodes", "NodeAvoided", words, warning=True)
        self._avoided_nodes = step.avoid_nodes
        failures = step.failures
        self._reporter.set(
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
