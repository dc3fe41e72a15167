"""What the operator would do for a SparkAllocation, decided by the core itself, without a cluster.

One stage of waiting tasks is put before the same `Allocation` that serves real drivers, on a clock that is only
counted. Pods run and register some seconds after they were asked for; tasks that have a place keep it. So what is seen
is the first wave: how fast it rises, where it ends, and what ends it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from spark_allocation.api.group import KIND
from spark_allocation.controller.driver_configuration import parse_java_properties
from spark_allocation.controller.effective_settings import EffectiveSettings, effective_settings
from spark_allocation.controller.policy_directory import PolicyDirectory, SelectedPolicies
from spark_allocation.controller.spec_reading import InvalidSpec, read_spec
from spark_allocation.core.allocation import Allocation, Step
from spark_allocation.core.driver_report import DriverReport, ExecutorReport, StageReport
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.passive_driver import PASSIVE_SETTINGS
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfileManager
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.spark_conf import InvalidSetting, SparkConf
from spark_allocation.core.spark_version import SparkVersion

LONGEST_SECONDS = 600
QUIET_SECONDS = 20
"""So long without any change, and the wave is over."""
_DEFAULT_PROFILE = ProfileId(0)
_EPOCH_MS = 1_700_000_000_000
_NANOSECONDS = 1_000_000_000


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
    """

    second: int
    target: int
    asked: int
    pods: int
    running: int
    why: str


@dataclass(frozen=True, slots=True)
class DryRun:
    """One SparkAllocation, run dry."""

    namespace: str
    name: str
    settings: EffectiveSettings
    policies: SelectedPolicies
    moments: tuple[Moment, ...]


def dry_runs(documents: Iterable[Mapping[str, Any]], supposed: Supposed) -> list[DryRun] | str:
    """Run every SparkAllocation among these documents under the policies among them; a sentence when that cannot be."""
    directory = PolicyDirectory()
    bodies = []
    for document in documents:
        if document.get("kind") == KIND:
            bodies.append(document)
        else:
            directory.update(str(document.get("kind")), document)
    if not bodies:
        return "there is no SparkAllocation in the files"
    found = []
    for body in bodies:
        metadata = body.get("metadata") or {}
        namespace = str(metadata.get("namespace") or "default")
        name = str(metadata.get("name") or "")
        spec = read_spec(body, strict=True)
        if isinstance(spec, InvalidSpec):
            return f"SparkAllocation {name}: {spec}"
        passive = {setting.key: setting.value for setting in PASSIVE_SETTINGS}
        conf = SparkConf({**supposed.properties, **passive})
        policies = directory.selected(namespace, supposed.driver_labels)
        settings = effective_settings(
            spec,
            conf,
            supposed.version,
            policies,
            supposed.user,
            profiles=ResourceProfileManager(conf),
        )
        if isinstance(settings, InvalidSetting):
            return f"SparkAllocation {name}: {settings}"
        moments = tuple(_wave(settings, conf, supposed))
        found.append(DryRun(namespace, name, settings, policies, moments))
    return found


def read_properties(text: str) -> dict[str, str]:
    """Properties as spark-submit's ``--properties-file`` takes them: ``key=value``, ``key value`` or ``key: value``."""
    lines = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and stripped[0] not in "#!" and "=" not in stripped:
            key, _, value = stripped.replace(":", " ", 1).partition(" ")
            stripped = f"{key}={value.strip()}"
        lines.append(stripped)
    return parse_java_properties("\n".join(lines))


def _wave(settings: EffectiveSettings, conf: SparkConf, supposed: Supposed) -> Iterable[Moment]:
    profiles = ResourceProfileManager(conf)
    capacity = profiles.capacity(_DEFAULT_PROFILE)
    slots = max(1, capacity.tasks if capacity is not None else 1)
    allocation = Allocation(settings.core, profiles, now_ns=0)
    pods: dict[ExecutorId, ExecutorPod] = {}
    asked_at: dict[ExecutorId, int] = {}
    quiet, last_target, next_id = 0, -1, 1
    for second in range(LONGEST_SECONDS):
        for executor_id, pod in pods.items():
            if second - asked_at[executor_id] >= supposed.start_seconds:
                pods[executor_id] = replace(pod, state=PodState.RUNNING)
        running = [each for each, pod in pods.items() if pod.state is PodState.RUNNING]
        now_ns, now_ms = second * _NANOSECONDS, _EPOCH_MS + second * 1000
        allocation.take_report(
            _report(running, slots, supposed.tasks), now_ns=now_ns, now_ms=now_ms
        )
        step = allocation.step(
            ExecutorPodsSnapshot.replaced(pods.values(), at=now_ms),
            now_ns=now_ns,
            now_ms=now_ms,
            report_is_fresh=True,
        )
        asked = 0
        for request in step.plan.create if step.plan is not None else ():
            for _ in range(request.count):
                executor_id = ExecutorId(next_id)
                next_id += 1
                asked += 1
                allocation.creation_started(executor_id, request.profile_id, now_ms)
                allocation.pods.pod_created(executor_id, now_ms, uid=f"uid-{executor_id}")
                pods[executor_id] = _pod(executor_id, request.profile_id, now_ms)
                asked_at[executor_id] = second
        target = allocation.manager.targets.get(_DEFAULT_PROFILE, 0)
        if asked or target != last_target:
            yield Moment(second, target, asked, len(pods), len(running), _why(step))
            quiet, last_target = 0, target
        else:
            quiet += 1
            if quiet >= QUIET_SECONDS and len(running) == len(pods):
                return


def _report(running: list[ExecutorId], slots: int, tasks: int) -> DriverReport:
    left, executors = tasks, []
    for executor_id in running:
        active = min(slots, left)
        left -= active
        executors.append(
            ExecutorReport(
                id=executor_id,
                profile_id=_DEFAULT_PROFILE,
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
        profile_id=_DEFAULT_PROFILE,
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


def _pod(executor_id: ExecutorId, profile_id: ProfileId, now_ms: int) -> ExecutorPod:
    return ExecutorPod(
        uid=f"uid-{executor_id}",
        name=f"exec-{executor_id}",
        namespace="",
        executor_id=executor_id,
        profile_id=profile_id,
        state=PodState.PENDING,
        created_at=now_ms / 1000,
    )


def _why(step: Step) -> str:
    words = [str(decision.reason) for decision in step.decisions.values()]
    words += [
        str(profile.bound)
        for profile in step.profiles
        if profile.target > profile.running + profile.pending
    ]
    return ", ".join(dict.fromkeys(word for word in words if word and word != "Nothing"))
