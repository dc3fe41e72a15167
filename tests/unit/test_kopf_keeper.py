"""kopf is begun when our kind is served, and anew when it gives up; the process lives on."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterable

import pytest

from spark_allocation.controller.kopf_handlers import _PatientBackoffs
from spark_allocation.controller.kopf_keeper import KopfKeeper, why_kind_is_not_served
from spark_allocation.kube.api_client import ApiAnswer, ApiUnavailable

pytestmark = pytest.mark.usefixtures("virtual_time")
GROUP = "/apis/sparkallocation.dev/v1alpha1"


class Kopf:
    """Ends as it is told; the last end is a signal."""

    def __init__(self, *ends: Exception) -> None:
        self.ends = list(ends)
        self.runs = 0

    async def run(self, _: asyncio.Event) -> None:
        self.runs += 1
        if self.ends:
            raise self.ends.pop(0)


def answers(*said: str) -> Callable[[], Awaitable[str]]:
    queue = list(said)

    async def why_not() -> str:
        return queue.pop(0) if queue else ""

    return why_not


async def test_kopf_that_gives_up_is_begun_anew_until_a_signal_ends_it() -> None:
    kopf = Kopf(RuntimeError("Error in the watch-stream"), ValueError("truncated line"))
    failures: list[int] = []
    keeper = KopfKeeper(kopf.run, answers(), first_pause_seconds=0.001)
    await keeper.run(after_failure=lambda: failures.append(kopf.runs))
    assert kopf.runs == 3
    assert failures == [1, 2]


async def test_kopf_is_not_begun_before_the_kind_is_served() -> None:
    kopf = Kopf()
    seen: list[tuple[str, int]] = []
    said = answers("no such kind", "storage is (re)initializing", "")

    async def why_not() -> str:
        seen.append((keeper.obstacle, kopf.runs))
        return await said()

    keeper = KopfKeeper(kopf.run, why_not, first_pause_seconds=0.001)
    await keeper.run()
    assert seen == [("", 0), ("no such kind", 0), ("storage is (re)initializing", 0)]
    assert kopf.runs == 1
    assert keeper.obstacle == ""


async def test_a_kind_that_goes_is_waited_for_again() -> None:
    kopf = Kopf(RuntimeError("404"))
    keeper = KopfKeeper(kopf.run, answers("", "no such kind", ""), first_pause_seconds=0.001)
    await keeper.run()
    assert kopf.runs == 2


async def test_a_cancelled_keeper_ends_kopf() -> None:
    ended = asyncio.Event()

    async def kopf(_: asyncio.Event) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(KopfKeeper(kopf, answers()).run())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_stopped_keeper_lets_kopf_end_by_itself() -> None:
    ended: list[str] = []

    async def kopf(stop: asyncio.Event) -> None:
        await stop.wait()
        ended.append("by itself")

    keeper = KopfKeeper(kopf, answers())
    task = asyncio.create_task(keeper.run())
    await asyncio.sleep(0.01)
    keeper.stop()
    await asyncio.wait_for(task, 1)
    assert ended == ["by itself"]


@pytest.mark.parametrize("waits_for", ["the kind", "the next try"])
async def test_a_stopped_keeper_does_not_wait_for_anything(waits_for: str) -> None:
    kopf = Kopf(RuntimeError("gave up"))
    said = answers(*(["no such kind"] if waits_for == "the kind" else []))
    keeper = KopfKeeper(kopf.run, said, first_pause_seconds=3600)
    task = asyncio.create_task(keeper.run())
    await asyncio.sleep(0.01)
    keeper.stop()
    await asyncio.wait_for(task, 1)
    assert kopf.runs == (0 if waits_for == "the kind" else 1)


def test_kopf_s_requests_are_tried_for_ever_and_every_five_seconds_at_last() -> None:
    backoffs: Iterable[float] = _PatientBackoffs()
    for _ in range(2):  # kopf goes through them once for each request
        assert max(itertools.islice(backoffs, 1000)) == 5.0


class Server:
    """Answers by path; what is not told is a 404."""

    def __init__(self) -> None:
        self.known = {"/apis": {"groups": [{"name": "sparkallocation.dev"}]},
                      GROUP: {"resources": [{"name": "sparkallocations"}]},
                      f"{GROUP}/namespaces/a/sparkallocations": {"items": []},
                      f"{GROUP}/sparkallocations": {"items": []}}  # fmt: skip
        self.statuses: dict[str, int] = {}

    async def request(self, method: str, path: str, **_: object) -> ApiAnswer:
        assert method == "GET"
        status = self.statuses.get(path, 200)
        if status == 0:
            raise ApiUnavailable("connection refused")
        body = self.known[path] if status == 200 else {"message": f"status {status}"}
        return ApiAnswer(status, json.dumps(body).encode())


@pytest.mark.parametrize("namespaces", [(), ("b", "a")])
async def test_a_kind_that_can_be_listed_is_served(namespaces) -> None:
    assert await why_kind_is_not_served(Server(), namespaces) == ""


@pytest.mark.parametrize("path", ["/apis", GROUP, f"{GROUP}/sparkallocations"])
@pytest.mark.parametrize(
    ("status", "words"), [(429, "not ready"), (503, "not ready"), (0, "does not answer")]
)
async def test_a_server_that_is_not_ready_for_the_kind_is_waited_for(path, status, words) -> None:
    server = Server()
    server.statuses[path] = status
    assert words in await why_kind_is_not_served(server, ())


async def test_a_kind_that_nobody_has_applied_is_said_with_the_remedy() -> None:
    for break_it in (
        lambda server: server.known.update({"/apis": {"groups": []}}),
        lambda server: server.statuses.update({GROUP: 404}),
        lambda server: server.statuses.update({f"{GROUP}/sparkallocations": 404}),
    ):
        server = Server()
        break_it(server)
        assert "apply the CustomResourceDefinitions" in await why_kind_is_not_served(server, ())


async def test_a_namespace_that_may_not_be_listed_stops_no_other() -> None:
    server = Server()
    server.statuses[f"{GROUP}/namespaces/a/sparkallocations"] = 403
    assert await why_kind_is_not_served(server, ("a", "b")) == ""
