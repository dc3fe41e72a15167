"""Keeps one SparkAllocation converged: find the driver, serve its lives, sweep up after it.

The runner owns no policy. It is a sequence of questions, asked again whenever something changes: what does the object
want, which pod is the driver, is it ours to serve, does it answer, is it passive. The first that has a bad answer
becomes a condition with a remedy, and no pod is touched. When all have good ones, `DriverLife` does the work, by the spec
that is in force (`spec_in_force`).

An error that nobody thought of is logged, said in a condition, and costs this SparkAllocation half a minute; the others
do not notice.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import structlog

from spark_allocation.api.conditions import Reason
from spark_allocation.api.v1alpha1 import Driver, SparkAllocationSpec
from spark_allocation.controller.allocation_reporter import AllocationReporter
from spark_allocation.controller.allocation_statements import AllocationStatements
from spark_allocation.controller.driver_connection import Connection, Unconnected, connect
from spark_allocation.controller.driver_finding import NoDriver, matches
from spark_allocation.controller.driver_life import DriverLife, LifeEnd, Observation, driver_ended
from spark_allocation.controller.driver_serving import make_life
from spark_allocation.controller.incarnation import incarnation_of
from spark_allocation.controller.leaving import Leaving
from spark_allocation.controller.life_statements import LifeStatements
from spark_allocation.controller.policy_reporter import PolicySubject
from spark_allocation.controller.runner_surroundings import Stopper, Surroundings
from spark_allocation.controller.spec_in_force import SpecInForce
from spark_allocation.controller.spec_reading import owner_pod
from spark_allocation.controller.stored_life import StoredLife
from spark_allocation.controller.streaming_backlogs import BacklogAsking
from spark_allocation.controller.streaming_life import LifeStreams
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.reports.events import EventWriter
from spark_allocation.reports.metrics import AllocationFigures
from spark_allocation.reports.status import StatusWriter, stored_status
from spark_allocation.sources.promql import PrometheusQueries
from spark_allocation.traces.recorder import Subject

LOOK_AGAIN_SECONDS = 3.0
WHILE_STARTING_SECONDS = 1.0
LONG_PAUSE_SECONDS = 30.0
STOP_PATIENCE_SECONDS = 2.0
"""How long a step that is being carried out may take to end when the runner has to stop."""

log = structlog.get_logger("allocation_runner")


class AllocationRunner:
    """Serves one SparkAllocation from the moment it is seen until it is deleted or the process ends."""

    def __init__(self, body: Mapping[str, Any], surroundings: Surroundings) -> None:
        metadata = body["metadata"]
        self.uid: str = metadata["uid"]
        self.namespace: str = metadata["namespace"]
        self.name: str = metadata["name"]
        self._around = surroundings
        stored = stored_status(body.get("status"))
        self._stored = StoredLife(stored)
        self._trace_subject = Subject(self.namespace, self.name, self.uid)
        self._owner_pod = owner_pod(metadata)
        self._being_deleted = False
        self._wake = asyncio.Event()
        self._life: DriverLife | None = None
        self._connection: Connection | None = None
        self._served: DriverPod | None = None
        self._ambiguity: tuple[int, str] = (-1, "")
        self._reporter = AllocationReporter(
            StatusWriter(
                surroundings.apis.allocations,
                self.namespace,
                self.name,
                self.uid,
                stored,
                pacer=surroundings.apis.status_pacer,
            ),
            EventWriter(
                surroundings.apis.objects, namespace=self.namespace, name=self.name, uid=self.uid
            ),
            stored,
        )
        self._prometheus = PrometheusQueries(
            surroundings.session, surroundings.settings.prometheus_accesses
        )
        self._statements = AllocationStatements(self._reporter)
        self._life_statements = LifeStatements(self._reporter, surroundings.count_end)
        self._in_force = SpecInForce(surroundings.policies, self._statements, self._forget_driver)
        self._leaving = Leaving(
            surroundings, self._reporter, self._statements, (self.namespace, self.name, self.uid)
        )
        self._read(body)

    @property
    def figures(self) -> AllocationFigures:
        """What it adds to the metrics."""
        return AllocationFigures(
            self.namespace,
            self._reporter.executors,
            self._reporter.problems,
            self._life_statements.streaming,
        )

    @property
    def policy_subject(self) -> PolicySubject:
        """What policies select it by, and what contradicts itself among them."""
        driver = self._in_force.driver or self._served
        return PolicySubject(
            self.namespace,
            self.name,
            None if driver is None else driver.labels,
            self._statements.policy_conflicts,
        )

    @property
    def served_uid(self) -> str:
        """The uid of the driver pod that is served or was served last; "" when there was none."""
        return self._served.uid if self._served is not None else self._stored.driver_uid

    def seen(self, body: Mapping[str, Any]) -> None:
        """The object changed; a new generation takes effect at once."""
        self._being_deleted = "deletionTimestamp" in body["metadata"]
        if body["metadata"].get("generation", 0) != self._reporter.generation:
            self._read(body)
            self.wake()

    def wake(self) -> None:
        """Something changed: look again."""
        self._wake.set()
        if self._life is not None:
            self._life.wake()

    def names(self, pod: DriverPod) -> bool:
        """Whether this pod is one that the object asks for, and the object is going to stay."""
        spec = self._in_force.spec
        return (
            spec is not None
            and not self._being_deleted
            and pod.namespace == self.namespace
            and self._may_serve(pod)
            and matches(pod, spec.driver)
        )

    async def run(self, stopper: Stopper) -> None:
        """Serve until stopped. Only a deleted object lets executors go, and only as its policy says."""
        structlog.contextvars.bind_contextvars(
            allocation=self.name, allocation_namespace=self.namespace
        )
        looping = asyncio.create_task(self._loop(stopper))
        stopping = asyncio.create_task(stopper.wait())
        try:
            await asyncio.wait({looping, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not looping.done():
                self.wake()
                await asyncio.wait({looping}, timeout=STOP_PATIENCE_SECONDS)
            if looping.done():
                looping.result()
            if stopper and stopper.object_deleted:
                await _stopped(looping)
                await self._leaving.let_go(self._in_force.spec, self._served, self._connection)
        finally:
            await _stopped(looping, stopping)
            self._around.claims.release(self.uid)
            self._around.apis.status_pacer.forget(self.uid)
            if self._around.traces is not None:
                self._around.traces.forget(self._trace_subject)

    async def _loop(self, stopper: Stopper) -> None:
        await self._around.store.synced.wait()
        await self._around.store.until_known(self.namespace)
        with (
            self._around.finder.directory.subscription(self.namespace, self._driver_changed),
            self._around.policies.subscription(self._policies_changed),
        ):
            while not stopper and not self._reporter.object_gone:
                self._wake.clear()
                pause = await self._look(stopper)
                await self._rest_until_woken(pause)

    async def _look(self, stopper: Stopper) -> float:
        """Ask the questions once, and say what came of it; returns how long to wait for better answers."""
        try:
            pause = await self._attend(stopper)
            unwritten_for = await self._reporter.write()
        except ApiUnavailable as error:
            log.warning("api_unavailable", error=str(error))
            return LOOK_AGAIN_SECONDS
        except Exception as error:
            log.exception("internal_error")
            self._statements.not_ready(
                "InternalError",
                Reason.INTERNAL_ERROR,
                f"the operator failed over this SparkAllocation; please report it: {error!r}"[:500],
            )
            with contextlib.suppress(ApiUnavailable):
                await self._reporter.write()
            return LONG_PAUSE_SECONDS
        return min(pause, unwritten_for) if unwritten_for else pause

    def _driver_changed(self, pod: DriverPod) -> None:
        if pod.uid == self.served_uid or self.names(pod):
            self._in_force.driver_seen(pod)
            self.wake()

    def _policies_changed(self) -> None:
        """Some policy is another one now: of a thousand applications most are not meant."""
        if not self._in_force.knows_policies:
            self._renew_settings()

    def _renew_settings(self) -> None:
        self._in_force.renew()
        self.wake()

    # -- questions ---------------------------------------------------------------------------------------------------

    async def _attend(self, stopper: Stopper) -> float:
        if self._in_force.spec is None:
            self._statements.not_ready("InvalidSpec", Reason.INVALID_SPEC, self._in_force.problem)
            return LONG_PAUSE_SECONDS
        if self._statements.is_finished and not await self._has_new_driver():
            return await self._after_the_end()
        spec = self._in_force.spec
        keep = self.served_uid if self._stored.began else ""
        driver = await self._around.finder.find(self.namespace, spec.driver, served_uid=keep)
        if self._in_force.spec is not spec:
            return 0.0
        self._say_ambiguity()
        if isinstance(driver, NoDriver):
            return self._without_driver(driver)
        if not self._may_serve(driver):
            return self._without_driver(_no_driver_of(spec.driver))
        other = self._around.claims.claim(driver.uid, self.uid)
        if other:
            await self._around.claims.forget_gone(driver.uid, self._around.apis.allocations)
            other = self._around.claims.claim(driver.uid, self.uid)
        if other:
            self._statements.conflict(other, driver)
            return LOOK_AGAIN_SECONDS
        self._statements.no_conflict()
        if self._served is None or self._served.uid != driver.uid:
            self._leaving.begin_anew()
        self._served = driver
        self._reporter.set(driver_pod=driver.name, driver_pod_uid=driver.uid)
        if driver.ended:
            return await self._leaving.finish(spec, driver, self._known_applications(driver))
        if driver.deleting:
            # its containers may still work towards an end: what they have stays until they have ended
            self._statements.not_ready(
                "DriverTerminating",
                Reason.DRIVER_TERMINATING,
                f"driver pod {driver.name} is being deleted; its executors stay until it has ended",
            )
            return LOOK_AGAIN_SECONDS
        self._statements.not_finished()
        if not driver.ip or driver.started_at is None:
            self._statements.not_ready(
                "DriverStarting", Reason.DRIVER_STARTING, _not_started(driver)
            )
            return LOOK_AGAIN_SECONDS
        connection = await connect(
            driver,
            spec,
            self._around.session,
            self._around.apis,
            self._around.reach,
            policies=self._around.policies,
        )
        if isinstance(connection, Unconnected):
            starting = self._statements.unconnected(connection, driver)
            return WHILE_STARTING_SECONDS if starting else LOOK_AGAIN_SECONDS
        self._statements.connected(connection)
        await self._serve(driver, connection, spec, stopper)
        return 0.0

    def _may_serve(self, pod: DriverPod) -> bool:
        """An object that a driver pod owns serves that pod and goes with it, not with a later one of the same name."""
        return self._owner_pod in ("", pod.uid)

    def _without_driver(self, nothing: NoDriver) -> float:
        if self.served_uid and nothing.reason is Reason.DRIVER_NOT_FOUND:
            # it was there once: its pod was deleted, and the garbage collector has taken what it owned
            self._statements.finished(Reason.DRIVER_GONE, "the driver pod is gone")
            return 0.0
        self._statements.not_ready(nothing.reason.value, nothing.reason, nothing.message)
        return LOOK_AGAIN_SECONDS

    # -- serving -----------------------------------------------------------------------------------------------------

    async def _serve(
        self,
        driver: DriverPod,
        connection: Connection,
        spec: SparkAllocationSpec,
        stopper: Stopper,
    ) -> None:
        """Serve the driver that was connected to for this spec, which may be an older one by now."""
        incarnation = incarnation_of(driver, connection.application)
        same_life = self._stored.is_same(incarnation)
        self._life_statements.begun(driver, connection.application, incarnation)
        if not same_life:
            self._reporter.set(recommendation=None)
        traces = self._around.traces
        served = await make_life(
            connection,
            driver=driver,
            incarnation=incarnation,
            allocation=(self.namespace, self.name, self.uid),
            apis=self._around.apis,
            store=self._around.store,
            process=self._around.settings,
            going_nodes=self._around.going_nodes,
            wish=self._in_force.executor_wish,
            allowed=self._in_force.allowed_fields,
            targets=self._stored.targets(incarnation),
            count_poll=self._around.count_poll,
            turns=self._around.turns,
            budgets=self._around.budgets,
            profiles_learned=self._renew_settings,
            recommended=self._stored.recommendation(incarnation),
            streams=LifeStreams(
                BacklogAsking(self._prometheus, self.namespace, self._around.count_backlog)
            ),
            learned_streams=self._stored.learned_streams,
            trace=None if traces is None else traces.sink(self._trace_subject),
        )
        log.info(
            "driver_served",
            driver_pod=driver.name,
            application=connection.application.id,
            incarnation=incarnation,
            resumed=same_life,
            next_executor_id=served.ids.next_id,
        )
        self._connection, self._life = connection, served.life
        self._in_force.follow(served.life, driver, connection, spec)
        self._around.claims.serving(driver.uid, self.uid)
        watching = asyncio.create_task(self._look_after(driver))
        try:
            end = await served.life.serve(
                ended=lambda: self._life_end(driver, stopper), report=self._observed
            )
        finally:
            watching.cancel()
            self._life = None
            self._in_force.no_longer_followed()
            in_force = self._in_force.spec
            if in_force is not None and in_force.driver == spec.driver:
                self._stored.driver_uid = driver.uid
            self._stored.ended(
                incarnation,
                served.allocation.core.manager.targets,
                served.life.recommendation,
                served.allocation.core.learned_streams,
            )
        log.info("driver_not_served", driver_pod=driver.name, why=end)

    def _say_ambiguity(self) -> None:
        spec = self._in_force.spec
        assert spec is not None
        version = self._around.finder.directory.version
        if self._ambiguity[0] != version:
            sentence = self._around.finder.ambiguity(self.namespace, spec.driver)
            self._ambiguity = (version, sentence)
        self._statements.ambiguity(self._ambiguity[1])

    async def _observed(self, observation: Observation) -> float:
        self._say_ambiguity()
        self._life_statements.observed(observation, self._in_force.problem)
        return await self._reporter.write()

    async def _look_after(self, driver: DriverPod) -> None:
        """Ask for a driver pod that no watch covers, so that its end is noticed."""
        while True:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            try:
                spec = self._in_force.spec
                if spec is not None:
                    await self._around.finder.refresh(driver, spec.driver)
            except ApiUnavailable as error:
                log.warning("api_unavailable", error=str(error))

    def _life_end(self, driver: DriverPod, stopper: Stopper) -> LifeEnd | None:
        if stopper or self._reporter.object_gone or self._in_force.spec is None:
            return LifeEnd.STOPPED
        if self._in_force.asks_for_another_life:
            return LifeEnd.WISH_CHANGED
        if driver_ended(self._around.finder.current(driver), driver):
            return LifeEnd.DRIVER_CHANGED
        if self._around.claims.claim(driver.uid, self.uid):
            return LifeEnd.NOT_OURS
        return None

    # -- the end -----------------------------------------------------------------------------------------------------

    def _known_applications(self, driver: DriverPod) -> set[str]:
        known = {driver.labels.get("spark-app-selector", "")}
        if self._stored.driver_uid == driver.uid:
            known.add(self._stored.application_id)
        if self._connection is not None:
            known.add(self._connection.application.id)
        return known - {""}

    async def _after_the_end(self) -> float:
        assert self._in_force.spec is not None
        left = self._leaving.expires_in(self._in_force.spec)
        if left is None:
            return LONG_PAUSE_SECONDS
        if left > 0:
            return min(left, LONG_PAUSE_SECONDS)
        return LOOK_AGAIN_SECONDS if await self._leaving.expire() else LONG_PAUSE_SECONDS

    async def _has_new_driver(self) -> bool:
        assert self._in_force.spec is not None
        found = await self._around.finder.find(self.namespace, self._in_force.spec.driver)
        if isinstance(found, NoDriver):
            return found.reason is Reason.AMBIGUOUS_DRIVER
        return (
            found.uid != self.served_uid
            and not found.ended
            and not found.deleting
            and self._may_serve(found)
        )

    # -- inside ------------------------------------------------------------------------------------------------------

    def _read(self, body: Mapping[str, Any]) -> None:
        self._reporter.generation = body["metadata"].get("generation", 0)
        self._ambiguity = (-1, "")
        self._in_force.read(body)

    def _forget_driver(self) -> None:
        """What was served was another wish: its end is not the end of this one."""
        self._served = None
        self._stored.forget_driver()

    async def _rest_until_woken(self, pause: float) -> None:
        if pause <= 0:
            return
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            pass  # that is what the pause is for


async def _stopped(*tasks: asyncio.Task[None]) -> None:
    """End these tasks, whatever they are at."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _no_driver_of(wanted: Driver) -> NoDriver:
    return NoDriver(
        Reason.DRIVER_NOT_FOUND,
        f"the driver pod that owns this SparkAllocation is gone; {wanted.pod_name or 'another pod'} is a later one",
    )


def _not_started(driver: DriverPod) -> str:
    """Why nobody can be asked in a driver pod that has not ended."""
    if driver.phase == "Running":
        # the phase follows its containers a moment later, and not at all while they are started again
        return (
            f"the container of driver pod {driver.name} has ended while the pod's phase is Running: it is about to start "
            "again, or the phase follows"
        )
    return f"driver pod {driver.name} is {driver.phase or 'new'}"
