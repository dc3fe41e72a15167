"""Every answer of a driver's REST API becomes a value that the rest of the operator can work with."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.hostile import spoilt_bytes, texts
from tests.fuzz.raw_driver import RawDriver
from tests.unit.executor_pod_documents import driver_document

from spark_allocation.api.v1alpha1 import SparkAllocationSpec, SparkAllocationStatus
from spark_allocation.controller.driver_connection import Connection, Unconnected, connect
from spark_allocation.controller.executor_building import ExecutorBuilding, ExecutorWish
from spark_allocation.controller.incarnation import incarnation_of
from spark_allocation.controller.pod_creation import Apis, Obstacle
from spark_allocation.core.allocation import Allocation
from spark_allocation.core.driver_report import DriverPod, DriverReport
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.executor_ids import ExecutorIds
from spark_allocation.core.executor_pod_builder import ExecutorPodManifest
from spark_allocation.core.executor_pod_settings import POD_SETTINGS
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.setting_catalogue import FIELD_OF_SPARK_KEY
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.streaming.settings import (
    BacklogSettings,
    BatchDurationSettings,
    StreamingSettings,
)
from spark_allocation.kube.pacing import CreationPacer
from spark_allocation.reports.streams import (
    decision_statuses,
    message_of,
    query_statuses,
    statements,
)
from spark_allocation.sources.driver_requests import open_driver_session
from spark_allocation.sources.driver_rest import DriverRest
from spark_allocation.sources.streaming_batches import StreamBatches
from spark_allocation.sources.unreachable import Unreachable
from spark_allocation.testing.objects import FakeAllocationsApi, FakeObjectsApi
from spark_allocation.testing.pods import FakePodsApi

T = TypeVar("T")
GOOD = RawDriver()
PATHS = sorted(GOOD.documents)
SECOND_NS = 1_000_000_000

KEYS = sorted(
    {setting.key + ("x" if setting.is_family else "") for setting in POD_SETTINGS}
    | {f"spark.kubernetes.executor.volumes.{kind}.v.{rest}"
       for kind in ("hostPath", "emptyDir", "persistentVolumeClaim", "nfs", "x")
       for rest in ("mount.path", "options.path", "options.sizeLimit", "options.claimName", "options.server", "y")}
    | {f"spark.executor.resource.gpu.{rest}" for rest in ("amount", "vendor", "discoveryScript")}
    | {f"spark.dynamicAllocation.{rest}"
       for rest in ("maxExecutors", "minExecutors", "enabled", "executorAllocationRatio", "shuffleTracking.timeout")}
    | {f"spark.kubernetes.allocation.{rest}"
       for rest in ("batch.size", "batch.delay", "executor.timeout", "maxPendingPods", "maximum", "driver.readinessTimeout")}
    | {"spark.decommission.enabled", "spark.executor.decommission.signal", "spark.shuffle.service.enabled",
       "spark.shuffle.manager", "spark.task.cpus", "spark.executor.cores", "spark.executor.memory", "spark.app.name",
       "spark.kubernetes.executor.disableConfigMap", "spark.kubernetes.executor.podTemplateFile",
       "spark.authenticate", "spark.driver.host", "spark.driver.port", "spark.executor.maxNumFailures",
       "spark.executor.failuresValidityInterval", "spark.excludeOnFailure.timeout", "spark.task.maxFailures"}
)  # fmt: skip


def with_driver(use: Callable[[RawDriver, Any], Awaitable[T]]) -> T:
    async def run() -> T:
        async with RawDriver() as driver, open_driver_session() as session:
            return await use(driver, session)

    return asyncio.run(run())


@given(path=st.sampled_from(PATHS), data=st.data())
def test_every_endpoint(path: str, data: st.DataObject) -> None:
    body = data.draw(spoilt_bytes(GOOD.documents[path]))

    async def ask(driver: RawDriver, session: Any) -> None:
        driver.spoilt = {path: body}
        way = await the_way(driver, session)
        assert isinstance(way, Connection | Unconnected)
        rest = DriverRest(session, "127.0.0.1", driver.port, driver.good.application_id)
        report = await rest.poll(with_dead_executors=True)
        assert isinstance(report, DriverReport | Unreachable)
        if isinstance(report, Unreachable):
            assert len(report.message) < 1024
        else:
            decided(report, way)
        assert not isinstance(await rest.application(), Exception)

    with_driver(ask)


@given(
    settings=st.dictionaries(
        st.sampled_from(KEYS) | texts.map(lambda text: f"spark.{text}"), texts, min_size=1, max_size=4
    ),
    wished=st.dictionaries(st.sampled_from(KEYS), texts.filter(lambda text: len(text) <= 4096), max_size=2),
)  # fmt: skip
def test_every_setting_of_a_driver(settings: dict[str, str], wished: dict[str, str]) -> None:
    async def ask(driver: RawDriver, session: Any) -> None:
        driver.good.properties |= settings
        way = await the_way(
            driver,
            session,
            sparkConf={key: text for key, text in wished.items() if key not in FIELD_OF_SPARK_KEY},
        )
        if isinstance(way, Connection):
            built(way)

    with_driver(ask)


@given(data=st.data())
def test_every_resource_profile(data: st.DataObject) -> None:
    document = {
        "id": 1,
        "executorResources": {
            "cores": {"resourceName": "cores", "amount": 2},
            "memory": {"resourceName": "memory", "amount": 1024, "vendor": "", "discoveryScript": ""},
            "gpu": {"resourceName": "gpu", "amount": 2, "vendor": "nvidia.com", "discoveryScript": "/x"},
        },
        "taskResources": {
            "cpus": {"resourceName": "cpus", "amount": 1.0},
            "gpu": {"resourceName": "gpu", "amount": 0.5},
        },
    }  # fmt: skip
    environment = {
        "sparkProperties": [list(each) for each in GOOD.good.properties.items()],
        "resourceProfiles": [GOOD.good.profile(0), document],
    }
    path = next(path for path in PATHS if path.endswith("/environment"))
    body = data.draw(spoilt_bytes(environment))

    async def ask(driver: RawDriver, session: Any) -> None:
        driver.spoilt = {path: body}
        way = await the_way(driver, session)
        if isinstance(way, Connection):
            built(way)

    with_driver(ask)


async def the_way(driver: RawDriver, session: Any, **spec: Any) -> Connection | Unconnected:
    pods = FakePodsApi()
    document = pods.put(driver_document(ui_port=driver.port, uid="driver"))
    pod = DriverPod(
        "jobs", "driver", "driver", "Running", False, "127.0.0.1", 0, 0.0, driver.port, 0.0
    )
    wish = SparkAllocationSpec.model_validate(
        {"driver": {"podName": document["metadata"]["name"], "uiPort": driver.port}, **spec}
    )
    apis = Apis(pods, FakeAllocationsApi(), FakeObjectsApi(), CreationPacer(1000))
    way = await connect(pod, wish, session, apis)
    if isinstance(way, Unconnected):
        assert way.message
    else:
        assert incarnation_of(pod, way.application)
    return way


def built(way: Connection, template: dict[str, Any] | None = None) -> None:
    """Each profile's pod is built, or there is a sentence saying why not."""
    building = ExecutorBuilding(
        way,
        incarnation="0a1b2c3d",
        allocation_uid="uid",
        ids=ExecutorIds(),
        wish=lambda _: ExecutorWish(template),
    )
    for profile_id in (0, 1):
        pod = building.build(ExecutorId(1), ProfileId(profile_id))
        assert isinstance(pod, ExecutorPodManifest | Obstacle)
        if isinstance(pod, Obstacle):
            assert pod.message


def decided(report: DriverReport, way: Connection | Unconnected) -> None:
    """The core takes the report and comes to a decision, twice."""
    if isinstance(way, Unconnected):
        return
    streaming = StreamingSettings(BatchDurationSettings(), backlog=BacklogSettings())
    settings = replace(way.settings.core, streaming=streaming)
    allocation, batches = Allocation(settings, way.profiles, now_ns=0), StreamBatches()
    for second in (1, 5):
        now = second * SECOND_NS
        allocation.take_report(report, now_ns=now, now_ms=second * 1000)
        observed = batches.observe(
            report.streaming, report.stages, now=second, epoch_ms=1_795_268_170_000 + second * 1000
        )
        if observed is not None:
            allocation.take_streaming(observed)
        step = allocation.step(
            ExecutorPodsSnapshot.replaced((), at=second * 1000),
            vanished=[],
            now_ns=now,
            now_ms=second * 1000,
            report_is_fresh=True,
        )
        highest = DynamicAllocationConf().max_executors
        assert all(0 <= profile.target <= highest for profile in step.profiles)
        SparkAllocationStatus(
            streaming=query_statuses(step.streaming, allocation.learned_streams),
            streaming_decisions=decision_statuses(step.streaming),
        )
        for decision in step.streaming:
            assert len(message_of(statements(decision.problems))) < 3000
