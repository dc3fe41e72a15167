"""A stream whose input comes at another rate every while: executors follow, and no row is lost or doubled."""

from pathlib import Path

import pytest
from tests.e2e.waiting import eventually
from tests.e2e.workspace import Workspace
from tests.streams.course import (
    DRIVER,
    ENDS_WITHIN_SECONDS,
    FIXED,
    Source,
    Way,
    course_of,
    start,
)

PHASES = "60:8,120:32,120:4"
"""One, four and half a time the rate: 0.8, 3.2 and 0.4 executors' work."""
CATCH_UP_SECONDS = 90.0


@pytest.mark.slow
@pytest.mark.parametrize("source", Source)
def test_executors_follow_the_input_of_a_stream(
    space: Workspace, tmp_path: Path, source: Source
) -> None:
    start(space, tmp_path, Way.OPERATOR, PHASES, source)
    told = eventually(
        lambda: space.status(DRIVER).get("streaming"),
        what="the status tells of the stream",
        within=180,
        explain=lambda: space.status(DRIVER),
    )
    assert [each["query"] for each in told] == ["stepped"]
    assert space.await_end(DRIVER, within=ENDS_WITHIN_SECONDS) == "Succeeded"
    course = course_of(Way.OPERATOR, space.result(DRIVER))
    # every row came once, and nothing was run again
    assert course.complaints() == []
    # with four times the rows there were executors for them, and batches were in time again before long
    rising = [count for at, count in course.executors if 60 <= at < 180]
    assert max(rising) >= FIXED - 1
    back = course.back_in_time_after(1)
    assert back is not None
    assert back <= CATCH_UP_SECONDS
    # and when little came they began to go again, one after the other as streams let them
    assert course.executors[-1][1] < max(rising)
