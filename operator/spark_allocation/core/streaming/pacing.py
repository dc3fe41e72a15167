"""How fast a wanted number of executors is followed.

Theory of operation
-------------------
In this order, each with a reason of its own:

1. *Regret.* A scale-down that had to be undone within `REGRET_WINDOWS` windows, although input has not grown, went too far. For an
   hour there are no so few executors again, unless input falls: so what is too much with n executors and too little with
   one less comes to rest.
2. *Windows.* A number is followed once it has been wanted for its window (`recommendations`).
3. *Freeze windows* of the week.
4. *Cooldown*: no scale-down so soon after a change. A scale-up never waits: rows that come do not wait either.
5. *Scale-downs are merged*: they are so far apart, and what is wanted meanwhile becomes one.
6. *Small corrections.* Under steady input (`steady_input`) executors become one more, once all that were asked for are there, or one
   less: what batches take differs from one to the next, and who follows that goes back and forth by several. One that was needed again
   is regretted, however long it has been gone.
7. *Steps.* All scale-ups of one cooldown together go no further than a step, and neither does one scale-down. As long as little is known
of a query, executors double at most, or become two more (`FIRST_STEP`).

Source: the behaviour of a HorizontalPodAutoscaler for windows and steps; Flink's ``scale-down.interval`` for merging.
"""

import math
from collections import deque
from dataclasses import dataclass

from spark_allocation.core.streaming.decisions import StreamingReason
from spark_allocation.core.streaming.freeze_windows import frozen_at
from spark_allocation.core.streaming.recommendations import Recommendations
from spark_allocation.core.streaming.settings import Frozen, StepLimits, StreamingSettings
from spark_allocation.core.streaming.steady_input import SAME_INPUT

REGRET_WINDOWS = 4
REGRET_S = 3600.0
FIRST_STEP = StepLimits(1.0, 2)
"""While little is known of a query, whatever a step may be."""


@dataclass(frozen=True, slots=True)
class Paced:
    """Executors that there are to be, and why."""

    executors: int
    reason: StreamingReason


@dataclass(frozen=True, slots=True)
class _Regret:
    """So many executors were too few, at such a rate of input."""

    executors: int
    input_rate: float | None
    until: float


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
        self._regret: _Regret | None = None
        self._is_steady = False

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
        just_begun: bool = False,
        steady: bool = False,
        starting: bool = False,
    ) -> Paced:
        """The number to have now.

        Args:
            wanted: at least 0.
            present: that there are to be at the moment.
            wall_clock_s: seconds since 1970-01-01 UTC.
            batches: that have been seen so far.
            input_rate: rows a second; None when unknown.
            more_is_useless: the last scale-up had no effect.
            just_begun: too little is known yet of a query to go far for it.
            steady: input is as it has been for a while.
            starting: some that were asked for are not there yet.
        """
        settings = self._settings
        self._is_steady = steady
        since = batches - settings.stabilization_down_batches
        wanted = max(wanted, min(present, self._not_too_few(now, input_rate)))
        self._recommendations.add(now, batches, wanted, present=present)
        self._recommendations.forget(
            now, max(settings.stabilization_down_s, settings.stabilization_up_s), since
        )
        up = self._recommendations.smallest(now, settings.stabilization_up_s)
        down = self._recommendations.largest(now, settings.stabilization_down_s, since)
        followed = max(present, up) if present < up else min(present, max(down, up))
        if followed == present:
            steadily = wanted == present
            return Paced(
                present, StreamingReason.STEADY if steadily else StreamingReason.STABILIZING
            )
        frozen = frozen_at(settings.freeze_windows, wall_clock_s)
        if frozen is Frozen.ALL or (frozen is Frozen.SCALE_DOWN and followed < present):
            return Paced(present, StreamingReason.FROZEN)
        if followed > present:
            if more_is_useless:
                return Paced(present, StreamingReason.SCALING_INEFFECTIVE)
            if steady and starting:
                return Paced(present, StreamingReason.COOLDOWN)
            return self._upwards(followed, present, now, just_begun=just_begun)
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
            self._scaled_down_at, self._scaled_down_rate = now, input_rate
            return
        before = self._scaled_down_rate
        more_came = (
            input_rate is not None and before is not None and input_rate > before * SAME_INPUT
        )
        soon_s = max(
            REGRET_WINDOWS * self._settings.stabilization_down_s, self._settings.cooldown_s
        )
        soon = now - self._scaled_down_at <= soon_s
        if (soon or (self._is_steady and before is not None)) and not more_came:
            self._regret = _Regret(present, input_rate, now + REGRET_S)

    def _not_too_few(self, now: float, input_rate: float | None) -> int:
        """What there has to be at least, as fewer were too few."""
        regret = self._regret
        if regret is None:
            return 0
        before = regret.input_rate
        fell = input_rate is not None and before is not None and input_rate * SAME_INPUT < before
        if now >= regret.until or fell:
            self._regret = None
            return 0
        return regret.executors + 1

    def _upwards(self, followed: int, present: int, now: float, *, just_begun: bool) -> Paced:
        since = now - self._settings.cooldown_s
        while self._numbers and self._numbers[0][0] <= since:
            self._numbers.popleft()
        base = min((executors for _, executors in self._numbers), default=present)
        limit = base + _step(self._settings.step_up, base)
        if self._is_steady:
            limit = min(limit, present + 1)
        if just_begun:
            limit = min(limit, base + _step(FIRST_STEP, base))
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
        limit = max(0, present - (1 if self._is_steady else _step(settings.step_down, present)))
        if followed < limit:
            return Paced(limit, StreamingReason.STEP_LIMITED)
        return Paced(followed, StreamingReason.SCALED_DOWN)


def _step(limits: StepLimits, present: int) -> int:
    return max(limits.executors, math.ceil(limits.share * present))
