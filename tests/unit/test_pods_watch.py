"""LIST and WATCH against an API server that misbehaves: the picture always becomes the truth again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from tests.unit.executor_pod_documents import executor_document

from spark_allocation.kube.api_client import ApiAnswer
from spark_allocation.snapshots_store import DriverKey, ExecutorPodsSnapshotsStore
from spark_allocation.sources.executor_pods import EXECUTOR_SELECTOR, seen_pod
from spark_allocation.sources.pods_watch import PodsWatch
from spark_allocation.testing.faults import HANGS, UNANSWERED
from spark_allocation.testing.pods import FakePodsApi

pytestmark = pytest.mark.usefixtures("virtual_time")
DRIVER = DriverKey("jobs", "driver")


class Watched:
    """A watch at work on a fake API server."""

    def __init__(self, pods: FakePodsApi) -> None:
        self.pods = pods
        self.store = ExecutorPodsSnapshotsStore()
        self.watch = PodsWatch(
            pods,
            namespace=None,
            selector=EXECUTOR_SELECTOR,
            project=seen_pod,
            sink=self.store,
            first_pause_seconds=0.002,
        )

    @property
    def ids(self) -> set[int]:
        return {each.pod.executor_id for each in self.store.take(DRIVER).pods}

    def phase(self, executor_id: int) -> str:
        return next(
            each.pod.state.value
            for each in self.store.take(DRIVER).pods
            if each.pod.executor_id == executor_id
        )

    def create(self, *executor_ids: int) -> None:
        for executor_id in executor_ids:
            self.pods.put(executor_document(executor_id))

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0.001)

    async def watching(self) -> None:
        await self.until(lambda: self.pods.open_watches == 1)


@asynccontextmanager
async def watched(pods: FakePodsApi | None = None) -> AsyncIterator[Watched]:
    world = Watched(pods or FakePodsApi())
    task = asyncio.create_task(world.watch.run())
    try:
        await world.until(lambda: world.store.synced.is_set() or task.done())
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_there_and_what_comes_is_seen() -> None:
    pods = FakePodsApi()
    pods.put(executor_document(1))
    async with watched(pods) as world:
        assert world.ids == {1}
        world.create(2)
        await world.until(lambda: world.ids == {1, 2})
        pods.run("app-exec-2", "jobs")
        await world.until(lambda: world.phase(2) == "running")
        pods.remove("app-exec-1", "jobs")
        await world.until(lambda: world.ids == {2})


async def test_a_list_is_read_to_its_last_page() -> None:
    pods = FakePodsApi(page_size=2)
    for number in range(7):
        pods.put(executor_document(number))
    async with watched(pods) as world:
        assert world.ids == set(range(7))
        assert len(pods.made("list_page")) == 4


async def test_pages_that_expired_are_listed_anew() -> None:
    pods = FakePodsApi(page_size=2)
    for number in range(5):
        pods.put(executor_document(number))
    pods.will("list_page", None, ApiAnswer(HTTPStatus.GONE, b'{"reason":"Expired"}'))
    async with watched(pods) as world:
        assert world.ids == set(range(5))


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"type":"ERROR","object":{"code":410,"reason":"Expired"}}', id="410"),
        pytest.param(b'{"type":"ERROR","object":{"code":500}}', id="500"),
        pytest.param(b'{"type":"MODIFIED","object":', id="half a line"),
        pytest.param(b"<html>Bad Gateway</html>", id="not json"),
        pytest.param(b'{"type":"MODIFIED","object":{"metadata":{"labels":7}}}', id="no pod"),
    ],
)
async def test_a_line_that_makes_no_sense_is_followed_by_a_full_list(line: bytes) -> None:
    async with watched() as world:
        world.create(1)
        await world.watching()
        world.pods.say(line)
        await world.until(lambda: world.watch.lists == 2)
        assert world.ids == {1}


async def test_deletions_that_a_compacted_watch_never_told_are_noticed() -> None:
    async with watched() as world:
        world.create(1, 2)
        await world.until(lambda: world.ids == {1, 2})
        world.pods._watches, deaf = [], world.pods._watches
        world.pods.remove("app-exec-1", "jobs")
        world.pods.compact()
        world.pods._watches = deaf
        world.pods.end_watches()
        await world.until(lambda: world.ids == {2})


async def test_a_broken_connection_is_followed_by_a_full_list() -> None:
    async with watched() as world:
        await world.watching()
        world.pods.break_watches()
        await world.until(lambda: world.watch.lists == 2)


async def test_a_watch_that_ends_goes_on_where_it_was() -> None:
    async with watched() as world:
        world.create(1)
        await world.until(lambda: world.ids == {1})
        world.pods.bookmark()
        stands_at = str(world.pods.resource_version)
        await asyncio.sleep(0)
        world.pods.end_watches()
        await world.until(lambda: len(world.pods.made("watch")) == 2)
        assert world.pods.made("watch")[-1].details == {"resource_version": stands_at}
        assert world.watch.lists == 1


async def test_a_server_that_repeats_itself_brings_no_deleted_pod_back() -> None:
    async with watched() as world:
        world.create(1, 2)
        before = world.pods.pods["jobs", "app-exec-1"]
        old = {**before, "metadata": dict(before["metadata"])}
        world.pods.run("app-exec-1", "jobs")
        await world.until(lambda: world.ids == {1, 2} and world.phase(1) == "running")
        world.pods.replay("MODIFIED", old)
        world.pods.remove("app-exec-1", "jobs")
        world.pods.replay("ADDED", old)
        world.create(3)
        await world.until(lambda: 3 in world.ids)
        assert world.ids == {2, 3}


async def test_a_pod_that_gets_its_label_back_is_there_again() -> None:
    async with watched() as world:
        world.create(1)
        await world.until(lambda: world.ids == {1})
        world.pods.replay("DELETED", world.pods.relabel("app-exec-1", "jobs", spark_role="none"))
        await world.until(lambda: world.ids == set())
        world.pods.relabel("app-exec-1", "jobs", spark_role="executor")
        await world.until(lambda: world.ids == {1})


async def test_a_pod_whose_id_is_spoilt_is_no_executor_any_more() -> None:
    async with watched() as world:
        world.create(1, 2)
        await world.until(lambda: world.ids == {1, 2})
        world.pods.relabel("app-exec-1", "jobs", spark_exec_id="one")
        await world.until(lambda: world.ids == {2})


async def test_an_api_server_that_is_away_is_asked_more_and_more_slowly() -> None:
    pods = FakePodsApi()
    pods.put(executor_document(1))
    pods.will("list_page", *[UNANSWERED] * 5)
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(5), watched(pods) as world:
        assert world.ids == {1}
        assert len(pods.made("list_page")) == 6
    # pauses of 2, 4, 8, 16 and 32 ms, or of half as much; five of the first would be over after 10
    assert asyncio.get_running_loop().time() - began > 0.03


@pytest.mark.parametrize("how", ["watches that end at once", "watches that are refused"])
async def test_a_watch_that_leads_nowhere_is_no_storm(how: str) -> None:
    async with watched() as world:
        refusal = b'{"type":"ERROR","object":{"code":403}}'
        for _ in range(200):
            if how.endswith("refused"):
                world.pods.say(refusal)
            else:
                world.pods.end_watches()
            await asyncio.sleep(0.001)
        # with pauses of 2, 4, 8, … ms few fit into the time; without, there would be a hundred and more
        assert len(world.pods.made("watch")) < 30


async def test_a_list_that_somebody_needs_has_what_a_deaf_watch_has_not_told() -> None:
    async with watched() as world:
        world.create(1)
        await world.until(lambda: world.ids == {1})
        await world.watching()
        world.pods._watches, deaf = [], world.pods._watches
        world.create(2)
        world.pods._watches = deaf
        async with asyncio.timeout(5):
            await world.watch.list_anew()
        assert world.ids == {1, 2}
        world.create(3)
        await world.until(lambda: world.ids == {1, 2, 3})


async def test_a_list_that_was_asked_for_before_is_broken_off_for_one_that_is_needed() -> None:
    pods = FakePodsApi()
    pods.put(executor_document(1))
    pods.will("list_page", HANGS)
    world = Watched(pods)
    running = asyncio.create_task(world.watch.run())
    try:
        await world.until(lambda: len(pods.made("list_page")) == 1)
        async with asyncio.timeout(5):
            await world.watch.list_anew()
        assert (world.ids, len(pods.made("list_page"))) == ({1}, 2)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_several_who_need_a_list_share_it() -> None:
    async with watched() as world:
        await world.watching()
        async with asyncio.timeout(5):
            await asyncio.gather(*(world.watch.list_anew() for _ in range(100)))
        assert world.watch.lists == 2


async def test_who_needs_a_list_waits_until_the_api_server_is_back() -> None:
    async with watched() as world:
        await world.watching()
        world.pods.will("list_page", *[UNANSWERED] * 3)
        async with asyncio.timeout(5):
            await world.watch.list_anew()
        assert world.watch.lists == 2


async def test_pods_that_may_not_be_listed_keep_nobody_else_waiting() -> None:
    pods = FakePodsApi()
    pods.put(executor_document(1))
    forbidden = FakePodsApi()
    forbidden.always("list_page", ApiAnswer(HTTPStatus.FORBIDDEN, b"{}"))
    store = ExecutorPodsSnapshotsStore(scopes=2)
    watches = [
        PodsWatch(
            api,
            namespace=namespace,
            selector=EXECUTOR_SELECTOR,
            project=seen_pod,
            sink=store,
            first_pause_seconds=0.002,
        )
        for namespace, api in (("jobs", pods), ("gone", forbidden))
    ]
    tasks = [asyncio.create_task(watch.run()) for watch in watches]
    try:
        async with asyncio.timeout(5):
            await asyncio.gather(*(watch.list_anew() for watch in watches))
            await store.synced.wait()
            await store.until_known("jobs")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(store.until_known("gone"), 0.05)
            forbidden.always("list_page", None)
            await store.until_known("gone")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
