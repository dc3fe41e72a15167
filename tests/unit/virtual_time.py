"""Time that passes only while everybody waits: what is to be done at a moment is done at it, however busy the machine is."""

import asyncio
import functools
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")


LOOPBACK_SECONDS = 0.001
"""What this process writes to itself over a socket is there by then, nearly always."""
STEP_SECONDS = 0.01
"""Of virtual time pass at once while there are sockets: what is late after all is late by little."""
PATIENCE_SECONDS = 30.0


class _HardlyWaits(selectors.DefaultSelector):
    """Says how long it would have waited, and waits no longer than what this process tells itself is on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        has_sockets = len(self.get_map()) > 1  # the loop has one to be woken by
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if has_sockets:
            ready = super().select(LOOPBACK_SECONDS if timeout is not None else PATIENCE_SECONDS)
        if not ready:
            if timeout is None:
                raise RuntimeError("all wait for each other")
            self.waited += min(timeout, STEP_SECONDS) if has_sockets else timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock moves from one timer to the next, while nobody has anything to do.

    Args:
        began: what its clock shows at first.
    """

    def __init__(self, began: float = 0.0) -> None:
        self._began = began
        self._hardly_waits = _HardlyWaits()
        super().__init__(self._hardly_waits)

    def time(self) -> float:
        """Seconds, of its own."""
        return self._began + self._hardly_waits.waited


def virtual_time_loop() -> VirtualTimeLoop:
    """One on which other clocks of the process go on as they would have."""
    return VirtualTimeLoop(time.monotonic())


def now() -> float:
    """Seconds, of the running loop."""
    return asyncio.get_running_loop().time()


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on such a loop."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*arguments, **named))

    return run
