"""Slots that are of use: the tasks of a stage run in waves, and the last one is seldom full.

Theory of operation
-------------------
A stage of ``P`` tasks on ``S`` slots takes ``ceil(P ÷ S)`` waves when all tasks are of equal length: 16 tasks take two on 8 slots
and on 15 alike. With tasks of unequal length the waves blur, and slots in between are of use too. How much they blur nobody tells
an outsider, so the middle is taken: a stage takes the share of waves that it fills, and of one more the half, which becomes nothing
as slots come near the number of tasks:

    waves = P ÷ S + ½ × (1 − S ÷ P)          usable slots = P ÷ waves

More slots than tasks are of no use.
"""

import math


def usable_slots(slots: float, tasks: int | None) -> float:
    """Slots that a stage keeps busy, on average.

    Args:
        slots: above 0; not whole when executors came or went during the stage.
        tasks: of the stage, at least 1; None when unknown: then all of them.
    """
    if tasks is None:
        return slots
    if slots >= tasks:
        return float(tasks)
    return tasks / (tasks / slots + (1 - slots / tasks) / 2)


def slots_for(usable: float, tasks: int | None) -> float:
    """The slots of which so many are usable; more than there are tasks when not even those suffice.

    Args:
        usable: at least 0.
        tasks: of the stage, at least 1; None when unknown.
    """
    if usable <= 0:
        return 0.0
    if tasks is None or usable >= tasks:
        return usable
    beyond_half = tasks / usable - 0.5
    return tasks * 2 / (beyond_half + math.sqrt(beyond_half * beyond_half + 2))


def whole_waves(slots: float, tasks: int) -> int:
    """How many there are when all tasks are of equal length."""
    return math.ceil(tasks / slots)
