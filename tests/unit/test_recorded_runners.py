"""The operator with traces: what it writes brings the same decisions again, tells no secret, and holds nobody up."""

import gzip
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.runner_world import Operator, put_driver, running

from spark_allocation.controller import process
from spark_allocation.controller.process_settings import ProcessSettings
from spark_allocation.core.trace.replay import StepTaken, replayed
from spark_allocation.epoch_clock import epoch_ms
from spark_allocation.testing.driver import FakeDriver
from spark_allocation.traces.files import entries, find_traces
from spark_allocation.traces.recorder import TraceLimits, TraceRecorder

SECRET = "hunter2"
PATIENCE = 30.0


def recorded_by(operator: Operator, folder: Path) -> TraceRecorder:
    traces = TraceRecorder(folder, TraceLimits(), operator="test", epoch_ms=epoch_ms)
    traces.start()
    operator.around = replace(operator.around, traces=traces)
    return traces


def wishes(most: int) -> dict[str, Any]:
    return {"dynamicAllocation": {"maxExecutors": most, "executorIdleTimeout": "1s"}}


def staying(operator: Operator) -> list[dict[str, Any]]:
    return [pod for pod in operator.executors if "deletionTimestamp" not in pod["metadata"]]


def let_go(operator: Operator, driver: FakeDriver) -> None:
    """What was asked to leave has left."""
    for pod in operator.executors:
        if "deletionTimestamp" in pod["metadata"]:
            operator.pods.remove(pod["metadata"]["name"], "jobs")
    there = {pod["metadata"]["labels"]["spark-exec-id"] for pod in operator.executors}
    driver.executors = [each for each in driver.executors if each["id"] in there]


def text_below(folder: Path) -> str:
    return "".join(gzip.decompress(path.read_bytes()).decode() for path in folder.rglob("*.gz"))


@pytest.mark.parametrize("seed", range(4))
async def test_a_trace_of_the_operator_brings_the_same_decisions_again(
    seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    async with running() as operator, FakeDriver() as driver:
        traces = recorded_by(operator, tmp_path)
        put_driver(operator, driver)
        first, most, later = chance.randint(2, 4), chance.randint(5, 7), chance.randint(3, 9)
        operator.allocations.put("job", {"driver": {"podName": "driver"}, **wishes(most)})
        runner, stop, task = operator.start("job")

        driver.work(first)
        await operator.until(lambda: len(staying(operator)) == first, within=PATIENCE)
        operator.kubelet(registers_with=driver)
        operator.change(runner, **wishes(most - 1))
        driver.work(later)
        wanted = min(later, most - 1)
        await operator.until(lambda: len(staying(operator)) >= max(first, wanted), within=PATIENCE)
        operator.kubelet(registers_with=driver)

        stop.now()
        await task
        runner, stop, task = operator.start("job")
        driver.work(0)
        driver.executors = [{**each, "activeTasks": 0} for each in driver.executors]
        await operator.until(lambda: len(staying(operator)) < max(first, wanted), within=PATIENCE)
        let_go(operator, driver)
        driver.work(first)
        await operator.until(lambda: len(staying(operator)) >= 1, within=PATIENCE)
        stop.now()
        await task
        traces.close(PATIENCE)

    (trace,) = find_traces(str(tmp_path))
    found = [entry for _, entry in entries(trace)]
    steps = list(replayed(found))

    assert trace.name == "jobs/job"
    assert [each.differences for each in steps if each.differences] == []
    assert all(each.exact for each in steps)
    taken = [each.decided for each in found if isinstance(each, StepTaken)]
    assert len(taken) > 10
    assert any(each.create for each in taken)
    assert any(each.drains or each.above_maximum for each in taken)


async def test_no_planted_secret_and_no_address_gets_into_a_trace(tmp_path: Path) -> None:
    async with running() as operator, FakeDriver() as driver:
        traces = recorded_by(operator, tmp_path)
        driver.properties |= {
            "spark.hadoop.fs.s3a.secret.key": SECRET,
            "spark.executorEnv.PASSWORD": SECRET,
            "spark.executor.extraJavaOptions": f"-Dtoken={SECRET}",
            "spark.executor.memory": "2g",
            "spark.master": f"k8s://https://{SECRET}.example.com:443",
            "spark.app.name": SECRET,
        }
        put_driver(operator, driver)
        driver.work(2)
        template = {
            "metadata": {"annotations": {"token": SECRET}},
            "spec": {"containers": [{"name": "e", "env": [{"name": "P", "value": SECRET}]}]},
        }
        operator.allocate(executor={"podTemplate": template}, **wishes(3))
        await operator.until(lambda: len(operator.executors) == 2, within=PATIENCE)
        operator.kubelet(registers_with=driver)
        for pod in operator.executors:
            pod["spec"]["nodeName"] = "ip-10-7-7-7.example.com"
            pod["metadata"].setdefault("annotations", {})["password"] = SECRET
            operator.pods.change(pod["metadata"]["name"], "jobs", podIP="10.7.7.8")
        for each in driver.executors:
            each |= {"hostPort": "10.7.7.7:7079", "executorLogs": {"stdout": SECRET}}
        await operator.until(
            lambda: operator.allocations.status("job").get("executors") == 2, within=PATIENCE
        )
        name = operator.executors[0]["metadata"]["name"]
        lost = driver.executors.pop(0)
        driver.dead = [{**lost, "removeReason": f"lost at 10.7.7.7: {SECRET}"}]
        ended = {"exitCode": 1, "reason": "Error", "message": SECRET}
        container = {"name": "spark-kubernetes-executor", "state": {"terminated": ended}}
        operator.pods.change(
            name, "jobs", phase="Failed", message=SECRET, containerStatuses=[container]
        )
        await operator.until(lambda: len(operator.executors) > 2, within=PATIENCE)
        traces.close(PATIENCE)

    text = text_below(tmp_path)

    assert '"spark.executor.memory":"2g"' in text
    assert '"exit_code":1' in text
    for secret in (SECRET, "10.7.7", "ip-10", "example.com", "127.0.0.1", str(driver.port)):
        assert secret not in text


async def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    async with running() as operator, FakeDriver() as driver:
        put_driver(operator, driver)
        driver.work(1)
        operator.allocate(**wishes(3))
        await operator.until(lambda: len(operator.executors) == 1, within=PATIENCE)

    assert operator.around.traces is None
    assert text_below(tmp_path) == ""


def test_the_operator_keeps_traces_where_its_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert process._traces(ProcessSettings()) is None
    monkeypatch.setenv("SPARK_ALLOCATION_TRACE_DIRECTORY", str(tmp_path / "made"))
    monkeypatch.setenv("SPARK_ALLOCATION_TRACE_ALLOCATION_MIB", "8")

    traces = process._traces(ProcessSettings())

    assert traces is not None
    assert traces.limits == TraceLimits(allocation_bytes=8 << 20, total_bytes=512 << 20)
    traces.start()
    traces.close(PATIENCE)
    assert (tmp_path / "made").is_dir()
