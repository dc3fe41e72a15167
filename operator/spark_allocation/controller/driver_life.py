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
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from spark_allocation.api.conditions import Reason
from spark_allocation.api.v1alpha1 import Mode, RecommendationStatus
from spark_allocation.controller.budget_members import BudgetMember, Membership
from spark_allocation.controller.effective_settings import EffectiveSettings
from spark_allocation.controller.going_nodes import GoingNodes
from spark_allocation.controller.plan_execution import PlanExecution
from spark_allocation.controller.pod_creation import Obstacle
from spark_allocation.controller.recommending import Recommending
from spark_allocation.controller.streaming_life import LifeStreams
from spark_allocation.controller.sweep import sweep_pods
from spark_allocation.core.allocation import Allocation, Step
from spark_allocation.core.driver_report import DriverPod, DriverReport
from spark_allocation.core.executor_pods import ExecutorId, judged
from spark_allocation.core.resource_profiles import (
    InvalidProfile,
    ProfileId,
    ResourceProfile,
    ResourceProfileManager,
)
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.spark_conf import InvalidSetting
from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.observations import QueryName
from spark_allocation.epoch_clock import epoch_ms
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.pods_api import PodsApi
from spark_allocation.reports.metrics import ANSWERED
from spark_allocation.reports.streams import StreamingStatement
from spark_allocation.snapshots_store import (
    DriverKey,
    ExecutorPodsSnapshotsStore,
    PodsView,
    SeenPod,
)
from spark_allocation.sources.driver_rest import DriverRest, Unreachable

FRESH_SECONDS = 15.0
"""An answer of the driver older than this decides nothing."""
DEAD_EXECUTORS_EVERY_SECONDS = 10.0
SHORTEST_PAUSE_SECONDS = 0.05
AFTER_API_FAILURE_SECONDS = 1.0
POLLS_THAT_MAY_FAIL = 3
FIRST_ANSWER_SECONDS = 5.0
UNKNOWN_PROFILE_SECONDS = 15.0
"""A profile that the driver's environment did not explain is not asked for again sooner."""
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
        allocation: Allocation,
        profiles: ResourceProfileManager,
        execution: PlanExecution,
        store: ExecutorPodsSnapshotsStore,
        going_nodes: GoingNodes,
        pods: PodsApi,
        settings: EffectiveSettings,
        profile_errors: str,
        poll_seconds: float,
        idle_poll_seconds: float,
        count_poll: Callable[[str, float], None] = lambda _outcome, _seconds: None,
        membership: Membership | None = None,
        profiles_learned: Callable[[], None] = lambda: None,
        recommending: Recommending | None = None,
        streams: LifeStreams | None = None,
    ) -> None:
        self._key = key
        self._incarnation = incarnation
        self._rest = rest
        self._allocation = allocation
        self._profiles = profiles
        self._execution = execution
        self._store = store
        self._going_nodes = going_nodes
        self._pods = pods
        self._settings = settings
        self._poll_seconds = poll_seconds
        self._idle_poll_seconds = idle_poll_seconds
        self._count_poll = count_poll
        self._membership = membership
        self._budget_member: BudgetMember | None = None
        self._profiles_learned = profiles_learned
        self._recommending = recommending or Recommending()
        self._streams = streams
        self._look_at_streams()
        self._wake = asyncio.Event()
        self._polled = asyncio.Event()
        self._report: DriverReport | None = None
        self._asked_at = 0.0
        self._answered_at_ns = 0
        self._taken = True
        self._unreachable: Unreachable | None = None
        self._failed_polls = 0
        self._profile_errors = profile_errors
        self._profiles_asked_at: dict[frozenset[ProfileId], float] = {}
        self._listed_alive: frozenset[ExecutorId] = frozenset()
        self._listed_at_work: frozenset[ExecutorId] = frozenset()
        execution.works = lambda executor_id: executor_id in self._listed_at_work
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
        self._allocation.reconfigure(settings.core, time.monotonic_ns())
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
        report: Callable[[Observation], Awaitable[None]],
    ) -> LifeEnd:
        """Serve until ``ended`` says why not.

        Args:
            ended: asked before each step.
            report: called after each step.
        """
        self._execution.drain_grace_seconds = self._settings.drain_grace_seconds
        polling = asyncio.create_task(self._poll())
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
                    if end is None and self._failed_polls and self._application_is_gone():
                        end = LifeEnd.APPLICATION_GONE
                    if end is not None:
                        return end
                    for task in (polling, asking):
                        if task.done():
                            task.result()
                    await self._turn(report)
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
                await self._polled.wait()

    async def _turn(self, report: Callable[[Observation], Awaitable[None]]) -> None:
        self._wake.clear()
        pause = self._idle_poll_seconds
        try:
            view = self._store.take(self._key)
            mine, former = self._sorted(view)
            step = self._step(view, mine)
            if self._settings.mode is Mode.RECOMMEND:
                step = self._recommending.take(
                    step,
                    view.pods,
                    self._settings.core.dynamic,
                    fresh=self._report_is_fresh,
                    now_ns=time.monotonic_ns(),
                )
            if self._acts:
                await self._execution.apply(step)
                if former and self._report is not None:
                    await sweep_pods(self._pods, former, grace_seconds=FORMER_LIFE_GRACE_SECONDS)
            await report(
                Observation(
                    step=step,
                    settings=self._settings,
                    obstacle=self._execution.obstacle or self._profile_obstacle(),
                    drain_obstacle=self._execution.drain_obstacle,
                    unreachable=self._unreachable
                    if self._failed_polls >= POLLS_THAT_MAY_FAIL
                    else None,
                    failed_executors=self._allocation.failures.count,
                    recommendation=self.recommendation,
                    learned_streams=self._allocation.learned_streams,
                    streams=() if self._streams is None else tuple(self._streams.statements),
                )
            )
            if step.wake_at_ns is not None:
                pause = min(pause, (step.wake_at_ns - time.monotonic_ns()) / 1e9)
        except ApiUnavailable as error:
            log.warning("api_unavailable", error=str(error))
            pause = AFTER_API_FAILURE_SECONDS
            await asyncio.sleep(AFTER_API_FAILURE_SECONDS)
        await asyncio.sleep(SHORTEST_PAUSE_SECONDS)  # gathers pod events that come in bursts
        try:
            async with asyncio.timeout(max(0.0, pause - SHORTEST_PAUSE_SECONDS)):
                await self._wake.wait()
        except TimeoutError:
            pass  # that is what the pause is for

    def _step(self, view: PodsView, mine: list[SeenPod]) -> Step:
        now_ns, now_ms = time.monotonic_ns(), epoch_ms()
        if self._report is not None and not self._taken:
            self._taken = True
            age_ms = (now_ns - self._answered_at_ns) // 1_000_000
            self._allocation.take_report(
                self._report, now_ns=self._answered_at_ns, now_ms=now_ms - age_ms
            )
            self._observe_streams(self._report, self._answered_at_ns, now_ms - age_ms)
        rule = self._settings.core.lifecycle.containers
        departed = [judged(seen.pod, rule) for seen in view.departed if self._is_mine(seen)]
        is_fresh = self._report_is_fresh and self._settings.mode is not Mode.PAUSED
        member = self._budget_member
        self._allocation.grant(member.grants_now if member is not None and self._acts else None)
        step = self._allocation.step(
            ExecutorPodsSnapshot.replaced(
                (judged(seen.pod, rule) for seen in mine), at=int(view.full_sync_at * 1000)
            ),
            vanished=departed,
            going_nodes=self._going_nodes.names,
            now_ns=now_ns,
            now_ms=now_ms,
            report_is_fresh=is_fresh,
            acts=self._acts,
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
            observed = self._streams.observe(
                report, answered_at_ns=answered_at_ns, epoch_ms=epoch_ms
            )
            if observed is not None:
                self._allocation.take_streaming(observed)

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
    def _report_is_fresh(self) -> bool:
        return self._report is not None and time.monotonic() - self._asked_at < FRESH_SECONDS

    @property
    def _acts(self) -> bool:
        return self._settings.mode is Mode.ALLOCATE

    def _is_mine(self, seen: SeenPod) -> bool:
        if not seen.allocation_uid:
            return False
        # an executor that this driver lists as alive belongs to its life, whatever the annotation says
        return seen.incarnation == self._incarnation or seen.pod.executor_id in self._listed_alive

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
            Obstacle(Reason.POD_NOT_BUILT, self._profile_errors) if self._profile_errors else None
        )

    # -- polling -----------------------------------------------------------------------------------------------------

    async def _poll(self) -> None:
        dead_asked_at = -DEAD_EXECUTORS_EVERY_SECONDS
        while True:
            began = time.monotonic()
            with_dead = began - dead_asked_at >= DEAD_EXECUTORS_EVERY_SECONDS
            answer = await self._rest.poll(with_dead_executors=with_dead)
            seconds = time.monotonic() - began
            if isinstance(answer, Unreachable):
                self._count_poll(answer.reason, seconds)
                self._unreachable = answer
                self._failed_polls += 1
            else:
                self._count_poll(ANSWERED, seconds)
                if with_dead:
                    dead_asked_at = began
                await self._learn_profiles(answer)
                self._unreachable = None
                self._failed_polls = 0
                self._report = answer
                self._listed_alive = frozenset(executor.id for executor in answer.executors)
                self._listed_at_work = frozenset(
                    executor.id for executor in answer.executors if executor.active_tasks > 0
                )
                self._asked_at = began
                self._answered_at_ns = time.monotonic_ns()
                self._taken = False
            self._polled.set()
            self.wake()
            busy = self._report is not None and (
                self._report.running_jobs or self._report.executors
            )
            interval = self._poll_seconds if busy else self._idle_poll_seconds
            await asyncio.sleep(max(self._rest.rest_seconds, began + interval - time.monotonic()))

    async def _learn_profiles(self, report: DriverReport) -> None:
        """Ask for the profiles again when a stage or an executor names one that is not known."""
        named = {stage.profile_id for stage in report.stages}
        named |= {executor.profile_id for executor in report.executors}
        unknown = frozenset(profile_id for profile_id in named if profile_id not in self._profiles)
        if not unknown:
            return
        now = time.monotonic()
        if now - self._profiles_asked_at.get(unknown, -UNKNOWN_PROFILE_SECONDS) < (
            UNKNOWN_PROFILE_SECONDS
        ):
            return
        self._profiles_asked_at = {unknown: now}
        environment = await self._rest.environment()
        if isinstance(environment, Unreachable):
            return
        self._profile_errors = add_profiles(self._profiles, environment.resource_profiles)
        self._profiles_learned()

    def _application_is_gone(self) -> bool:
        """The driver answers, but not for this application: it has another one, or none any more."""
        return (
            self._failed_polls >= POLLS_THAT_MAY_FAIL
            and self._unreachable is not None
            and self._unreachable.reason in (Reason.NOT_A_SPARK_UI, Reason.CONNECTION_REFUSED)
        )


def add_profiles(
    profiles: ResourceProfileManager, reported: Mapping[ProfileId, ResourceProfile]
) -> str:
    """Make reported profiles known; returns a sentence about those that Spark itself would refuse."""
    errors: list[str] = []
    for profile in reported.values():
        try:
            profiles.add(profile)
        except (InvalidProfile, InvalidSetting) as error:
            errors.append(str(error))
    return "; ".join(errors)


def driver_ended(current: DriverPod | None, served: DriverPod) -> bool:
    """Whether the pod that is served is at its end, or lives another life."""
    return (
        current is None
        or current.uid != served.uid
        or current.ended
        or current.deleting
        or current.restart_count != served.restart_count
    )
