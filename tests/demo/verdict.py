"""What a run of the demo has to show, each point with the evidence for or against it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.demo.timeline import Timeline

RESULT_PREFIX = "SPARK-ALLOCATION-RESULT "


@dataclass(frozen=True, slots=True)
class Check:
    """One point: what must hold, whether it does, and what was seen."""

    claim: str
    holds: bool
    seen: str


@dataclass(frozen=True, slots=True)
class Ending:
    """What is found after the driver has ended.

    Attributes:
        driver_phase: of its pod.
        executors_left: executor pods still there.
        config_maps_left: executor config maps still there.
        finished: the SparkAllocation's condition Finished, as "status reason message".
        may_create_pods, may_delete_pods: kubectl's answers for the driver's service account.
    """

    driver_phase: str
    executors_left: int
    config_maps_left: int
    finished: str
    may_create_pods: str
    may_delete_pods: str


def job_result(driver_log: str) -> dict[str, Any] | None:
    """The JSON object that the job printed last, None when it never came to that."""
    for line in reversed(driver_log.splitlines()):
        if line.startswith(RESULT_PREFIX):
            return json.loads(line.removeprefix(RESULT_PREFIX))
    return None


def judge(result: dict[str, Any] | None, timeline: Timeline, ending: Ending) -> list[Check]:
    return [*_of_result(result), *_of_course(timeline), *_of_ending(ending)]


def _of_result(result: dict[str, Any] | None) -> Sequence[Check]:
    if result is None:
        return [Check("the job prints its result", False, "it printed none")]
    wrong = {
        question: answer
        for question, answer in result["answers"].items()
        if answer["computed"] != answer["known"]
    }
    executors = result["executors"]
    ids = [executor["id"] for executor in executors]
    charged = result["failedTasks"] + sum(executor["failedTasks"] for executor in executors)
    checks = [
        Check(
            "the job's answers are right",
            len(result["answers"]) > 0 and not wrong and result["complaint"] is None,
            result["complaint"] or (str(wrong) if wrong else f"{len(result['answers'])} of them"),
        ),
        Check(
            "no task failed or was charged with a failure",
            charged == 0 and result["retriedStages"] == 0,
            f"{charged} failed tasks, {result['retriedStages']} retried stages",
        ),
        Check(
            "every executor id was used once",
            len(ids) == len(set(ids)),
            f"ids {', '.join(str(number) for number in sorted(ids))}",
        ),
    ]
    for profile in (0, 1):
        workers = [
            executor
            for executor in executors
            if executor["profile"] == profile and executor["completedTasks"] > 0
        ]
        tasks = sum(executor["completedTasks"] for executor in workers)
        checks.append(
            Check(
                f"executors of profile {profile} ran tasks",
                tasks > 0,
                f"{len(workers)} executors, {tasks} tasks",
            )
        )
    return checks


def _of_course(timeline: Timeline) -> Sequence[Check]:
    episodes = timeline.episodes()
    course = " → ".join(
        f"{episode.peak} → {'?' if episode.ended is None else 0}" for episode in episodes
    )
    return [
        Check(
            "executors rise, fall to 0, rise, fall to 0",
            len(episodes) >= 2
            and max(episode.peak for episode in episodes) >= 2
            and all(episode.peak >= 1 and episode.ended is not None for episode in episodes),
            f"0 → {course}" if episodes else "none ever ran",
        )
    ]


def _of_ending(ending: Ending) -> Sequence[Check]:
    return [
        Check("the driver ends well", ending.driver_phase == "Succeeded", ending.driver_phase),
        Check(
            "at the end there are minExecutors (0) executors",
            ending.executors_left == 0,
            f"{ending.executors_left} executor pods",
        ),
        Check(
            "nothing of the application is left",
            ending.config_maps_left == 0,
            f"{ending.config_maps_left} executor config maps",
        ),
        Check(
            "the SparkAllocation says that it has finished",
            ending.finished.startswith("True"),
            ending.finished or "no condition Finished",
        ),
        Check(
            "the driver may neither create nor delete pods",
            ending.may_create_pods == ending.may_delete_pods == "no",
            f"create: {ending.may_create_pods}, delete: {ending.may_delete_pods}",
        ),
    ]
