"""Tasks on one resource profile, then on two at once, in several waves; then the application stays up to be read.

    two_profiles.py [--waves N] [--stays-seconds S]

Each wave has a shuffle on the default profile; from the second one on, another thread runs tasks on a profile of its
own at the same time. Every answer has a closed form.
"""

import argparse
import json
import sys
import threading
import time

from pyspark import SparkContext
from pyspark.resource import ExecutorResourceRequests, ResourceProfileBuilder, TaskResourceRequests
from rise_and_fall import RESULT_PREFIX, Answers, DriverApi, work_done

TASKS = 30


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--waves", type=int, default=3)
    parser.add_argument("--stays-seconds", type=float, default=0.0)
    options = parser.parse_args()
    context = SparkContext.getOrCreate()
    other = (
        ResourceProfileBuilder()
        .require(ExecutorResourceRequests().cores(1).memory("600m"))
        .require(TaskResourceRequests().cpus(1))
        .build
    )
    answers = Answers()
    for wave in range(options.waves):
        threads = [threading.Thread(target=shuffle, args=(context, answers, wave))]
        if wave > 0:
            threads.append(threading.Thread(target=plain, args=(context, other, answers, wave)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    result = {"applicationId": context.applicationId, "answers": answers.entries, "complaint": None}
    print(RESULT_PREFIX + json.dumps(result | work_done(DriverApi(context))), flush=True)
    time.sleep(options.stays_seconds)
    context.stop()
    return 0 if answers.right else 1


def slowly(numbers):
    time.sleep(0.3)
    return ((number % 7, number) for number in numbers)


def shuffle(context: SparkContext, answers: Answers, wave: int) -> None:
    sums = (
        context.parallelize(range(TASKS * 10), TASKS)
        .mapPartitions(slowly)
        .reduceByKey(lambda left, right: left + right, 4)
        .collectAsMap()
    )
    answers.add(f"shuffle {wave}", sum(sums.values()), TASKS * 10 * (TASKS * 10 - 1) // 2)


def plain(context: SparkContext, profile, answers: Answers, wave: int) -> None:
    count = (
        context.parallelize(range(TASKS * 10), TASKS)
        .withResources(profile)
        .mapPartitions(slowly)
        .count()
    )
    answers.add(f"count {wave}", count, TASKS * 10)


if __name__ == "__main__":
    sys.exit(main())
