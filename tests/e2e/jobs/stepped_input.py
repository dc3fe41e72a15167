"""Where the rows of `stepped_stream.py` lie until they are read: files of a folder, or a topic of Kafka.

Rows are numbers. Both hand them on as text in a column `value`.
"""

from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

ANSWERS_WITHIN_SECONDS = 60


class Files:
    """Files of a folder that executors see as well, one for each write."""

    def __init__(self, spark: SparkSession, folder: Path, parts: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # as many tasks as are wanted, however small the files are
        spark.conf.set("spark.sql.files.minPartitionNum", parts)
        spark.conf.set("spark.sql.files.openCostInBytes", 1)
        self._spark, self._folder, self._number = spark, folder, 0

    def write(self, rows: range) -> None:
        unfinished = self._folder / f".{self._number}"
        unfinished.write_text("".join(f"{row}\n" for row in rows))
        unfinished.rename(self._folder / f"{self._number}.txt")
        self._number += 1

    def read(self) -> DataFrame:
        return self._spark.readStream.format("text").load(self._folder.as_uri())


class Topic:
    """A topic of Kafka, made here, and written with the classes that Spark's own source brings."""

    NAME = "stepped"

    def __init__(
        self, spark: SparkSession, servers: str, *, partitions: int, parts: int, most_rows: int
    ) -> None:
        """
        Args:
            servers: host:port, as in `kafka.bootstrap.servers`.
            partitions: of the topic.
            parts: tasks of a batch, where there are rows for so many (`minPartitions`).
            most_rows: of a batch (`maxOffsetsPerTrigger`); the rest waits, and Spark tells how much.
        """
        self._spark, self._jvm = spark, spark.sparkContext._jvm
        self._servers, self._partitions = servers, partitions
        self._parts, self._most_rows = parts, most_rows
        self._make()
        text = "org.apache.kafka.common.serialization.StringSerializer"
        self._records = self._jvm.org.apache.kafka.clients.producer.ProducerRecord
        self._producer = self._jvm.org.apache.kafka.clients.producer.KafkaProducer(
            self._settings(**{"key.serializer": text, "value.serializer": text})
        )

    def write(self, rows: range) -> None:
        """Returns when the broker has them, each once: the producer is idempotent."""
        sent = [
            self._producer.send(self._records(self.NAME, row % self._partitions, None, str(row)))
            for row in rows
        ]
        self._producer.flush()
        for each in sent:
            each.get()

    def read(self) -> DataFrame:
        return (
            self._spark.readStream.format("kafka")
            .option("kafka.bootstrap.servers", self._servers)
            .option("subscribe", self.NAME)
            .option("startingOffsets", "earliest")
            .option("minPartitions", self._parts)
            .option("maxOffsetsPerTrigger", self._most_rows)
            .load()
            .selectExpr("CAST(value AS STRING) AS value")
        )

    def _make(self) -> None:
        admin = self._jvm.org.apache.kafka.clients.admin
        optional = self._jvm.java.util.Optional
        topic = admin.NewTopic(self.NAME, optional.of(self._partitions), optional.empty())
        client = admin.AdminClient.create(self._settings())
        try:
            made = client.createTopics(self._jvm.java.util.List.of(topic)).all()
            made.get(ANSWERS_WITHIN_SECONDS, self._jvm.java.util.concurrent.TimeUnit.SECONDS)
        finally:
            client.close()

    def _settings(self, **more: str) -> object:
        settings = self._jvm.java.util.Properties()
        for key, value in {"bootstrap.servers": self._servers, **more}.items():
            settings.setProperty(key, value)
        return settings
