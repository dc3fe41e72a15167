"""Which nodes are about to go, as the API server tells it; without the right to see nodes there are none, and that is all."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import pytest

from spark_allocation.controller.going_nodes import GoingNodes
from spark_allocation.kube.api_client import ApiAnswer, ApiUnavailable
from spark_allocation.sources.nodes_watch import NodesWatch

pytestmark = pytest.mark.usefixtures("virtual_time")
CORDON: dict[str, Any] = {"unschedulable": True}
DISRUPTED: dict[str, Any] = {"taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]}


def node(name: str, version: int = 1, **spec: Any) -> dict[str, Any]:
    """A node as the API server has it, with much that nobody asks for."""
    return {
        "kind": "Node",
        "metadata": {"name": name, "resourceVersion": str(version), "labels": {"zone": "a"}},
        "spec": {"podCIDR": "10.0.0.0/24", **spec},
        "status": {"capacity": {"cpu": "4"}, "images": [{"names": ["x"]}] * 20},
    }


class ApiServer:
    """Answers lists and watches as it was told; a watch stays open until it is told to end."""

    def __init__(self, *pages: list[dict[str, Any]]) -> None:
        self.pages = [list(page) for page in pages] or [[]]
        self.refuses = 0
        self.away = False
        self.lists = 0
        self.lines: deque[bytes | None] = deque()
        self.asked: list[dict[str, str]] = []

    async def request(
        self, method: str, path: str, *, query: Any = None, timeout_seconds: float = 60
    ) -> ApiAnswer:
        await asyncio.sleep(0)
        assert (method, path) == ("GET", "/api/v1/nodes")
        self.asked.append(dict(query))
        if self.away:
            raise ApiUnavailable("away")
        if self.refuses:
            return ApiAnswer(self.refuses, b'{"message": "nodes is forbidden"}')
        number = int((query or {}).get("continue", "0"))
        self.lists += number == 0
        more = number + 1 < len(self.pages)
        page = {
            "metadata": {"resourceVersion": "7", "continue": str(number + 1) if more else ""},
            "items": self.pages[number],
        }
        return ApiAnswer(200, json.dumps(page).encode())

    async def stream(self, path: str, *, query: Any) -> AsyncIterator[bytes]:
        self.asked.append(dict(query))
        while True:
            while not self.lines:
                await asyncio.sleep(0.001)
            line = self.lines.popleft()
            if line is None:
                return
            yield line

    def says(self, kind: str, document: dict[str, Any]) -> None:
        self.lines.append(json.dumps({"type": kind, "object": document}).encode())


class Watched:
    """A watch that runs."""

    def __init__(self, api: ApiServer) -> None:
        self.api = api
        self.going = GoingNodes()
        self.woken = 0
        watch = NodesWatch(api, self.going, first_pause_seconds=0.001, refused_pause_seconds=0.01)
        self.task = asyncio.create_task(watch.run())

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(3):
            while not holds():
                await asyncio.sleep(0.001)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_all_pages_make_the_picture() -> None:
    api = ApiServer([node("a"), node("b", **CORDON)], [node("c", **DISRUPTED)])
    async with Watched(api) as watched:
        await watched.until(lambda: watched.going.names == {"b", "c"})
        assert watched.going.reason("b") == "it is cordoned"
        assert watched.going.reason("c") == "Karpenter disrupts it"
        assert watched.going.reason("a") == ""


async def test_the_watch_goes_on_from_the_list_and_tells_of_each_change() -> None:
    api = ApiServer([node("a")])
    async with Watched(api) as watched:
        api.says("MODIFIED", node("a", 8, **CORDON))
        await watched.until(lambda: watched.going.names == {"a"})
        api.says("MODIFIED", node("a", 9))
        await watched.until(lambda: watched.going.names == set())
        api.says("ADDED", node("b", 10, **DISRUPTED))
        await watched.until(lambda: watched.going.names == {"b"})
        api.says("DELETED", node("b", 11, **DISRUPTED))
        await watched.until(lambda: watched.going.names == set())
        api.lines.append(None)
        await watched.until(lambda: api.asked[-1].get("resourceVersion") == "11")
        assert api.lists == 1


async def test_those_who_listen_are_woken_by_changes_alone() -> None:
    api = ApiServer([node("a", **CORDON)])
    async with Watched(api) as watched:
        await watched.until(lambda: watched.going.names == {"a"})
        woken: list[int] = []
        with watched.going.subscription(lambda: woken.append(1)):
            api.says("MODIFIED", node("a", 8, **CORDON))
            api.says("MODIFIED", node("b", 9))
            api.says("MODIFIED", node("b", 10, **CORDON))
            await watched.until(lambda: watched.going.names == {"a", "b"})
        assert woken == [1]


@pytest.mark.parametrize("status", [403, 401, 404])
async def test_without_the_right_there_are_none_until_it_is_granted(status: int) -> None:
    api = ApiServer([node("a", **CORDON)])
    api.refuses = status
    async with Watched(api) as watched:
        await watched.until(lambda: len(api.asked) >= 3)
        assert watched.going.names == set()
        api.refuses = 0
        await watched.until(lambda: watched.going.names == {"a"})


async def test_a_lost_api_server_leaves_the_picture() -> None:
    api = ApiServer([node("a", **CORDON)])
    async with Watched(api) as watched:
        await watched.until(lambda: watched.going.names == {"a"})
        api.away = True
        api.says("ERROR", {"code": 410})
        await watched.until(lambda: len(api.asked) >= 5)
        assert watched.going.names == {"a"}


@pytest.mark.parametrize(
    "line",
    [
        b'{"type": "ERROR", "object": {"code": 410}}',
        b'{"type": "MODIFIED", "object": {"metadata": 3}}',
        b"\xff\xfe",
        b'{"type": "MODIFIED", "object": {"metadata": {"name": "a"}, "spec": {"taints": 1}}}',
    ],
)
async def test_what_cannot_be_read_is_listed_again(line: bytes) -> None:
    api = ApiServer([node("a")])
    async with Watched(api) as watched:
        await watched.until(lambda: api.lists == 1)
        api.pages = [[node("a", **CORDON)]]
        api.lines.append(line)
        await watched.until(lambda: watched.going.names == {"a"})


async def test_a_bookmark_moves_the_version_and_nothing_else() -> None:
    api = ApiServer([node("a", **CORDON)])
    async with Watched(api) as watched:
        await watched.until(lambda: watched.going.names == {"a"})
        api.says("BOOKMARK", {"metadata": {"resourceVersion": "99"}})
        api.lines.append(None)
        await watched.until(lambda: api.asked[-1].get("resourceVersion") == "99")
        assert watched.going.names == {"a"}


async def test_a_watch_that_is_refused_is_no_storm_of_lists() -> None:
    api = ApiServer([node("a")])
    async with Watched(api) as watched:
        await watched.until(lambda: api.lists == 1)
        for _ in range(200):
            api.lines.append(b'{"type":"ERROR","object":{"code":403}}')
            await asyncio.sleep(0.001)
        # with pauses of 1, 2, 4, … ms few fit into the time; without, there would be a hundred and more
        assert api.lists < 30
