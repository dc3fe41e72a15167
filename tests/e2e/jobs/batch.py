"""One batch of tasks with a shuffle and a known answer; on request it dies halfway, or stays after its end.

Deaths and stays are what the tests about lives and ends need of a job:
`--halts-in-first-life FILE` ends the JVM without a goodbye once two executors have run tasks, unless FILE exists (it
is made first, on a volume that outlives the container). `--stays-seconds` keeps the application up after the batch.
"""

import argparse
import json
import sys
import threading
import time
from pathlib import Path

from pyspark import SparkContext
from rise_and_fall import KEYS, RESULT_PREFIX, Answers, DriverApi, work_done


def main() -> int:
    options = parse_options()
    context = SparkContext.getOrCreate()
    driver = DriverApi(context)
    answers = Answers()
    first_life = options.halts_in_first_life
    tasks, seconds = options.tasks, options.task_seconds
    if first_life is not None and not first_life.exists():
        first_life.touch()
        tasks *= 10  # one executor is not to be done with them before the second is there
        threading.Thread(target=halt_halfway, args=(context, driver), daemon=True).start()
    count = tasks * 100

    def slowly(numbers):
        time.sleep(seconds)
        return ((number % KEYS, number) for number in numbers)

    slow = context.parallelize(range(count), tasks).mapPartitions(slowly)
    if options.without_shuffle:
        total = slow.values().sum()
    else:
        total = sum(slow.reduceByKey(lambda left, right: left + right, 8).values().collect())
    answers.add("sum", total, count * (count - 1) // 2)
    result = {"applicationId": context.applicationId, "answers": answers.entries, "complaint": None}
    print(RESULT_PREFIX + json.dumps(result | work_done(driver)), flush=True)
    time.sleep(options.stays_seconds)
    context.stop()
    return 0 if answers.right else 1


def halt_halfway(context: SparkContext, driver: DriverApi) -> None:
    while sum(1 for executor in driver.executors() if executor["completedTasks"] > 0) < 2:
        time.sleep(0.2)
    context._jvm.java.lang.Runtime.getRuntime().halt(9)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--task-seconds", type=float, default=0.5)
    parser.add_argument("--stays-seconds", type=float, default=0.0)
    parser.add_argument("--halts-in-first-life", type=Path)
    parser.add_argument("--without-shuffle", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
