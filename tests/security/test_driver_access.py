"""Drivers behind TLS or a login: what the operator shows them, and to whom it shows nothing."""

import asyncio
import ipaddress
import json
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.security.certificates import Authority
from tests.unit.executor_pod_documents import driver_document
from tests.unit.runner_world import Operator

from spark_allocation.api.conditions import Reason
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.controller.process_settings import ProcessSettings, driver_reach
from spark_allocation.core.driver_report import DriverReport
from spark_allocation.sources.driver_access import (
    PLAIN,
    DriverAccess,
    DriverAddresses,
    DriverReach,
    FileAccess,
    NoAccess,
)
from spark_allocation.sources.driver_rest import DriverRest, find_driver, ui_ports
from spark_allocation.sources.unreachable import Unreachable
from spark_allocation.testing.driver import FakeDriver

NAME = "driver.jobs.example"
TOKEN = "t0ken-of-the-operator"


@pytest.fixture
def given(tmp_path: Path, authority: Authority) -> Callable[..., DriverAccess]:
    """An access of namespace ``jobs`` with these files (underscores stand for dots) besides the authority's."""

    def give(name: str = "ui", **files: str | Path) -> DriverAccess:
        folder = tmp_path / "accesses" / "jobs" / name
        folder.mkdir(parents=True)
        held: dict[str, str | Path] = {"ca_crt": authority.certificate, "server-name": NAME}
        for key, content in (held | files).items():
            file = folder / key.replace("_", ".")
            if isinstance(content, Path):
                shutil.copy(content, file)
            elif content:
                file.write_text(content)
        return DriverReach(accesses=tmp_path / "accesses").access("jobs", name)

    return give


async def asked(session: aiohttp.ClientSession, driver: FakeDriver, access: DriverAccess) -> Any:
    rest = DriverRest(session, "127.0.0.1", driver.port, driver.application_id, access)
    return await rest.poll(with_dead_executors=False)


# -- TLS --------------------------------------------------------------------------------------------------------------


async def test_a_driver_with_the_right_certificate_is_read(session, given, authority) -> None:
    async with FakeDriver(tls=authority.server(f"DNS:{NAME}")) as driver:
        found = await find_driver(session, "127.0.0.1", [driver.port], "", given())
        assert isinstance(found, tuple), found
        assert isinstance(await found[0].poll(with_dead_executors=True), DriverReport)


async def test_without_a_server_name_the_certificate_has_to_hold_the_address(
    session, given, authority
) -> None:
    access = given(**{"server-name": ""})
    async with FakeDriver(tls=authority.server("IP:127.0.0.1")) as driver:
        assert isinstance(await asked(session, driver, access), DriverReport)
    async with FakeDriver(tls=authority.server(f"DNS:{NAME}")) as driver:
        assert (await asked(session, driver, access)).reason is Reason.NOT_TRUSTED


async def test_a_stranger_s_certificate_is_refused_before_anything_is_sent(
    session, given, authority, tmp_path
) -> None:
    access = given(token=TOKEN)
    stranger = Authority(tmp_path, "stranger")
    for tls in (stranger.server(f"DNS:{NAME}"), authority.server("DNS:somebody.else")):
        async with FakeDriver(tls=tls) as driver:
            answer = await asked(session, driver, access)
            assert isinstance(answer, Unreachable)
            assert answer.reason is Reason.NOT_TRUSTED
            assert "server-name" in answer.message
            assert "ca.crt" in answer.message
            assert driver.asked == []


async def test_a_token_is_not_sent_in_clear(session, given) -> None:
    access = given(token=TOKEN)
    async with FakeDriver() as driver:
        answer = await asked(session, driver, access)
        assert answer.reason is Reason.NOT_TRUSTED
        assert driver.asked == []


async def test_a_client_certificate_is_shown_to_a_driver_that_asks_for_one(
    session, given, authority
) -> None:
    certificate, key = authority.issue("operator", "DNS:operator")
    tls = authority.server(f"DNS:{NAME}", clients=authority)
    async with FakeDriver(tls=tls) as driver:
        assert isinstance(
            await asked(session, driver, given(tls_crt=certificate, tls_key=key)), DriverReport
        )
        before = len(driver.asked)
        without = await asked(session, driver, given("without"))
        assert isinstance(without, Unreachable)
        assert len(driver.asked) == before, "nothing of it came through"


# -- logins -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "header"),
    [
        ({"token": f"{TOKEN}\n"}, f"Bearer {TOKEN}"),
        ({"username": "spark", "password": "pässword"}, "Basic c3Bhcms6cMOkc3N3b3Jk"),
    ],
)
async def test_a_login_is_answered(session, given, authority, files, header) -> None:
    async with FakeDriver(tls=authority.server(f"DNS:{NAME}")) as driver:
        driver.authorization = header
        assert isinstance(await asked(session, driver, given(**files)), DriverReport)
        refused = await asked(session, driver, given("without"))
        assert refused.reason is Reason.UNAUTHORIZED
        assert "spec.driver.access" in refused.message


async def test_a_token_that_rotates_is_read_anew(session, given, authority, tmp_path) -> None:
    access = given(token="first")
    async with FakeDriver(tls=authority.server(f"DNS:{NAME}")) as driver:
        driver.authorization = "Bearer first"
        assert isinstance(await asked(session, driver, access), DriverReport)
        driver.authorization = "Bearer the second"
        assert (await asked(session, driver, access)).reason is Reason.UNAUTHORIZED
        (tmp_path / "accesses/jobs/ui/token").write_text("the second")
        assert isinstance(await asked(session, driver, access), DriverReport)


async def test_what_was_taken_away_is_said(session, given, authority, tmp_path) -> None:
    access = given(token="first")
    async with FakeDriver(tls=authority.server(f"DNS:{NAME}")) as driver:
        assert isinstance(await asked(session, driver, access), DriverReport)
        shutil.rmtree(tmp_path / "accesses/jobs/ui")
        assert (await asked(session, driver, access)).reason is Reason.NO_ACCESS


@pytest.mark.parametrize(
    "files",
    [
        {"tls_crt": "certificate without key"},
        {"username": "without password"},
        {"token": "one-of-two", "username": "spark-user", "password": "hunter2"},
        {"ca_crt": "no certificate"},
        {"token": "two\nlines"},
        {"token": "x" * 70_000},
        {"server-name": "a\x00b"},
    ],
)
def test_what_makes_no_sense_together_is_said_and_not_shown(given, files) -> None:
    access = given(**files)
    with pytest.raises(NoAccess) as caught:
        access.options()
    words = str(caught.value)
    assert "'ui'" in words
    for secret in files.values():
        assert secret[:20] not in words


def test_credentials_do_not_show_themselves(given) -> None:
    access = given(token=TOKEN)
    assert isinstance(access, FileAccess)
    assert TOKEN not in repr(access)
    assert TOKEN not in repr(access.credentials())


# -- whose access -----------------------------------------------------------------------------------------------------


def test_an_access_is_one_namespace_s(given, tmp_path) -> None:
    given()
    reach = DriverReach(accesses=tmp_path / "accesses")
    with pytest.raises(NoAccess, match="no access 'ui' to drivers of namespace others"):
        reach.access("others", "ui")
    assert reach.access("others", None) is PLAIN


@pytest.mark.parametrize("name", ["..", "../others/ui", "/etc", "", "UI", "a" * 64, "ui\n"])
def test_a_name_leads_nowhere_else(given, tmp_path, name: str) -> None:
    given()
    with pytest.raises(NoAccess):
        DriverReach(accesses=tmp_path / "accesses").access("jobs", name)
    with pytest.raises(ValueError):
        SparkAllocationSpec.model_validate({"driver": {"podName": "d", "access": name}})


def test_an_operator_that_was_given_nothing_says_how_to_give_it() -> None:
    with pytest.raises(NoAccess, match="SPARK_ALLOCATION_DRIVER_ACCESSES"):
        DriverReach().access("jobs", "ui")


def test_tls_is_400_above_the_port_that_redirects() -> None:
    assert ui_ports(None, None, tls=True) == (4440, 4441, 4442, 4443, 4040)
    assert ui_ports(4050, None, tls=True)[0] == 4450
    assert ui_ports(4050, 8443, tls=True) == (8443,)


@pytest.mark.parametrize("declared", [65_535, 65_533, 70_000, 0, -1, None])
@pytest.mark.parametrize("tls", [False, True])
def test_only_ports_are_tried(declared: int | None, tls: bool) -> None:
    assert all(0 < port <= 65_535 for port in ui_ports(declared, None, tls=tls))


# -- a whole SparkAllocation -------------------------------------------------------------------------------------------


@pytest.fixture
async def operator(session, tmp_path) -> AsyncIterator[Operator]:
    made = Operator(session)
    made.around = replace(made.around, reach=DriverReach(accesses=tmp_path / "accesses"))
    made.tasks = [asyncio.create_task(watch.run()) for watch in made.watches]
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)


async def test_a_driver_behind_tls_and_a_login_gets_its_executors(
    operator, given, authority
) -> None:
    given(token=TOKEN)
    async with FakeDriver(tls=authority.server(f"DNS:{NAME}")) as driver:
        driver.authorization = f"Bearer {TOKEN}"
        operator.pods.put(driver_document())
        wish = {"podName": "driver", "uiPort": driver.port, "access": "ui"}
        operator.allocate(driver=wish, dynamicAllocation={"minExecutors": 2})
        await operator.until(lambda: len(operator.executors) == 2, within=60)
        await operator.until(
            lambda: operator.condition("DriverReachable")["status"] == "True", within=60
        )
        written = json.dumps([operator.allocations.status("job"), operator.objects.events])
        assert TOKEN not in written


async def test_an_access_that_nobody_gave_is_a_condition_with_a_remedy(operator, given) -> None:
    async with FakeDriver() as driver:
        # even of a driver that may still be starting
        operator.pods.put(driver_document(started_at=datetime.now(UTC).isoformat()))
        wish = {"podName": "driver", "uiPort": driver.port, "access": "ui"}
        operator.allocate(driver=wish)
        await operator.until(
            lambda: operator.condition("DriverReachable")["reason"] == "NoAccess", within=60
        )
        assert "/accesses/jobs/ui" in operator.condition("DriverReachable")["message"]
        assert driver.asked == []


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fe80::1", "fe80::1%eth0",
     "0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16",
     "127.0.0.1", "::1", "::ffff:127.0.0.1", "10.96.0.1", "10.88.0.9", "", "driver.example", "10.0.0.1:80", "1.2.3",
     "10.0.0.1/api", "2130706433", "0x7f.1", "10.0.0.1 "],
)  # fmt: skip
def test_an_address_that_no_driver_has_is_not_asked(monkeypatch, address: str) -> None:
    # given an operator in a cluster
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("POD_IP", "10.88.0.9")
    assert driver_reach(ProcessSettings()).addresses.problem(address)


@pytest.mark.parametrize("address", ["10.88.0.10", "192.168.1.7", "fd12:3456::7", "2001:db8::7"])
def test_a_pod_s_address_is_asked(monkeypatch, address: str) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert driver_reach(ProcessSettings()).addresses.problem(address) == ""


def test_the_networks_of_drivers_can_be_named(monkeypatch) -> None:
    monkeypatch.setenv("SPARK_ALLOCATION_DRIVER_NETWORKS", '["10.88.0.0/16", "fd12::/32"]')
    addresses = driver_reach(ProcessSettings()).addresses
    assert addresses.problem("10.88.3.4") == ""
    assert addresses.problem("fd12::3") == ""
    assert "SPARK_ALLOCATION_DRIVER_NETWORKS" in addresses.problem("10.89.0.1")


def test_an_operator_outside_a_cluster_may_ask_its_own_machine(tmp_path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    addresses = driver_reach(ProcessSettings(kubeconfig=kubeconfig)).addresses
    assert addresses.problem("127.0.0.1") == ""
    assert addresses.problem("169.254.169.254")


def test_every_refused_address_of_a_network_is_refused_in_any_spelling() -> None:
    addresses = DriverAddresses(refused=frozenset({ipaddress.ip_address("10.96.0.1")}))
    assert addresses.problem("::ffff:10.96.0.1")
    assert addresses.problem("10.96.0.2") == ""
