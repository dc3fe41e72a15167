"""A stream whose input comes at another rate every while, processed by tasks that wait for so long a row.

    stepped_stream.py --folder /shared --phases 60:10,150:40,120:5 --row-seconds 0.1 --interval 5
    stepped_stream.py --kafka 10.88.0.7:9092 --partitions 8 --most-rows 800 --phases …

Rows are numbers from 0 on, in files of a folder that executors see as well or in a topic of Kafka; how many there are at a
time follows from the time alone. The sink keeps what each batch had under the batch's number, so a batch that is run again
replaces itself. When the last phase is over the stream goes on until it has read everything, and the result says what came
of it: every row once, or not.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from paced_rows import Phases, write_as_they_come
from pyspark.sql import DataFrame, SparkSession
from rise_and_fall import RESULT_PREFIX, Answers, DriverApi, work_done
from stepped_input import Files, Topic
from streaming_progress import report_streaming_progress

ENDS_WITHIN_SECONDS = 300


def watch_executors(driver: DriverApi, began: float, seen: list[tuple[float, int]]) -> None:
    """Note every second how many executors have registered, for as long as the process lives."""

    def look() -> None:
        while True:
            try:
                seen.append((round(time.time() - began, 2), len(driver.executors())))
            except OSError:
                return  # the driver's UI has ended
            time.sleep(1.0)

    threading.Thread(target=look, daemon=True).start()


def main() -> int:
    parser = argparse.ArgumentParser()
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--folder", type=Path, help="for the input, shared")
    source.add_argument("--kafka", metavar="HOST:PORT", help="a broker, for the input")
    parser.add_argument("--partitions", type=int, default=8, help="of the topic")
    parser.add_argument("--most-rows", type=int, default=1000, help="of a batch, with --kafka")
    parser.add_argument("--phases", type=Phases, required=True, help="seconds:rows-a-second,…")
    parser.add_argument("--row-seconds", type=float, default=0.1)
    parser.add_argument("--interval", type=int, default=5, help="of the trigger, seconds")
    parser.add_argument("--parts", type=int, default=8, help="tasks of a batch")
    parser.add_argument("--checkpoint", default="/tmp/stepped-checkpoint", help="a new folder")
    options = parser.parse_args()
    phases: Phases = options.phases
    spark = SparkSession.builder.getOrCreate()
    driver = DriverApi(spark.sparkContext)
    reports = report_streaming_progress(spark)
    sunk: dict[int, tuple[int, int]] = {}
    seconds, parts = options.row_seconds, options.parts

    def slowly(rows: Iterable[int]) -> Iterator[tuple[int, tuple[int, int]]]:
        for row in rows:
            time.sleep(seconds)
            yield row % 2, (1, row)

    def sink(batch: DataFrame, number: int) -> None:
        sums = (
            batch.rdd.map(lambda line: int(line.value))
            .mapPartitions(slowly)
            .reduceByKey(lambda one, other: (one[0] + other[0], one[1] + other[1]), 2)
            .values()
            .collect()
        )
        sunk[number] = (sum(rows for rows, _ in sums), sum(total for _, total in sums))

    came = (
        Files(spark, options.folder, parts)
        if options.kafka is None
        else Topic(
            spark,
            options.kafka,
            partitions=options.partitions,
            parts=parts,
            most_rows=options.most_rows,
        )
    )
    began = time.time()
    seen: list[tuple[float, int]] = []
    watch_executors(driver, began, seen)
    threading.Thread(
        target=write_as_they_come, args=(phases, came.write, began), daemon=True
    ).start()
    query = (
        came.read()
        .writeStream.queryName("stepped")
        .option("checkpointLocation", options.checkpoint)
        .trigger(processingTime=f"{options.interval} seconds")
        .foreachBatch(sink)
        .start()
    )
    query.awaitTermination(timeout=int(phases.seconds))
    every = phases.rows_after(phases.seconds)
    deadline = time.time() + ENDS_WITHIN_SECONDS
    while query.isActive and sum(rows for rows, _ in sunk.values()) < every:
        if time.time() > deadline:
            break
        time.sleep(0.5)
    batches = [
        {
            "batch": each["batchId"],
            "at": each["timestamp"],
            "rows": each["numInputRows"],
            "seconds": each["durationMs"].get("triggerExecution", 0) / 1000,
        }
        for each in query.recentProgress
    ]
    ended_by_itself = not query.isActive
    query.stop()
    answers = Answers()
    answers.add("rows", sum(rows for rows, _ in sunk.values()), every)
    answers.add("sum of rows", sum(total for _, total in sunk.values()), every * (every - 1) // 2)
    answers.add("the query ended by itself", ended_by_itself, False)
    answers.add("its progress is reported", reports, True)
    result = {
        "applicationId": spark.sparkContext.applicationId,
        "answers": answers.entries,
        "complaint": None,
        "began": began,
        "interval": options.interval,
        "phases": phases.steps,
        "batches": batches,
        "registered": seen,
    }
    print(RESULT_PREFIX + json.dumps(result | work_done(driver)), flush=True)
    spark.stop()
    return 0 if answers.right else 1


if __name__ == "__main__":
    sys.exit(main())
