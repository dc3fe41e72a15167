"""What disturbs operators: proxies between them and their servers, and the course of a schedule.

`Disturbance` starts the operators of one world behind proxies, starts them again when they have been killed, and goes
through a schedule's episodes and deeds. Deeds on operators and on the API server are its own; of the others it tells.
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from tests.faults.fault_proxy import (
    FaultProxy,
    KillPoint,
    Passage,
    api_kind,
    driver_kind,
    write_kubeconfig,
)
from tests.faults.fault_schedule import (
    BREAKS_OPEN_WATCHES,
    Deed,
    DeedKind,
    Fate,
    FaultSchedule,
    Kind,
)
from tests.faults.wall_clock import WallClock
from tests.integration.operator_world import HostOperator, OperatorWorld

from spark_allocation.kube.api_client import ApiUnavailable

KILLED_FOR_SECONDS = 0.3
KILLED_LATEST_SECONDS = 2.0
HOUR_SECONDS = 3600


class WindowClock:
    """The time within the window of faults. It stands still while no operator is up: there is nothing to disturb."""

    def __init__(self) -> None:
        self._gone = -1.0
        self._since: float | None = None

    def start(self) -> None:
        self._gone, self._since = 0.0, time.monotonic()

    def stop(self) -> None:
        if self._since is not None:
            self._gone, self._since = self.now, None

    def go_on(self) -> None:
        if self._since is None and self._gone >= 0:
            self._since = time.monotonic()

    @property
    def now(self) -> float:
        """Seconds; below zero before the window."""
        if self._since is None:
            return self._gone
        return self._gone + time.monotonic() - self._since

    async def reaches(self, at: float) -> None:
        while self.now < at:
            await asyncio.sleep(0.05)


class Disturbance:
    """The operators of one world under one schedule. Several at once share a Lease; a single one has none.

    Attributes:
        proxies: before the API server, one for each operator, and before the drivers.
        operators: as started last.
        kills: how many there were.
        ended: sentences about operators that ended by themselves.
        logs: of the operators.
        when_asked: called with each request of an operator to the API server when it arrives, and again when its
            answer is known.
        when_leading: called when another operator leads: which, and which led before ("" at first).
    """

    def __init__(
        self,
        world: OperatorWorld,
        schedule: FaultSchedule,
        folder: Path,
        *,
        operators: int = 1,
        lease: bool = False,
        everywhere: bool = False,
        environment: Mapping[str, str] | None = None,
        clocks_are_set: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """
        Args:
            operators: how many at once; none when the schedule is for the world around them alone.
            lease: a single one holds the Lease, too.
            everywhere: they serve all namespaces.
            environment: further variables of their environment.
            clocks_are_set: each has a wall clock of its own, for deeds to set.
            say: told what happens.
        """
        self._world = world
        self._schedule = schedule
        self._folder = folder
        self._wanted = operators
        self._lease = lease or operators > 1
        self._everywhere = everywhere
        self._environment = environment or {}
        self._wall_clocks = [
            WallClock(folder, f"operator-{number}") for number in range(operators * clocks_are_set)
        ]
        self._say = say
        self._clock = WindowClock()
        self._background: set[asyncio.Task[None]] = set()
        self._killed: set[int] = set()
        self._ending = False
        self._leader = 0
        self.proxies: list[FaultProxy] = []
        self.operators: list[HostOperator] = []
        self.kills = 0
        self.ended: list[str] = []
        self.logs: list[Path] = []
        self.when_asked: Callable[[Passage], None] = lambda _: None
        self.when_leading: Callable[[str, str], None] = lambda *_: None

    @property
    def passages(self) -> list[Passage]:
        """All that has passed the proxies."""
        return [each for proxy in self.proxies for each in proxy.passages]

    # -- proxies -----------------------------------------------------------------------------------------------------

    async def stand_before_the_api(self, stack: AsyncExitStack) -> None:
        """A way to the API server for each operator."""
        credentials = await self._world.api.credentials()
        tls = ssl.create_default_context(cafile=credentials.ca_path)
        for number in range(self._wanted):
            proxy = FaultProxy(
                credentials.server,
                self._fate,
                by=f"operator-{number}",
                tls=tls,
                token=credentials.token,
                kind_of=api_kind,
            )
            proxy.when_passing = self._operator_asks
            await stack.enter_async_context(proxy)
            write_kubeconfig(self._kubeconfig(number), proxy.url)
            self.proxies.append(proxy)

    async def stand_before_a_driver(
        self,
        stack: AsyncExitStack,
        upstream: str,
        *,
        listen: Callable[[], socket.socket] | None = None,
        serves: ssl.SSLContext | None = None,
    ) -> FaultProxy:
        """A way to a driver.

        Args:
            upstream: the driver's own URL.
            listen: makes the socket on which the operator is to find the driver; by default on this host's loopback.
            serves: how the operator is to find it behind TLS; by default in plain HTTP.
        """
        proxy = FaultProxy(
            upstream, self._fate, by="driver", kind_of=driver_kind, listen=listen, serves=serves
        )
        await stack.enter_async_context(proxy)
        self.proxies.append(proxy)
        return proxy

    def take_up(self, schedule: FaultSchedule) -> None:
        """Another schedule, for the next window."""
        self._schedule = schedule
        self._clock = WindowClock()

    def fate(self, kind: Kind) -> Fate | None:
        """What becomes of the next request of this kind."""
        return self._schedule.fate(kind, self._clock.now)

    def _fate(self, passage: Passage) -> Fate | None:
        return self.fate(passage.kind)

    def _operator_asks(self, passage: Passage) -> None:
        if self.operators[0].process.poll() is None:
            self._clock.go_on()
        self.when_asked(passage)

    # -- operators ---------------------------------------------------------------------------------------------------

    def start_operators(self) -> None:
        """Start them, and start each of them again whenever it has been killed."""
        self.operators = [self._start(number) for number in range(self._wanted)]
        for number in range(self._wanted):
            in_background(self._keep(number), self._background)
        if self._wanted > 1:
            in_background(self._follow_the_lease(), self._background)

    async def close(self) -> None:
        """Operators and all that goes on besides are ended."""
        self._ending = True
        for each in self.operators:
            each.close()
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    def _kubeconfig(self, number: int) -> Path:
        return self._folder / f"operator-{number}.kubeconfig"

    def _start(self, number: int) -> HostOperator:
        clock = self._wall_clocks[number].environment if self._wall_clocks else {}
        operator = HostOperator(
            self._world,
            self._folder,
            f"operator-{number}",
            kubeconfig=self._kubeconfig(number),
            context="proxied",
            lease=self._lease,
            everywhere=self._everywhere,
            environment={**self._environment, **clock},
        )
        self.logs = sorted({*self.logs, operator.log_file})
        return operator

    async def _keep(self, number: int) -> None:
        """Start it again whenever it has been killed, as a kubelet would."""
        while True:
            operator = self.operators[number]
            while operator.process.poll() is None:
                await asyncio.sleep(0.05)
            if self._ending:
                return
            code = operator.process.returncode
            if number in self._killed:
                self._killed.discard(number)
            elif code != 3 or not self._lease:
                self.ended.append(f"operator {number} ended by itself with code {code}")
            await asyncio.sleep(KILLED_FOR_SECONDS)
            self.operators[number] = self._start(number)

    async def _follow_the_lease(self) -> None:
        leader = ""
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{self._world.namespace}/leases"
        while True:
            with contextlib.suppress(ApiUnavailable):
                answer = await self._world.request("GET", f"{leases}/spark-allocation-operator")
                identity = str((answer.json().get("spec") or {}).get("holderIdentity") or "")
                holder = identity.rpartition("_")[0]
                if holder and holder != leader:
                    self._say(f"{holder} leads")
                    self.when_leading(holder, leader)
                    leader = holder
                    self._leader = int(holder.rpartition("-")[2])
            await asyncio.sleep(0.2)

    def _kill(self, number: int) -> None:
        if self.operators[number].process.poll() is None:
            self.kills += 1
            self._killed.add(number)
            self.operators[number].process.kill()
            if self._wanted == 1:
                self._clock.stop()

    async def _kill_at(self, number: int, deed: Deed) -> None:
        """At the next request of the kind; when none comes soon, without one."""
        point = KillPoint(deed.request, after=deed.after, kill=lambda: self._kill(number))
        proxy = next(each for each in self.proxies if each.by == f"operator-{number}")
        proxy.kill_point = point
        await self._clock.reaches(self._clock.now + KILLED_LATEST_SECONDS)
        if proxy.kill_point is point:
            proxy.kill_point = None
            self._kill(number)

    # -- the course --------------------------------------------------------------------------------------------------

    async def go_through(self, do: Callable[[Deed], Awaitable[None]]) -> None:
        """The whole window of faults, from now on; at its end all is calm.

        Args:
            do: told of each deed, after what is done here of it.
        """
        self._say("faults begin")
        self._clock.start()
        try:
            await asyncio.gather(self._go_through_episodes(), self._do_deeds(do))
        finally:
            for proxy in self.proxies:
                proxy.kill_point = None
                proxy.calm()
        self._say("faults have ended")

    async def _go_through_episodes(self) -> None:
        for episode in self._schedule.episodes:
            await self._clock.reaches(episode.begins)
            self._say(episode.name)
            if episode.name in BREAKS_OPEN_WATCHES:
                for proxy in self.proxies:
                    proxy.break_watches()
        await self._clock.reaches(self._schedule.shape.seconds)

    async def _do_deeds(self, do: Callable[[Deed], Awaitable[None]]) -> None:
        for deed in self._schedule.deeds:
            await self._clock.reaches(deed.at)
            self._say(str(deed.kind))
            match deed.kind:
                case DeedKind.KILL:
                    self._kill(self._leader)
                case DeedKind.KILL_AT:
                    in_background(self._kill_at(self._leader, deed), self._background)
                case DeedKind.SET_CLOCK if self._wall_clocks:
                    forward = 1 if deed.number % 2 else -1
                    self._wall_clocks[self._leader].set(forward * deed.number * HOUR_SECONDS)
                case DeedKind.COMPACT:
                    await asyncio.to_thread(self._world.cluster.compact_history)
                case DeedKind.RESTART_API:
                    await asyncio.to_thread(self._world.cluster.restart, "kube-apiserver")
            await do(deed)


def in_background(work: Awaitable[None], tasks: set[asyncio.Task[None]]) -> None:
    """Start something whose end nobody waits for, and keep it from being collected."""
    task = asyncio.ensure_future(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
