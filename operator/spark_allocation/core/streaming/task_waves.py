"""Slots that make a difference: the tasks of a stage run in waves, and a slot more only helps where it saves one.

A stage of ``P`` tasks on ``S`` slots takes ``ceil(P ÷ S)`` waves. 16 tasks take two waves on 8 slots and on 15 alike. So, for
batches of one stage, ``P ÷ ceil(P ÷ S)`` of the slots are *usable*, and numbers in between are paid for nothing. Tasks of
unequal length blur that, the more so the more waves there are; then there is little in it to save or to lose anyway.
"""

import math


def usable_slots(slots: float, tasks: int | None) -> float:
    """Slots that a stage keeps busy, on average over its waves.

    Args:
        slots: above 0; not whole when executors came or went during the stage.
        tasks: of the stage; None when unknown: then all of them.
    """
    if tasks is None or tasks < 1:
        return slots
    if slots != int(slots):
        return min(slots, float(tasks))
    return tasks / math.ceil(tasks / slots)


def slots_for(usable: float, tasks: int | None) -> int:
    """The fewest slots of which so many are usable; more than there are tasks when not even those suffice.

    Args:
        usable: at least 0.
        tasks: of the stage; None when unknown.
    """
    if not usable > 0:
        return 0
    if tasks is None or tasks < 1 or usable > tasks:
        return math.ceil(usable - 1e-9)
    waves = max(1, math.floor(tasks / usable + 1e-9))
    return math.ceil(tasks / waves)


def aligned(wanted: int, present: int, *, tasks: int | None, tasks_per_executor: int) -> int:
    """Executors that make the difference that is wanted.

    More executors than present save at least one wave; what takes the same waves as the wanted number does so with the
    fewest executors.

    Args:
        wanted: at least 0.
        present: at least 0.
        tasks: of the largest stage; None when unknown: then the wanted number.
        tasks_per_executor: at least 1.
    """
    if tasks is None or wanted in (0, present):
        return wanted
    waves = math.ceil(tasks / (wanted * tasks_per_executor))
    if wanted > present > 0 and waves > 1:
        now = math.ceil(tasks / (present * tasks_per_executor))
        waves = min(waves, now - 1) if now > 1 else waves
    fewest = math.ceil(math.ceil(tasks / waves) / tasks_per_executor)
    return fewest if waves > 1 else max(fewest, wanted)
