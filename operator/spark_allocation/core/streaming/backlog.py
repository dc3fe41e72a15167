"""Executors by how long it would take to process what waits.

Theory of operation
-------------------
    seconds of backlog = rows behind ÷ processing rate

- Above the target, and growing or not going to be gone in time: as many executors as process the input and, within the
  catch-up time, what waits.
- Next to nothing waits, and utilisation is low: as many as bring utilisation to where it is not low any more.
- Else: as many as there are.

The processing rate of more executors is taken to be more in proportion. That is too much to hope for, so the first answer is
rather too small; what waits is looked at again, and what is left of the catch-up time is shorter then.
"""

import math

from spark_allocation.core.streaming.query_picture import QueryPicture
from spark_allocation.core.streaming.settings import BacklogSettings


def wanted(settings: BacklogSettings, picture: QueryPicture) -> int | None:
    """Executors for this query.

    Returns:
        At least 0; None when nothing is known of a backlog, or no batch has been seen.
    """
    backlog_s = picture.backlog_s
    if backlog_s is None or picture.processing_rate is None or picture.measured_on <= 0:
        return None
    if is_urgent(settings, picture):
        rate = (picture.input_rate or 0.0) + picture.behind_rows / picture.catch_up_s
        enough = picture.measured_on * rate / picture.processing_rate
        return max(picture.executors, math.ceil(enough - 1e-9))
    utilization, busy = picture.utilization, picture.busy_executors
    if (
        busy is not None
        and utilization is not None
        and backlog_s < settings.low_s
        and utilization < settings.low_utilization
    ):
        return min(picture.executors, math.ceil(busy / settings.low_utilization - 1e-9))
    return picture.executors


def is_urgent(settings: BacklogSettings, picture: QueryPicture) -> bool:
    """More waits than the target allows, and it grows or will not be gone within the catch-up time."""
    backlog_s = picture.backlog_s
    if backlog_s is None or backlog_s <= settings.target_s:
        return False
    return picture.behind_is_growing or _clearing_s(picture) > picture.catch_up_s


def _clearing_s(picture: QueryPicture) -> float:
    """Seconds until it is gone at the present rates; endless when it does not shrink."""
    if not picture.processing_rate or picture.measured_on <= 0:
        return math.inf
    rate = picture.processing_rate * picture.executors / picture.measured_on
    spare = rate - (picture.input_rate or 0.0)
    return picture.behind_rows / spare if spare > 0 else math.inf
