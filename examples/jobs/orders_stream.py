"""A stream whose batches take longer with more rows: rows come at a rate, each costs a millisecond of one core.

    spark-submit … orders_stream.py [ROWS_PER_SECOND] [SECONDS]

It tells the operator of its batches when spark_allocation is in the image, or streaming_progress.py of it beside this file.
"""

import sys
import time
from importlib import import_module

from pyspark.sql import DataFrame, SparkSession


def process(batch: DataFrame, number: int) -> None:
    rows = batch.rdd.map(lambda row: time.sleep(0.001) or row.value).count()
    print(f"batch {number}: {rows} rows", flush=True)


def reports(spark: SparkSession) -> bool:
    for module in ("spark_allocation.driver", "streaming_progress"):
        try:
            return import_module(module).report_streaming_progress(spark)
        except ImportError:
            continue
    return False


def main() -> None:
    rate = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 600
    spark = SparkSession.builder.appName("orders").getOrCreate()
    if not reports(spark):
        print("nobody tells the operator of batches: spec.streaming.targetDuration is needed")
    rows = spark.readStream.format("rate").option("rowsPerSecond", rate).option("numPartitions", 16)
    query = (
        rows.load()
        .writeStream.queryName("orders")
        .foreachBatch(process)
        .trigger(processingTime="10 seconds")
        .start()
    )
    query.awaitTermination(seconds)
    query.stop()
    spark.stop()


if __name__ == "__main__":
    main()
