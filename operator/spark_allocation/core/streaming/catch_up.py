"""Executors for what waits: what counts is what will wait when they come.

Theory of operation
-------------------
One that is asked for now is there only after as long as executors take to start (`executor_starts`). Until then what waits becomes
more, by all that comes and is not processed by those that there are and those that come before:

    will wait = waits + Σ seconds × (what comes − what those that are there process), never below 0

Sized by what waits now, a stream asks for too few, sees once they have come that more has come to wait, and asks again: twice the start
of an executor. Sized by what will wait it asks once. And the other way round: what those that there are to be will have processed by then
is no reason for more. But it is one to keep them: nobody goes who is wanted for the most that will wait until then.

The answer stays the same while executors start: what has come to wait meanwhile was counted before.
"""

from collections.abc import Callable

from spark_allocation.core.streaming.query_picture import QueryPicture


def sized(
    picture: QueryPicture,
    *,
    waits: float,
    comes: float,
    processed: Callable[[int], float],
    wanted: Callable[[float], int],
) -> int:
    """Executors for what comes and what waits, in rows, or in the seconds in which they came.

    Args:
        waits: so much, now.
        comes: so much in a second.
        processed: so much in a second by so many executors.
        wanted: to process what comes and, within the catch-up time, so much that waits; for more no fewer.
    """
    will_wait = most = waits
    for stretch in picture.until_more:
        will_wait += stretch.seconds * (comes - processed(stretch.executors))
        will_wait = max(0.0, will_wait)
        most = max(most, will_wait)
    return max(wanted(will_wait), min(picture.executors, wanted(most)))
