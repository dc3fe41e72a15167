"""A small cluster that follows the allocation manager: executors come when they are asked for, tasks run on them.

The manager in the loop is ours; the operations it provokes are recorded and given to Spark as well. Events are lost or
late now and then, executors fail, requests are refused, stages are retried, copies race their originals.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

from tests.conformance.eam_answer import EamSession
from tests.conformance.generators.eam_settings import profile

Json = dict[str, Any]

_FAILURES = ("exception", "fetchFailed", "executorLost", "resultLost", "commitDenied")


class _Stage:
    def __init__(self, fields: Json) -> None:
        self.fields = fields
        self.key = (fields["stage"], fields.get("attempt", 0))
        self.waiting = list(range(fields["tasks"]))
        self.copies_waiting: list[int] = []
        self.done: set[int] = set()
        self.submitted = False
        self.blocked = False

    @property
    def identity(self) -> Json:
        return {"stage": self.key[0], "attempt": self.key[1]}


class _Task:
    def __init__(
        self, stage: _Stage, index: int, executor: str, speculative: bool, number: int
    ) -> None:
        self.stage = stage
        self.executor = executor
        self.speculative = speculative
        self.index = index
        self.fields = {
            **stage.identity,
            "task": number,
            "index": index,
            "exec": executor,
            "speculative": speculative,
        }


class ClosedLoop:
    """One application on one cluster, from its settings to its last tick."""

    def __init__(self, random: Random, scenario: Json) -> None:
        self._random = random
        self._session = EamSession(scenario)
        self._operations: list[Json] = []
        self._profiles = [0]
        self._slots: dict[str, int] = {}
        self._profile_of: dict[str, int] = {}
        self._leaving: list[tuple[str, str]] = []
        self._running: list[_Task] = []
        self._stages: list[_Stage] = []
        self._jobs: dict[int, list[_Stage]] = {}
        self._numbers = self._count()
        self._shuffles: list[int] = []
        self._rdds: set[int] = set()
        self._loss = random.choice((0, 0, 0, 0.02, 0.1))
        self._failures = random.choice((0, 0.02, 0.15))
        self._speculation = random.choice((0, 0, 0.1))
        self._speed = random.choice((0.1, 0.3, 0.7))
        self._quota = random.choice((3, 8, 30))
        self._tick_ms = random.choice((100, 250, 500, 1000))

    def run(self, rounds: int) -> list[Json]:
        random = self._random
        for id_ in range(1, random.choice((1, 1, 2, 3))):
            if self._do(profile(random, id_)).get("error"):
                return self._operations
            self._profiles.append(id_)
        for _ in range(rounds):
            self._round()
        return self._operations

    def _round(self) -> None:
        random = self._random
        if len(self._jobs) < 3 and random.random() < 0.12:
            self._start_job()
        for stage in self._stages:
            if not stage.submitted and random.random() < 0.6:
                stage.submitted = True
                self._do({"op": "stageSubmitted", **stage.fields})
        self._launch_executors()
        self._start_tasks()
        self._end_tasks()
        self._finish_stages()
        self._disturb()
        self._let_go()
        quiet = random.random() < 0.05
        self._tick(random.choice((3000, 10_000, 61_000)) if quiet else self._tick_ms)

    def _count(self) -> Iterator[int]:
        number = 0
        while True:
            number += 1
            yield number

    def _do(self, operation: Json) -> Json:
        lossy = operation["op"] in (
            "taskStart",
            "taskEnd",
            "executorAdded",
            "stageCompleted",
            "jobEnd",
        )
        if lossy and self._random.random() < self._loss:
            return {}
        self._operations.append(operation)
        return self._session.step(len(self._operations), operation)

    def _start_job(self) -> None:
        random = self._random
        job = next(self._numbers)
        stages: list[_Stage] = []
        count = random.randint(1, 3)
        for place in range(count):
            fields: Json = {
                "stage": next(self._numbers),
                "tasks": random.choice((1, 2, 4, 7, 12, 25)),
                "rp": random.choice(self._profiles),
            }
            if place < count - 1:
                reuse = self._shuffles and random.random() < 0.3
                fields["shuffle"] = random.choice(self._shuffles) if reuse else next(self._numbers)
                self._shuffles.append(fields["shuffle"])
            stages.append(_Stage(fields))
        self._do({"op": "jobStart", "job": job, "stages": [stage.fields for stage in stages]})
        if random.random() < 0.1:
            stages = stages[1:]  # the shuffle is there already: its stage is skipped
        self._jobs[job] = stages
        self._stages += stages

    def _launch_executors(self) -> None:
        random = self._random
        for profile_id, target in self._session.manager.targets.items():
            here = sum(1 for own in self._profile_of.values() if own == profile_id)
            for _ in range(min(target - here, self._quota - len(self._slots))):
                if random.random() < 0.5:
                    executor = str(next(self._numbers))
                    self._slots[executor] = random.choice((1, 1, 2, 4))
                    self._profile_of[executor] = profile_id
                    self._do({"op": "executorAdded", "exec": executor, "rp": profile_id})

    def _start_tasks(self) -> None:
        for stage in self._stages:
            if not stage.submitted or stage.blocked:
                continue
            for executor, slots in self._slots.items():
                busy = sum(1 for task in self._running if task.executor == executor)
                if self._profile_of[executor] != stage.fields["rp"]:
                    continue
                for _ in range(slots - busy):
                    if stage.waiting:
                        self._start(
                            _Task(stage, stage.waiting.pop(0), executor, False, next(self._numbers))
                        )
                    elif stage.copies_waiting:
                        self._start(
                            _Task(
                                stage,
                                stage.copies_waiting.pop(0),
                                executor,
                                True,
                                next(self._numbers),
                            )
                        )

    def _start(self, task: _Task) -> None:
        self._running.append(task)
        self._do({"op": "taskStart", **task.fields})

    def _end_tasks(self) -> None:
        random = self._random
        for task in list(self._running):
            if task not in self._running or random.random() > self._speed:
                continue
            if random.random() < self._failures:
                self._end(task, random.choice(_FAILURES))
                continue
            task.stage.done.add(task.index)
            if random.random() < 0.2:
                rdd = random.randint(0, 2)
                self._rdds.add(rdd)
                level = random.choice(("MEMORY_ONLY", "DISK_ONLY", "MEMORY_AND_DISK"))
                self._do(
                    {
                        "op": "blockUpdated",
                        "exec": task.executor,
                        "block": f"rdd_{rdd}_{task.index}",
                        "level": level,
                    }
                )
            self._end(task, "success")
            for other in list(self._running):
                if other.stage is task.stage and other.index == task.index:
                    self._end(other, "killed")

    def _end(self, task: _Task, reason: str) -> None:
        self._running.remove(task)
        self._do({"op": "taskEnd", **task.fields, "reason": reason})
        if reason in _FAILURES and task.index not in task.stage.done and not task.speculative:
            task.stage.waiting.append(task.index)

    def _finish_stages(self) -> None:
        random = self._random
        for job, stages in list(self._jobs.items()):
            for stage in list(stages):
                if len(stage.done) == stage.fields["tasks"]:
                    stages.remove(stage)
                    self._stages.remove(stage)
                    self._do({"op": "stageCompleted", **stage.fields})
            if not stages:
                del self._jobs[job]
                self._do({"op": "jobEnd", "job": job, "ok": random.random() < 0.9})

    def _disturb(self) -> None:
        random = self._random
        if self._stages and random.random() < self._speculation:
            stage = random.choice(self._stages)
            running = [
                task.index for task in self._running if task.stage is stage and not task.speculative
            ]
            for index in running[: random.randint(1, 4)]:
                stage.copies_waiting.append(index)
                self._do({"op": "speculativeSubmitted", **stage.identity, "index": index})
        if self._stages and random.random() < 0.02:
            stage = random.choice(self._stages)
            stage.blocked = not stage.blocked
            self._do(
                {
                    "op": "unschedulableAdded" if stage.blocked else "unschedulableRemoved",
                    **stage.identity,
                }
            )
        if self._stages and random.random() < 0.02:
            self._retry(random.choice(self._stages))
        if self._shuffles and random.random() < 0.05:
            self._do({"op": "shuffleCleaned", "shuffle": random.choice(self._shuffles)})
        if self._rdds and random.random() < 0.04:
            self._do({"op": "unpersist", "rdd": random.choice(sorted(self._rdds))})
        if self._slots and random.random() < 0.03:
            self._lose(random.choice(list(self._slots)), "stub")
        if self._slots and self._shuffles and random.random() < 0.03:
            block = f"shuffle_{random.choice(self._shuffles)}_{random.randint(0, 9)}_0.data"
            self._do(
                {"op": "blockUpdated", "exec": random.choice(list(self._slots)), "block": block}
            )
        if random.random() < 0.03:
            self._do(
                {
                    "op": "client",
                    "ack": random.random() < 0.7,
                    "kill": random.choice(("all", "all", "none", "active", "first")),
                    "requestThrows": random.random() < 0.1,
                }
            )

    def _retry(self, stage: _Stage) -> None:
        """A fetch failure: the attempt is over while tasks of it still run; the next one has the missing tasks."""
        missing = stage.fields["tasks"] - len(stage.done)
        if not stage.submitted or missing == 0:
            return
        self._do({"op": "stageCompleted", **stage.fields})
        attempt = stage.key[1] + 1
        again = _Stage({**stage.fields, "attempt": attempt, "tasks": missing})
        self._stages[self._stages.index(stage)] = again
        for stages in self._jobs.values():
            if stage in stages:
                stages[stages.index(stage)] = again

    def _lose(self, executor: str, reason: str) -> None:
        for task in [task for task in self._running if task.executor == executor]:
            self._end(task, "executorLost")
        del self._slots[executor]
        del self._profile_of[executor]
        self._do({"op": "executorRemoved", "exec": executor, "reason": reason})

    def _let_go(self) -> None:
        random = self._random
        for executor, reason in list(self._leaving):
            if random.random() < 0.4:
                self._leaving.remove((executor, reason))
                if executor in self._slots:
                    self._lose(executor, reason)

    def _tick(self, milliseconds: int) -> None:
        step = self._do({"op": "tick", "ms": milliseconds})
        for call in step["calls"]:
            if call["call"] == "killExecutors":
                self._leaving += [(executor, "stub") for executor in call["returned"]]
            elif call["call"] == "decommissionExecutors":
                reasons = (
                    "Finished decommissioning",
                    "Executor decommission: spark scale down",
                    "lost",
                )
                self._leaving += [
                    (executor, self._random.choice(reasons)) for executor in call["returned"]
                ]
