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

Catch-up is what will wait when executors that are asked for now have come (`catch_up`), over the time in which it is to be gone and the
input rate. The answer stays the same while those that were asked for are starting.

On the way down the line is not trusted wholly: it goes on beyond what was seen. In proportion to what batches take now there
would be more executors, never too few; half of the way between both is taken, and the rest once that has been seen.

When ``a`` alone takes more than the wanted share, no number of executors helps (`fixed_cost_is_too_large`), and this
policy says nothing.

Source: ``DS2``; Flink's ``JobVertexScaler`` for catch-up.
"""

import math

from spark_allocation.core.streaming import catch_up
from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.query_picture import QueryPicture
from spark_allocation.core.streaming.settings import RateSettings
from spark_allocation.core.streaming.task_waves import slots_for, usable_slots

NEGLIGIBLE = 0.05
"""So little of an executor is not worth one more: and what is left of the rate of a query that has become idle is none."""


def wanted(settings: RateSettings, picture: QueryPicture) -> int | None:
    """Executors for this query.

    Returns:
        At least 0; the present number while they would be utilised within the band; None when nothing is known of rows,
        of what a batch costs, or of what it may take, and where batches follow each other.
    """
    cost, room_s = _cost(picture), _room_s(settings.target_utilization, picture)
    rate, period_s, catch_up_s = picture.input_rate, picture.period_s, picture.catch_up_s
    if cost is None or room_s is None or room_s <= 0 or rate is None or period_s is None:
        return None

    def for_rate(processed: float) -> int:
        return _executors(settings, picture, cost, rows=processed * period_s, room_s=room_s)

    return catch_up.sized(
        picture,
        waits=picture.behind_rows,
        comes=rate,
        processed=lambda executors: _true_rate(picture, cost, executors),
        wanted=lambda rows: for_rate(max(rate * (1 + settings.catch_up), rate + rows / catch_up_s)),
    )


def _executors(
    settings: RateSettings,
    picture: QueryPicture,
    cost: LearnedCost,
    *,
    rows: float,
    room_s: float,
) -> int:
    """On which a batch of so many rows takes the wanted share of its interval."""
    usable = cost.per_row_s * rows / room_s
    slots = picture.executors * picture.tasks_per_executor
    if slots > 0:
        present = usable_slots(slots, picture.tasks)
        interval_s = (room_s + cost.fixed_s) / settings.target_utilization
        share = cost.duration_s(rows, present) / interval_s
        if abs(share - settings.target_utilization) <= settings.band:
            return picture.executors
        if usable < present:
            in_proportion = present * share / settings.target_utilization
            usable = max(usable, (usable + min(in_proportion, present)) / 2)
    return math.ceil(slots_for(usable, picture.tasks) / picture.tasks_per_executor - NEGLIGIBLE)


def _true_rate(picture: QueryPicture, cost: LearnedCost, executors: int) -> float:
    """Rows a second that so many executors process without what a batch costs by itself."""
    slots = executors * picture.tasks_per_executor
    return usable_slots(slots, picture.tasks) / cost.per_row_s if slots else 0.0


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
    return cost if cost is not None and cost.is_sure else None


def _room_s(utilization: float, picture: QueryPicture) -> float | None:
    """Seconds of the interval that rows may take."""
    if picture.interval_s is None or picture.cost is None:
        return None
    return utilization * picture.interval_s - picture.cost.fixed_s
