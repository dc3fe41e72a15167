"""PromQL against a real Prometheus that scrapes a real exporter, both on the loopback.

Needs the Debian package ``prometheus``. As root on Debian it is installed when it is missing; its service is not used.
"""

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Gauge, start_http_server
from tests.machine.errors import ClusterError
from tests.machine.host_packages import PROMETHEUS_PACKAGES, ensure_packages
from tests.machine.reporting import Reporter
from tests.unit.test_promql import ALLOWED

from spark_allocation.sources.driver_requests import open_driver_session
from spark_allocation.sources.promql import (
    BacklogFault,
    PrometheusQueries,
    PrometheusServer,
    UnknownBacklog,
)

PATIENCE_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def program() -> Path:
    (file,) = PROMETHEUS_PACKAGES.values()
    if not file.exists():
        try:
            ensure_packages(PROMETHEUS_PACKAGES, Reporter())
        except ClusterError as error:
            pytest.skip(f"no Prometheus to try PromQL with: {error}")
    return file


@pytest.fixture(scope="module")
def exporter() -> Iterator[str]:
    registry = CollectorRegistry()
    lag = Gauge("kafka_lag", "Rows that wait.", ["namespace", "topic"], registry=registry)
    lag.labels("jobs", "orders").set(1200)
    lag.labels("jobs", "returns").set(34)
    lag.labels("others", "secrets").set(99_999)
    port = free_port()
    server, thread = start_http_server(port, "127.0.0.1", registry)
    yield f"127.0.0.1:{port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def prometheus(
    program: Path, exporter: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 500ms}\n"
        f"scrape_configs: [{{job_name: rows, static_configs: [{{targets: ['{exporter}']}}]}}]\n"
    )
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"GOMAXPROCS": "1"},
        )
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


@pytest.fixture
async def queries() -> AsyncIterator[PrometheusQueries]:
    async with open_driver_session() as session:
        yield PrometheusQueries(session)


@pytest.fixture
async def server(prometheus: str, queries: PrometheusQueries) -> PrometheusServer:
    """Once it has scraped."""
    named = PrometheusServer("metrics", prometheus, {"namespace": None})
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        answer = await queries.rows(named, 'count(kafka_lag{namespace="jobs"})', "jobs")
        if answer == 2.0:
            return named
        assert time.monotonic() < until, answer
        await asyncio.sleep(0.1)


async def test_the_sum_over_own_topics_is_the_backlog(
    server: PrometheusServer, queries: PrometheusQueries
) -> None:
    assert await queries.rows(server, 'sum(kafka_lag{namespace="jobs"})', "jobs") == 1234.0


async def test_series_of_other_namespaces_are_not_counted(
    server: PrometheusServer, queries: PrometheusQueries
) -> None:
    query = 'sum(kafka_lag{namespace="jobs"} or kafka_lag{namespace="others"})'

    answer = await queries.rows(server, query, "jobs")

    assert isinstance(answer, UnknownBacklog)
    assert answer.fault is BacklogFault.QUERY_REFUSED
    everything = PrometheusServer(server.name, server.url)
    assert await queries.rows(everything, "sum(kafka_lag)", "jobs") == 1234.0 + 99_999


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ('kafka_lag{namespace="jobs"}', BacklogFault.SEVERAL_SERIES),
        ('kafka_lag{namespace="jobs",topic="gone"}', BacklogFault.NO_SERIES),
        ('sum(kafka_lag{namespace="jobs"}) * -1', BacklogFault.NOT_A_COUNT),
        ('sum(kafka_lag{namespace="jobs"}) / 0', BacklogFault.NOT_A_COUNT),
        ('kafka_lag{namespace="jobs"}[5m]', BacklogFault.BAD_ANSWER),
        ('abs(kafka_lag{namespace="jobs"}, 3)', BacklogFault.BAD_ANSWER),
    ],
)
async def test_what_is_no_count_of_rows_is_told(
    server: PrometheusServer, queries: PrometheusQueries, query: str, fault: BacklogFault
) -> None:
    answer = await queries.rows(server, query, "jobs")

    assert isinstance(answer, UnknownBacklog)
    assert answer.fault is fault


async def test_what_is_allowed_here_is_promql_there(
    server: PrometheusServer, prometheus: str
) -> None:
    """Names of metrics in quotes are of a later Prometheus than Debian's."""
    async with aiohttp.ClientSession() as session:
        for query in ALLOWED:
            if query.startswith('{"'):
                continue
            async with session.get(f"{prometheus}/api/v1/format_query", params={"query": query}) as answer:  # fmt: skip
                assert answer.status == 200, (query, await answer.text())
