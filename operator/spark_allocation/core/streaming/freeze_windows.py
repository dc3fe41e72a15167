"""Times of the week in which executors stay as many as they are. Times are UTC: a core that reads no files knows no time zones."""

from collections.abc import Iterable

from spark_allocation.core.streaming.settings import FreezeWindow, Frozen

_DAY_S = 86_400
_WEEKDAY_OF_EPOCH = 3
"""1970-01-01 was a Thursday."""


def frozen_at(windows: Iterable[FreezeWindow], epoch_s: float) -> Frozen | None:
    """What is forbidden at a moment; the stricter of two; None when nothing is."""
    found = {window.frozen for window in windows if _contains(window, epoch_s)}
    return Frozen.ALL if Frozen.ALL in found else next(iter(found), None)


def _contains(window: FreezeWindow, epoch_s: float) -> bool:
    today = int(epoch_s // _DAY_S)
    for day in range(today, today - 8, -1):
        begin = day * _DAY_S + window.start_s
        if (
            begin <= epoch_s < begin + window.duration_s
            and (day + _WEEKDAY_OF_EPOCH) % 7 in window.weekdays
        ):
            return True
    return False
