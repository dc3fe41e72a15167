"""A Spark job with two bursts of work and quiet in between, that checks its own answers.

First burst: short tasks with a shuffle, then a cached data set that is read twice and given back. Quiet until the last
executor has gone. Second burst: its first stage on ordinary executors, its second on executors of a resource profile
of its own (stage-level scheduling), reading the shuffle of the first. Quiet again. Every answer has a closed form.

The last line printed is `SPARK-ALLOCATION-RESULT` and a JSON object: the answers, and which executor of which profile
ran how many tasks. The job ends with code 1 when an answer is wrong or the executors do not go within the deadline.
"""

import argparse
import json
import sys
import time
import urllib.request

from pyspark import SparkContext
from pyspark.resource import (
    ExecutorResourceRequests,
    ResourceProfile,
    ResourceProfileBuilder,
    TaskResourceRequests,
)

RESULT_PREFIX = "SPARK-ALLOCATION-RESULT "
KEYS = 97
GROUPS_OF_A_TASK = 40


class ExecutorsStayError(Exception):
    """Executors are still registered at the deadline."""


class Answers:
    """What the job computed beside what is known to be right."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, int]] = {}

    def add(self, question: str, computed: int, known: int) -> None:
        self.entries[question] = {"computed": computed, "known": known}

    @property
    def right(self) -> bool:
        return all(entry["computed"] == entry["known"] for entry in self.entries.values())


class DriverApi:
    """The REST API that this driver serves on its own UI port."""

    def __init__(self, context: SparkContext) -> None:
        port = context.uiWebUrl.rsplit(":", 1)[1]
        host = context.getConf().get("spark.driver.host")
        self._base = f"http://{host}:{port}/api/v1/applications/{context.applicationId}"

    def get(self, path: str) -> list[dict]:
        with urllib.request.urlopen(f"{self._base}/{path}", timeout=10) as answer:
            return json.load(answer)

    def executors(self, path: str = "executors") -> list[dict]:
        return [entry for entry in self.get(path) if entry["id"] != "driver"]

    def wait_until_no_executor_is_left(self, deadline_seconds: float) -> None:
        end = time.monotonic() + deadline_seconds
        while left := self.executors():
            if time.monotonic() > end:
                ids = ", ".join(sorted((entry["id"] for entry in left), key=int))
                raise ExecutorsStayError(
                    f"executors {ids} have not gone in {deadline_seconds:.0f} s"
                )
            time.sleep(0.25)


def main() -> int:
    options = parse_options()
    context = SparkContext.getOrCreate()
    driver = DriverApi(context)
    answers = Answers()
    complaint = None
    try:
        say("first burst: tasks with a shuffle")
        first_burst(context, options, answers)
        say("first burst: a cached data set, read twice")
        cached_data_set(context, answers)
        say("quiet: waiting until the last executor has gone")
        driver.wait_until_no_executor_is_left(options.quiet_deadline)
        time.sleep(options.quiet_seconds)
        say("second burst: two stages, the second on a resource profile of its own")
        second_burst(context, options, answers)
        say("quiet: waiting until the last executor has gone")
        driver.wait_until_no_executor_is_left(options.quiet_deadline)
    except ExecutorsStayError as error:
        complaint = str(error)
    result = {
        "applicationId": context.applicationId,
        "sparkVersion": context.version,
        "answers": answers.entries,
        "complaint": complaint,
        **work_done(driver),
    }
    print(RESULT_PREFIX + json.dumps(result), flush=True)
    context.stop()
    return 0 if answers.right and complaint is None else 1


def first_burst(context: SparkContext, options: argparse.Namespace, answers: Answers) -> None:
    count, seconds = options.tasks * 100, options.task_seconds

    def slowly(numbers):
        time.sleep(seconds)
        return ((number % KEYS, number) for number in numbers)

    sums = (
        context.parallelize(range(count), options.tasks)
        .mapPartitions(slowly)
        .reduceByKey(lambda left, right: left + right, 16)
        .collectAsMap()
    )
    answers.add("keys of the first burst", len(sums), KEYS)
    answers.add("sum of the first burst", sum(sums.values()), count * (count - 1) // 2)
    answers.add(
        "numbers ≡ 5 (mod 97), summed", sums[5], sum_of_progression(first=5, step=KEYS, below=count)
    )


def cached_data_set(context: SparkContext, answers: Answers) -> None:
    count = 200_000
    squares = context.parallelize(range(count), 16).map(lambda number: number * number).cache()
    total = squares.sum()
    multiples = squares.filter(lambda square: square % 3 == 0).count()
    squares.unpersist(blocking=True)
    answers.add("sum of squares", total, (count - 1) * count * (2 * count - 1) // 6)
    answers.add("squares that 3 divides", multiples, (count + 2) // 3)


def second_burst(context: SparkContext, options: argparse.Namespace, answers: Answers) -> None:
    count, seconds = options.profile_tasks * 4_000, options.task_seconds
    groups = options.profile_tasks * GROUPS_OF_A_TASK

    def slowly(numbers):
        time.sleep(seconds)
        return ((number % groups, number**3) for number in numbers)

    def add_up(pairs):
        for _, cubes in pairs:
            time.sleep(seconds)
            yield sum(cubes)

    sums = (
        context.parallelize(range(count), max(1, options.tasks // 3))
        .mapPartitions(slowly)
        .groupByKey(options.profile_tasks)
        .withResources(large_executors())
        .mapPartitions(add_up)
        .collect()
    )
    answers.add("groups of the second burst", len(sums), groups)
    answers.add("sum of cubes", sum(sums), ((count - 1) * count // 2) ** 2)


def large_executors() -> ResourceProfile:
    executors = ExecutorResourceRequests().cores(1).memory("640m")
    return ResourceProfileBuilder().require(executors).require(TaskResourceRequests().cpus(1)).build


def work_done(driver: DriverApi) -> dict:
    stages = driver.get("stages")
    return {
        "executors": [
            {
                "id": int(entry["id"]),
                "profile": entry["resourceProfileId"],
                "completedTasks": entry["completedTasks"],
                "failedTasks": entry["failedTasks"],
                "active": entry["isActive"],
                "removeReason": entry.get("removeReason"),
            }
            for entry in driver.executors("allexecutors")
        ],
        "completedTasksByProfile": {
            str(profile): sum(
                stage["numCompleteTasks"]
                for stage in stages
                if stage["resourceProfileId"] == profile
            )
            for profile in sorted({stage["resourceProfileId"] for stage in stages})
        },
        "failedTasks": sum(stage["numFailedTasks"] for stage in stages),
        "killedTasks": sum(stage["numKilledTasks"] for stage in stages),
        "stageAttempts": sum(1 for stage in stages if stage["status"] != "SKIPPED"),
        "retriedStages": sum(1 for stage in stages if stage["attemptId"] > 0),
    }


def sum_of_progression(*, first: int, step: int, below: int) -> int:
    terms = (below - first + step - 1) // step
    return terms * first + step * terms * (terms - 1) // 2


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=200, help="tasks of the first burst")
    parser.add_argument("--task-seconds", type=float, default=0.2, help="how long a task sleeps")
    parser.add_argument(
        "--profile-tasks", type=int, default=1, help="tasks at once on the resource profile"
    )
    parser.add_argument(
        "--quiet-seconds", type=float, default=5.0, help="how long it stays quiet without executors"
    )
    parser.add_argument(
        "--quiet-deadline", type=float, default=180.0, help="seconds for the last executor to go"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
