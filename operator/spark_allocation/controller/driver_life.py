"""One life of one driver, served: poll, decide, carry out, report, until the life or the wish to serve it ends.

Whose pods: those that the driver pod owns and that the operator made for this life, which their annotation says. Who of
several SparkAllocations made them does not matter: one serves the driver at a time, and one that was deleted and made
again, or that takes over from another, goes on with the pods that are there instead of making as many again. Nothing is
gained by forging the label: who may write pods of the namespace can write every label of them.

Pods of a former life are swept, once the driver has been heard and does not list them as alive. A pod without our label
is never touched.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from spark_allocation.api.conditions import Reason
from spark_allocation.api.v1alpha1 import Mode, RecommendationStatus
from spark_allocation.controller.budget_members import BudgetMember, Membership
from spark_allocation.controller.driver_polling import ALL_AT_LEAST_EVERY_SECONDS, DriverPolling
from spark_allocation.controller.effective_settings import EffectiveSettings
from spark_allocation.controller.going_nodes import GoingNodes
from spark_allocation.controller.plan_execution import PlanExecution
from spark_allocation.controller.pod_creation import Obstacle
from spark_allocation.controller.polling_turns import PollingTurns
from spark_allocation.controller.recommending import Recommending
from spark_allocation.controller.streaming_life import LifeStreams
from spark_allocation.controller.sweep import sweep_pods
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.driver_report import DriverPod, DriverReport
from spark_allocation.core.executor_pods import ExecutorPod, judged
from spark_allocation.core.resource_profiles import (
    ResourceProfileManager,
)
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.observations import QueryName
from spark_allocation.core.trace.driven_allocation import DrivenAllocation
from spark_allocation.core.trace.inputs import ReportTaken, SettingsChanged, StepAsked, StreamsSeen
from spark_allocation.epoch_clock import epoch_ms
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.pods_api import PodsApi
from spark_allocation.reports.streams import StreamingStatement
from spark_allocation.snapshots_store import (
    DriverKey,
    ExecutorPodsSnapshotsStore,
    PodsView,
    SeenPod,
)
from spark_allocation.sources.driver_rest import DriverRest
from spark_allocation.sources.unreachable import Unreachable

SHORTEST_PAUSE_SECONDS = 0.05
CONFIRMED_SECONDS = 0.2
"""How old the answer may be on which the first of idle executors is let go."""
CONFIRMED_AMONG_MANY_SECONDS = 1.0
"""And on which the others are, one after the other."""
AFTER_API_FAILURE_SECONDS = 1.0
FIRST_ANSWER_SECONDS = 5.0
AT_REST_UNTIL_SECONDS = 20.0
"""A timer that runs out later than that is awaited at rest: there is time left to ask for everything again before."""
FORMER_LIFE_GRACE_SECONDS = 1

_LEVELS = {"debug": 10, "info": 20, "warning": 30}

log = structlog.get_logger("driver_life")


class LifeEnd(StrEnum):
    """Why a life is not served any longer."""

    STOPPED = "stopped"
    DRIVER_CHANGED = "driver changed"
    APPLICATION_GONE = "application gone"
    NOT_OURS = "not ours"
    WISH_CHANGED = "the SparkAllocation asks for something else"


@dataclass(frozen=True, slots=True)
class Observation:
    """What a report is made of, after each step."""

    step: Step
    settings: EffectiveSettings
    obstacle: Obstacle | None
    drain_obstacle: Obstacle | None
    unreachable: Unreachable | None
    failed_executors: int
    recommendation: RecommendationStatus | None = None
    learned_streams: Mapping[QueryName, LearnedCost] = field(default_factory=dict)
    streams: tuple[StreamingStatement, ...] = ()


class DriverLife:
    """Serves one incarnation of a driver."""

    def __init__(
        self,
        *,
        key: DriverKey,
        incarnation: str,
        rest: DriverRest,
        allocation: DrivenAllocation,
        profiles: ResourceProfileManager,
        execution: PlanExecution,
        store: ExecutorPodsSnapshotsStore,
        going_nodes: GoingNodes,
        pods: PodsApi,
        settings: EffectiveSettings,
        profile_errors: str,
        poll_seconds: float,
        idle_poll_seconds: float,
        turns: PollingTurns,
        count_poll: Callable[[str, float], None] = lambda _outcome, _seconds: None,
        membership: Membership | None = None,
        profiles_learned: Callable[[], None] = lambda: None,
        recommending: Recommending | None = None,
        streams: LifeStreams | None = None,
    ) -> None:
        self._key = key
        self._incarnation = incarnation
        self._allocation = allocation
        self._execution = execution
        self._store = store
        self._going_nodes = going_nodes
        self._pods = pods
        self._settings = settings
        self._idle_poll_seconds = idle_poll_seconds
        self._membership = membership
        self._budget_member: BudgetMember | None = None
        self._recommending = recommending or Recommending()
        self._streams = streams
        self._look_at_streams()
        self._wake = asyncio.Event()
        self._driver = DriverPolling(
            rest,
            poll_seconds=poll_seconds,
            idle_poll_seconds=idle_poll_seconds,
            profiles=profiles,
            profile_errors=profile_errors,
            news=self.wake,
            profiles_learned=profiles_learned,
            count_poll=count_poll,
            turns=turns,
        )
        execution.is_needed = self._is_needed
        execution.look_again = self._look_again
        execution.a_job_runs = self._a_job_runs
        self._logged: tuple[str, ...] = ()

    def wake(self) -> None:
        """Something changed: take a step soon."""
        self._wake.set()

    @property
    def recommendation(self) -> RecommendationStatus | None:
        """How Spark's own allocation compares, in mode Recommend."""
        return self._recommending.status if self._settings.mode is Mode.RECOMMEND else None

    def reconfigure(self, settings: EffectiveSettings) -> None:
        """Use other settings from the next step on."""
        self._settings = settings
        self._execution.drain_grace_seconds = settings.drain_grace_seconds
        self._allocation.tell(SettingsChanged(settings.core, time.monotonic_ns()))
        self._look_at_streams()
        if self._budget_member is not None:
            self._budget_member.sizes_may_differ()
        self.wake()

    def relabelled(self, labels: Mapping[str, str]) -> None:
        """The driver pod has other labels: other budgets may cover it."""
        if self._budget_member is not None:
            self._budget_member.relabelled(labels)

    async def serve(
        self,
        *,
        ended: Callable[[], LifeEnd | None],
        report: Callable[[Observation], Awaitable[float]],
    ) -> LifeEnd:
        """Serve until ``ended`` says why not.

        Args:
            ended: asked before each step, and in between.
            report: called after each step; returns in how many seconds more can be reported, 0 when nothing is left.
        """
        due_at = -math.inf
        self._execution.drain_grace_seconds = self._settings.drain_grace_seconds
        polling = asyncio.create_task(self._driver.run())
        asking = asyncio.create_task(self._ask_for_backlogs())
        try:
            with (
                self._store.subscription(self._key, self.wake),
                self._going_nodes.subscription(self.wake),
                self._joined_budgets() as self._budget_member,
            ):
                await self._first_answer()
                while True:
                    end = ended()
                    if end is None and self._driver.application_is_gone:
                        end = LifeEnd.APPLICATION_GONE
                    if end is not None:
                        return end
                    for task in (polling, asking):
                        if task.done():
                            task.result()
                    if self._wake.is_set() or time.monotonic() >= due_at:
                        due_at = await self._turn(report)
                    await self._rest(until=due_at)
        finally:
            polling.cancel()
            asking.cancel()

    async def _ask_for_backlogs(self) -> None:
        if self._streams is None:
            await asyncio.Event().wait()
        else:
            await self._streams.run()

    async def _first_answer(self) -> None:
        """Wait for the first poll, good or bad: targets of an earlier run are judged before they are acted on."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_ANSWER_SECONDS):
                await self._driver.answered.wait()

    async def _turn(self, report: Callable[[Observation], Awaitable[float]]) -> float:
        """Take one step and carry it out; returns when the next is due, in monotonic seconds."""
        await self._driver.up_to_date()
        self._wake.clear()
        self._driver.at_rest = False
        try:
            view = self._store.take(self._key)
            mine, former = self._sorted(view)
            step = self._step(view, mine)
            if self._settings.mode is Mode.RECOMMEND:
                step = self._recommending.take(
                    step,
                    view.pods,
                    self._settings.core.dynamic,
                    fresh=self._driver.is_fresh,
                    now_ns=time.monotonic_ns(),
                )
            if self._acts:
                if step.while_idle:
                    # tasks of a job that has just begun would run on executors that leave, and be lost with them
                    await self._driver.confirm(CONFIRMED_SECONDS)
                await self._execution.apply(step)
                if former and self._driver.report is not None:
                    await sweep_pods(self._pods, former, grace_seconds=FORMER_LIFE_GRACE_SECONDS)
            unreported_for = await report(
                Observation(
                    step=step,
                    settings=self._settings,
                    obstacle=self._execution.obstacle or self._profile_obstacle(),
                    drain_obstacle=self._execution.drain_obstacle,
                    unreachable=self._driver.lasting_obstacle,
                    failed_executors=self._allocation.core.failures.count,
                    recommendation=self.recommendation,
                    learned_streams=self._allocation.core.learned_streams,
                    streams=() if self._streams is None else tuple(self._streams.statements),
                )
            )
            timer_at = math.inf if step.wake_at_ns is None else step.wake_at_ns / 1e9
            self._driver.at_rest = (
                self._acts
                and timer_at > time.monotonic() + AT_REST_UNTIL_SECONDS
                and self._settings.core.streaming is None
                and step.is_at_rest
            )
            pause = self._idle_poll_seconds
            if self._driver.at_rest:
                pause = ALL_AT_LEAST_EVERY_SECONDS  # a whole answer of the driver wakes as well
            return min(time.monotonic() + min(pause, unreported_for or pause), timer_at)
        except ApiUnavailable as error:
            log.warning("api_unavailable", error=str(error))
            await asyncio.sleep(AFTER_API_FAILURE_SECONDS)
            return time.monotonic() + AFTER_API_FAILURE_SECONDS

    async def _look_again(self) -> None:
        """Know the driver as it is, however long the deletions before the next one have taken."""
        await self._driver.confirm_again(CONFIRMED_AMONG_MANY_SECONDS)

    def _is_needed(self, pod: ExecutorPod) -> bool:
        """Whether an executor that was idle has worked since, or may have work in a moment."""
        return (
            self._driver.unreachable is not None
            or self._driver.has_worked(pod.executor_id)
            or self._driver.is_about_to_work(pod.profile_id)
        )

    def _a_job_runs(self) -> bool:
        """Whether a job runs by now; also when the driver does not say."""
        report = self._driver.report
        return self._driver.unreachable is not None or report is None or bool(report.running_jobs)

    async def _rest(self, *, until: float) -> None:
        """Wait until something changes, but not longer than it may take to notice an end."""
        await asyncio.sleep(SHORTEST_PAUSE_SECONDS)  # gathers pod events that come in bursts
        pause = min(until - time.monotonic(), self._idle_poll_seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, pause)):
                await self._wake.wait()

    def _step(self, view: PodsView, mine: list[SeenPod]) -> Step:
        now_ns, now_ms = time.monotonic_ns(), epoch_ms()
        report = self._driver.take()
        if report is not None:
            answered_at_ns = self._driver.answered_at_ns
            age_ms = (now_ns - answered_at_ns) // 1_000_000
            self._allocation.tell(ReportTaken(report, answered_at_ns, now_ms - age_ms))
            self._observe_streams(report, answered_at_ns, now_ms - age_ms)
        rule = self._settings.core.lifecycle.containers
        departed = [judged(seen.pod, rule) for seen in view.departed if self._is_mine(seen)]
        is_fresh = self._driver.is_fresh and self._settings.mode is not Mode.PAUSED
        member = self._budget_member
        step = self._allocation.step(
            StepAsked(
                ExecutorPodsSnapshot.replaced(
                    (judged(seen.pod, rule) for seen in mine), at=int(view.full_sync_at * 1000)
                ),
                vanished=tuple(departed),
                going_nodes=self._going_nodes.names,
                grants=member.grants_now if member is not None and self._acts else None,
                now_ns=now_ns,
                now_ms=now_ms,
                report_is_fresh=is_fresh,
                acts=self._acts,
            )
        )
        if member is not None:
            self._tell_budgets(member, step, is_fresh=is_fresh)
        self._log(step)
        for pod in step.evacuations:
            log.info(
                "executor_evacuated",
                executor=pod.executor_id,
                node=pod.node,
                reason=self._going_nodes.reason(pod.node),
            )
        if step.above_streams:
            log.info(
                "executors_given_back_by_streams",
                executors=[pod.executor_id for pod in step.above_streams],
            )
        if step.surplus:
            log.info(
                "executors_given_back",
                executors=[pod.executor_id for pod in step.surplus],
                reason=[state.grant_reason for state in step.profiles if state.grant_reason],
            )
        for removal in step.removals:
            log.info(
                "executor_ended",
                executor=removal.executor_id,
                profile=removal.profile_id,
                node=removal.node,
                reason=removal.exit.reason,
                exit_code=removal.exit.exit_code,
                charged=removal.exit.charged,
                message=removal.exit.message,
                spark=removal.exit.spark_words,
            )
        return step

    def _look_at_streams(self) -> None:
        if self._streams is not None:
            self._streams.reconfigure(self._settings.core.streaming, self._settings.backlogs)

    def _observe_streams(self, report: DriverReport, answered_at_ns: int, epoch_ms: int) -> None:
        if self._streams is not None:
            for observed in self._streams.observe(
                report, answered_at_ns=answered_at_ns, epoch_ms=epoch_ms
            ):
                self._allocation.tell(StreamsSeen(observed))

    def _joined_budgets(self) -> contextlib.AbstractContextManager[BudgetMember | None]:
        if self._membership is None:
            return contextlib.nullcontext()
        return self._membership(wake=self.wake)

    def _tell_budgets(self, member: BudgetMember, step: Step, *, is_fresh: bool) -> None:
        """Before any of it is carried out: what is about to be made counts from now on."""
        if not self._acts:
            member.stands_by()
        elif member.grants is None:
            member.acts_freely()
        else:
            member.tell(step.demands, is_fresh=is_fresh)

    def _log(self, step: Step) -> None:
        """Spark's sentences; one that was said in the last step already is not repeated every second."""
        for line in step.log:
            if line.message not in self._logged:
                log.log(_LEVELS[line.level], "allocation", message=line.message)
        self._logged = tuple(line.message for line in step.log)

    @property
    def _acts(self) -> bool:
        return self._settings.mode is Mode.ALLOCATE

    def _is_mine(self, seen: SeenPod) -> bool:
        if not seen.allocation_uid:
            return False
        # an executor that this driver lists as alive belongs to its life, whatever the annotation says
        return seen.incarnation == self._incarnation or seen.pod.executor_id in self._driver.listed

    def _sorted(self, view: PodsView) -> tuple[list[SeenPod], list[SeenPod]]:
        """Pods of this life, and pods that the operator made for a former life of the same driver pod."""
        mine = [seen for seen in view.pods if self._is_mine(seen)]
        former = [
            seen
            for seen in view.pods
            if seen.allocation_uid and seen.incarnation and not self._is_mine(seen)
        ]
        return mine, former

    def _profile_obstacle(self) -> Obstacle | None:
        return (
            Obstacle(Reason.POD_NOT_BUILT, self._driver.profile_errors)
            if self._driver.profile_errors
            else None
        )


def driver_ended(current: DriverPod | None, served: DriverPod) -> bool:
    """Whether the pod that is served is at its end, or lives another life."""
    return (
        current is None
        or current.uid != served.uid
        or current.ended
        or current.deleting
        or current.restart_count != served.restart_count
    )
