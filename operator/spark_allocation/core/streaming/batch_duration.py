"""Executors by how much of its interval a batch takes.

Theory of operation
-------------------
    utilisation = batch duration ÷ interval        wanted = executors × utilisation ÷ target, once it has left target ± band

Two things keep this from asking twice for the same:

- What is carried on is not utilisation but *busy executors*: utilisation × the executors that the batch ran on. Executors
  that are on their way do not change it, so nobody asks for them again.
- A batch that is late begins late, and so has more rows than one interval brings: a stream that is a quarter too
  slow soon has batches of many intervals. Their duration counts against the time in which their rows arrived
  (`query_history`), so what is seen is the quarter, not the many intervals.

What waits has to be processed beside what comes: utilisation counts as higher by the time in which it came, over the
catch-up time (`catch_up`).

Where batches follow each other without a pause, both answers mislead: fewer executors make batches longer *and* larger, the
more so the fewer there are. There one change goes by a fifth at most, but for batches that are late: of these it is known in how
much time their rows came.

Until the first executors come nothing has been measured. Those that were asked for are taken to be as many as the input
needs; what has come to wait meanwhile they would carry along for long, so there are more for it, within the catch-up time,
and twice as many at most.

It needs to know nothing of rows. What a batch costs by itself it takes for work that more executors would share, so it
comes nearer with each change and never goes too far in one.
"""

import math

from spark_allocation.core.streaming import catch_up
from spark_allocation.core.streaming.query_picture import QueryPicture
from spark_allocation.core.streaming.settings import BatchDurationSettings, Sizing

LARGEST_STEP_BACK_TO_BACK = 0.2
NEGLIGIBLE = 0.05
"""So little of an executor is not worth one more."""


def wanted(settings: BatchDurationSettings, picture: QueryPicture) -> int | None:
    """Executors for this query.

    Returns:
        At least 0; the present number while utilisation is within its band; None when no batch has been seen and none is
        late, or nobody says what it may take.
    """
    if picture.none_came_of is not None:
        if picture.late_s <= 0:
            return None
        return _until_the_first_come(picture, picture.none_came_of)
    busy = picture.busy_executors
    if busy is None or picture.interval_s is None:
        return None
    return catch_up.sized(
        picture,
        waits=picture.waiting_s,
        comes=1.0,
        processed=lambda executors: executors / busy if busy else 1.0,
        wanted=lambda waits_s: _wanted(
            settings, picture, busy * (1 + waits_s / picture.catch_up_s)
        ),
    )


def _until_the_first_come(picture: QueryPicture, begun_with: int) -> int:
    """So many, and more for what waits already."""
    waits = min(1.0, picture.late_s / picture.catch_up_s)
    return max(picture.executors, math.ceil(begun_with * (1 + waits) - NEGLIGIBLE))


def _wanted(settings: BatchDurationSettings, picture: QueryPicture, busy: float) -> int:
    present, target = picture.executors, settings.target_utilization
    utilization = busy / max(1, present)
    if abs(utilization - target) <= settings.band:
        return present
    if settings.sizing is Sizing.STEP:
        return present + settings.step if utilization > target else max(0, present - settings.step)
    exact = math.ceil(busy / target - NEGLIGIBLE)
    if picture.back_to_back and picture.late_s <= 0:
        most = math.ceil(present * (1 + LARGEST_STEP_BACK_TO_BACK))
        least = math.floor(present * (1 - LARGEST_STEP_BACK_TO_BACK))
        return max(least, min(exact, most))
    return exact
