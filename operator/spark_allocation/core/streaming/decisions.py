"""How many executors streams are to have, who wants them, and what is wrong: values for the allocation and for people."""

from dataclasses import dataclass
from enum import StrEnum

from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ProfileId
from spark_allocation.core.streaming.observations import QueryName


class StreamingPolicy(StrEnum):
    """Who wants a number of executors."""

    BATCH_DURATION = "BatchDuration"
    RATE = "Rate"
    BACKLOG = "Backlog"
    NOMINAL_RATE = "NominalRate"
    """Not a policy of its own: the safeguard of the others against too many rows for each executor."""


class StreamingReason(StrEnum):
    """Why the number of executors is what it is."""

    SCALED_UP = "ScaledUp"
    """More are wanted, and were asked for."""
    SCALED_DOWN = "ScaledDown"
    """Fewer are wanted, for long enough."""
    STEADY = "Steady"
    """As many are wanted as there are, or nearly: utilisation is within its band."""
    STEP_LIMITED = "StepLimited"
    """It has changed by as much as one change may; more is wanted."""
    STABILIZING = "Stabilizing"
    """Another number is wanted, but not yet for the stabilisation window."""
    COOLDOWN = "Cooldown"
    """Another number is wanted, too soon after the last change."""
    SCALE_DOWN_DELAYED = "ScaleDownDelayed"
    """Fewer are wanted, too soon after the last scale-down: both become one."""
    SCALING_INEFFECTIVE = "ScalingIneffective"
    """More are wanted, but the last ones had no effect."""
    FROZEN = "Frozen"
    """Another number is wanted, in a freeze window."""
    CAPPED_BY_MAX = "CappedByMax"
    """More are wanted than ``maxExecutors``."""
    FLOOR_MIN = "FloorMin"
    """Fewer are wanted than ``minExecutors``."""
    CAPPED_BY_TASKS = "CappedByTasks"
    """More are wanted than the tasks of a batch could use at once."""
    RUNNING_TASKS = "RunningTasks"
    """Fewer are wanted than the tasks that run now need."""
    METRICS_MISSING = "MetricsMissing"
    """Metrics have vanished: the number stays, or is the one given for that."""
    WAITING_FOR_BATCHES = "WaitingForBatches"
    """Queries are there, and too little is known of them yet: the number stays."""
    NO_QUERY = "NoQuery"
    """No query runs: what tasks need decides, as in an application without streams."""
    BATCH_DEMAND = "BatchDemand"
    """The queries that run are no streams (AvailableNow, Once) or cannot be served as such (Continuous): as with no query."""


class StreamingCondition(StrEnum):
    """What a user should know."""

    SCALING_INEFFECTIVE = "ScalingIneffective"
    """The last scale-up had no effect. Short batches with state wait for the executor that holds it (``spark.locality.wait``),
    or have fewer tasks than there are slots."""
    METRICS_MISSING = "MetricsMissing"
    """No metrics of streaming for `VanishedMetrics.after_s`."""
    UNKNOWN_QUERY = "UnknownQuery"
    """Settings name a query that the application does not have."""
    NO_TARGET_DURATION = "NoTargetDuration"
    """Neither the trigger interval nor a target duration is known: the batch duration policy says nothing for the query."""
    CONTINUOUS_TRIGGER = "ContinuousTrigger"
    """The query has no batches: streaming policies cannot serve it."""
    FIXED_COST = "FixedCost"
    """What a batch costs without any row takes more than the wanted share of the interval: executors cannot help."""
    CAPPED_BY_TASKS = "CappedByTasks"
    """The query is late and has a slot for each task of its batches: more partitions would help, more executors would not."""
    BAD_SAMPLES = "BadSamples"
    """Metrics of the query were no numbers, negative or out of order, and were left out."""
    NO_BATCH_GAP = "NoBatchGap"
    """Fewer executors are wanted, but nothing would take over what they hold, and no time between two batches comes in which
    nothing would be lost."""


@dataclass(frozen=True, slots=True)
class StreamingProblem:
    """A condition that holds.

    Attributes:
        query: None when it is of the application.
        detail: numbers or names, as text.
    """

    condition: StreamingCondition
    query: QueryName | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PolicyWant:
    """What one policy wants for one query.

    Attributes:
        executors: before anything around the policies; at least 0.
    """

    query: QueryName
    policy: StreamingPolicy
    executors: int


@dataclass(frozen=True, slots=True)
class QueryStanding:
    """One query as status and metrics show it; None is unknown.

    Attributes:
        utilization: of executors: share of the time in which batches run; above 1 when they are late.
        batch_duration_s: of the last batch, or the age of the one that runs when that is greater.
        interval_s: what a batch may take: the target duration or the trigger interval.
        input_rate: rows a second.
        processing_rate: rows a second while busy.
        true_rate: rows a second that one executor would process without what a batch costs by itself.
        backlog_s: seconds.
        wants: of the policies that have something to say, the largest first.
    """

    query: QueryName
    utilization: float | None = None
    batch_duration_s: float | None = None
    interval_s: float | None = None
    input_rate: float | None = None
    processing_rate: float | None = None
    true_rate: float | None = None
    backlog_s: float | None = None
    wants: tuple[PolicyWant, ...] = ()

    @property
    def desired(self) -> int | None:
        """Executors that are wanted for the query."""
        return self.wants[0].executors if self.wants else None


@dataclass(frozen=True, slots=True)
class StreamingDecision:
    """What was decided for the streams of one resource profile.

    Attributes:
        executors: that the profile is to have; None when what tasks need decides.
        wanted: by the policies, before anything around them; None when they say nothing.
        query: who wanted most, with `policy`; None when nobody wants.
        queries: each that runs, by name.
        problems: conditions that hold.
    """

    executors: int | None
    reason: StreamingReason
    wanted: int | None = None
    query: QueryName | None = None
    policy: StreamingPolicy | None = None
    queries: tuple[QueryStanding, ...] = ()
    problems: tuple[StreamingProblem, ...] = ()
    profile_id: ProfileId = DEFAULT_PROFILE_ID
