"""Jars of Kafka are used only when they are what the lock says; what is fetched is tried in tests/streams/test_kafka.py."""

import hashlib
from pathlib import Path

import pytest
from tests.machine.cache import cache_folder
from tests.machine.errors import ClusterError
from tests.machine.reporting import Reporter
from tests.streams import kafka_broker, kafka_jars
from tests.streams.kafka_jars import BROKER, LOCK, SOURCES, check, locked_of, source_of

CLIENTS = b"classes"
LOCKED = {"kafka-clients-4.1.2.jar": hashlib.sha256(CLIENTS).hexdigest()}


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    (tmp_path / "kafka-clients-4.1.2.jar").write_bytes(CLIENTS)
    return tmp_path


def test_jars_of_the_locked_content_are_taken(fetched: Path) -> None:
    check("broker", fetched, LOCKED)


def test_a_jar_of_another_content_is_refused_by_name(fetched: Path) -> None:
    (fetched / "kafka-clients-4.1.2.jar").write_bytes(b"other classes")
    with pytest.raises(ClusterError, match=r"kafka-clients-4\.1\.2\.jar"):
        check("broker", fetched, LOCKED)


def test_a_jar_that_nobody_locked_is_refused(fetched: Path) -> None:
    (fetched / "another-1.0.jar").write_bytes(CLIENTS)
    with pytest.raises(ClusterError, match=r"says: another-1\.0\.jar"):
        check("broker", fetched, LOCKED)


def test_a_jar_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"kafka-clients-4\.1\.2\.jar"):
        check("broker", tmp_path, LOCKED)


@pytest.mark.parametrize("wanted", [BROKER, *map(source_of, SOURCES)], ids=lambda each: each.name)
def test_everything_the_tests_use_is_locked(wanted: kafka_jars.JarSet) -> None:
    locked = locked_of(wanted.name, LOCK.read_text())
    assert any(jar.startswith("kafka-clients-") for jar in locked)
    assert all(len(digest) == 64 for digest in locked.values())
    assert wanted.folder(locked).parent == cache_folder() / "kafka"


def test_a_version_that_nobody_locked_is_refused_with_the_remedy() -> None:
    with pytest.raises(ClusterError, match="kafka_jars lock"):
        kafka_jars.source_jars("9.9.9", Reporter())


def test_spark_3_has_another_scala() -> None:
    assert "-Dscala.version=2.12" in source_of("3.5.9").properties
    assert "-Dscala.version=2.13" in source_of("4.0.1").properties


def test_only_clients_of_the_broker_find_it_and_nothing_else_its_controller() -> None:
    listeners = dict(
        line.split("=", 1)
        for line in kafka_broker.settings(
            address="10.88.0.7", port=9092, controller_port=9093, data="/data"
        ).splitlines()
    )["listeners"]
    assert listeners == "PLAINTEXT://10.88.0.7:9092,CONTROLLER://127.0.0.1:9093"
