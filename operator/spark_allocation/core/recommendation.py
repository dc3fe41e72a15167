"""What this operator would have, beside what a driver has that allocates for itself.

Theory of operation
-------------------
Nothing is changed, so what would have been can only be estimated, from what is seen at each look:

    ours = the greater of  - our target: what tasks need, within our bounds, as far as our ramp has come
                           - of the driver's own executors those that we would keep: all that are registered, but for
                             those that have timed out by our rules and are above minimum and target; at most our maximum

An executor that the driver keeps idle for longer than we would is missing in ours; one that we would have asked for
sooner, or would keep for longer, is counted in ours from the moment on at which our rules say so. What cannot be seen
is how tasks would have been placed with fewer or more executors.

*Executor-hours* are sums over time of both counts, each with the counts at the beginning of the interval. An interval in
which nobody looked (the operator was away, the driver did not answer) counts for neither.
"""

from dataclasses import dataclass

from spark_allocation.core.profile_states import ProfileState

LONGEST_INTERVAL_NS = 30_000_000_000
_NANOSECONDS = 1_000_000_000
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Comparison:
    """Executors at one moment.

    Attributes:
        spark: that the driver has or has asked for.
        ours: that it would have under this operator.
    """

    spark: int
    ours: int


def would_have(profile: ProfileState, *, would_leave: int, most: int) -> int:
    """How many executors of a profile the operator would have.

    Args:
        profile: as the operator sees it.
        would_leave: registered executors that it would let go now.
        most: ``maxExecutors``.
    """
    return max(profile.target, min(most, profile.registered - would_leave))


class ExecutorHours:
    """Sums both counts over time.

    Args:
        spark: executor-hours counted earlier, as after a restart of the operator.
        ours: the same of what the operator would have had.
    """

    def __init__(self, spark: float = 0.0, ours: float = 0.0) -> None:
        self._spark_seconds = spark * _SECONDS_PER_HOUR
        self._ours_seconds = ours * _SECONDS_PER_HOUR
        self._since: tuple[Comparison, int] | None = None

    @property
    def spark(self) -> float:
        """Executor-hours of the driver's own executors."""
        return self._spark_seconds / _SECONDS_PER_HOUR

    @property
    def ours(self) -> float:
        """Executor-hours that the operator would have used."""
        return self._ours_seconds / _SECONDS_PER_HOUR

    @property
    def saved(self) -> float:
        """The difference; below 0 when the operator would have used more."""
        return self.spark - self.ours

    def take(self, comparison: Comparison | None, now_ns: int) -> None:
        """Take one look.

        Args:
            comparison: None when the driver's last answer is too old to compare with.
            now_ns: monotonic nanoseconds.
        """
        if self._since is not None:
            before, began_ns = self._since
            elapsed_ns = now_ns - began_ns
            if 0 < elapsed_ns <= LONGEST_INTERVAL_NS:
                self._spark_seconds += before.spark * elapsed_ns / _NANOSECONDS
                self._ours_seconds += before.ours * elapsed_ns / _NANOSECONDS
        self._since = None if comparison is None else (comparison, now_ns)
