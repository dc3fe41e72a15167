"""Random scenarios of kind ``alloc``: the pods allocator and the world around it.

Five families; a scenario names its own:

- ``loop``: a cluster and a scheduler that behave: pods appear, run, register, end, vanish; watch events and polls get
  lost; targets follow. What exists is known from our own allocator, which plays along; the operations it leads to
  are then plain data, and the oracle judges.
- ``excess``: many pending pods of which only some are in excess, so that Scala's hash tables choose.
- ``senseless``: operations in any order on any executor, clocks that jump, also back.
- ``claims``: as ``loop``, with persistent volume claims that are reused and waited for.
- ``settings``: values near and beyond what Spark accepts.
"""

from random import Random
from typing import Any

from tests.conformance.alloc_answer import AllocSession

from spark_allocation.core.spark_version import SparkVersion

Scenario = dict[str, Any]

_FAMILIES = ("loop", "loop", "loop", "senseless", "senseless", "excess", "claims", "settings")
_ALLOCATION = "spark.kubernetes.allocation."
_VOLUME = "spark.kubernetes.executor.volumes.persistentVolumeClaim.spark-local-dir-"


def generate(random: Random, spark_version: str) -> Scenario:
    """One scenario; our allocator of that Spark version plays along where the family needs it."""
    family = random.choice(_FAMILIES)
    scenario = _MAKERS[family](random, SparkVersion.parse(spark_version))
    return {"kind": "alloc", "family": family, **scenario}


def _conf(rng: Random) -> dict[str, str]:
    # Spark 3.5 ends the process after too many failed executors.
    conf = {"spark.executor.maxNumFailures": "1000000"}
    _maybe(
        rng,
        conf,
        "spark.dynamicAllocation.executorIdleTimeout",
        ("0", "1s", "5s", "10s", "20", "60s"),
        0.8,
    )
    _maybe(rng, conf, _ALLOCATION + "batch.size", ("1", "2", "3", "5", "7", "20"), 0.6)
    _maybe(rng, conf, _ALLOCATION + "batch.delay", ("101ms", "1s", "3s", "200"), 0.3)
    _maybe(rng, conf, _ALLOCATION + "executor.timeout", ("1ms", "10s", "30s", "60000"), 0.5)
    _maybe(rng, conf, _ALLOCATION + "maxPendingPods", ("1", "2", "3", "5", "8", "15"), 0.35)
    if int(conf.get(_ALLOCATION + "maxPendingPods", 99)) >= 3:
        _maybe(rng, conf, _ALLOCATION + "maxPendingPodsPerRp", ("1", "2", "3"), 0.25)
    _maybe(rng, conf, _ALLOCATION + "maximum", ("1", "2", "5", "9"), 0.07)
    _maybe(rng, conf, "spark.kubernetes.executor.deleteOnTermination", ("true", "false"), 0.3)
    _maybe(rng, conf, "spark.kubernetes.executor.checkAllContainers", ("true", "false"), 0.2)
    return conf


def _maybe(
    rng: Random, conf: dict[str, str], key: str, values: tuple[str, ...], share: float
) -> None:
    if rng.random() < share:
        conf[key] = rng.choice(values)


def _profiles(rng: Random) -> list[dict[str, Any]]:
    ids = rng.choice(((), (), (1,), (1, 2), (3, 1, 7)))
    return [{"id": each, "executor": {"cores": 1}, "task": {"cpus": 1}} for each in ids]


def _loop(rng: Random, version: SparkVersion) -> Scenario:
    scenario: Scenario = {"conf": _conf(rng), "profiles": _profiles(rng)}
    scenario["ops"] = _Loop(rng, scenario, version).ops(rng.randint(8, 40))
    return scenario


def _excess(rng: Random, _: SparkVersion) -> Scenario:
    wave = rng.choice((4, 5, 11, 12, 13, 14, 23, 24, 25, 26, 30, 45))
    profiles = _profiles(rng) if rng.random() < 0.3 else []
    ids = [0, *(profile["id"] for profile in profiles)]
    passed = rng.choice((0, 0, 3, 40))
    conf = {
        "spark.executor.maxNumFailures": "1000000",
        "spark.dynamicAllocation.executorIdleTimeout": "10s",
        _ALLOCATION + "batch.size": "100",
    }
    ops: list[dict[str, Any]] = []
    if passed:
        # Ids that are used up without pods: the hash tables meet larger numbers.
        ops += [{"op": "failCreates", "n": passed}, {"op": "totals", "totals": {"0": 1}}]
        ops += [{"op": "tick", "ms": 1} for _ in range(passed)]
    ops.append({"op": "totals", "totals": {str(each): wave // len(ids) for each in ids}})
    everyone = list(range(1, wave + passed + 2))
    if rng.random() < 0.7:
        shown = rng.sample(everyone, len(everyone))
        ops += [{"op": "watch", "exec": str(each)} for each in shown]
    else:
        ops.append({"op": "poll"})
    ops += [{"op": "tick", "ms": 1}, {"op": "tick", "ms": 10_001}]
    for _ in range(rng.randint(1, 4)):
        known = [str(each) for each in everyone if rng.random() < 0.2]
        ops.append({"op": "known", "ids": known})
        for each in everyone:
            if rng.random() < 0.1:
                ops.append(
                    {"op": "phase", "exec": str(each), "phase": rng.choice(("Running", "Failed"))}
                )
        ops.append(
            {
                "op": "totals",
                "totals": {str(each): rng.randint(0, wave // len(ids)) for each in ids},
            }
        )
        if rng.random() < 0.5:
            ops.append({"op": "poll"})
        ops.append({"op": "tick", "ms": rng.choice((1, 1_000, 10_001))})
    return {"conf": conf, "profiles": profiles, "ops": ops}


def _claims(rng: Random, version: SparkVersion) -> Scenario:
    conf = _conf(rng)
    conf["spark.kubernetes.driver.pod.name"] = "driver"
    for volume in range(rng.choice((1, 1, 1, 2))):
        conf[f"{_VOLUME}{volume + 1}.options.claimName"] = "OnDemand"
        conf[f"{_VOLUME}{volume + 1}.options.storageClass"] = "gp"
        conf[f"{_VOLUME}{volume + 1}.options.sizeLimit"] = "1Gi"
        conf[f"{_VOLUME}{volume + 1}.mount.path"] = f"/data{volume + 1}"
    if rng.random() < 0.15:
        del conf["spark.kubernetes.driver.pod.name"]
    flag = ("true", "false")
    _maybe(rng, conf, "spark.kubernetes.driver.ownPersistentVolumeClaim", flag, 0.3)
    _maybe(rng, conf, "spark.kubernetes.driver.reusePersistentVolumeClaim", flag, 0.3)
    _maybe(rng, conf, "spark.kubernetes.driver.waitToReusePersistentVolumeClaim", flag, 0.8)
    _maybe(rng, conf, "spark.dynamicAllocation.maxExecutors", ("1", "2", "3", "4", "6"), 0.8)
    if rng.random() < 0.2:
        conf["spark.dynamicAllocation.enabled"] = "false"
        _maybe(rng, conf, "spark.executor.instances", ("1", "3", "5"), 0.6)
    scenario: Scenario = {
        "conf": conf,
        "profiles": _profiles(rng),
        "driverPod": {
            "metadata": {"name": "driver", "namespace": "default", "uid": "driver-uid"},
            "spec": {"containers": []},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        },
        # Spark compares the age of claims with the wall clock: far back, all are old; far ahead, none.
        "startMs": rng.choice((1_500_000_000_000, 1_700_000_000_000, 4_000_000_000_000)),
    }
    scenario["ops"] = _Loop(rng, scenario, version).ops(rng.randint(8, 30))
    return scenario


def _senseless(rng: Random, _: SparkVersion) -> Scenario:
    profiles = _profiles(rng)
    ids = [0, *(profile["id"] for profile in profiles)]
    if rng.random() < 0.03:
        ids.append(99)
    scenario: Scenario = {"conf": _conf(rng), "profiles": profiles}
    ops: list[dict[str, Any]] = []
    for _ in range(rng.randint(5, 45)):
        executor = str(rng.randint(1, rng.choice((3, 8, 30))))
        watch = rng.random() < 0.7
        ops.append(
            rng.choice(
                (
                    {"op": "advance", "ms": rng.choice((1, 999, 10_000, 700_000, -5_000))},
                    {
                        "op": "tick",
                        "ms": rng.choice((0, 0, 1, 1_000, 1_000, 10_001, 60_000, 600_001, -2_000)),
                    },
                    {"op": "tick", "ms": rng.choice((0, 1_000, 5_000, 20_000))},
                    {"op": "totals", "totals": _totals(rng, ids, rng.choice((2, 6, 25)))},
                    {
                        "op": "known",
                        "ids": [str(rng.randint(1, 12)) for _ in range(rng.randint(0, 8))],
                    },
                    _phase(rng, executor, watch),
                    _phase(rng, executor, watch),
                    {"op": "gone", "exec": executor, "watch": watch},
                    {"op": "watch", "exec": executor},
                    {"op": "poll"},
                    {"op": "failCreates", "n": rng.choice((0, 1, 1, 2, 5)), "code": _code(rng)},
                )
            )
        )
    scenario["ops"] = ops
    return scenario


def _settings(rng: Random, _: SparkVersion) -> Scenario:
    conf = _conf(rng)
    numbers = ("0", "-1", "1", " 3 ", "+2", "x", "", "2147483647", "2147483648", "1.5")
    times = ("0", "-1s", "1", "100", "100ms", "101", "0.5s", "1m", "5 s", "", "10S", "1h", "xs")
    flags = ("true", "TRUE", "yes", "", "False", " true ")
    for _ in range(rng.choice((1, 1, 2))):
        key, values = rng.choice(
            (
                (_ALLOCATION + "batch.size", numbers),
                (_ALLOCATION + "maxPendingPods", numbers),
                (_ALLOCATION + "maxPendingPodsPerRp", numbers),
                (_ALLOCATION + "maximum", numbers),
                (_ALLOCATION + "batch.delay", times),
                (_ALLOCATION + "executor.timeout", times),
                ("spark.dynamicAllocation.executorIdleTimeout", times),
                ("spark.kubernetes.executor.deleteOnTermination", flags),
                ("spark.kubernetes.driver.waitToReusePersistentVolumeClaim", flags),
            )
        )
        conf[key] = rng.choice(values)
    ops = [
        {"op": "totals", "totals": {"0": 3}},
        {"op": "tick", "ms": 1_000},
        {"op": "poll"},
        {"op": "tick", "ms": 61_000},
        {"op": "totals", "totals": {"0": 1}},
        {"op": "tick", "ms": 601_000},
        {"op": "tick", "ms": 601_000},
    ]
    return {"conf": conf, "ops": ops}


def _totals(rng: Random, ids: list[int], most: int) -> dict[str, int]:
    named = [each for each in ids if rng.random() < 0.7] or [rng.choice(ids)]
    return {str(each): rng.randint(0, most) for each in named}


def _phase(rng: Random, executor: str, watch: bool) -> dict[str, Any]:
    op: dict[str, Any] = {"op": "phase", "exec": executor, "watch": watch}
    op["phase"] = rng.choice(
        ("Pending", "Running", "Running", "Succeeded", "Failed", "Unknown", "Terminating")
    )
    if rng.random() < 0.2:
        op["deleting"] = True
    if rng.random() < 0.2:
        op["exitCode"] = rng.choice((0, 1, 137))
    return op


def _code(rng: Random) -> int:
    return rng.choice((500, 403, 404, 422))


class _Loop:
    """A cluster, a scheduler and targets that follow our own allocator."""

    def __init__(self, rng: Random, scenario: Scenario, version: SparkVersion) -> None:
        self._rng = rng
        self._session = AllocSession(scenario, version)
        self._ids = [0, *(profile["id"] for profile in scenario["profiles"])]
        self._most = rng.choice((3, 6, 6, 12, 30))
        self._ops: list[dict[str, Any]] = []

    def ops(self, rounds: int) -> list[dict[str, Any]]:
        first = self._ids if self._rng.random() < 0.9 else [self._rng.choice(self._ids)]
        self._do(
            {"op": "totals", "totals": {str(i): self._rng.randint(0, self._most) for i in first}}
        )
        for _ in range(rounds):
            self._cluster_moves()
            if self._rng.random() < 0.35:
                self._scheduler_moves()
            if self._rng.random() < 0.25:
                self._do({"op": "totals", "totals": _totals(self._rng, self._ids, self._most)})
            if self._rng.random() < 0.06:
                self._do(
                    {"op": "failCreates", "n": self._rng.randint(1, 3), "code": _code(self._rng)}
                )
            if self._rng.random() < 0.15:
                self._do({"op": "poll"})
            self._do({"op": "tick", "ms": self._pause()})
        return self._ops

    def _do(self, op: dict[str, Any]) -> None:
        self._ops.append(op)
        self._session.apply(op)

    def _pause(self) -> int:
        if self._rng.random() < 0.75:
            return 1_000
        return self._rng.choice((0, 1, 5_000, 10_000, 20_001, 30_000, 61_000, 600_001))

    def _cluster_moves(self) -> None:
        for pod in list(self._session.pods.values()):
            if self._rng.random() < 0.45:
                self._move(str(pod.executor_id), pod.facts.phase)

    def _move(self, executor: str, phase: str) -> None:
        rng = self._rng
        watch = rng.random() < 0.85
        if phase == "Pending":
            if rng.random() < 0.4:
                self._do({"op": "watch", "exec": executor})
            elif rng.random() < 0.85:
                self._do({"op": "phase", "exec": executor, "phase": "Running", "watch": watch})
            else:
                self._do({"op": "gone", "exec": executor, "watch": watch})
        elif phase == "Running":
            if rng.random() < 0.25:
                end = rng.choice(("Failed", "Failed", "Succeeded", "Running"))
                deleting = rng.random() < 0.3
                self._do(
                    {
                        "op": "phase",
                        "exec": executor,
                        "phase": end,
                        "watch": watch,
                        "deleting": deleting,
                    }
                )
            elif rng.random() < 0.1:
                self._do({"op": "gone", "exec": executor, "watch": watch})
        elif rng.random() < 0.6:
            self._do({"op": "gone", "exec": executor, "watch": watch})

    def _scheduler_moves(self) -> None:
        running = [
            str(pod.executor_id)
            for pod in self._session.pods.values()
            if self._rng.random() < (0.8 if pod.facts.phase == "Running" else 0.15)
        ]
        self._do({"op": "known", "ids": running})


_MAKERS = {
    "loop": _loop,
    "excess": _excess,
    "senseless": _senseless,
    "claims": _claims,
    "settings": _settings,
}
