"""Conditions of a cluster are awaited, with an end and with what was seen last."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from tests.machine.own_time import own_seconds

T = TypeVar("T")


def eventually(
    look: Callable[[], T | None],
    *,
    what: str,
    within: float,
    every: float = 0.25,
    explain: Callable[[], object] = lambda: "",
) -> T:
    """What `look` returns, once that is true.

    Args:
        what: the condition, for the sentence when it never came.
        within: seconds until the wait has failed.
        explain: asked for what there is instead, when the time is over.
    """
    end = own_seconds() + within
    while not (seen := look()):
        if own_seconds() > end:
            raise AssertionError(f"{what}: not within {within:.0f} s. Instead: {explain()}")
        time.sleep(every)
    return seen


def throughout(
    holds: Callable[[], bool],
    *,
    until: Callable[[], bool],
    what: str,
    within: float,
    explain: Callable[[], object] = lambda: "",
) -> None:
    """`holds` at every look until `until` is true, which it has to become."""
    end = own_seconds() + within
    while True:
        assert holds(), f"{what}: not so. Instead: {explain()}"
        if until():
            return
        assert own_seconds() < end, f"{what}: the end did not come within {within:.0f} s"
        time.sleep(0.25)


async def happens_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether it happened within so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
