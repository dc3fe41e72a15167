"""Operations in any order: events for what is not there, twice, late, or never."""

from random import Random
from typing import Any

from tests.conformance.generators.eam_settings import profile

Json = dict[str, Any]

_REASONS = (
    "success",
    "success",
    "success",
    "killed",
    "exception",
    "fetchFailed",
    "executorLost",
    "resubmitted",
    "resultLost",
    "commitDenied",
    "unknown",
)
_REMOVALS = (
    "stub",
    "Executor decommission: spark scale down",
    "Finished decommissioning",
    "Executor decommission.",
    "Executor decommission: ",
    "finished decommissioning",
    "",
)
_LEVELS = (
    "MEMORY_ONLY",
    "NONE",
    "DISK_ONLY",
    "MEMORY_AND_DISK",
    "MEMORY_ONLY_SER",
    "OFF_HEAP",
    "MEMORY_AND_DISK_SER_2",
)
_WAITS = (0, 50, 100, 100, 500, 1000, 1000, 1500, 2000, 3000, 5000, 10_000, 60_000)


class Senseless:
    """Random operations over a few stages, tasks, executors, shuffles and profiles."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._profiles = [0]
        self._unregistered = random.random() < 0.05
        self._huge = random.random() < 0.03
        self._jumps = random.random() < 0.1
        self._stages = random.randint(1, 6)
        self._executors = random.choice((2, 4, 12))

    def operations(self, count: int) -> list[Json]:
        operations = [
            profile(self._random, id_) for id_ in range(1, self._random.choice((1, 1, 2, 3, 4)))
        ]
        self._profiles += [operation["id"] for operation in operations]
        if self._unregistered:
            self._profiles.append(99)
        operations += [self._operation() for _ in range(count)]
        return operations

    def _operation(self) -> Json:
        random = self._random
        makers = (
            (20, self._tick),
            (3, lambda: {"op": "advance", "ms": random.choice(_WAITS)}),
            (8, lambda: {"op": "stageSubmitted", **self._stage()}),
            (5, lambda: {"op": "stageCompleted", **self._attempt()}),
            (16, lambda: {"op": "taskStart", **self._task()}),
            (12, lambda: {"op": "taskEnd", **self._task(), "reason": random.choice(_REASONS)}),
            (
                4,
                lambda: {
                    "op": "speculativeSubmitted",
                    **self._attempt(),
                    "index": random.randint(0, 6),
                },
            ),
            (2, lambda: {"op": "unschedulableAdded", **self._attempt()}),
            (2, lambda: {"op": "unschedulableRemoved", **self._attempt()}),
            (10, self._executor_added),
            (
                5,
                lambda: {
                    "op": "executorRemoved",
                    "exec": self._executor(),
                    "reason": random.choice(_REMOVALS),
                },
            ),
            (6, self._block),
            (1, lambda: {"op": "unpersist", "rdd": random.randint(0, 2)}),
            (4, self._job_start),
            (3, lambda: {"op": "jobEnd", "job": random.randint(0, 3), "ok": random.random() < 0.8}),
            (1, lambda: {"op": "shuffleCleaned", "shuffle": random.randint(0, 3)}),
            (3, self._client),
            (0.2, lambda: {"op": "reset"}),
        )
        weights = [weight for weight, _ in makers]
        return random.choices([make for _, make in makers], weights)[0]()

    def _tick(self) -> Json:
        if self._jumps and self._random.random() < 0.1:
            return {
                "op": "tick",
                "ms": self._random.choice(
                    (-1, -5000, -100_000, 3_600_000, 864_000_000, 2**31 * 1000)
                ),
            }
        return {"op": "tick", "ms": self._random.choice(_WAITS)}

    def _attempt(self) -> Json:
        attempt = {"stage": self._random.randint(0, self._stages)}
        if self._random.random() < 0.15:
            attempt["attempt"] = self._random.randint(0, 2)
        return attempt

    def _stage(self) -> Json:
        random = self._random
        stage = {
            **self._attempt(),
            "tasks": random.choice((0, 1, 2, 3, 5, 8, 20, 100)),
            "rp": random.choice(self._profiles),
        }
        if self._huge:
            stage["tasks"] = random.choice((2**31 - 1, 2**30, 10**9, 5))
        if random.random() < 0.5:
            stage["shuffle"] = random.randint(0, 3)
        return stage

    def _task(self) -> Json:
        random = self._random
        task = {
            **self._attempt(),
            "task": random.randint(0, 50),
            "index": random.randint(0, 6),
            "exec": self._executor(),
        }
        if random.random() < 0.2:
            task["speculative"] = True
        return task

    def _executor(self) -> str:
        return str(self._random.randint(1, self._executors))

    def _executor_added(self) -> Json:
        added = {
            "op": "executorAdded",
            "exec": self._executor(),
            "rp": self._random.choice(self._profiles),
        }
        if self._random.random() < 0.05:
            added["active"] = False
        return added

    def _block(self) -> Json:
        random = self._random
        shuffle = random.randint(0, 3)
        block = random.choice(
            (
                f"rdd_{random.randint(0, 2)}_{random.randint(0, 3)}",
                f"rdd_{random.randint(0, 2)}_{random.randint(0, 3)}",
                f"shuffle_{shuffle}_{random.randint(0, 5)}_0.data",
                f"shuffle_{shuffle}_{random.randint(0, 5)}_0.index",
                f"shuffle_{shuffle}_0_0",
                "broadcast_3",
            )
        )
        return {
            "op": "blockUpdated",
            "exec": self._executor(),
            "block": block,
            "level": random.choice(_LEVELS),
        }

    def _job_start(self) -> Json:
        return {
            "op": "jobStart",
            "job": self._random.randint(0, 3),
            "stages": [self._stage() for _ in range(self._random.randint(0, 3))],
        }

    def _client(self) -> Json:
        random = self._random
        operation: Json = {"op": "client"}
        if random.random() < 0.5:
            operation["ack"] = random.random() < 0.6
        if random.random() < 0.5:
            operation["kill"] = random.choice(("all", "all", "none", "active", "first"))
        if random.random() < 0.2:
            operation["requestThrows"] = random.random() < 0.4
        if random.random() < 0.3:
            operation["active"] = {self._executor(): random.random() < 0.5}
        return operation
