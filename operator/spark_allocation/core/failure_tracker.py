"""Failed executors: Spark's count in a window, and how fast to try again.

Theory of operation
-------------------
`ExecutorFailureTracker` is Spark's: time stamps in a queue, those older than the window dropped when somebody asks.
Spark's answer to too many failures is to end the application. An operator must not do that to a job that merely waits
for a node, and must not make pods without end either. So `FailureBackoff` slows down instead, for each class of
failures by itself (a broken image says nothing about a full cluster):

- *closed*: no limit. A failure that follows others closely, with no success between, counts up.
- *open*: after `BackoffConf.failures_to_open` failures in a row nothing is created for a delay that starts at
  ``first_delay_ms`` and doubles with each probe that fails, up to ``longest_delay_ms``.
- *half open*: after the delay **one** pod may be created, the probe. If it runs, the class is closed; if it fails, it
  opens again for twice the delay. A probe that nobody hears of again is given up after ``probe_timeout_ms``.

The delays bound the pods of a crash loop: whatever was under way when the class opened, then one probe after 10, 20, 40,
… 600 seconds, which is at most ten in the first hour and six in each further one.

What a success is decides what a crash loop is. An executor that registers and dies at once is no success: the caller
reports `FailureBackoff.succeeded` for one that has finished a task or has been registered for
``BackoffConf.healthy_after_ms``.

Failures of pods that were under way together when the class opened do not lengthen the delay: only the probe does.

A loop whose executors finish a task before they die never opens a class, and one of executors that somebody deletes is
no failure at all. `FailureLimit` bounds those: above Spark's limit of ends within the window, pods are created one at a
time with `PAUSE_ABOVE_LIMIT_MS` between them. So, whatever the executors do, in any stretch of time as long as the
window no more pods are created than limit + twice the executors that are wanted + one for each pause.

Source: ``deploy.ExecutorFailureTracker``; Spark's ``maxNumExecutorFailures``.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.exit_reasons import FailureClass
from spark_allocation.core.spark_conf import INT_MAX, MILLISECOND, SparkConf

MAX_EXECUTOR_FAILURES = "spark.executor.maxNumFailures"
FAILURES_VALIDITY_INTERVAL = "spark.executor.failuresValidityInterval"
LEAST_LIMIT = 3
PAUSE_ABOVE_LIMIT_MS = 60_000


class ExecutorFailureTracker:
    """Counts failed executors within a window (``ExecutorFailureTracker``); times are epoch milliseconds.

    Args:
        validity_interval_ms: a failure counts until it is older than this; None or not positive: for ever.
    """

    __slots__ = ("_failures", "_interval")

    def __init__(self, validity_interval_ms: int | None = None) -> None:
        self._interval = validity_interval_ms
        self._failures: deque[int] = deque()

    @classmethod
    def from_spark_conf(cls, conf: SparkConf) -> "ExecutorFailureTracker":
        """With the window of ``spark.executor.failuresValidityInterval``."""
        if FAILURES_VALIDITY_INTERVAL not in conf:
            return cls()
        return cls(conf.time(FAILURES_VALIDITY_INTERVAL, -1, MILLISECOND))

    def reconfigure(self, validity_interval_ms: int | None) -> None:
        """Use another window from now on."""
        self._interval = validity_interval_ms

    def register_failure(self, now: int) -> None:
        """An executor's pod was seen in the state Failed for the first time."""
        self._failures.append(now)

    def failed_executors(self, now: int) -> int:
        """Failures within the window (``numFailedExecutors``); the oldest are dropped for good."""
        if self._interval is not None and self._interval > 0:
            # Spark: only the head is looked at, so a clock that went back keeps what stands behind it.
            while self._failures and self._failures[0] < now - self._interval:
                self._failures.popleft()
        return len(self._failures)


def max_executor_failures(conf: SparkConf) -> int:
    """How many failures are borne; Spark ends the application at the next (``maxNumExecutorFailures``)."""
    configured = conf.optional_integer(MAX_EXECUTOR_FAILURES)
    if configured is not None:
        return configured
    if conf.boolean("spark.streaming.dynamicAllocation.enabled", False):
        executors = conf.integer("spark.streaming.dynamicAllocation.maxExecutors", INT_MAX)
    elif conf.boolean("spark.dynamicAllocation.enabled", False):
        executors = conf.integer("spark.dynamicAllocation.maxExecutors", INT_MAX)
    else:
        executors = conf.integer("spark.executor.instances", 0)
    return max(LEAST_LIMIT, INT_MAX if executors > INT_MAX // 2 else 2 * executors)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureLimitConf:
    """How many executors may end unasked before the operator creates others one at a time.

    Attributes:
        limit: None when neither a limit nor a greatest number of executors is set: then it follows what is wanted.
        window_ms: an end counts for this long. Spark's own default is for ever, because Spark ends the application.
    """

    limit: int | None = None
    window_ms: int = 3_600_000

    @classmethod
    def from_spark_conf(cls, conf: SparkConf) -> "FailureLimitConf":
        """``spark.executor.maxNumFailures`` and ``spark.executor.failuresValidityInterval``.

        Raises:
            InvalidSetting: for what Spark refuses.
        """
        limit = max_executor_failures(conf)
        window_ms = conf.time(FAILURES_VALIDITY_INTERVAL, cls().window_ms, MILLISECOND)
        return cls(
            limit=None if limit >= INT_MAX else limit,
            window_ms=window_ms if window_ms > 0 else cls().window_ms,
        )


@dataclass(frozen=True, slots=True)
class FailureCount:
    """How near the limit is.

    Attributes:
        ended: executors that ended unasked within the window.
        limit: above it executors are created one at a time.
        window_ms: how long an end counts.
    """

    ended: int = 0
    limit: int = 0
    window_ms: int = 0

    @property
    def reached(self) -> bool:
        """As in Spark: reached means exceeded."""
        return self.ended > self.limit


class FailureLimit:
    """Spark's limit, as a brake instead of an end of the application; times are epoch milliseconds."""

    def __init__(self, conf: FailureLimitConf) -> None:
        self._conf = conf
        self._ends = ExecutorFailureTracker(conf.window_ms)
        self._most_wanted = 0
        self._created_at: int | None = None

    def reconfigure(self, conf: FailureLimitConf) -> None:
        """Use another limit from now on; ends that were counted stay counted, for as long as a new window says."""
        self._conf = conf
        self._ends.reconfigure(conf.window_ms)

    def ended(self, now: int) -> None:
        """An executor ended, and nobody had asked it to."""
        self._ends.register_failure(now)

    def created(self, now: int) -> None:
        """A pod was asked for."""
        self._created_at = now

    def count(self, now: int) -> FailureCount:
        """Where it stands."""
        limit = self._conf.limit
        if limit is None:
            limit = max(LEAST_LIMIT, 2 * self._most_wanted)
        return FailureCount(self._ends.failed_executors(now), limit, self._conf.window_ms)

    def allowed(self, wanted: int, now: int, *, executors_wanted: int) -> int:
        """How many of ``wanted`` pods may be created now.

        Args:
            executors_wanted: the targets of all profiles; the largest so far sets the limit where none is configured.
        """
        self._most_wanted = max(self._most_wanted, executors_wanted)
        if not self.count(now).reached or self._created_at is None:
            return wanted
        since = now - self._created_at
        return min(wanted, 1 if since >= PAUSE_ABOVE_LIMIT_MS or since < 0 else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffConf:
    """How fast repeated failures are tried again; times in milliseconds."""

    healthy_after_ms: int = 60_000
    failures_to_open: int = 3
    first_delay_ms: int = 10_000
    longest_delay_ms: int = 600_000
    probe_timeout_ms: int = 600_000


@dataclass(slots=True)
class _Circuit:
    failures_in_a_row: int = 0
    delay_ms: int = 0
    opened_at: int | None = None
    probe: ExecutorId | None = None
    probe_started_at: int = 0


class FailureBackoff:
    """Decides how many executors may be created while creations or starts keep failing."""

    def __init__(self, conf: BackoffConf | None = None) -> None:
        self._conf = conf or BackoffConf()
        self._circuits: dict[FailureClass, _Circuit] = {}

    def allowed(self, wanted: int, now: int) -> int:
        """How many of ``wanted`` pods may be created now: all, one (the probe), or none.

        A caller that creates the one reports it with `created`; each open class must agree.
        """
        allowed = wanted
        for circuit in self._circuits.values():
            if circuit.opened_at is None:
                continue
            self._give_up_probe(circuit, now)
            may_probe = circuit.probe is None and now >= circuit.opened_at + circuit.delay_ms
            allowed = min(allowed, 1 if may_probe else 0)
        return max(0, allowed)

    def created(self, executor_ids: Iterable[ExecutorId], now: int) -> None:
        """These pods were asked for; in an open class the first of them is the probe."""
        first = next(iter(executor_ids), None)
        if first is None:
            return
        for circuit in self._circuits.values():
            if circuit.opened_at is not None and circuit.probe is None:
                circuit.probe = first
                circuit.probe_started_at = now

    def succeeded(self, executor_id: ExecutorId) -> None:
        """This executor works: classes that are closed, or for which it is the probe, start anew."""
        self._circuits = {
            failure_class: circuit
            for failure_class, circuit in self._circuits.items()
            if circuit.opened_at is not None and circuit.probe != executor_id
        }

    def failed(self, failure_class: FailureClass, executor_id: ExecutorId | None, now: int) -> None:
        """A creation was refused, or an executor ended without having done its work.

        Args:
            failure_class: what the failure has in common with others.
            executor_id: the executor, if the failure has one.
            now: epoch milliseconds.
        """
        for other_class, other in self._circuits.items():
            if other_class is not failure_class and other.probe == executor_id is not None:
                self._reopen(other, now)
        circuit = self._circuits.setdefault(failure_class, _Circuit())
        if circuit.opened_at is None:
            circuit.failures_in_a_row += 1
            if circuit.failures_in_a_row >= self._conf.failures_to_open:
                circuit.opened_at = now
                circuit.delay_ms = self._conf.first_delay_ms
        elif circuit.probe is not None and circuit.probe == executor_id:
            self._reopen(circuit, now)

    def opened(self) -> frozenset[FailureClass]:
        """The classes that hold creation back."""
        return frozenset(
            failure_class
            for failure_class, circuit in self._circuits.items()
            if circuit.opened_at is not None
        )

    @property
    def next_probe_at(self) -> int | None:
        """Epoch milliseconds from which on a probe is allowed; None while nothing is held back or one is under way."""
        moments = []
        for circuit in self._circuits.values():
            if circuit.opened_at is not None:
                if circuit.probe is not None:
                    return None
                moments.append(circuit.opened_at + circuit.delay_ms)
        return max(moments, default=None)

    def retry_at(self, now: int) -> int | None:
        """Epoch milliseconds of the next probe, or of the end of patience with the one that is under way.

        None while nothing is held back, and from that moment on: what then may be asked for is asked for in the next round.
        """
        waits = []
        for circuit in self._circuits.values():
            if circuit.opened_at is None:
                continue
            if circuit.probe is not None:
                waits.append(circuit.probe_started_at + self._conf.probe_timeout_ms)
            else:
                waits.append(circuit.opened_at + circuit.delay_ms)
        at = max(waits, default=now)
        return at if at > now else None

    def _give_up_probe(self, circuit: _Circuit, now: int) -> None:
        if (
            circuit.probe is not None
            and now - circuit.probe_started_at > self._conf.probe_timeout_ms
        ):
            self._reopen(circuit, now)

    def _reopen(self, circuit: _Circuit, now: int) -> None:
        circuit.opened_at = now
        circuit.delay_ms = min(2 * circuit.delay_ms, self._conf.longest_delay_ms)
        circuit.probe = None
