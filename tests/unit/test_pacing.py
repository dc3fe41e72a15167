"""No application keeps another one from being heard, and all together do not overwhelm the API server."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.kube import pacing
from spark_allocation.kube.pacing import CreationPacer, StatusPacer


def speak(pacer: StatusPacer, speakers: dict[str, float], *, seconds: float) -> dict[str, list]:
    """Let each speaker try as often as its interval says, and as it is told; returns when each one wrote."""
    due = dict.fromkeys(speakers, 100.0)
    written: dict[str, list[float]] = {who: [] for who in speakers}
    while True:
        who = min(due, key=lambda each: (due[each], each))
        now = due[who]
        if now >= 100.0 + seconds:
            return written
        wait = pacer.seconds_to_turn(who, now)
        if wait == 0.0:
            written[who].append(now)
        due[who] = now + (wait or speakers[who])


def test_a_lone_writer_does_not_wait() -> None:
    pacer = StatusPacer(50)
    assert pacer.seconds_to_turn("a", 100.0) == 0.0
    assert pacer.seconds_to_turn("a", 100.5) == 0.0


def test_a_thousand_at_once_are_served_in_twenty_seconds_and_each_once() -> None:
    pacer = StatusPacer(50)
    waits = [pacer.seconds_to_turn(str(number), 100.0) for number in range(1000)]
    assert waits[0] == 0.0
    assert 19.9 < max(waits) < 20.0
    # who asks again early keeps its turn instead of going to the end of the queue
    assert abs(pacer.seconds_to_turn("500", 105.0) - 5.0) < 0.01
    assert pacer.seconds_to_turn("500", 110.01) == 0.0


def test_who_has_much_to_say_is_behind_all_who_have_not_spoken() -> None:
    speakers = {"chatterbox": 0.001, **{f"quiet-{number}": 1.0 for number in range(40)}}
    written = speak(StatusPacer(50), speakers, seconds=20)
    quiet = [len(times) for who, times in written.items() if who != "chatterbox"]
    assert min(quiet) >= 15
    assert len(written["chatterbox"]) <= 20 * 50 - sum(quiet) + 1


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0.01, 2.0), min_size=1, max_size=20),
    st.sampled_from([5, 50]),
)
def test_never_more_than_so_many_a_second(speakers: dict[str, float], per_second: int) -> None:
    written = speak(StatusPacer(per_second), speakers, seconds=5)
    moments = sorted(moment for each in written.values() for moment in each)
    for number, moment in enumerate(moments):
        within = [other for other in moments[number:] if other < moment + 1.0 - 1e-6]
        # a turn that was not used in time may be used late, one for each speaker
        assert len(within) <= per_second + len(speakers)


def test_a_writer_that_has_gone_is_forgotten() -> None:
    pacer = StatusPacer(1)
    pacer.seconds_to_turn("a", 100.0)
    assert pacer.seconds_to_turn("b", 100.0) == 1.0
    pacer.forget("b")
    assert pacer.seconds_to_turn("b", 200.0) == 0.0


async def asked_at_once(pacer: CreationPacer, count: int) -> float:
    """Seconds that so many creations take, all asked for at once."""
    began = time.monotonic()
    await asyncio.gather(*(pacer.wait_for_turn() for _ in range(count)))
    return time.monotonic() - began


@pytest.mark.usefixtures("virtual_time")
async def test_a_second_s_worth_of_pods_is_asked_for_at_once_and_more_at_the_pace() -> None:
    pacer = CreationPacer(50)
    assert await asked_at_once(pacer, 50) < 0.2
    assert 0.4 < await asked_at_once(pacer, 25) < 0.9


@pytest.mark.usefixtures("virtual_time")
async def test_what_nobody_wanted_for_long_is_made_up_for_by_a_second_s_worth_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pacer = CreationPacer(50)
    await asked_at_once(pacer, 50)
    now = time.monotonic()
    monkeypatch.setattr(pacing.time, "monotonic", lambda: now + 3600.0)
    waits: list[float] = []

    async def waited(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(pacing.asyncio, "sleep", waited)
    for _ in range(60):
        await pacer.wait_for_turn()
    assert 8 <= len(waits) <= 10


@pytest.mark.usefixtures("virtual_time")
async def test_after_the_server_has_asked_for_patience_there_is_no_burst() -> None:
    pacer = CreationPacer(50)
    pacer.throttled(0.2)
    assert await asked_at_once(pacer, 11) > 0.2 + 0.15
