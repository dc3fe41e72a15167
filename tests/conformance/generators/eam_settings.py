"""Random settings and profiles for scenarios of kind ``eam``."""

from random import Random
from typing import Any

Json = dict[str, Any]

_DYNAMIC = "spark.dynamicAllocation."


def settings(random: Random) -> dict[str, str]:
    """Settings that Spark accepts, with small bounds and timeouts so that everything happens soon."""
    conf: dict[str, str] = {}
    low = random.choice((0, 0, 0, 1, 2, 3, 5))
    high = low + random.choice((1, 2, 4, 8, 12, 40))
    _maybe(random, conf, _DYNAMIC + "minExecutors", low if low or random.random() < 0.3 else None)
    _maybe(random, conf, _DYNAMIC + "maxExecutors", high if random.random() < 0.8 else None)
    if random.random() < 0.5:
        conf[_DYNAMIC + "initialExecutors"] = str(random.randint(max(0, low - 1), high))
    if random.random() < 0.1:
        conf["spark.executor.instances"] = str(random.randint(0, high))
    if random.random() < 0.3:
        conf[_DYNAMIC + "executorAllocationRatio"] = random.choice(
            ("0.5", "0.385", "0.3333333", "1", "0.1")
        )
    for name, choices in (
        ("schedulerBacklogTimeout", ("1", "1s", "2s", "5000ms", "1min")),
        ("sustainedSchedulerBacklogTimeout", ("1s", "2", "3s", "10s")),
        ("executorIdleTimeout", ("0", "1s", "2s", "3s", "5s", "60s")),
        ("cachedExecutorIdleTimeout", ("0s", "2s", "4s", "7s", "1h")),
        ("shuffleTracking.timeout", ("0", "1500ms", "3s", "6s", "9000", "10d")),
    ):
        if random.random() < 0.55:
            conf[_DYNAMIC + name] = random.choice(choices)
    _tracking(random, conf)
    _resources(random, conf)
    if random.random() < 0.03:
        conf[
            _DYNAMIC
            + random.choice(
                (
                    "schedulerBacklogTimeout",
                    "sustainedSchedulerBacklogTimeout",
                    "executorIdleTimeout",
                    "cachedExecutorIdleTimeout",
                )
            )
        ] = random.choice(
            ("1000000000000s", "9223372036s", "9223372037s", "106751d", "9223372036854775807s")
        )
    return conf


def bad_settings(random: Random) -> dict[str, str]:
    """Settings of which some are refused."""
    conf = settings(random)
    numbers = (
        "-1",
        "0",
        "1",
        "3",
        "2147483647",
        "2147483648",
        "x",
        "",
        " 2 ",
        "1.5",
        "+4",
        "-0",
        "1e3",
    )
    times = (
        "-1s",
        "0",
        "0s",
        "1",
        "5 s",
        "4gg",
        "10S",
        "1.5s",
        "-5",
        "1000000000000s",
        "us",
        "100us",
        "1m",
        "2min",
        "9223372036854775808",
        "-9223372036854775808",
        "999999999999999999d",
        "",
    )
    ratios = (
        "0",
        "1",
        "1.0001",
        "-0.5",
        "NaN",
        "1e-3",
        "0.0",
        "half",
        "Infinity",
        "",
        "1d",
        "0x1p-1",
        " 0.5",
        "1_0",
        "inf",
        "nan",
    )
    flags = ("true", "TRUE", "false", "yes", "", " true ", "1")
    sizes = (
        "1g",
        "512m",
        "1.5g",
        "-1g",
        "4gg",
        "0",
        "1",
        "100k",
        "9999999999999999999g",
        "",
        "8796093022208t",
        "1 g",
    )
    table = (
        (("minExecutors", "maxExecutors", "initialExecutors"), numbers),
        (
            (
                "schedulerBacklogTimeout",
                "sustainedSchedulerBacklogTimeout",
                "executorIdleTimeout",
                "cachedExecutorIdleTimeout",
                "shuffleTracking.timeout",
            ),
            times,
        ),
        (("executorAllocationRatio",), ratios),
        (("shuffleTracking.enabled",), flags),
    )
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if random.random() < 0.7:
            names, values = random.choice(table)
            conf[_DYNAMIC + random.choice(names)] = random.choice(values)
        else:
            names, values = random.choice(
                (
                    (
                        ("spark.executor.cores", "spark.task.cpus", "spark.executor.instances"),
                        numbers,
                    ),
                    (
                        (
                            "spark.executor.memory",
                            "spark.executor.memoryOverhead",
                            "spark.executor.pyspark.memory",
                            "spark.memory.offHeap.size",
                        ),
                        sizes,
                    ),
                    (
                        (
                            "spark.shuffle.service.enabled",
                            "spark.decommission.enabled",
                            "spark.storage.decommission.shuffleBlocks.enabled",
                            "spark.memory.offHeap.enabled",
                            "spark.shuffle.service.fetch.rdd.enabled",
                        ),
                        flags,
                    ),
                    (
                        (
                            "spark.executor.resource.gpu.amount",
                            "spark.task.resource.gpu.amount",
                            "spark.executor.resource.gpu",
                            "spark.task.resource.fpga.amount",
                        ),
                        (*numbers, "0.5", "0.7", "0.1"),
                    ),
                )
            )
            conf[random.choice(names)] = random.choice(values)
    return conf


def profile(random: Random, profile_id: int) -> Json:
    """The operation that registers a resource profile; nearly always one that Spark accepts."""
    executor: Json = {}
    task: Json = {}
    cores = random.choice((None, 1, 2, 4))
    if cores is not None:
        executor["cores"] = cores
    if random.random() < 0.3:
        executor["memory"] = 2048
    if cores is not None and random.random() < 0.6:
        task["cpus"] = random.choice(
            (1, 1, cores, random.choice((0.1, 0.5, 0.7, 1.5)) if random.random() < 0.05 else 1)
        )
    if random.random() < 0.4:
        amount = random.choice((1, 2, 3, 4))
        executor["gpu"] = (
            {"amount": amount, "discoveryScript": "", "vendor": ""}
            if random.random() < 0.5
            else amount
        )
        task["gpu"] = random.choice((0.1, 0.15, 0.25, 0.3, 0.35, 0.5, 1, amount, amount, 0))
    if random.random() < 0.02:
        task["gpu"] = random.choice((0.7, 1.5, 5, 0.34))
    if not executor or random.random() < 0.1:
        # Without resources of executors there is nothing to share: a profile of tasks only.
        return {"op": "rp", "id": profile_id, "executor": {}, "task": {"cpus": 1}, "taskOnly": True}
    return {"op": "rp", "id": profile_id, "executor": executor, "task": task}


def _tracking(random: Random, conf: dict[str, str]) -> None:
    kind = random.random()
    if kind < 0.15:
        conf["spark.shuffle.service.enabled"] = "true"
        conf["spark.shuffle.service.fetch.rdd.enabled"] = random.choice(("true", "false"))
    elif kind < 0.25:
        conf[_DYNAMIC + "shuffleTracking.enabled"] = "false"
        conf["spark.decommission.enabled"] = "true"
    if random.random() < 0.3:
        conf["spark.decommission.enabled"] = "true"


def _resources(random: Random, conf: dict[str, str]) -> None:
    if random.random() < 0.6:
        conf["spark.executor.cores"] = str(random.choice((1, 2, 3, 4, 8)))
        if random.random() < 0.3:
            conf["spark.task.cpus"] = str(random.choice((1, 2, int(conf["spark.executor.cores"]))))
            if int(conf["spark.task.cpus"]) > int(conf["spark.executor.cores"]):
                conf["spark.task.cpus"] = "1"
    if random.random() < 0.1:
        conf["spark.executor.resource.gpu.amount"] = str(random.choice((1, 2, 4)))
        conf["spark.task.resource.gpu.amount"] = random.choice(("0.1", "0.25", "0.5", "1"))


def _maybe(random: Random, conf: dict[str, str], key: str, value: int | None) -> None:
    if value is not None:
        conf[key] = str(value)
