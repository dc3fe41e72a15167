"""Good and bad settings, each asked of real Spark: which are refused, and what the accepted ones mean.

    python -m tests.conformance.settings_matrix --record

Each row is a scenario: some settings, and operations that make their effect visible (a target, a deadline, a need, a
pod). Spark's answers to all rows lie in ``scenarios/settings_matrix.jsonl``, where `test_recorded_scenarios` compares them
with ours; ``--record`` asks again, which is due when rows change.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.conformance.oracle_jvm import SPARK_VERSIONS, Oracle
from tests.conformance.outcome import Departed
from tests.conformance.run import judge

RECORDED = Path(__file__).parent / "scenarios" / "settings_matrix.jsonl"

Json = dict[str, Any]

_DYNAMIC = "spark.dynamicAllocation."
_KUBERNETES = "spark.kubernetes."
_ALLOCATION = "spark.kubernetes.allocation."

NUMBERS = (
    *("-1", "0", "1", "7", "+4", "-0", "007", " 2 ", "2147483647", "2147483648", "-2147483649"),
    *("", " ", "x", "1.5", "1e3", "0x10", "1_000", "\uff14", "\u00a02", "\x012"),
)
TIMES = (
    *(
        "-1s",
        "-1",
        "0",
        "0s",
        "1",
        "1s",
        "5m",
        "5min",
        "10 min",
        "10min",
        " 5s ",
        "5 s",
        "10S",
        "1h",
        "2d",
    ),
    *(
        "100us",
        "999ms",
        "1500ms",
        "1ns",
        "us",
        "s",
        "",
        " ",
        "1.5s",
        "4gg",
        "+5s",
        "--5",
        "1e3s",
        "0x10",
        "1_000s",
    ),
    *(
        "1000000000000s",
        "1000000000000",
        "2147483648s",
        "9223372036s",
        "9223372037s",
        "106751d",
        "106752d",
    ),
    *("9223372036854775807", "9223372036854775807s", "9223372036854775808", "999999999999999999d"),
    *("-9223372036854775808", "-9223372036854775809", "\uff15s", "\u00a05s", "\x015s"),
)
RATIOS = (
    *("1", "1.0", "0.5", ".5", "1.", "1e-3", "1d", "0.5f", "0x1p-1", " 0.5 ", "4.9e-324", "0.1"),
    *(
        "0",
        "0.0",
        "-0.0",
        "-0.5",
        "1.0001",
        "1.00000000000000001",
        "NaN",
        "-NaN",
        "nan",
        "Infinity",
        "inf",
    ),
    *("", " ", "half", "1_0", "0,5", "1/2", "50%", "1e400", "1e-400", "\u00a00.5"),
)
FLAGS = ("true", "TRUE", " True ", "false", "False", "yes", "1", "0", "", " ", "on", "\u00a0true")
SIZES = (
    *(
        "1g",
        "512m",
        "1024",
        "2048k",
        "1t",
        "4gg",
        "-1g",
        "-1",
        "1.5g",
        "1 g",
        " 1g ",
        "1G",
        "1gb",
        "1GiB",
        "512mb",
    ),
    *(
        "",
        " ",
        "0",
        "0m",
        "1",
        "100k",
        "1b",
        "1048576b",
        "1p",
        "x",
        "g",
        "+1g",
        "1e3m",
        "0x10m",
        "1_000m",
    ),
    *(
        "8796093022207m",
        "8796093022208t",
        "9223372036854775807",
        "9223372036854775808",
        "9999999999999999999g",
    ),
    *("2147483648m", "\uff11g", "\u00a01g"),
)
FACTORS = (
    "0.1",
    "0.4",
    "1",
    "1.5",
    "0",
    "-0.1",
    "NaN",
    "Infinity",
    "x",
    "",
    " 0.2 ",
    "1e-3",
    "0.1d",
)
QUANTITIES = (
    "1",
    "2",
    "0.5",
    "500m",
    "1.5",
    "0",
    "-1",
    "x",
    "",
    " 1 ",
    "1e3",
    "1Gi",
    "2147483648",
    "100u",
    "1.0005",
)
AMOUNTS = (
    "1",
    "2",
    "4",
    "0",
    "-1",
    "0.5",
    "0.1",
    "1.5",
    "x",
    "",
    " 2 ",
    "2147483648",
    "+1",
    "0.7",
    "1g",
    "1e0",
)


def _tick(after_ms: int) -> Json:
    return {"op": "tick", "ms": after_ms}


_STAGE = {"op": "stageSubmitted", "stage": 1, "tasks": 20}
_EXECUTOR = {"op": "executorAdded", "exec": "1"}
_BLOCK = {"op": "blockUpdated", "exec": "1", "block": "rdd_1_1"}
_SHUFFLE = {"op": "blockUpdated", "exec": "1", "block": "shuffle_1_1_1.data"}


def _eam(conf: dict[str, str], *operations: Json, detail: str = "brief") -> Json:
    return {"kind": "eam", "detail": detail, "conf": conf, "ops": list(operations)}


def _alloc(conf: dict[str, str], *operations: Json) -> Json:
    return {"kind": "alloc", "conf": conf, "ops": list(operations)}


def _pod(conf: dict[str, str]) -> Json:
    conf = {
        "spark.kubernetes.container.image": "img",
        "spark.kubernetes.executor.podNamePrefix": "m",
        **conf,
    }
    return {"kind": "pod", "conf": conf, "sparkUser": "root"}


def rows() -> Iterator[Json]:
    """All scenarios of the matrix; the id names the settings."""
    for scenario in (*_manager_rows(), *_allocator_rows(), *_pod_rows(), *_together()):
        named = {
            key: value for key, value in scenario["conf"].items() if key not in _pod({})["conf"]
        }
        kind = scenario["kind"]
        yield {"id": f"{kind} " + " ".join(f"{k}={v!a}" for k, v in named.items()), **scenario}


def _manager_rows() -> Iterator[Json]:
    growth = (_STAGE, _tick(1000))
    for value in NUMBERS:
        for name in ("minExecutors", "initialExecutors", "maxExecutors"):
            yield _eam({_DYNAMIC + name: value}, *growth)
        yield _eam({"spark.executor.instances": value}, *growth)
        yield _eam({"spark.executor.cores": value}, _STAGE, detail="full")
        yield _eam({"spark.executor.cores": "8", "spark.task.cpus": value}, _STAGE, detail="full")
    for value in RATIOS:
        yield _eam({_DYNAMIC + "executorAllocationRatio": value}, _STAGE, detail="full")
    for value in TIMES:
        yield _eam({_DYNAMIC + "schedulerBacklogTimeout": value}, _STAGE)
        sustained = {_DYNAMIC + "sustainedSchedulerBacklogTimeout": value}
        yield _eam(sustained, _STAGE, _tick(1000))
        yield _eam({_DYNAMIC + "executorIdleTimeout": value}, _EXECUTOR, detail="full")
        cached = {
            _DYNAMIC + "cachedExecutorIdleTimeout": value,
            _DYNAMIC + "executorIdleTimeout": "0",
        }
        yield _eam(cached, _EXECUTOR, _BLOCK, detail="full")
        shuffle = {
            _DYNAMIC + "shuffleTracking.timeout": value,
            _DYNAMIC + "executorIdleTimeout": "0",
        }
        ended = {"op": "jobEnd", "job": 1}
        yield _eam(shuffle, _EXECUTOR, _SHUFFLE, ended, detail="full")
    for value in FLAGS:
        for key in (
            _DYNAMIC + "shuffleTracking.enabled",
            "spark.shuffle.service.enabled",
            "spark.decommission.enabled",
        ):
            yield _eam({key: value}, _EXECUTOR, _tick(60_000))
        without = {
            _DYNAMIC + "shuffleTracking.enabled": "false",
            "spark.decommission.enabled": "true",
        }
        yield _eam({**without, "spark.storage.decommission.shuffleBlocks.enabled": value})
    for value in AMOUNTS:
        executor, task = "spark.executor.resource.gpu.amount", "spark.task.resource.gpu.amount"
        cores = {"spark.executor.cores": "4"}
        yield _eam({**cores, executor: value, task: "1"}, _STAGE, detail="full")
        yield _eam({**cores, executor: "2", task: value}, _STAGE, detail="full")
        yield _eam({**cores, executor: value}, _STAGE, detail="full")
        yield _eam({**cores, task: value}, _STAGE, detail="full")


def _allocator_rows() -> Iterator[Json]:
    wanted = {"op": "totals", "totals": {"0": 12}}
    for value in NUMBERS:
        for name in ("batch.size", "maxPendingPods", "maxPendingPodsPerRp", "maximum"):
            yield _alloc({_ALLOCATION + name: value}, wanted)
    for value in TIMES:
        for name in ("batch.delay", "executor.timeout"):
            yield _alloc({_ALLOCATION + name: value}, wanted, _tick(600_001))
        given_up = {"op": "totals", "totals": {"0": 0}}
        idle = {_DYNAMIC + "executorIdleTimeout": value}
        yield _alloc(idle, {"op": "totals", "totals": {"0": 1}}, given_up, _tick(2_000))
    for value in FLAGS:
        yield _alloc({"spark.kubernetes.executor.deleteOnTermination": value}, wanted)
        for name in ("own", "reuse", "waitToReuse"):
            yield _alloc({_KUBERNETES + f"driver.{name}PersistentVolumeClaim": value}, wanted)


def _pod_rows() -> Iterator[Json]:
    for value in SIZES:
        yield _pod({"spark.executor.memory": value})
        yield _pod({"spark.executor.memoryOverhead": value})
        yield _pod({"spark.executor.pyspark.memory": value})
        yield _pod({"spark.memory.offHeap.enabled": "true", "spark.memory.offHeap.size": value})
    for value in FACTORS:
        yield _pod({"spark.executor.memoryOverheadFactor": value})
        yield _pod({_KUBERNETES + "memoryOverheadFactor": value})
    for value in NUMBERS:
        yield _pod({"spark.executor.cores": value})
    for value in QUANTITIES:
        yield _pod({_KUBERNETES + "executor.request.cores": value})
        yield _pod({_KUBERNETES + "executor.limit.cores": value})
    for value in FLAGS:
        yield _pod({"spark.memory.offHeap.enabled": value, "spark.memory.offHeap.size": "1g"})


def _together() -> Iterator[Json]:
    low, first, high = (
        _DYNAMIC + name for name in ("minExecutors", "initialExecutors", "maxExecutors")
    )
    instances = "spark.executor.instances"
    growth = (_STAGE, _tick(1000))
    for conf in (
        {low: "5", high: "4"},
        {low: "5", high: "5"},
        {low: "5", high: "0"},
        {low: "-1", high: "-2"},
        {low: "3", first: "9", high: "5"},
        {low: "3", first: "2", high: "5"},
        {low: "3", first: "5", high: "5"},
        {low: "3", first: "-7", high: "5"},
        {first: "2147483647"},
        {low: "2147483647"},
        {instances: "9", high: "5"},
        {instances: "2", low: "3", high: "5"},
        {instances: "4", first: "2", high: "5"},
        {instances: "-4", low: "1"},
        {low: "1", first: "x", instances: "9", high: "5"},
    ):
        yield _eam(conf, *growth)
    backlog = _DYNAMIC + "schedulerBacklogTimeout"
    sustained = _DYNAMIC + "sustainedSchedulerBacklogTimeout"
    for conf in (
        {backlog: "7"},
        {backlog: "7", sustained: "3"},
        {backlog: "0", sustained: "3"},
        {backlog: "3", sustained: "0"},
    ):
        yield _eam(conf, _STAGE, _tick(7000))
    for cores, cpus in (
        ("1", "2"),
        ("2", "2"),
        ("4", "3"),
        ("1", "0.5"),
        ("2", "1.5"),
        ("8", "0.1"),
    ):
        yield _eam({"spark.executor.cores": cores, "spark.task.cpus": cpus}, _STAGE, detail="full")
    tracking = _DYNAMIC + "shuffleTracking.enabled"
    migrate = "spark.storage.decommission.shuffleBlocks.enabled"
    for conf in (
        {tracking: "false"},
        {tracking: "false", "spark.shuffle.service.enabled": "true"},
        {tracking: "false", "spark.decommission.enabled": "true"},
        {tracking: "false", "spark.decommission.enabled": "true", migrate: "false"},
        {tracking: "true", "spark.decommission.enabled": "true", migrate: "x"},
        {tracking: "x", "spark.shuffle.service.enabled": "true"},
        {"spark.shuffle.service.fetch.rdd.enabled": "x"},
        {"spark.shuffle.service.enabled": "true", "spark.shuffle.service.fetch.rdd.enabled": "x"},
    ):
        yield _eam(conf)
    wanted = {"op": "totals", "totals": {"0": 12}}
    pending, per_profile = _ALLOCATION + "maxPendingPods", _ALLOCATION + "maxPendingPodsPerRp"
    for conf in (
        {pending: "5", per_profile: "6"},
        {pending: "5", per_profile: "5"},
        {pending: "5", per_profile: "2147483647"},
        {pending: "0", per_profile: "1"},
        {_DYNAMIC + "maxExecutors": "x"},
        {"spark.dynamicAllocation.enabled": "false", "spark.executor.instances": "x"},
        {"spark.dynamicAllocation.enabled": "x"},
    ):
        yield _alloc(conf, wanted)
    for conf in (
        {
            "spark.executor.memory": "1g",
            "spark.executor.memoryOverheadFactor": "0.2",
            _KUBERNETES + "memoryOverheadFactor": "x",
        },
        {"spark.executor.memory": "512m", "spark.executor.minMemoryOverhead": "4gg"},
        {"spark.executor.memory": "512m", "spark.executor.minMemoryOverhead": "100m"},
        {"spark.memory.offHeap.enabled": "true"},
        {"spark.memory.offHeap.enabled": "true", "spark.memory.offHeap.size": "0"},
        {_KUBERNETES + "executor.request.cores": "2", _KUBERNETES + "executor.limit.cores": "1"},
    ):
        yield _pod(conf)


def recorded(path: Path = RECORDED) -> list[Json]:
    """The recorded rows with Spark's answers."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def entry(scenario: Json, answers: dict[str, Json]) -> Json:
    """A recorded row: Spark's answers by version, or one answer when all agree; and our departures, by version."""
    departures = {
        version: outcome.name
        for version, theirs in answers.items()
        if isinstance(outcome := judge(scenario, theirs, version), Departed)
    }
    first, *others = answers.values()
    told: Json = {"scenario": scenario}
    if departures:
        told["departures"] = departures
    return {**told, "answers": {"all": first} if all(o == first for o in others) else answers}


def ask(scenarios: Sequence[Json], versions: Sequence[str] = SPARK_VERSIONS) -> Iterator[Json]:
    """Ask real Spark, all versions."""
    with ExitStack() as stack:
        oracles = [stack.enter_context(Oracle(version)) for version in versions]
        for scenario in scenarios:
            yield entry(scenario, {oracle.version: oracle.ask(scenario) for oracle in oracles})


def main() -> None:
    parser = argparse.ArgumentParser(description="Good and bad settings, asked of real Spark.")
    parser.add_argument("--record", action="store_true", required=True)
    parser.parse_args()
    with RECORDED.open("w", encoding="utf-8") as lines:
        for row in ask(list(rows())):
            lines.write(json.dumps(row, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
