"""Questions to drivers share the processor: below what it can read nobody waits, above it all wait in turn."""

import asyncio
import math
import os
import statistics
import subprocess
import sys
import time
from itertools import pairwise

import pytest
from tests.unit.virtual_time import in_virtual_time, now

from spark_allocation.controller.polling_turns import (
    FEW_REQUESTS,
    MANY_A_SECOND,
    MEASURED_FOR_SECONDS,
    MOST_SECONDS_EACH,
    SHARE_OF_PROCESSOR,
    TOGETHER_SECONDS,
    PollingTurns,
    processor_seconds,
)

PATIENCE_SECONDS = 60.0


class Processor:
    """What this process has used, if each request costs so much."""

    def __init__(self, seconds_each: float) -> None:
        self._each = seconds_each
        self.used = 0.0

    def __call__(self) -> float:
        return self.used

    def of(self, requests: int) -> float:
        return requests * self._each

    async def answer(self, turns: PollingTurns, requests: int) -> None:
        await turns.wait(requests)
        self.used += self.of(requests)


async def used(turns: PollingTurns, processor: Processor, share: float) -> None:
    """Let it know what a request costs, while so much of the processor is used."""
    seconds, began = MEASURED_FOR_SECONDS * 1.1, now()
    already = processor.used
    await asyncio.gather(*(processor.answer(turns, 4) for _ in range(FEW_REQUESTS)))
    left = share * seconds - (processor.used - already)
    more = max(0, math.ceil(left / processor.of(4)))
    await asyncio.gather(*(processor.answer(turns, 4) for _ in range(more)))
    await asyncio.sleep(began + seconds - now())
    await processor.answer(turns, 4)


async def measured(turns: PollingTurns, processor: Processor) -> None:
    """Let it know what a request costs, while the processor is full."""
    await used(turns, processor, 1.0)


@in_virtual_time
async def test_a_burst_is_spread_over_the_time_that_it_takes_to_read() -> None:
    processor = Processor(0.002)
    turns = PollingTurns(processor, now)
    await measured(turns, processor)
    began, used = now(), processor.used
    # when a hundred drivers are due at once
    await asyncio.gather(*(processor.answer(turns, 4) for _ in range(100)))
    took = now() - began
    # then it takes as long as leaves the rest of the processor to others
    assert took >= 0.8 * (processor.used - used - 4 * 0.002) / SHARE_OF_PROCESSOR
    assert took < 3.0


@in_virtual_time
async def test_while_the_processor_is_not_full_a_burst_waits_for_nothing() -> None:
    processor = Processor(0.001)
    turns = PollingTurns(processor, now)
    await used(turns, processor, 0.6)
    began = now()
    await asyncio.gather(*(turns.wait(4) for _ in range(500)))
    assert now() - began < 0.3


@pytest.mark.parametrize(
    ("shares", "waits"),
    [
        ((0.75,), False),  # not full
        ((1.0,), True),
        ((1.0, 0.75), True),  # with turns it is not fuller than that
        ((1.0, 0.3), True),  # all that wait would go out together, and fill it again
        ((1.0, *[0.3] * 9), False),
        ((1.0, *[0.3] * 9, 0.75), False),
    ],
)
@in_virtual_time
async def test_turns_begin_when_the_processor_is_full_and_last_until_it_is_clearly_not(
    shares: tuple[float, ...], waits: bool
) -> None:
    processor = Processor(0.001)
    turns = PollingTurns(processor, now)
    for share in shares:
        await used(turns, processor, share)
    began = now()
    await asyncio.gather(*(turns.wait(4) for _ in range(100)))
    assert (now() - began > 0.2) is waits


@in_virtual_time
async def test_few_questions_wait_for_nothing_whatever_else_the_process_does() -> None:
    processor = Processor(0.0)
    turns = PollingTurns(processor, now)
    for _ in range(3):
        processor.used += 0.5  # the first picture of many pods
        began = now()
        for _ in range(FEW_REQUESTS // 4 - 2):
            await turns.wait(4)
        assert now() - began < 0.1
        await asyncio.sleep(MEASURED_FOR_SECONDS * 1.1)


@in_virtual_time
async def test_who_comes_first_is_served_first_and_nobody_is_forgotten() -> None:
    processor = Processor(0.002)
    turns = PollingTurns(processor, now)
    await measured(turns, processor)
    served: list[int] = []

    async def ask(number: int) -> None:
        await processor.answer(turns, 4)
        served.append(number)

    await asyncio.gather(*map(ask, range(30)))
    assert served == list(range(30))


@in_virtual_time
async def test_one_that_gives_up_while_it_waits_holds_nobody() -> None:
    processor = Processor(0.005)
    turns = PollingTurns(processor, now)
    await measured(turns, processor)
    waiting = [asyncio.create_task(turns.wait(4)) for _ in range(20)]
    await asyncio.sleep(0)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.wait_for(turns.wait(4), timeout=2.0)


@in_virtual_time
async def test_what_takes_long_for_another_reason_delays_questions_little() -> None:
    processor = Processor(0.5)
    turns = PollingTurns(processor, now)
    await measured(turns, processor)
    began = now()
    for _ in range(10):
        await turns.wait(4)
    assert now() - began <= 10 * 4 * MOST_SECONDS_EACH / SHARE_OF_PROCESSOR + 0.5


@in_virtual_time
async def test_who_has_learned_of_a_job_asks_at_once_and_the_next_ones_wait_for_it() -> None:
    processor = Processor(0.002)
    turns = PollingTurns(processor, now)
    await measured(turns, processor)
    began = now()
    turns.count(100)
    assert now() - began < 0.05
    await turns.wait(4)
    assert now() - began > 0.1


def moments() -> tuple[float, float, float, float]:
    """A moment, what this process has used, what it has used or waited for, and a later moment."""
    return time.monotonic(), time.process_time(), processor_seconds(), time.monotonic()


def test_who_has_to_wait_for_the_processor_has_used_it() -> None:
    # given more processes than processors that want all of them
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(3 * (os.cpu_count() or 1))
    ]
    try:
        first, used_before, wanted_before, began = moments()
        least = most = used = wanted = 0.0
        while least - used < max(0.5, 0.2 * least) and least < PATIENCE_SECONDS:
            before, used_now, wanted_now, after = moments()
            least, most = before - began, after - first
            used, wanted = used_now - used_before, wanted_now - wanted_before
    finally:
        for each in busy:
            each.kill()
            each.wait()
    assert least < PATIENCE_SECONDS, "it has got as much as it wanted"
    # a machine that is a guest of another may have had to wait for that as well, which nobody tells
    assert used + 0.5 * (least - used) <= wanted <= 1.1 * most


def test_a_full_processor_is_known_from_few_requests_however_long_each_takes() -> None:
    assert FEW_REQUESTS * MOST_SECONDS_EACH / SHARE_OF_PROCESSOR <= MEASURED_FOR_SECONDS


@in_virtual_time
async def test_many_questions_go_out_together() -> None:
    # given as many as of a thousand drivers, each at a moment of its own
    turns = PollingTurns(Processor(0.0), now)
    gone: list[float] = []

    async def ask(after: float) -> None:
        await asyncio.sleep(after)
        await turns.wait(4)
        gone.append(now())

    await asyncio.gather(*(ask(number / 1000) for number in range(1_600)))
    # then they go twenty times a second, once it is known that they are many
    later = [at for at in gone if at > gone[0] + 2 * MEASURED_FOR_SECONDS]
    between = [after - before for before, after in pairwise(later) if after > before]
    assert len(later) > 500
    assert between == pytest.approx([TOGETHER_SECONDS] * len(between))


@in_virtual_time
async def test_few_questions_go_out_each_at_its_moment() -> None:
    turns = PollingTurns(Processor(0.0), now)
    waited: list[float] = []

    async def ask(after: float) -> None:
        await asyncio.sleep(after)
        began = now()
        await turns.wait(4)
        waited.append(now() - began)

    few = int(0.8 * MANY_A_SECOND / 4)
    await asyncio.gather(*(ask((number + 0.5) / few) for number in range(2 * few)))
    assert statistics.median(waited) < TOGETHER_SECONDS / 10
