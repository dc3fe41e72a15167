"""Questions to drivers share the processor: below what it can read nobody waits, above it all wait in turn."""

import asyncio
import os
import subprocess
import sys
import time

import pytest

from spark_allocation.controller.polling_turns import (
    FEW_REQUESTS,
    MEASURED_FOR_SECONDS,
    MOST_SECONDS_EACH,
    SHARE_OF_PROCESSOR,
    PollingTurns,
    processor_seconds,
)


class Processor:
    """What this process has used, if each request costs so much."""

    def __init__(self, seconds_each: float) -> None:
        self._each = seconds_each
        self.used = 0.0

    def __call__(self) -> float:
        return self.used

    async def answer(self, turns: PollingTurns, requests: int) -> None:
        await turns.wait(requests)
        self.used += requests * self._each


async def used(turns: PollingTurns, processor: Processor, share: float) -> None:
    """Let it know what a request costs, while so much of the processor is used."""
    seconds, began = MEASURED_FOR_SECONDS * 1.1, time.monotonic()
    already = processor.used
    for _ in range(FEW_REQUESTS):
        await processor.answer(turns, 4)
    while processor.used - already < share * seconds:
        await processor.answer(turns, 4)
    await asyncio.sleep(began + seconds - time.monotonic())
    await processor.answer(turns, 4)


async def measured(turns: PollingTurns, processor: Processor) -> None:
    """Let it know what a request costs, while the processor is full."""
    await used(turns, processor, 1.0)


async def test_a_burst_is_spread_over_the_time_that_it_takes_to_read() -> None:
    processor = Processor(0.002)
    turns = PollingTurns(processor)
    await measured(turns, processor)
    began, used = time.monotonic(), processor.used
    # when a hundred drivers are due at once
    await asyncio.gather(*(processor.answer(turns, 4) for _ in range(100)))
    took = time.monotonic() - began
    # then it takes as long as leaves the rest of the processor to others
    assert took >= 0.8 * (processor.used - used - 4 * 0.002) / SHARE_OF_PROCESSOR
    assert took < 3.0


async def test_while_the_processor_is_not_full_a_burst_waits_for_nothing() -> None:
    processor = Processor(0.001)
    turns = PollingTurns(processor)
    await used(turns, processor, 0.6)
    began = time.monotonic()
    await asyncio.gather(*(turns.wait(4) for _ in range(500)))
    assert time.monotonic() - began < 0.3


@pytest.mark.parametrize(
    ("shares", "waits"),
    [
        ((0.75,), False),  # not full
        ((1.0,), True),
        ((1.0, 0.75), True),  # with turns it is not fuller than that
        ((1.0, *[0.3] * 9), False),
        ((1.0, *[0.3] * 9, 0.75), False),
    ],
)
async def test_turns_begin_when_the_processor_is_full_and_last_until_it_is_clearly_not(
    shares: tuple[float, ...], waits: bool
) -> None:
    processor = Processor(0.001)
    turns = PollingTurns(processor)
    for share in shares:
        await used(turns, processor, share)
    began = time.monotonic()
    await asyncio.gather(*(turns.wait(4) for _ in range(100)))
    assert (time.monotonic() - began > 0.2) is waits


async def test_few_questions_wait_for_nothing_whatever_else_the_process_does() -> None:
    processor = Processor(0.0)
    turns = PollingTurns(processor)
    for _ in range(3):
        processor.used += 0.5  # the first picture of many pods
        began = time.monotonic()
        for _ in range(FEW_REQUESTS // 4 - 2):
            await turns.wait(4)
        assert time.monotonic() - began < 0.1
        await asyncio.sleep(MEASURED_FOR_SECONDS * 1.1)


async def test_who_comes_first_is_served_first_and_nobody_is_forgotten() -> None:
    processor = Processor(0.002)
    turns = PollingTurns(processor)
    await measured(turns, processor)
    served: list[int] = []

    async def ask(number: int) -> None:
        await processor.answer(turns, 4)
        served.append(number)

    await asyncio.gather(*map(ask, range(30)))
    assert served == list(range(30))


async def test_one_that_gives_up_while_it_waits_holds_nobody() -> None:
    processor = Processor(0.005)
    turns = PollingTurns(processor)
    await measured(turns, processor)
    waiting = [asyncio.create_task(turns.wait(4)) for _ in range(20)]
    await asyncio.sleep(0)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.wait_for(turns.wait(4), timeout=2.0)


async def test_what_takes_long_for_another_reason_delays_questions_little() -> None:
    processor = Processor(0.5)
    turns = PollingTurns(processor)
    await measured(turns, processor)
    began = time.monotonic()
    for _ in range(10):
        await turns.wait(4)
    assert time.monotonic() - began <= 10 * 4 * MOST_SECONDS_EACH / SHARE_OF_PROCESSOR + 0.5


async def test_who_has_learned_of_a_job_asks_at_once_and_the_next_ones_wait_for_it() -> None:
    processor = Processor(0.002)
    turns = PollingTurns(processor)
    await measured(turns, processor)
    began = time.monotonic()
    turns.count(100)
    assert time.monotonic() - began < 0.05
    await turns.wait(4)
    assert time.monotonic() - began > 0.1


def test_who_has_to_wait_for_the_processor_has_used_it() -> None:
    # given more processes than processors that want all of them
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(3 * (os.cpu_count() or 1))
    ]
    try:
        used, wanted, began = time.process_time(), processor_seconds(), time.monotonic()
        while time.monotonic() < began + 1.0:
            pass
        used, wanted = time.process_time() - used, processor_seconds() - wanted
    finally:
        for each in busy:
            each.kill()
            each.wait()
    assert used < 0.8, "it has got as much as it wanted"
    assert wanted == pytest.approx(1.0, abs=0.2)


def test_a_full_processor_is_known_from_few_requests_however_long_each_takes() -> None:
    assert FEW_REQUESTS * MOST_SECONDS_EACH / SHARE_OF_PROCESSOR <= MEASURED_FOR_SECONDS
