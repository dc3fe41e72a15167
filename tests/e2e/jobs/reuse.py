"""A cached data set and a shuffle, a pause in which executors have nothing to do, and a second job that reads both again.

What was lost in the pause has to be computed again, and is counted: `partsComputed` is the number of partitions that
ran, `retriedStages` and `fetchFailures` are the driver's own account.
`--go FILE`: the second job begins when FILE exists, which a test makes in the driver's container.
`--without-shuffle` leaves the shuffle out.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from pyspark import SparkContext, StorageLevel
from rise_and_fall import KEYS, RESULT_PREFIX, Answers, DriverApi, say, work_done

PARTS = 24
NUMBERS = PARTS * 500
PART_SECONDS = 0.7
LONGEST_PAUSE_SECONDS = 300
TEXT = "x" * 200


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--go", type=Path, required=True)
    parser.add_argument("--without-shuffle", action="store_true")
    options = parser.parse_args()
    context = SparkContext.getOrCreate()
    driver = DriverApi(context)
    answers = Answers()
    computed = context.accumulator(0)

    def slowly(numbers):
        time.sleep(PART_SECONDS)
        computed.add(1)
        return ((number % KEYS, (number, TEXT)) for number in numbers)

    cached = context.parallelize(range(NUMBERS), PARTS).mapPartitions(slowly)
    cached = cached.persist(StorageLevel.MEMORY_AND_DISK)
    grouped = cached.groupByKey(8).mapValues(lambda rows: sum(number for number, _ in rows))
    expected = NUMBERS * (NUMBERS - 1) // 2
    numbers = cached.map(lambda row: row[1][0])
    before = numbers.sum() if options.without_shuffle else sum(grouped.values().collect())
    answers.add("before the pause", before, expected)
    say("pause")
    end = time.monotonic() + LONGEST_PAUSE_SECONDS
    while not options.go.exists() and time.monotonic() < end:
        time.sleep(0.2)
    say("again")
    if not options.without_shuffle:
        answers.add("shuffle read again", sum(grouped.values().collect()), expected)
    answers.add("cache read again", numbers.sum(), expected)
    stages = driver.get("stages")
    result = {
        "applicationId": context.applicationId,
        "answers": answers.entries,
        "complaint": None,
        "partsComputed": computed.value,
        "parts": PARTS,
        "fetchFailures": sum(
            "FetchFailed" in (stage.get("failureReason") or "") for stage in stages
        ),
    }
    print(RESULT_PREFIX + json.dumps(result | work_done(driver)), flush=True)
    context.stop()
    return 0 if answers.right else 1


if __name__ == "__main__":
    sys.exit(main())
