"""How fast a wanted number of executors is followed.

Theory of operation
-------------------
In this order, each with a reason of its own:

1. *Windows.* A number is followed once it has been wanted for its window (`recommendations`). A scale-down that had to be undone
   within that window, although input has not grown, is *regretted*: then the window for the next one is twice as long, up to
   eight times, until input falls. So what is too much with n executors and too little with one less comes to rest.
2. *Freeze windows* of the week.
3. *Cooldown*: no scale-down so soon after a change. A scale-up never waits: rows that come do not wait either.
4. *Scale-downs are merged*: they are so far apart, and what is wanted meanwhile becomes one.
5. *Steps.* All scale-ups of one cooldown together go no further than a step, and neither does one scale-down.

Source: the behaviour of a HorizontalPodAutoscaler for windows and steps; Flink's ``scale-down.interval`` for merging.
"""

import math
from collections import deque
from dataclasses import dataclass

from spark_allocation.core.streaming.decisions import StreamingReason
from spark_allocation.core.streaming.freeze_windows import frozen_at
from spark_allocation.core.streaming.recommendations import Recommendations
from spark_allocation.core.streaming.settings import Frozen, StepLimits, StreamingSettings

SAME_INPUT = 1.15
"""Input that has grown by less is no reason for a scale-up by itself."""
MOST_REGRETS = 3
REGRETS_FORGOTTEN_S = 3600.0


@dataclass(frozen=True, slots=True)
class Paced:
    """Executors that there are to be, and why."""

    executors: int
    reason: StreamingReason


class Pacing:
    """Of the streams of one profile. Times are seconds of one monotonic clock."""

    def __init__(self, settings: StreamingSettings) -> None:
        self._settings = settings
        self._recommendations = Recommendations()
        self._changed_at = -math.inf
        self._numbers: deque[tuple[float, int]] = deque()
        """What there was before each scale-up of the last cooldown."""
        self._scaled_down_at = -math.inf
        self._scaled_down_rate: float | None = None
        self._regrets = 0
        self._regretted_at = -math.inf
        self._regretted_rate: float | None = None

    def reconfigure(self, settings: StreamingSettings) -> None:
        """Other windows and steps; what was wanted stays known."""
        self._settings = settings

    def reset(self) -> None:
        """Nothing is wanted any more."""
        self._recommendations.reset()

    def follow(
        self,
        wanted: int,
        present: int,
        *,
        now: float,
        wall_clock_s: float,
        batches: int,
        input_rate: float | None,
        more_is_useless: bool = False,
    ) -> Paced:
        """The number to have now.

        Args:
            wanted: at least 0.
            present: that there are to be at the moment.
            wall_clock_s: seconds since 1970-01-01 UTC.
            batches: that have been seen so far.
            input_rate: rows a second; None when unknown.
            more_is_useless: the last scale-up had no effect.
        """
        settings = self._settings
        since = batches - settings.stabilization_down_batches
        window_s = self._down_window_s(input_rate)
        self._recommendations.add(now, batches, wanted, present=present)
        longest_s = settings.stabilization_down_s * (1 << MOST_REGRETS)
        self._recommendations.forget(now, max(longest_s, settings.stabilization_up_s), since)
        up = self._recommendations.smallest(now, settings.stabilization_up_s)
        down = self._recommendations.largest(now, window_s, since)
        followed = max(present, up) if present < up else min(present, max(down, up))
        if followed == present:
            steady = StreamingReason.STEADY
            return Paced(present, steady if wanted == present else StreamingReason.STABILIZING)
        frozen = frozen_at(settings.freeze_windows, wall_clock_s)
        if frozen is Frozen.ALL or (frozen is Frozen.SCALE_DOWN and followed < present):
            return Paced(present, StreamingReason.FROZEN)
        if followed > present:
            if more_is_useless:
                return Paced(present, StreamingReason.SCALING_INEFFECTIVE)
            return self._upwards(followed, present, now)
        return self._downwards(followed, present, now)

    def changed(
        self, present: int, executors: int, *, now: float, input_rate: float | None
    ) -> None:
        """There are to be so many now, by `follow` or by bounds."""
        if executors == present:
            return
        self._changed_at = now
        self._numbers.append((now, present))
        if executors < present:
            self._numbers.clear()
            if now - self._regretted_at > REGRETS_FORGOTTEN_S:
                self._regrets = 0
            self._scaled_down_at, self._scaled_down_rate = now, input_rate
            return
        before = self._scaled_down_rate
        more_came = (
            input_rate is not None and before is not None and input_rate > before * SAME_INPUT
        )
        if now - self._scaled_down_at <= self._down_window_s(input_rate) and not more_came:
            self._regrets = min(self._regrets + 1, MOST_REGRETS)
            self._regretted_at, self._regretted_rate = now, input_rate

    def _down_window_s(self, input_rate: float | None) -> float:
        regretted, shortest = self._regretted_rate, self._settings.stabilization_down_s
        if input_rate is not None and regretted is not None and input_rate * SAME_INPUT < regretted:
            return shortest
        return shortest * (1 << self._regrets)

    def _upwards(self, followed: int, present: int, now: float) -> Paced:
        since = now - self._settings.cooldown_s
        while self._numbers and self._numbers[0][0] <= since:
            self._numbers.popleft()
        base = min((executors for _, executors in self._numbers), default=present)
        limit = base + _step(self._settings.step_up, base)
        if followed <= limit:
            return Paced(followed, StreamingReason.SCALED_UP)
        if limit <= present:
            return Paced(present, StreamingReason.COOLDOWN)
        return Paced(limit, StreamingReason.STEP_LIMITED)

    def _downwards(self, followed: int, present: int, now: float) -> Paced:
        settings = self._settings
        if now - self._changed_at < settings.cooldown_s:
            return Paced(present, StreamingReason.COOLDOWN)
        if now - self._scaled_down_at < settings.scale_down_interval_s:
            return Paced(present, StreamingReason.SCALE_DOWN_DELAYED)
        limit = max(0, present - _step(settings.step_down, present))
        if followed < limit:
            return Paced(limit, StreamingReason.STEP_LIMITED)
        return Paced(followed, StreamingReason.SCALED_DOWN)


def _step(limits: StepLimits, present: int) -> int:
    return max(limits.executors, math.ceil(limits.share * present))
