"""Keeps one SparkAllocation converged: find the driver, serve its lives, sweep up after it.

The runner owns no policy. It is a sequence of questions, asked again whenever something changes: what does the object
want, which pod is the driver, is it ours to serve, does it answer, is it passive. The first that has a bad answer
becomes a condition with a remedy, and no pod is touched. When all have good ones, `DriverLife` does the work.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import aiohttp
import structlog
from pydantic import ValidationError

from spark_allocation.api.conditions import ConditionType, Reason
from spark_allocation.api.group import (
    ALLOCATION_UID_LABEL,
    INCARNATION_ANNOTATION,
    NEXT_EXECUTOR_ID_ANNOTATION,
)
from spark_allocation.api.v1alpha1 import DeletionPolicy, Mode, SparkAllocationSpec
from spark_allocation.controller.allocation_reporter import AllocationReporter
from spark_allocation.controller.driver_configuration import (
    DriverConfiguration,
    UnreadableConfiguration,
    read_driver_configuration,
)
from spark_allocation.controller.driver_finding import DriverFinder, NoDriver
from spark_allocation.controller.driver_life import DriverLife, LifeEnd, add_profiles, driver_ended
from spark_allocation.controller.effective_settings import (
    DRAIN_GRACE_SECONDS,
    EVICTION_GRACE_SECONDS,
    EffectiveSettings,
    effective_settings,
)
from spark_allocation.controller.incarnation import incarnation_of, pod_name_prefix
from spark_allocation.controller.plan_execution import Apis, Identity, PlanExecution
from spark_allocation.controller.process_settings import ProcessSettings
from spark_allocation.controller.sweep import ours, sweep_objects, sweep_pods
from spark_allocation.core.allocation import Allocation
from spark_allocation.core.driver_report import Application, DriverPod
from spark_allocation.core.executor_ids import ExecutorIds
from spark_allocation.core.executor_pod_builder import ExecutorPodManifest, build_executor_pod
from spark_allocation.core.executor_pod_context import ExecutorPodContext
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.passive_driver import offences
from spark_allocation.core.pod_refusals import PodRefused, RefusalReason
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfileManager
from spark_allocation.core.spark_conf import InvalidSetting
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.reports.events import EventWriter
from spark_allocation.reports.status import StatusWriter, timestamp
from spark_allocation.snapshots_store import DriverKey, ExecutorPodsSnapshotsStore
from spark_allocation.sources.driver_rest import DriverRest, Unreachable, find_driver, ui_ports

LOOK_AGAIN_SECONDS = 3.0
WHILE_STARTING_SECONDS = 1.0
START_PATIENCE_SECONDS = 60.0
"""A driver that has started so lately and does not answer is starting; later it is unreachable."""
SWEEP_GRACE_SECONDS = 5

log = structlog.get_logger("allocation_runner")


class Stopper(Protocol):
    """Whether the runner has to stop, and whether because the object is being deleted."""

    def __bool__(self) -> bool: ...

    async def wait(self) -> None:
        """Return once the runner has to stop."""

    @property
    def object_deleted(self) -> bool:
        """The SparkAllocation is being deleted."""


class DriverClaims(Protocol):
    """Which SparkAllocation serves which driver."""

    def claim(self, driver_uid: str, allocation_uid: str) -> str:
        """Claim a driver; returns "" when it is ours, else the name of the older SparkAllocation that has it."""

    def release(self, allocation_uid: str) -> None:
        """Give up what this allocation has claimed."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What runners share."""

    apis: Apis
    store: ExecutorPodsSnapshotsStore
    finder: DriverFinder
    session: aiohttp.ClientSession
    claims: DriverClaims
    settings: ProcessSettings


@dataclass(frozen=True, slots=True)
class _Connection:
    """A driver that answers, is passive, and whose executors can be built."""

    rest: DriverRest
    application: Application
    configuration: DriverConfiguration
    settings: EffectiveSettings
    profiles: ResourceProfileManager
    profile_errors: str


class AllocationRunner:
    """Serves one SparkAllocation from the moment it is seen until it is deleted or the process ends."""

    def __init__(self, body: Mapping[str, Any], surroundings: Surroundings) -> None:
        metadata = body["metadata"]
        self.uid: str = metadata["uid"]
        self.namespace: str = metadata["namespace"]
        self.name: str = metadata["name"]
        self.created_at: str = metadata["creationTimestamp"]
        self._around = surroundings
        self._body = body
        self._stored: dict[str, Any] = dict(body.get("status") or {})
        self._wake = asyncio.Event()
        self._life: DriverLife | None = None
        self._connection: _Connection | None = None
        self._served: DriverPod | None = None
        self._invalid = ""
        self._spec: SparkAllocationSpec | None = None
        self._reporter = AllocationReporter(
            StatusWriter(surroundings.apis.allocations, self.namespace, self.name, self._stored),
            EventWriter(
                surroundings.apis.objects, namespace=self.namespace, name=self.name, uid=self.uid
            ),
            self._stored,
        )
        self._read(body)

    def seen(self, body: Mapping[str, Any]) -> None:
        """The object changed; a new generation takes effect at once."""
        generation = body["metadata"].get("generation", 0)
        if generation != self._reporter.generation:
            self._read(body)
            self.wake()

    def wake(self) -> None:
        """Something changed: look again."""
        self._wake.set()
        if self._life is not None:
            self._life.wake()

    def names(self, pod: DriverPod) -> bool:
        """Whether this pod is the one that the object asks for."""
        if self._spec is None or pod.namespace != self.namespace:
            return False
        return pod in self._around.finder.candidates(self.namespace, self._spec.driver)

    async def run(self, stopper: Stopper) -> None:
        """Serve until stopped. Only a deleted object lets executors go, and only as its policy says."""
        structlog.contextvars.bind_contextvars(
            allocation=self.name, allocation_namespace=self.namespace
        )
        stopping = asyncio.create_task(self._wake_when_stopped(stopper))
        try:
            await self._around.store.synced.wait()
            with self._around.finder.directory.subscription(self.namespace, self.wake):
                while not stopper and not self._reporter.object_gone:
                    self._wake.clear()
                    pause = await self._attend(stopper)
                    await self._rest_until_woken(pause)
            if stopper and stopper.object_deleted:
                await self._let_go()
        finally:
            stopping.cancel()
            self._around.claims.release(self.uid)

    # -- questions ---------------------------------------------------------------------------------------------------

    async def _attend(self, stopper: Stopper) -> float:
        """Ask the questions once; returns how long to wait for a better answer."""
        try:
            if self._spec is None:
                self._say_not_ready("InvalidSpec", Reason.INVALID_SPEC, self._invalid)
                await self._reporter.write()
                return LOOK_AGAIN_SECONDS * 10
            if self._finished() and not self._has_new_driver():
                return await self._after_the_end()
            driver = await self._around.finder.find(self.namespace, self._spec.driver)
            if isinstance(driver, NoDriver):
                return await self._without_driver(driver)
            older = self._around.claims.claim(driver.uid, self.uid)
            if older:
                self._say_conflict(older, driver)
                await self._reporter.write()
                return LOOK_AGAIN_SECONDS
            self._reporter.say(
                ConditionType.CONFLICTED,
                False,
                Reason.ONLY_ALLOCATION,
                "no other SparkAllocation serves the driver",
            )
            self._served = driver
            self._reporter.set(driver_pod=driver.name, driver_pod_uid=driver.uid)
            if driver.ended or driver.deleting:
                return await self._finish(driver)
            if not driver.ip or driver.started_at is None:
                self._say_not_ready(
                    "DriverStarting",
                    Reason.DRIVER_STARTING,
                    f"driver pod {driver.name} is {driver.phase or 'new'}",
                )
                await self._reporter.write()
                return LOOK_AGAIN_SECONDS
            connection = await self._connect(driver)
            if connection is None:
                await self._reporter.write()
                return LOOK_AGAIN_SECONDS if self._seems_stuck() else WHILE_STARTING_SECONDS
            await self._serve(driver, connection, stopper)
        except ApiUnavailable as error:
            log.warning("api_unavailable", error=str(error))
            return LOOK_AGAIN_SECONDS
        return 0.0

    async def _without_driver(self, nothing: NoDriver) -> float:
        served_uid = self._stored.get("driverPodUid") or (self._served.uid if self._served else "")
        if served_uid and nothing.reason is Reason.DRIVER_NOT_FOUND:
            # it was there once: its pod was deleted, and the garbage collector has taken what it owned
            self._say_finished(Reason.DRIVER_GONE, "the driver pod is gone")
            await self._reporter.write()
            return 0.0
        self._say_not_ready(nothing.reason.value, nothing.reason, nothing.message)
        await self._reporter.write()
        return LOOK_AGAIN_SECONDS

    async def _connect(self, driver: DriverPod) -> _Connection | None:
        """The driver's REST API, its configuration and our settings; None after saying what is wrong."""
        assert self._spec is not None
        found = await find_driver(
            self._around.session,
            driver.ip,
            ui_ports(driver.ui_port, self._spec.driver.ui_port),
            driver.labels.get("spark-app-selector", ""),
        )
        if isinstance(found, Unreachable):
            self._say_unreachable(found, driver)
            return None
        rest, application = found
        environment = await rest.environment()
        if isinstance(environment, Unreachable):
            self._say_unreachable(environment, driver)
            return None
        self._reporter.say(
            ConditionType.DRIVER_REACHABLE, True, Reason.ANSWERS, "the driver's REST API answers"
        )
        mode = self._spec.mode or Mode.ALLOCATE
        offending = offences(environment.spark_properties)
        if offending and mode is not Mode.RECOMMEND:
            message = (
                "the driver allocates for itself; start it with the settings that `spark-allocation driver-conf` "
                f"prints: {'; '.join(map(str, offending))}"
            )
            self._reporter.say(
                ConditionType.DRIVER_PASSIVE, False, Reason.ALLOCATES_ITSELF, message
            )
            self._say_not_ready("DriverNotPassive", Reason.ALLOCATES_ITSELF, message)
            return None
        self._reporter.say(
            ConditionType.DRIVER_PASSIVE,
            not offending,
            Reason.ALLOCATES_ITSELF if offending else Reason.PASSIVE,
        )
        pod = await self._around.apis.pods.get(driver.namespace, driver.name)
        if pod is None or pod["metadata"]["uid"] != driver.uid:
            return None
        configuration = await read_driver_configuration(
            driver_pod=pod,
            application=application,
            environment=environment,
            spark_conf=self._spec.spark_conf or {},
            objects=self._around.apis.objects,
        )
        if isinstance(configuration, UnreadableConfiguration):
            self._say_not_ready(
                "NotReadable", Reason.UNREADABLE_CONFIGURATION, configuration.message
            )
            return None
        try:
            profiles = ResourceProfileManager(configuration.conf)
        except ValueError as error:
            self._say_not_ready("NotReadable", Reason.UNREADABLE_CONFIGURATION, str(error))
            return None
        errors = add_profiles(profiles, environment.resource_profiles)
        settings = effective_settings(self._spec, configuration.conf, configuration.version)
        if isinstance(settings, InvalidSetting):
            self._say_not_ready("InvalidSpec", Reason.INVALID_SPEC, str(settings))
            return None
        return _Connection(rest, application, configuration, settings, profiles, errors)

    def _seems_stuck(self) -> bool:
        ready = self._reporter.conditions[ConditionType.READY]
        return ready is None or ready.reason != Reason.DRIVER_STARTING

    # -- serving -----------------------------------------------------------------------------------------------------

    async def _serve(self, driver: DriverPod, connection: _Connection, stopper: Stopper) -> None:
        incarnation = incarnation_of(driver, connection.application)
        key = DriverKey(driver.namespace, driver.uid)
        same_life = self._stored.get("incarnation") == incarnation
        self._reporter.begin_life(driver, connection.application, incarnation)
        self._reporter.conditions.drop(ConditionType.FINISHED)
        allocation = Allocation(
            connection.settings.core,
            connection.profiles,
            now_ns=time.monotonic_ns(),
            targets=_stored_targets(self._stored) if same_life else None,
        )
        ids = await self._ids(connection)
        prefix = pod_name_prefix(
            connection.configuration.conf.get("spark.kubernetes.executor.podNamePrefix"),
            connection.application.name,
            incarnation,
        )
        execution = PlanExecution(
            allocation,
            self._around.apis,
            Identity(self.namespace, self.name, self.uid, driver.uid),
            ids=ids,
            pod_name=lambda executor_id: f"{prefix}-exec-{executor_id}",
            build_pod=lambda executor_id, profile_id: self._build(
                connection, prefix, incarnation, ids, executor_id, profile_id
            ),
        )
        life = DriverLife(
            key=key,
            incarnation=incarnation,
            allocation_uid=self.uid,
            rest=connection.rest,
            allocation=allocation,
            profiles=connection.profiles,
            execution=execution,
            store=self._around.store,
            pods=self._around.apis.pods,
            settings=connection.settings,
            poll_seconds=self._around.settings.poll_seconds,
            idle_poll_seconds=self._around.settings.idle_poll_seconds,
        )
        log.info(
            "driver_served",
            driver_pod=driver.name,
            application=connection.application.id,
            incarnation=incarnation,
            resumed=same_life,
            next_executor_id=ids.next_id,
        )
        self._life = life
        self._connection = connection
        watching = asyncio.create_task(self._look_after(driver))
        try:
            end = await life.serve(
                ended=lambda: self._life_end(driver, stopper), report=self._reporter.observed
            )
        finally:
            watching.cancel()
            self._life = None
            self._stored["incarnation"] = incarnation
            self._stored["profiles"] = [
                {"id": profile_id, "target": target}
                for profile_id, target in allocation.manager.targets.items()
            ]
        log.info("driver_not_served", driver_pod=driver.name, why=end)

    async def _look_after(self, driver: DriverPod) -> None:
        """Ask for a driver pod that no watch covers, so that its end is noticed."""
        while True:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            try:
                await self._around.finder.refresh(driver)
            except ApiUnavailable as error:
                log.warning("api_unavailable", error=str(error))

    def _life_end(self, driver: DriverPod, stopper: Stopper) -> LifeEnd | None:
        if stopper or self._reporter.object_gone or self._spec is None:
            return LifeEnd.STOPPED
        current = self._around.finder.current(driver)
        if driver_ended(current, driver):
            return LifeEnd.DRIVER_CHANGED
        if self._around.claims.claim(driver.uid, self.uid):
            return LifeEnd.NOT_OURS
        return None

    async def _ids(self, connection: _Connection) -> ExecutorIds:
        current = await self._around.apis.allocations.get(self.namespace, self.name) or {}
        assert self._served is not None
        key = DriverKey(self._served.namespace, self._served.uid)
        report = await connection.rest.poll(with_dead_executors=True)
        listed: list[ExecutorId] = []
        if not isinstance(report, Unreachable):
            listed = [
                executor.id for executor in (*report.executors, *(report.dead_executors or ()))
            ]
        return ExecutorIds.after_restart(
            reserved_until=(current.get("status") or {}).get("nextExecutorId") or 1,
            seen_on_pods=[seen.pod.executor_id for seen in self._around.store.take(key).pods],
            listed_by_driver=listed,
            maximum=connection.settings.core.pods.allocation_maximum,
        )

    def _build(  # noqa: PLR0917
        self,
        connection: _Connection,
        prefix: str,
        incarnation: str,
        ids: ExecutorIds,
        executor_id: ExecutorId,
        profile_id: ProfileId,
    ) -> ExecutorPodManifest | PodRefused:
        profile = connection.profiles.get(profile_id)
        if profile is None:
            return PodRefused(
                RefusalReason.INVALID_VALUE,
                "resource profile",
                str(profile_id),
                "the driver has not described it",
            )
        configuration = connection.configuration
        template = configuration.pod_template
        executor = self._spec.executor if self._spec is not None else None
        if executor is not None and executor.pod_template is not None:
            template = executor.pod_template
        return build_executor_pod(
            configuration.conf,
            profile,
            executor_id,
            ExecutorPodContext(
                application_id=connection.application.id,
                spark_version=configuration.version,
                driver=configuration.facts,
                pod_name_prefix=prefix,
                config_map=configuration.config_map,
                pod_template=template,
                labels={ALLOCATION_UID_LABEL: self.uid},
                annotations={
                    INCARNATION_ANNOTATION: incarnation,
                    NEXT_EXECUTOR_ID_ANNOTATION: str(ids.reserved_until),
                },
                termination_grace_period_seconds=EVICTION_GRACE_SECONDS,
                native_sidecars=True,
            ),
        )

    # -- the end -----------------------------------------------------------------------------------------------------

    async def _finish(self, driver: DriverPod) -> float:
        """The driver has ended: sweep, then say so."""
        key = DriverKey(driver.namespace, driver.uid)
        left = ours(self._around.store, key, self.uid)
        if driver.ended and any(not seen.pod.state.is_final for seen in left):
            self._reporter.state("Finishing", f"{len(left)} executor pods are swept")
            await self._reporter.write()
        await sweep_pods(self._around.apis.pods, left, grace_seconds=SWEEP_GRACE_SECONDS)
        applications = {seen.application_id for seen in left}
        applications.add(self._stored.get("applicationId") or "")
        applications.add(driver.labels.get("spark-app-selector", ""))
        await sweep_objects(
            self._around.apis.objects, key, applications | self._known_applications()
        )
        if ours(self._around.store, key, self.uid):
            return 1.0
        if driver.deleting and not driver.ended:
            self._say_finished(Reason.DRIVER_TERMINATING, "the driver pod is being deleted")
        elif driver.phase == "Failed":
            self._say_finished(Reason.DRIVER_FAILED, "the driver failed; see its log")
        else:
            self._say_finished(Reason.DRIVER_SUCCEEDED, "the driver succeeded")
        await self._reporter.write()
        return 0.0

    def _known_applications(self) -> set[str]:
        return {self._connection.application.id} if self._connection is not None else set()

    async def _after_the_end(self) -> float:
        assert self._spec is not None
        ttl = self._spec.ttl_seconds_after_finished
        finished = self._reporter.conditions[ConditionType.FINISHED]
        if ttl is None or finished is None:
            return LOOK_AGAIN_SECONDS * 10
        left = ttl - (time.time() - _epoch(finished.last_transition_time))
        if left > 0:
            return left
        log.info("allocation_expired", ttl_seconds=ttl)
        await self._around.apis.allocations.delete(self.namespace, self.name, self.uid)
        return LOOK_AGAIN_SECONDS

    def _finished(self) -> bool:
        condition = self._reporter.conditions[ConditionType.FINISHED]
        return condition is not None and condition.status == "True"

    def _has_new_driver(self) -> bool:
        assert self._spec is not None
        served_uid = (
            self._served.uid if self._served is not None else self._stored.get("driverPodUid")
        )
        return any(
            pod.uid != served_uid and not pod.ended and not pod.deleting
            for pod in self._around.finder.candidates(self.namespace, self._spec.driver)
        )

    async def _let_go(self) -> None:
        """The object is deleted while its driver lives: executors stay with the driver, or drain."""
        policy = (
            self._spec.deletion_policy if self._spec is not None else None
        ) or DeletionPolicy.ORPHAN
        driver = self._served
        log.info("allocation_deleted", policy=policy)
        if policy is not DeletionPolicy.DRAIN or driver is None:
            return
        key = DriverKey(driver.namespace, driver.uid)
        grace = DRAIN_GRACE_SECONDS
        if (
            self._connection is not None
            and self._connection.settings.drain_grace_seconds is not None
        ):
            grace = self._connection.settings.drain_grace_seconds
        try:
            await sweep_pods(
                self._around.apis.pods, ours(self._around.store, key, self.uid), grace_seconds=grace
            )
        except ApiUnavailable as error:
            log.warning("drain_not_begun", error=str(error))

    # -- saying ------------------------------------------------------------------------------------------------------

    def _say_not_ready(self, state: str, reason: Reason, message: str) -> None:
        self._reporter.say(ConditionType.READY, False, reason, message)
        self._reporter.state(state, message)

    def _say_unreachable(self, unreachable: Unreachable, driver: DriverPod) -> None:
        if (
            driver.started_at is not None
            and time.time() - driver.started_at < START_PATIENCE_SECONDS
        ):
            message = f"driver pod {driver.name} runs and its REST API does not answer yet"
            self._reporter.say(
                ConditionType.DRIVER_REACHABLE, None, Reason.DRIVER_STARTING, message
            )
            self._say_not_ready("DriverStarting", Reason.DRIVER_STARTING, message)
            return
        self._reporter.say(
            ConditionType.DRIVER_REACHABLE, False, unreachable.reason, unreachable.message
        )
        self._say_not_ready("DriverUnreachable", unreachable.reason, unreachable.message)

    def _say_conflict(self, older: str, driver: DriverPod) -> None:
        message = (
            f"SparkAllocation {older} is older and serves driver pod {driver.name}; this one touches nothing. "
            "Delete one of the two"
        )
        self._reporter.say(ConditionType.CONFLICTED, True, Reason.OLDER_ALLOCATION_WINS, message)
        self._say_not_ready("Conflicted", Reason.OLDER_ALLOCATION_WINS, message)

    def _say_finished(self, reason: Reason, message: str) -> None:
        already = self._finished()
        self._reporter.say(ConditionType.FINISHED, True, reason, message)
        self._reporter.say(ConditionType.READY, False, reason, message)
        self._reporter.conditions.drop(ConditionType.STALLED)
        self._reporter.conditions.drop(ConditionType.ALLOCATING)
        self._reporter.state("Finished", message)
        self._reporter.set(executors=0, target=0, pending=0, profiles=[])
        if not already:
            self._reporter.set(finished_at=timestamp())

    # -- inside ------------------------------------------------------------------------------------------------------

    def _read(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self._reporter.generation = body["metadata"].get("generation", 0)
        try:
            self._spec = SparkAllocationSpec.model_validate(body.get("spec") or {})
            self._invalid = ""
        except ValidationError as error:
            self._spec = None
            self._invalid = "; ".join(
                f"spec.{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
                for problem in error.errors()[:5]
            )
            return
        if self._life is not None and self._connection is not None:
            configuration = self._connection.configuration
            settings = effective_settings(self._spec, configuration.conf, configuration.version)
            if isinstance(settings, InvalidSetting):
                self._spec, self._invalid = None, str(settings)
            else:
                self._life.reconfigure(settings)

    async def _wake_when_stopped(self, stopper: Stopper) -> None:
        await stopper.wait()
        self.wake()

    async def _rest_until_woken(self, pause: float) -> None:
        if pause <= 0:
            return
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            pass  # that is what the pause is for


def _stored_targets(status: Mapping[str, Any]) -> dict[ProfileId, int]:
    return {
        ProfileId(profile["id"]): profile["target"]
        for profile in status.get("profiles") or ()
        if isinstance(profile.get("target"), int)
    }


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
