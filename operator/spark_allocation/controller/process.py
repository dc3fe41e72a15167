"""The life of the operator process: connect, take the Lease, watch, serve, and end in order.

    API server ─► pods watches ─► Lease ─► (all pods listed since then) ─► kopf ─► runners

Everything runs in one task group: when one part ends, the process ends, and the next one begins from what is in the
cluster. Nothing is done at the end: an operator that exits or restarts touches no pod. Only kopf is begun anew when it
gives up (`kopf_keeper`). It cancels every task that it did not find in its loop when it began, so it is started last.

A standby watches pods too, but what it knows may be late by a few pods that the leader has just made. So all executor pods
are listed once after the Lease is taken, and nothing is served before: one list instead of one for each driver. Where they
may not be listed, as in a namespace that was deleted with its RoleBinding, nothing is served, and the others do not wait.
"""

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import Coroutine
from importlib.metadata import version
from typing import Any

import aiohttp
import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from spark_allocation.api.group import (
    CLUSTER_POLICY_KIND,
    CLUSTER_POLICY_PLURAL,
    POLICY_KIND,
    POLICY_PLURAL,
)
from spark_allocation.controller.budget_coordinator import BudgetCoordinator
from spark_allocation.controller.driver_directory import DriverDirectory
from spark_allocation.controller.driver_finding import DriverFinder
from spark_allocation.controller.going_nodes import GoingNodes
from spark_allocation.controller.health import HealthServer, LoopHeartbeat
from spark_allocation.controller.kopf_handlers import run_kopf
from spark_allocation.controller.kopf_keeper import KopfKeeper, why_kind_is_not_served
from spark_allocation.controller.managed_drivers import MANAGED_SELECTOR, ManagedDrivers
from spark_allocation.controller.other_installs import OtherInstalls
from spark_allocation.controller.pod_creation import Apis
from spark_allocation.controller.policy_directory import PolicyDirectory, watch_policy_file
from spark_allocation.controller.policy_reporter import PolicyReporter
from spark_allocation.controller.process_settings import ProcessSettings, driver_reach
from spark_allocation.controller.runner_surroundings import Surroundings
from spark_allocation.controller.runners import Claims, Runners
from spark_allocation.controller.unallocated_drivers import UnallocatedDrivers
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.epoch_clock import epoch_ms
from spark_allocation.kube.allocations_api import KubernetesAllocationsApi
from spark_allocation.kube.api_client import (
    ApiUnavailable,
    KubernetesApi,
    open_kubernetes_api,
)
from spark_allocation.kube.leader_lease import LeaderLease, LeaseLost
from spark_allocation.kube.objects_api import KubernetesObjectsApi
from spark_allocation.kube.pacing import CreationPacer
from spark_allocation.kube.pods_api import CreateResult, KubernetesPodsApi
from spark_allocation.kube.policies_api import KubernetesPoliciesApi
from spark_allocation.reports.budget_metrics import BudgetMetrics
from spark_allocation.reports.metrics import (
    ExecutorEndCounters,
    ProcessMetrics,
    RequestCounters,
)
from spark_allocation.reports.trace_metrics import TraceMetrics
from spark_allocation.snapshots_store import ExecutorPodsSnapshotsStore, SeenPod
from spark_allocation.sources.driver_requests import open_driver_session
from spark_allocation.sources.executor_pods import EXECUTOR_SELECTOR, driver_pod, seen_pod
from spark_allocation.sources.nodes_watch import NodesWatch
from spark_allocation.sources.pods_watch import PodsWatch
from spark_allocation.sources.policies_watch import PoliciesWatch
from spark_allocation.traces.recorder import TraceCounts, TraceLimits, TraceRecorder

DRIVER_SELECTOR = "spark-role=driver"
EXISTING_ALLOCATIONS_SECONDS = 15.0
"""How long to wait for kopf to hand over the SparkAllocations that exist when the process begins to lead."""
POLICY_STATUS_AFTER_SECONDS = 3.0
"""How long runners have to find their drivers before policies say whom they select."""
KOPF_END_SECONDS = 5.0
"""How long kopf may take to end its daemons and to close its connections while ours are still open."""
EXIT_PATIENCE_SECONDS = 20.0
"""A process that was told to end and has not is killed."""

log = structlog.get_logger("process")


class Process:
    """One operator process."""

    def __init__(
        self, settings: ProcessSettings, api: KubernetesApi, session: aiohttp.ClientSession
    ) -> None:
        self._settings = settings
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._ends = ExecutorEndCounters(registry)
        self._requests = RequestCounters(registry, CreateResult)
        api.observe_requests(self._requests.api_request)
        self._api = api
        pods = KubernetesPodsApi(api)
        objects = KubernetesObjectsApi(api)
        allocations = KubernetesAllocationsApi(api)
        namespaces: tuple[str | None, ...] = tuple(dict.fromkeys(settings.namespaces)) or (None,)
        self._namespaces = namespaces
        self._store = ExecutorPodsSnapshotsStore(scopes=len(namespaces))
        self._directory = DriverDirectory()
        self._policies = PolicyDirectory()
        self._going_nodes = GoingNodes()
        self._budgets = BudgetCoordinator(self._policies, self._store, self._directory)
        self._traces = _traces(settings)
        registry.register(TraceMetrics(lambda: _counts(self._traces)))
        self._lease = _lease(settings, api)
        if self._lease is not None:
            lease = self._lease
            api.guard_writes(lambda: lease.held)
        apis = Apis(
            pods,
            allocations,
            objects,
            CreationPacer(settings.creates_per_second),
            count_creation=self._requests.creation,
        )
        self._runners = Runners(
            lambda claims: self._surroundings(
                claims, apis, DriverFinder(self._directory, pods), session
            ),
            OtherInstalls(self._directory),
        )
        self._keeper = KopfKeeper(
            lambda stop: run_kopf(
                api, self._runners, settings.namespaces, stop, installation=settings.managed_by
            ),
            lambda: why_kind_is_not_served(api, settings.namespaces),
        )
        self._allocations = allocations
        self._managed = ManagedDrivers(
            allocations,
            objects,
            is_served=self._runners.serves,
            installation=settings.managed_by,
        )
        self._unallocated = UnallocatedDrivers(
            self._directory,
            self._store,
            session,
            driver_reach(settings),
            is_served=self._runners.serves,
        )
        self._executor_watches = [
            PodsWatch[SeenPod](
                pods,
                namespace=namespace,
                selector=EXECUTOR_SELECTOR,
                project=seen_pod,
                sink=self._store,
            )
            for namespace in namespaces
        ]
        self._driver_watches = [
            PodsWatch[DriverPod](
                pods,
                namespace=namespace,
                selector=selector,
                project=driver_pod,
                sink=self._directory,
            )
            for namespace in namespaces
            for selector in (DRIVER_SELECTOR, MANAGED_SELECTOR)
        ]
        kinds = [(POLICY_KIND, POLICY_PLURAL, namespace) for namespace in namespaces]
        if settings.reads_cluster_policies:
            kinds.append((CLUSTER_POLICY_KIND, CLUSTER_POLICY_PLURAL, None))
        self._policies_watches = [
            PoliciesWatch(api, kind=kind, plural=plural, namespace=namespace, sink=self._policies)
            for kind, plural, namespace in kinds
        ]
        self._policy_file_read = asyncio.Event()
        self._leading: tuple[asyncio.Task[None], ...] = ()
        self._stop = asyncio.Event()
        self._heartbeat = LoopHeartbeat()
        registry.register(
            ProcessMetrics(
                store=self._store,
                allocations=self._runners.figures,
                watches=(*self._executor_watches, *self._driver_watches),
                loop_lag=lambda: self._heartbeat.lag_seconds,
                leads=lambda: self._leads,
                unallocated=lambda: self._unallocated.count,
            )
        )
        registry.register(
            BudgetMetrics(
                figures=lambda: self._budgets.figures if self._leads else (),
                divisions=lambda: self._budgets.divisions,
                seconds=lambda: self._budgets.seconds_spent,
            )
        )
        self.health = HealthServer(
            host=settings.health_host,
            port=settings.health_port,
            heartbeat=self._heartbeat,
            not_ready_because=self._not_ready_because,
            registry=registry,
        )

    @property
    def _leads(self) -> bool:
        return self._lease is None or self._lease.held

    def _surroundings(
        self, claims: Claims, apis: Apis, finder: DriverFinder, session: aiohttp.ClientSession
    ) -> Surroundings:
        return Surroundings(
            apis=apis,
            store=self._store,
            finder=finder,
            session=session,
            claims=claims,
            settings=self._settings,
            reach=driver_reach(self._settings),
            policies=self._policies,
            going_nodes=self._going_nodes,
            budgets=self._budgets,
            traces=self._traces,
            count_end=self._ends.count,
            count_poll=self._requests.poll,
            count_backlog=self._requests.backlog,
        )

    async def run(self) -> None:
        """Run until a signal, or until a part fails.

        Raises:
            LeaseLost: another process leads now.
        """
        await self.health.start()
        if self._traces is not None:
            self._traces.start()
        self._listen_to_signals()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(_ours(self._heartbeat.run())),
                    *(group.create_task(_ours(watch.run())) for watch in self._executor_watches),
                    *(group.create_task(_ours(watch.run())) for watch in self._driver_watches),
                    *(group.create_task(_ours(watch.run())) for watch in self._policies_watches),
                    group.create_task(_ours(self._watch_nodes())),
                    group.create_task(_ours(self._budgets.run())),
                    group.create_task(_ours(self._watch_policy_file())),
                    group.create_task(_ours(self._lead(group))),
                ]
                await self._stop.wait()
                log.info("stopping")
                for task in (*tasks, *self._leading):
                    task.cancel()
        finally:
            asyncio.get_running_loop().call_later(
                EXIT_PATIENCE_SECONDS, os.kill, os.getpid(), signal.SIGKILL
            )
            await self.health.stop()
            if self._traces is not None:
                await asyncio.to_thread(self._traces.close)

    def _listen_to_signals(self) -> None:
        """Signals end this process; kopf takes them over while it runs and leaves them to nobody when it gives up."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    async def _lead(self, group: asyncio.TaskGroup) -> None:
        """Wait to be the leader and for the first full picture, then serve."""
        if self._lease is not None:
            self._leading = (group.create_task(_ours(self._lease.hold())),)
            await self._lease.leading.wait()
        began = time.monotonic()
        if self._lease is not None:
            await asyncio.gather(*(watch.list_anew() for watch in self._executor_watches))
        await self._store.synced.wait()
        # nobody is served before the limits are known
        for watch in self._policies_watches:
            await watch.synced.wait()
        await self._policy_file_read.wait()
        log.info(
            "synced", executor_pods=len(self._store), seconds=round(time.monotonic() - began, 3)
        )
        self._leading = (*self._leading, group.create_task(_ours(self._serve())))

    async def _watch_nodes(self) -> None:
        if self._settings.reads_nodes:
            await NodesWatch(self._api, self._going_nodes).run()
        else:
            log.info(
                "nodes_not_watched",
                message="executors on nodes that are about to go are not replaced ahead of time",
            )

    async def _watch_policy_file(self) -> None:
        path = self._settings.cluster_policy_file
        if path is None:
            self._policy_file_read.set()
        else:
            await watch_policy_file(path, self._policies, synced=self._policy_file_read)

    async def _serve(self) -> None:
        known = asyncio.Event()
        # kopf that gives up cancels every task that it did not find when it began: these are there before it, and
        # start no tasks of their own that live on
        ours = {
            asyncio.create_task(_ours(self._make_allocations(known))),
            asyncio.create_task(_ours(self._count_unallocated(known))),
            asyncio.create_task(_ours(self._report_policies(known))),
        }
        await asyncio.sleep(0)
        serving = asyncio.create_task(self._keeper.run(after_failure=self._listen_to_signals))
        try:
            ended, _ = await asyncio.wait({serving, *ours}, return_when=asyncio.FIRST_COMPLETED)
            for task in ended & ours:
                task.result()
            await serving
        finally:
            for task in ours:
                task.cancel()
            self._keeper.stop()
            await asyncio.wait({serving}, timeout=KOPF_END_SECONDS)
            serving.cancel()
            # kopf takes the process's signals over while it runs: its end is how we learn of them
            self._stop.set()

    async def _count_unallocated(self, known: asyncio.Event) -> None:
        await known.wait()
        await self._unallocated.run()

    async def _report_policies(self, known: asyncio.Event) -> None:
        await known.wait()
        # a SparkAllocation tells its driver's labels only once it has found it
        await asyncio.sleep(POLICY_STATUS_AFTER_SECONDS)
        await PolicyReporter(
            self._policies,
            KubernetesPoliciesApi(self._api),
            subjects=self._runners.policy_subjects,
            budgets=lambda: self._budgets.figures,
        ).run()

    async def _make_allocations(self, known: asyncio.Event) -> None:
        """Make SparkAllocations for labelled drivers, once those that exist are known: one written by hand wins."""
        deadline = time.monotonic() + EXISTING_ALLOCATIONS_SECONDS
        for namespace in self._namespaces:
            while time.monotonic() < deadline:
                try:
                    existing = await self._allocations.uids(namespace)
                except ApiUnavailable as error:
                    log.warning("api_unavailable", error=str(error))
                    existing = None
                if existing is not None and self._runners.have_seen(existing):
                    break
                await asyncio.sleep(0.5)
        self._directory.listen(self._managed.seen)
        known.set()
        await self._managed.run()

    def _not_ready_because(self) -> str:
        if self._lease is not None and not self._lease.leading.is_set():
            if self._lease.refused:
                return f"the Lease cannot be written: {self._lease.refused}"
            return "" if self._lease.readable else "the Lease cannot be read"
        if not self._store.synced.is_set():
            return "the executor pods are not listed yet"
        return self._keeper.obstacle


async def run_process(settings: ProcessSettings) -> None:
    """Run the operator until it is told to stop.

    Raises:
        NoCredentials: there are none, or they cannot be read.
        LeaseLost: another process leads now.
    """
    _collect_garbage_seldom()
    api = await open_kubernetes_api(kubeconfig=settings.kubeconfig, context=settings.context)
    try:
        async with open_driver_session() as session:
            log.info(
                "starting",
                namespaces=settings.namespaces or "all",
                managed_by=settings.managed_by,
                cluster_policies=settings.reads_cluster_policies,
                cluster_policy_file=str(settings.cluster_policy_file or ""),
            )
            await Process(settings, api, session).run()
    except BaseExceptionGroup as group:
        lost = _first_lease_lost(group)
        if lost is None:
            raise
        raise lost from None
    finally:
        await api.close()


def _collect_garbage_seldom() -> None:
    """Look for cycles after fifty thousand new objects instead of seven hundred, and never among modules.

    Answers of a thousand drivers are many objects that go as soon as they have been read, without a cycle. Each look goes
    through what is alive at that moment, the more applications the more.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _ours(work: Coroutine[Any, Any, None]) -> None:
    """Work that nobody but its task group may cancel: without it the process would live on and be of no use."""
    task = asyncio.current_task()
    assert task is not None, "coroutines run in tasks"
    try:
        await work
    except asyncio.CancelledError:
        if task.cancelling():
            raise
        raise RuntimeError(f"{work!r} was cancelled by somebody else") from None


def _first_lease_lost(group: BaseExceptionGroup[BaseException]) -> LeaseLost | None:
    """An exception raised inside ``except*`` would be wrapped in a group again, which no caller expects."""
    found = group.subgroup(LeaseLost)
    while found is not None:
        inner = found.exceptions[0]
        if isinstance(inner, LeaseLost):
            return inner
        found = inner if isinstance(inner, BaseExceptionGroup) else None
    return None


def _traces(settings: ProcessSettings) -> TraceRecorder | None:
    if settings.trace_directory is None:
        return None
    limits = TraceLimits(settings.trace_allocation_mib << 20, settings.trace_total_mib << 20)
    return TraceRecorder(
        settings.trace_directory,
        limits,
        operator=version("spark-allocation-operator"),
        epoch_ms=epoch_ms,
    )


def _counts(traces: TraceRecorder | None) -> TraceCounts:
    return TraceCounts() if traces is None else traces.counts


def _lease(settings: ProcessSettings, api: KubernetesApi) -> LeaderLease | None:
    if not settings.lease_namespace:
        return None
    return LeaderLease(
        api,
        name=settings.lease,
        namespace=settings.lease_namespace,
        identity=settings.identity or socket.gethostname(),
    )
