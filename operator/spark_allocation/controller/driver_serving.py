"""Puts one life of a driver together: the core, the ids that go on where they stood, the builder, and what carries it out.

Executor ids go on behind everything that can have been used. The reservation in the status is written before the first
use of an id, so it alone suffices while the object lives. An object that was deleted and made again has lost it: then
the pods that are there tell, by the block that each was made from, and the driver, which lists executors alive and dead.
What pods tell is believed within reason only: a pod with an absurd id must not use up all ids.

A driver that was served before has pods that the watch may not have told of yet: who served it made them a moment ago, and
nobody else remembers. Nothing is decided before the store knows them all; otherwise they would be made a second time,
beyond every maximum. What another process made is in the full list that is asked for once this one leads
(`controller.process`), one for all drivers. Where this process itself has served the driver since the last full list, its pods
are listed once more.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from spark_allocation.controller.budget_coordinator import BudgetCoordinator
from spark_allocation.controller.driver_connection import Connection
from spark_allocation.controller.driver_life import DriverLife
from spark_allocation.controller.executor_building import ExecutorBuilding, ExecutorWish
from spark_allocation.controller.executor_claims import ExecutorClaims
from spark_allocation.controller.going_nodes import GoingNodes
from spark_allocation.controller.plan_execution import PlanExecution
from spark_allocation.controller.pod_creation import Apis, Identity
from spark_allocation.controller.polling_turns import PollingTurns
from spark_allocation.controller.process_settings import ProcessSettings
from spark_allocation.controller.recommending import Recommending
from spark_allocation.controller.streaming_life import LifeStreams
from spark_allocation.controller.sweep import operator_made
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.core.executor_ids import ExecutorIds
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.pod_allow_list import NOTHING_MORE, PodAllowList
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.observations import QueryName
from spark_allocation.core.trace.driven_allocation import DrivenAllocation, TraceSink
from spark_allocation.core.trace.inputs import LifeBegun
from spark_allocation.core.trace.recorded_properties import recorded_properties
from spark_allocation.epoch_clock import epoch_ms
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.pods_api import PodsApi
from spark_allocation.snapshots_store import DriverKey, ExecutorPodsSnapshotsStore
from spark_allocation.sources import wire
from spark_allocation.sources.executor_pods import EXECUTOR_SELECTOR, seen_pod
from spark_allocation.sources.unreachable import Unreachable

BELIEVABLE_IDS_AHEAD = 1_000_000
LOOK_AGAIN_SECONDS = 0.1
LOOKS_AFTER_A_LIST = 20
"""By then a pod that the store does not show has perhaps gone: they are listed again."""


@dataclass(frozen=True, slots=True)
class ServedLife:
    """A life that is ready to be served."""

    life: DriverLife
    allocation: DrivenAllocation
    ids: ExecutorIds


async def make_life(
    connection: Connection,
    *,
    driver: DriverPod,
    incarnation: str,
    allocation: tuple[str, str, str],
    apis: Apis,
    store: ExecutorPodsSnapshotsStore,
    process: ProcessSettings,
    going_nodes: GoingNodes,
    wish: Callable[[ProfileId], ExecutorWish],
    allowed: Callable[[], PodAllowList] = lambda: NOTHING_MORE,
    targets: Mapping[ProfileId, int] | None,
    count_poll: Callable[[str, float], None] = lambda _outcome, _seconds: None,
    turns: PollingTurns | None = None,
    budgets: BudgetCoordinator | None = None,
    profiles_learned: Callable[[], None] = lambda: None,
    recommended: Mapping[str, Any] | None = None,
    streams: LifeStreams | None = None,
    learned_streams: Mapping[QueryName, LearnedCost] | None = None,
    trace: TraceSink | None = None,
) -> ServedLife:
    """Make it.

    Args:
        connection: to the driver.
        driver: its pod.
        incarnation: of the life.
        allocation: namespace, name and uid of the SparkAllocation.
        apis: the ports to the API server.
        store: where the pods are seen.
        process: for how often drivers are asked.
        going_nodes: nodes that are about to go.
        wish: what the SparkAllocation says of the executor pods of a profile, whenever it is needed.
        allowed: what policies allow executors beyond their driver pod.
        targets: where an earlier run left them in this same life.
        budgets: who divides them, if anybody does.
        count_poll: told the outcome of each question to the driver and the seconds that it took.
        turns: of all drivers' questions; of this one's alone when left out.
        profiles_learned: called when the driver has named resource profiles that were not known.
        recommended: ``status.recommendation`` of an earlier run in this same life.
        streams: sees streaming queries; None when nobody is to look.
        learned_streams: what their batches were found to cost, in whichever life.
        trace: keeps what reaches the core.

    Raises:
        ApiUnavailable: the pods that there are, or the ids that may be used, are not known.
    """
    namespace, name, uid = allocation
    key = DriverKey(driver.namespace, driver.uid)
    if store.may_be_behind(key):
        await _knows_all_pods(apis.pods, store, key, connection.application.id)
    ids = await _ids(connection, allocation, apis, store, key)
    building = ExecutorBuilding(
        connection,
        incarnation=incarnation,
        allocation_uid=uid,
        ids=ids,
        wish=wish,
        allowed=allowed,
    )
    begun = LifeBegun(
        settings=connection.settings.core,
        profiles=tuple(connection.profiles),
        properties=recorded_properties(connection.configuration.conf),
        now_ns=time.monotonic_ns(),
        now_ms=epoch_ms(),
        targets=targets,
        learned_streams=learned_streams or {},
        application_id=connection.application.id,
        spark_version=connection.application.spark_version,
        incarnation=incarnation,
    )
    driven = DrivenAllocation.begin(begun, connection.profiles, trace)
    execution = PlanExecution(
        driven,
        apis,
        Identity(namespace, name, uid, driver.uid),
        ids=ids,
        pod_name=building.name,
        build_pod=building.build,
        claims=ExecutorClaims(apis.objects, driven, building.claim_owner),
    )
    life = DriverLife(
        key=key,
        incarnation=incarnation,
        rest=connection.rest,
        allocation=driven,
        profiles=connection.profiles,
        profile_errors=connection.profile_errors,
        execution=execution,
        store=store,
        going_nodes=going_nodes,
        pods=apis.pods,
        settings=connection.settings,
        poll_seconds=process.poll_seconds,
        idle_poll_seconds=process.idle_poll_seconds,
        count_poll=count_poll,
        turns=turns or PollingTurns(),
        membership=None
        if budgets is None
        else partial(
            budgets.membership,
            f"{namespace}/{name}",
            key,
            driver.labels,
            next_size=building.size,
        ),
        profiles_learned=profiles_learned,
        recommending=Recommending(recommended),
        streams=streams,
    )
    return ServedLife(life, driven, ids)


async def _knows_all_pods(
    pods: PodsApi, store: ExecutorPodsSnapshotsStore, key: DriverKey, application_id: str
) -> None:
    """Wait until the store has every pod of this driver that the API server has now."""
    while True:
        there = await _listed_uids(pods, key, application_id)
        for _ in range(LOOKS_AFTER_A_LIST):
            if there <= {seen.pod.uid for seen in store.pods_of(key)}:
                return
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def _listed_uids(pods: PodsApi, key: DriverKey, application_id: str) -> set[str]:
    selector = f"{EXECUTOR_SELECTOR},spark-app-selector={application_id}"
    found: set[str] = set()
    token = ""
    while True:
        answer = await pods.list_page(key.namespace, selector, token)
        if not answer.ok:
            raise ApiUnavailable(f"list pods {selector}: {answer.status} {answer.message}")
        page = wire.decode_pod_list(answer.body)
        seen = (seen_pod(pod) for pod in page.items)
        found.update(each.pod.uid for each in seen if each is not None and each.key == key)
        token = page.metadata.continue_token
        if not token:
            return found


async def _ids(
    connection: Connection,
    allocation: tuple[str, str, str],
    apis: Apis,
    store: ExecutorPodsSnapshotsStore,
    key: DriverKey,
) -> ExecutorIds:
    namespace, name, _ = allocation
    current = await apis.allocations.get(namespace, name) or {}
    reserved = (current.get("status") or {}).get("nextExecutorId") or 1
    report = await connection.rest.poll(with_dead_executors=True)
    listed: list[ExecutorId] = []
    if not isinstance(report, Unreachable):
        listed = [each.id for each in (*report.executors, *(report.dead_executors or ()))]
    known = max(reserved, max(listed, default=0) + 1)
    return ExecutorIds.after_restart(
        reserved_until=reserved,
        seen_on_pods=[
            number for number in _told_by_pods(store, key) if number < known + BELIEVABLE_IDS_AHEAD
        ],
        listed_by_driver=listed,
        maximum=connection.settings.core.pods.allocation_maximum,
    )


def _told_by_pods(store: ExecutorPodsSnapshotsStore, key: DriverKey) -> Iterator[ExecutorId]:
    for seen in operator_made(store, key):
        yield seen.pod.executor_id
        if seen.next_executor_id > 0:
            yield ExecutorId(seen.next_executor_id - 1)
