"""A driver that is not there: one stage of tasks, executors that come some seconds after they were asked for.

It puts its tasks before the same `Allocation` that serves real drivers, on a clock that is only counted, and tells the
budgets what it needs as a served life does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from spark_allocation.controller.budget_members import BudgetMember
from spark_allocation.controller.effective_settings import EffectiveSettings
from spark_allocation.controller.executor_building import DEFAULT_SIZE, ExecutorWish
from spark_allocation.core.allocation import Allocation
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.budget_cap import Grants
from spark_allocation.core.budgets import RECLAIM_AFTER_MS
from spark_allocation.core.driver_report import DriverReport, ExecutorReport, StageReport
from spark_allocation.core.executor_pod_builder import build_executor_pod
from spark_allocation.core.executor_pod_context import DriverPodFacts, ExecutorPodContext
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.pod_refusals import PodRefused
from spark_allocation.core.pod_size import PodSize, size_of_manifest
from spark_allocation.core.profile_states import ProfileState
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfileManager
from spark_allocation.core.simulation.simulated_executors import asked_pod
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion

QUIET_SECONDS = 20
"""So long without any change, and the wave is over."""
DEFAULT_PROFILE = ProfileId(0)
EPOCH_MS = 1_700_000_000_000
_NANOSECONDS_PER_MILLISECOND = 1_000_000
_NAMESPACE = "spark.kubernetes.namespace"
_SUPPOSED_OF_A_DRIVER = {
    "spark.kubernetes.container.image": "spark",
    "spark.driver.host": "driver",
    "spark.driver.port": "7078",
}
"""What every driver says of itself; it does not change the size of its executors."""


@dataclass(frozen=True, slots=True)
class Supposed:
    """What is taken for given of an application that is not there.

    Attributes:
        tasks: of one stage, all waiting.
        start_seconds: from the request of a pod to its registration.
        properties: the driver's own, without those that make it passive.
        driver_labels: that select policies.
        user: whose defaults hold.
    """

    tasks: int
    start_seconds: int
    properties: Mapping[str, str]
    driver_labels: Mapping[str, str]
    user: str
    version: SparkVersion


@dataclass(frozen=True, slots=True)
class Moment:
    """A second in which something was decided.

    Attributes:
        asked: pods asked for in this second.
        why: in words.
        granted: executors that budgets allow; None when none covers the application.
    """

    second: int
    target: int
    asked: int
    pods: int
    running: int
    why: str
    granted: int | None = None


@dataclass(frozen=True, slots=True)
class SupposedApplication:
    """A SparkAllocation with what the driver would say.

    Attributes:
        labels: of the driver pod.
        wish: what it says of executor pods.
        profiles: the default profile alone.
    """

    namespace: str
    name: str
    labels: Mapping[str, str]
    conf: SparkConf
    settings: EffectiveSettings
    wish: ExecutorWish
    profiles: ResourceProfileManager


class SupposedDriver:
    """The driver of one SparkAllocation, its tasks and its executors."""

    def __init__(self, application: SupposedApplication, supposed: Supposed) -> None:
        """
        Args:
            application: what it belongs to.
            supposed: what is taken for given.
        """
        self.application = application
        self.member: BudgetMember | None = None
        self.woken = False
        size = executor_size(application, supposed)
        self.unknown_size = size if isinstance(size, str) else ""
        """Why the size of its executors cannot be told; "" when it can."""
        self.size = DEFAULT_SIZE if isinstance(size, str) else size
        self.moments: list[Moment] = []
        self._supposed = supposed
        profiles = application.profiles
        capacity = profiles.capacity(DEFAULT_PROFILE)
        self._slots = max(1, capacity.tasks if capacity is not None else 1)
        self._allocation = Allocation(application.settings.core, profiles, now_ns=0)
        self._pods: dict[ExecutorId, ExecutorPod] = {}
        self._asked_at: dict[ExecutorId, int] = {}
        self._next_id = 1
        self._quiet = 0
        self._asked = self._gone = 0
        self._last: Step | None = None

    def wake(self) -> None:
        """Its grants have changed."""
        self.woken = True

    def next_size(self, _: ProfileId) -> PodSize:
        """Of the pod that would be made next."""
        return self.size

    @property
    def is_over(self) -> bool:
        """Nothing has changed for long, and nothing is under way."""
        quiet = QUIET_SECONDS
        if self._grants is not None:
            quiet += RECLAIM_AFTER_MS // 1000
        return self._quiet >= quiet and len(self._running) == len(self._pods)

    @property
    def _grants(self) -> Grants | None:
        return None if self.member is None else self.member.grants_now

    @property
    def _running(self) -> list[ExecutorId]:
        return [each for each, pod in self._pods.items() if pod.state is PodState.RUNNING]

    def begin(self, second: int) -> None:
        """Pods that have started by now run."""
        self._asked = self._gone = 0
        for executor_id, pod in self._pods.items():
            if second - self._asked_at[executor_id] >= self._supposed.start_seconds:
                self._pods[executor_id] = replace(pod, state=PodState.RUNNING)

    def step(self, second: int, later_ms: int) -> None:
        """Decide, so many milliseconds into the second; what is asked for is there at once, and what is given back is gone."""
        self.woken = False
        now_ms = EPOCH_MS + second * 1000 + later_ms
        now_ns = (second * 1000 + later_ms) * _NANOSECONDS_PER_MILLISECOND
        allocation, member = self._allocation, self.member
        if member is not None:
            allocation.grant(self._grants)
        told = _report(self._running, self._slots, self._supposed.tasks)
        allocation.take_report(told, now_ns=now_ns, now_ms=now_ms)
        self._last = step = allocation.step(
            ExecutorPodsSnapshot.replaced(self._pods.values(), at=now_ms),
            now_ns=now_ns,
            now_ms=now_ms,
            report_is_fresh=True,
        )
        if member is not None and member.grants is not None:
            member.tell(step.demands, is_fresh=True)
        for request in step.plan.create if step.plan is not None else ():
            for _ in range(request.count):
                executor_id = ExecutorId(self._next_id)
                self._next_id += 1
                self._asked += 1
                allocation.creation_started(executor_id, request.profile_id, now_ms)
                allocation.pods.pod_created(executor_id, now_ms, uid=f"uid-{executor_id}")
                self._pods[executor_id] = asked_pod(
                    executor_id, request.profile_id, now_ms, self.size
                )
                self._asked_at[executor_id] = second
        for pod in step.surplus:
            del self._pods[pod.executor_id]
            self._gone += 1

    def end(self, second: int) -> None:
        """Write down what has changed in this second."""
        if self._last is None:
            return
        target = self._allocation.manager.targets.get(DEFAULT_PROFILE, 0)
        granted = self._profile.granted if self._profile is not None else None
        before = self.moments[-1] if self.moments else None
        if (
            self._asked
            or self._gone
            or before is None
            or (before.target, before.granted) != (target, granted)
        ):
            self._quiet = 0
            self.moments.append(
                Moment(
                    second,
                    target,
                    self._asked,
                    len(self._pods),
                    len(self._running),
                    _why(self._last),
                    granted,
                )
            )
        else:
            self._quiet += 1

    @property
    def _profile(self) -> ProfileState | None:
        states = () if self._last is None else self._last.profiles
        return next((each for each in states if each.profile_id == DEFAULT_PROFILE), None)

    @property
    def grant_reason(self) -> str:
        """How its grant came about; "" when no budget covers it."""
        return "" if self._profile is None else self._profile.grant_reason


def executor_size(application: SupposedApplication, supposed: Supposed) -> PodSize | str:
    """Of an executor pod, or why it cannot be told."""
    namespace, wish = application.namespace, application.wish
    profile = application.profiles.get(DEFAULT_PROFILE)
    if profile is None:
        return "Spark would refuse what the driver says of its executors"
    known = {**_SUPPOSED_OF_A_DRIVER, **application.conf, **wish.properties, _NAMESPACE: namespace}
    manifest = build_executor_pod(
        SparkConf(known),
        profile,
        ExecutorId(1),
        ExecutorPodContext(
            application_id="spark-dry-run",
            spark_version=supposed.version,
            driver=DriverPodFacts("driver", "driver", namespace, supposed.user or "spark"),
            pod_name_prefix="dry-run",
            pod_template=wish.template,
        ),
    )
    if isinstance(manifest, PodRefused):
        return f"{manifest.key}={manifest.value!r} {manifest.rule}"
    return size_of_manifest(manifest.pod)


def _report(running: list[ExecutorId], slots: int, tasks: int) -> DriverReport:
    left, executors = tasks, []
    for executor_id in running:
        active = min(slots, left)
        left -= active
        executors.append(
            ExecutorReport(
                id=executor_id,
                profile_id=DEFAULT_PROFILE,
                active=True,
                active_tasks=active,
                max_tasks=slots,
                total_tasks=active,
                failed_tasks=0,
                rdd_blocks=0,
                cached_bytes=0,
                shuffle_write_bytes=0,
            )
        )
    stage = StageReport(
        stage_id=0,
        attempt_id=0,
        profile_id=DEFAULT_PROFILE,
        num_tasks=tasks,
        completed_indices=0,
        active_tasks=tasks - left,
    )
    return DriverReport(
        stages=(stage,) if tasks else (),
        executors=tuple(executors),
        running_jobs=(0,) if tasks else (),
        max_needed_executors=None,
    )


def _why(step: Step) -> str:
    words = [str(decision.reason) for decision in step.decisions.values()]
    words += [
        str(profile.bound)
        for profile in step.profiles
        if profile.target > profile.running + profile.pending
    ]
    return ", ".join(dict.fromkeys(word for word in words if word and word != "Nothing"))
