"""The cheapest executors over time with which no batch is ever late, for somebody who knows all input and every batch's noise.

Each executor, seen as the n-th, is needed in some stretches of time and not in others. Between two stretches it is kept if that
costs less than letting it go and starting it again. The stretches of different ones do not depend on each other, so the sum of
what is best for each is the best of all. Executors are whole, and no share of time is left free: nobody has to be on the safe
side who knows what comes.
"""

from tests.streaming_plant.workload import STEP_S, Workload


def needed_over_time(work: Workload) -> list[int]:
    """For each step, the executors with which the batch that runs then is in time."""
    found: list[int] = []
    known: dict[tuple[float, float], int] = {}
    for step in range(len(work.rates)):
        t = step * STEP_S
        if work.trigger_s:
            trigger = int(t / work.trigger_s) * work.trigger_s
            before = max(0.0, trigger - work.trigger_s)
            span = trigger - before
            rate = (work.arrived_by(trigger) - work.arrived_by(before)) / span if span else 0.0
            if trigger == 0:
                rate = 0.0
        else:
            rate = work.rates[step]
        key = (round(rate, 6), work.noise_at(t))
        if key not in known:
            known[key] = work.needed(rate, noise=key[1])
        found.append(known[key])
    return found


def cheapest_cost(work: Workload) -> float:
    """Executor seconds."""
    needed = needed_over_time(work)
    again = work.start_s + work.drain_s
    total = 0.0
    for rank in range(1, max(needed) + 1):
        last: int | None = None
        for step, executors in enumerate(needed):
            if executors < rank:
                continue
            if last is None:
                total += again if step else 0.0
            else:
                total += min((step - last - 1) * STEP_S, again)
            total += STEP_S
            last = step
        if last is not None and last + 1 < len(needed):
            total += work.drain_s
    return total
