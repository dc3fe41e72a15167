"""Rounds of one job that nobody ever works on: it needs executors until it is told to stop.

A round begins when the file `start-N` appears in /opt/life and its job is cancelled when `stop-N` does. What a round's
job began at is printed, in seconds since 1970 of this machine's clock.
"""

import argparse
import sys
import threading
import time
from pathlib import Path

from pyspark import SparkContext

LIFE = Path("/opt/life")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--tasks", type=int, default=2000)
    options = parser.parse_args()
    context = SparkContext.getOrCreate()
    numbers = context.parallelize(range(options.tasks), options.tasks)
    print("READY", flush=True)
    for number in range(options.rounds):
        _await(LIFE / f"start-{number}")
        job = threading.Thread(target=_ask, args=(context, numbers, number), daemon=True)
        job.start()
        _await(LIFE / f"stop-{number}")
        context.cancelJobGroup(str(number))
        job.join()
    context.stop()
    return 0


def _ask(context: SparkContext, numbers, number: int) -> None:
    context.setJobGroup(str(number), f"round {number}")
    print(f"ROUND {number} {time.time():.3f}", flush=True)
    try:
        numbers.count()
    except Exception as error:  # a cancelled job ends with one, whose class is the JVM's
        if "cancelled" not in str(error):
            raise


def _await(file: Path) -> None:
    while not file.exists():
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
