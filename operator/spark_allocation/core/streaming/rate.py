"""Executors by the rate of input and by what one executor was measured to process: as DS2 does.

Theory of operation
-------------------
    executors = input rate × (1 + catch-up) ÷ (true rate of one executor × target utilisation)

The *true* rate is the one while busy, without what a batch costs by itself (`batch_cost`): that leaves less of the interval for
rows, however many executors there are. So with ``a`` seconds for the batch and ``b`` seconds for a row on one slot, a batch with
the rows of one period takes the wanted share of its interval on

    usable slots = b × rows of a period × (1 + catch-up) ÷ (target utilisation × interval − a)

Where batches follow each other without a pause, this policy says nothing: there rows are what came during the last batch, so
duration and rows go up and down together and any ``a`` fits.

Catch-up is what waits, over the time in which it is to be gone and the input rate. The answer does not depend on the
executors there are, so it is the same while those that were asked for are starting.

On the way down the line is not trusted wholly: it goes on beyond what was seen. In proportion to what batches take now there
would be more executors, never too few; half of the way between both is taken, and the rest once that has been seen.

When ``a`` alone takes more than the wanted share, no number of executors helps (`fixed_cost_is_too_large`), and this
policy says nothing.

Source: ``DS2``; Flink's ``JobVertexScaler`` for catch-up.
"""

import math

from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.query_picture import QueryPicture
from spark_allocation.core.streaming.settings import RateSettings
from spark_allocation.core.streaming.task_waves import slots_for, usable_slots

LEAST_BATCHES = 2.5
"""Of which the cost has to be known, the older counting less."""
NEGLIGIBLE = 0.05
"""So little of an executor is not worth one more: and what is left of the rate of a query that has become idle is none."""


def wanted(settings: RateSettings, picture: QueryPicture) -> int | None:
    """Executors for this query.

    Returns:
        At least 0; the present number while they would be utilised within the band; None when nothing is known of rows,
        of what a batch costs, or of what it may take, and where batches follow each other.
    """
    cost, room = _cost(picture), _room_s(settings.target_utilization, picture)
    interval_s, period_s = picture.interval_s, picture.period_s
    if cost is None or room is None or room <= 0 or picture.input_rate is None:
        return None
    if interval_s is None or period_s is None:
        return None
    rows = _rate(settings, picture) * period_s
    usable = cost.per_row_s * rows / room
    slots = picture.executors * picture.tasks_per_executor
    if slots > 0:
        present = usable_slots(slots, picture.tasks)
        share = cost.duration_s(rows, present) / interval_s
        if abs(share - settings.target_utilization) <= settings.band:
            return picture.executors
        if usable < present:
            in_proportion = present * share / settings.target_utilization
            usable = max(usable, (usable + min(in_proportion, present)) / 2)
    return math.ceil(slots_for(usable, picture.tasks) / picture.tasks_per_executor - NEGLIGIBLE)


def fixed_cost_is_too_large(settings: RateSettings, picture: QueryPicture) -> bool:
    """A batch without any row would already take more than the wanted share of the interval."""
    cost, room = _cost(picture), _room_s(settings.target_utilization, picture)
    return cost is not None and room is not None and room <= 0


def true_rate(picture: QueryPicture) -> float | None:
    """Rows a second that one executor processes without what a batch costs by itself."""
    cost = _cost(picture)
    if cost is None or cost.per_row_s <= 0:
        return None
    return picture.tasks_per_executor / cost.per_row_s


def _cost(picture: QueryPicture) -> LearnedCost | None:
    cost = None if picture.back_to_back else picture.cost
    return cost if cost is not None and cost.is_known and cost.batches >= LEAST_BATCHES else None


def _room_s(utilization: float, picture: QueryPicture) -> float | None:
    """Seconds of the interval that rows may take."""
    if picture.interval_s is None or picture.cost is None:
        return None
    return utilization * picture.interval_s - picture.cost.fixed_s


def _rate(settings: RateSettings, picture: QueryPicture) -> float:
    rate = picture.input_rate or 0.0
    return max(rate * (1 + settings.catch_up), rate + picture.behind_rows / picture.catch_up_s)
