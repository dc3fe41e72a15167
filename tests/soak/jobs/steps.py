"""Does the steps of `--steps`, a JSON list, one after the other, and prints what each has computed.

    {"do": "plain", "parts": 8, "seconds": 0.4, "longest": 3}    a sum without a shuffle
    {"do": "keep", "parts": 12, "reducers": 5, …}                a data set is cached and grouped
    {"do": "groups"}                                             reads the same shuffle again
    {"do": "cached"}                                             reads the cached blocks again
    {"do": "shuffle", "parts": 12, "reducers": 5, …}             a shuffle of its own
    {"do": "pause", "seconds": 4.5}

Each part takes `seconds`, the first one `longest`. `keptComputed` counts how often a part of the kept data set was
computed: once each when nothing was lost.
"""

import argparse
import json
import sys
import time

from pyspark import SparkContext, StorageLevel
from rise_and_fall import RESULT_PREFIX, say

KEYS = 13
ROWS = 300
TEXT = "x" * 500


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=json.loads, required=True)
    options = parser.parse_args()
    context = SparkContext.getOrCreate()
    kept_computed = context.accumulator(0)
    kept = groups = None
    answers = []

    def rows_of(step, counter=None):
        seconds, longest = step["seconds"], step["longest"]

        def slowly(part, numbers):
            time.sleep(longest if part == 0 else seconds)
            if counter is not None:
                counter.add(1)
            return ((number % KEYS, (number, TEXT)) for number in numbers)

        parts = step["parts"]
        return context.parallelize(range(parts * ROWS), parts).mapPartitionsWithIndex(slowly)

    for step in options.steps:
        say(json.dumps(step))
        match step["do"]:
            case "pause":
                time.sleep(step["seconds"])
                continue
            case "plain":
                answer = [rows_of(step).map(number_of).sum()]
            case "keep":
                kept = rows_of(step, kept_computed).persist(StorageLevel.MEMORY_AND_DISK)
                groups = grouped(kept, step["reducers"])
                answer = sums(groups)
            case "groups":
                answer = sums(groups)
            case "cached":
                answer = [kept.map(number_of).sum()]
            case "shuffle":
                answer = sums(grouped(rows_of(step), step["reducers"]))
        answers.append(answer)
    result = {
        "applicationId": context.applicationId,
        "answers": answers,
        "keptComputed": kept_computed.value,
    }
    print(RESULT_PREFIX + json.dumps(result), flush=True)
    context.stop()
    return 0


def number_of(row):
    return row[1][0]


def grouped(rows, reducers):
    return rows.groupByKey(reducers).mapValues(lambda group: sum(number for number, _ in group))


def sums(groups):
    return [total for _, total in sorted(groups.collect())]


if __name__ == "__main__":
    sys.exit(main())
