"""Twelve shapes of an application, each of tasks that wait instead of computing: what they take does not depend on cores.

    shapes.py NAME

The last line printed is `SPARK-ALLOCATION-RESULT` and a JSON object with the answer beside the one that is known.
"""

import json
import sys
import threading
import time

RESULT_PREFIX = "SPARK-ALLOCATION-RESULT "
KEYS = 12


def waiting(context, tasks, seconds):
    """An RDD of one number a task, each of which takes so long."""

    def slowly(number):
        time.sleep(seconds)
        return number

    return context.parallelize(range(tasks), tasks).map(slowly)


def then_waiting(seconds):
    """For mapPartitions: so long, then the rows as they came."""

    def slowly(rows):
        time.sleep(seconds)
        return rows

    return slowly


def by_key(numbers, partitions=KEYS):
    """A shuffle of them."""
    pairs = numbers.map(lambda number: (number % KEYS, number))
    return pairs.reduceByKey(lambda one, other: one + other, partitions)


def in_threads(*works):
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def narrow(context):
    return waiting(context, 40, 5.0).count(), 40


def wide_shuffle(context):
    reduced = by_key(waiting(context, 24, 5.0)).mapPartitions(then_waiting(5.0))
    return sum(reduced.values().collect()), sum(range(24))


def three_stages(context):
    first = by_key(waiting(context, 20, 4.0), 10).mapPartitions(then_waiting(4.0))
    second = first.map(lambda pair: (pair[0] % 4, pair[1])).reduceByKey(lambda a, b: a + b, 4)
    return sum(second.mapPartitions(then_waiting(8.0)).values().collect()), sum(range(20))


def skew(context):
    def slowly(number):
        time.sleep(50.0 if number == 0 else 5.0)
        return number

    return context.parallelize(range(24), 24).map(slowly).count(), 24


def several_jobs(context):
    counted = 0
    for _ in range(4):
        counted += waiting(context, 12, 4.0).count()
        time.sleep(5.0)
    return counted, 48


def jobs_at_once(context):
    counted = []
    in_threads(
        *(
            lambda tasks=tasks, seconds=seconds: counted.extend(
                waiting(context, tasks, seconds).count() for _ in range(2)
            )
            for tasks, seconds in ((12, 4.0), (6, 10.0))
        )
    )
    return sum(counted), 36


def long_pause(context):
    counted = waiting(context, 16, 5.0).count()
    time.sleep(60.0)
    return counted + waiting(context, 16, 5.0).count(), 32


def cache(context):
    kept = waiting(context, 16, 5.0).cache()
    first = kept.count()
    time.sleep(15.0)
    second = kept.mapPartitions(then_waiting(3.0)).count()
    kept.unpersist()
    time.sleep(15.0)
    return first + second, 32


def shuffle_read_again(context):
    reduced = by_key(waiting(context, 16, 5.0))
    first = sum(reduced.mapPartitions(then_waiting(3.0)).values().collect())
    time.sleep(35.0)
    second = sum(reduced.mapPartitions(then_waiting(3.0)).values().collect())
    return first + second, 2 * sum(range(16))


def two_profiles(context):
    from pyspark.resource import (
        ExecutorResourceRequests,
        ResourceProfileBuilder,
        TaskResourceRequests,
    )

    profile = (
        ResourceProfileBuilder()
        .require(ExecutorResourceRequests().cores(1).memory("600m"))
        .require(TaskResourceRequests().cpus(1))
        .build
    )
    first = waiting(context, 16, 4.0).count()
    # a second executor of a profile wants a whole core, which a node of two cores does not have left
    return first + waiting(context, 1, 25.0).withResources(profile).map(abs).count(), 17


def failing_tasks(context):
    def slowly(index, numbers):
        from pyspark import TaskContext

        time.sleep(4.0)
        if index % 4 == 0 and TaskContext.get().attemptNumber() == 0:
            raise RuntimeError("as it should be")
        return numbers

    numbers = context.parallelize(range(20), 20).mapPartitionsWithIndex(slowly)
    return numbers.count(), 20


def many_short(context):
    return waiting(context, 300, 0.5).count(), 300


SHAPES = {
    each.__name__.replace("_", "-"): each
    for each in (
        narrow,
        wide_shuffle,
        three_stages,
        skew,
        several_jobs,
        jobs_at_once,
        long_pause,
        cache,
        shuffle_read_again,
        two_profiles,
        failing_tasks,
        many_short,
    )
}


def main():
    from pyspark import SparkContext

    context = SparkContext.getOrCreate()
    computed, known = SHAPES[sys.argv[1]](context)
    result = {
        "applicationId": context.applicationId,
        "answers": {sys.argv[1]: {"computed": computed, "known": known}},
        "complaint": None,
    }
    print(RESULT_PREFIX + json.dumps(result), flush=True)
    context.stop()
    return 0 if computed == known else 1


if __name__ == "__main__":
    sys.exit(main())
