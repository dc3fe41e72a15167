"""The cluster below a simulated application: how fast pods start, and how often they are lost.

Whatever is left to chance is drawn from a seed and from what it is drawn for, never from a sequence. So the tenth
executor of a run fails after the same time under every policy, and policies are compared under the same luck.
"""

import math
from dataclasses import dataclass

_MASK = 2**64 - 1
_MILLISECONDS_PER_HOUR = 3_600_000
_MILLISECONDS_PER_MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class ClusterModel:
    """What is supposed of the cluster.

    Attributes:
        start_delays_ms: to an executor's registration; the first executor takes the first, and after the last they begin
            again. At least one.
        delays_count_from_target: from the moment at which the target rose, where the host knows it, as Spark's log has
            them; otherwise from the creation of the pod.
        warm_ups_ms: by which tasks take longer on an executor on which none has ended; in turn, as the delays. At least one.
        first_task_after_ms: from an executor's registration until it takes tasks (``LaunchedExecutor``).
        pods_per_minute: at most so many begin to start in a minute; None for no limit.
        failures_per_hour: how often an executor is lost unasked, in an hour of its life.
        leaves_after_ms: from the order to an executor without tasks until it is gone.
        seed: of everything that is left to chance.
    """

    start_delays_ms: tuple[int, ...] = (5_000,)
    delays_count_from_target: bool = False
    warm_ups_ms: tuple[int, ...] = (0,)
    first_task_after_ms: int = 0
    pods_per_minute: float | None = None
    failures_per_hour: float = 0.0
    leaves_after_ms: int = 1_000
    seed: int = 0

    def start_delay_ms(self, number: int) -> int:
        """Of the executor that is asked for as the so many-th, from 0."""
        return self.start_delays_ms[number % len(self.start_delays_ms)]

    def warm_up_ms(self, number: int) -> int:
        """Of the executor that is asked for as the so many-th, from 0."""
        return self.warm_ups_ms[number % len(self.warm_ups_ms)]

    @property
    def pause_between_pods_ms(self) -> float:
        """Between the starts of two pods, at least."""
        return (
            0.0 if self.pods_per_minute is None else _MILLISECONDS_PER_MINUTE / self.pods_per_minute
        )

    def fails_after_ms(self, executor: int) -> int | None:
        """When an executor is lost, from its registration on; None for never."""
        if self.failures_per_hour <= 0:
            return None
        hours = -math.log(chance(self.seed, executor, 1)) / self.failures_per_hour
        return round(hours * _MILLISECONDS_PER_HOUR)


def chance(*keys: int) -> float:
    """A number above 0 and at most 1 that depends on these numbers alone (splitmix64)."""
    return (mixed(*keys) + 1) / 2**64


def mixed(*keys: int) -> int:
    """64 bits that depend on these numbers alone."""
    state = 0x9E3779B97F4A7C15
    for key in keys:
        state = (state ^ (key & _MASK)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state
