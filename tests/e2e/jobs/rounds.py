"""Small batches with a shuffle and a known answer, one after the other until somebody has seen enough.

`--until FILE`: the rounds end when FILE exists, which a test makes in the driver's container.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from pyspark import SparkContext
from rise_and_fall import KEYS, RESULT_PREFIX, Answers, DriverApi, work_done

TASKS = 6
TASK_SECONDS = 0.5
LONGEST_SECONDS = 900


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--until", type=Path, required=True)
    options = parser.parse_args()
    context = SparkContext.getOrCreate()
    answers = Answers()
    count, rounds, end = TASKS * 100, 0, time.monotonic() + LONGEST_SECONDS
    sums = []

    def slowly(numbers):
        time.sleep(TASK_SECONDS)
        return ((number % KEYS, number) for number in numbers)

    while not options.until.exists() and time.monotonic() < end:
        rounds += 1
        parts = (
            context.parallelize(range(count), TASKS)
            .mapPartitions(slowly)
            .reduceByKey(lambda left, right: left + right, 2)
            .collectAsMap()
        )
        sums.append(sum(parts.values()))
    answers.add("sums", sum(sums), rounds * count * (count - 1) // 2)
    result = {"applicationId": context.applicationId, "answers": answers.entries, "complaint": None}
    print(RESULT_PREFIX + json.dumps(result | work_done(DriverApi(context))), flush=True)
    context.stop()
    return 0 if answers.right else 1


if __name__ == "__main__":
    sys.exit(main())
