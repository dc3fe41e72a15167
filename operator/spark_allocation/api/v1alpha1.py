"""SparkAllocation, v1alpha1: what a user writes and what the operator answers.

Every field carries the description that ``kubectl explain`` prints. A field left out has no default here: defaults
that may change with a version of the operator live in `spark_allocation.controller.settings`, so that an upgrade
never rewrites what is stored.
"""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from spark_allocation.api.api_model import ApiModel
from spark_allocation.api.field_types import (
    AccessName,
    AccountName,
    ExecutorCount,
    InstallName,
    KubernetesName,
    MatchLabels,
    PodName,
    PositiveCount,
    SparkDuration,
    SparkSize,
    cel_rules,
    keyed_list,
)
from spark_allocation.api.streaming_v1alpha1 import (
    MOST_QUERIES,
    Streaming,
    StreamingDecisionStatus,
    StreamingQueryStatus,
)
from spark_allocation.core.setting_catalogue import FIELD_OF_SPARK_KEY

_ONE_DRIVER = "name the driver by exactly one of podName and selector"
_MIN_ABOVE_MAX = "minExecutors must not be above maxExecutors"
_INITIAL_ABOVE_MAX = "initialExecutors must not be above maxExecutors"
_MATCHED_ONCE = "match a resource profile by exactly one of id and resources"
_NO_RESOURCE = "name at least one resource"
_PENDING_OF_ONE_ABOVE_ALL = "maxPendingPodsPerProfile must not be above maxPendingPods"
LONGEST_SPARK_KEY = 253
_SPARK_S = (
    f"keys are Spark's: they begin with spark. and have at most {LONGEST_SPARK_KEY} characters"
)
_MANAGED_BY_FOR_LIFE = "managedBy cannot be changed: delete the SparkAllocation and make it anew"

_BOUNDS_IN_ORDER = cel_rules(
    (
        "!has(self.minExecutors) || !has(self.maxExecutors) || self.minExecutors <= self.maxExecutors",
        _MIN_ABOVE_MAX,
    ),
    (
        "!has(self.initialExecutors) || !has(self.maxExecutors) || self.initialExecutors <= self.maxExecutors",
        _INITIAL_ABOVE_MAX,
    ),
)


def _typed(key: str) -> str:
    return f"{key} has a field of its own: set spec.{FIELD_OF_SPARK_KEY[key]}"


class Mode(StrEnum):
    """What the operator may do."""

    ALLOCATE = "Allocate"
    RECOMMEND = "Recommend"
    PAUSED = "Paused"


class RampUp(StrEnum):
    """How executors are asked for while tasks wait."""

    EXPONENTIAL = "Exponential"
    IMMEDIATE = "Immediate"


class DeletionPolicy(StrEnum):
    """What becomes of executors when their SparkAllocation is deleted while the driver lives."""

    ORPHAN = "Orphan"
    DRAIN = "Drain"


class ShuffleHold(StrEnum):
    """Which running jobs hold executors with shuffle data."""

    STRICT = "Strict"
    TIMEOUT = "Timeout"


class LabelSelector(ApiModel):
    """Labels that a pod must carry."""

    match_labels: MatchLabels
    """Every one of these labels must be on the pod with this value."""


class Driver(ApiModel):
    """Which driver pod is served. Exactly one of podName and selector."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(("has(self.podName) != has(self.selector)", _ONE_DRIVER))
    )

    pod_name: PodName | None = None
    """Name of the driver pod, in this namespace."""
    selector: LabelSelector | None = None
    """Labels of the driver pod, in this namespace. While several live pods match, none is taken up; one that is served goes on being served."""
    ui_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port of the driver's UI (spark.ui.port). Left out: the pod's port named spark-ui, else 4040 and the three after; with an access, 400 above these, where spark.ssl.ui.enabled puts it."""
    access: AccessName | None = None
    """What the operator was given to reach drivers of this namespace through TLS or a login: an authority, a client certificate, a token or password, mounted into its pod under this name. Left out: plain HTTP without credentials."""

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if (self.pod_name is None) == (self.selector is None):
            raise ValueError(_ONE_DRIVER)
        return self


def _check_order(least: int | None, initial: int | None, most: int | None) -> None:
    if most is not None and (least or 0) > most:
        raise ValueError(_MIN_ABOVE_MAX)
    if most is not None and (initial or 0) > most:
        raise ValueError(_INITIAL_ABOVE_MAX)


class ShuffleTracking(ApiModel):
    """How long executors that hold shuffle data are kept."""

    enabled: bool | None = None
    """Keep executors that wrote shuffle data while a job runs (true if left out)."""
    timeout: SparkDuration | None = None
    """How long an idle executor with shuffle data of finished jobs is kept. Left out: for ever, as Spark does."""


class DynamicAllocation(ApiModel):
    """Bounds and timeouts, with Spark's names and meanings. Bounds hold for each resource profile."""

    model_config = ConfigDict(json_schema_extra=_BOUNDS_IN_ORDER)

    min_executors: ExecutorCount | None = None
    """Fewest executors of each profile (0 if left out)."""
    initial_executors: ExecutorCount | None = None
    """Executors to start with (minExecutors if left out)."""
    max_executors: PositiveCount | None = None
    """Most executors of each profile (no limit if left out)."""
    executor_allocation_ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of full parallelism to ask for, above 0 and at most 1 (1 if left out)."""
    scheduler_backlog_timeout: SparkDuration | None = None
    """How long tasks must wait before executors are asked for (1s if left out)."""
    sustained_scheduler_backlog_timeout: SparkDuration | None = None
    """Pause between later rounds (as schedulerBacklogTimeout if left out)."""
    executor_idle_timeout: SparkDuration | None = None
    """How long an executor without tasks is kept (60s if left out)."""
    cached_executor_idle_timeout: SparkDuration | None = None
    """How long an executor without tasks but with cached blocks is kept (for ever if left out)."""
    shuffle_tracking: ShuffleTracking | None = None
    """Executors with shuffle data."""
    shuffle_hold: ShuffleHold | None = None
    """Strict (if left out): while any job runs, executors with local shuffle data stay. Timeout: only while a job runs that began within shuffleTracking.timeout of their last work; for drivers in which some job always runs."""

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        _check_order(self.min_executors, self.initial_executors, self.max_executors)
        return self


class Failures(ApiModel):
    """How many executors may end unasked before others are created one at a time, a minute apart."""

    max: PositiveCount | None = None
    """Ends within the window that are borne (twice maxExecutors if left out, at least 3, as in Spark; twice the most executors wanted so far when there is no maxExecutors)."""
    window: SparkDuration | None = None
    """For how long an end counts (1h if left out)."""


class Allocation(ApiModel):
    """How pods are asked for."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            (
                "!has(self.maxPendingPods) || !has(self.maxPendingPodsPerProfile) || self.maxPendingPodsPerProfile <= self.maxPendingPods",
                _PENDING_OF_ONE_ABOVE_ALL,
            )
        )
    )

    ramp_up: RampUp | None = None
    """How the target rises once tasks have waited for schedulerBacklogTimeout. Exponential (if left out): by 1, 2, 4, 8 … executors in each round, as Spark does. Immediate: at once to what the tasks need; for short bursts and streams."""
    batch_size: PositiveCount | None = None
    """Most pods of one profile to create in one round (spark.kubernetes.allocation.batch.size of the driver; 100 if left out there, too: what is missing is asked for at once, and not 5 to 20 a second as by Spark)."""
    pod_allocation_delay: SparkDuration | None = None
    """Pause between rounds (1s if left out, spark.kubernetes.allocation.batch.delay)."""
    executor_creation_timeout: SparkDuration | None = None
    """A created pod that is not seen for this long is asked for again (600s if left out)."""
    max_pending_pods: PositiveCount | None = None
    """Most pods of the application that may be pending at once (no limit if left out)."""
    max_pending_pods_per_profile: PositiveCount | None = None
    """The same for each resource profile; at most maxPendingPods."""
    failures: Failures | None = None
    """When executors end again and again."""

    @model_validator(mode="after")
    def _pending_in_order(self) -> Self:
        of_one, of_all = self.max_pending_pods_per_profile, self.max_pending_pods
        if of_one is not None and of_all is not None and of_one > of_all:
            raise ValueError(_PENDING_OF_ONE_ABOVE_ALL)
        return self


class Decommission(ApiModel):
    """How executors leave."""

    enabled: bool | None = None
    """Executors that leave finish their tasks first and hand on what they store as the driver is set (as spark.decommission.enabled of the driver if left out). False deletes idle executors at once. True asks for a driver with spark.decommission.enabled=true; driver-conf sets it."""
    grace_period: SparkDuration | None = None
    """How long a draining executor may finish its tasks (10min if left out)."""
    max_concurrent: PositiveCount | None = None
    """Most executors of the application that drain at once (no limit if left out)."""
    migrate: bool | None = None
    """Executors with shuffle data need not stay: they hand it on when they leave (false if left out). The driver has to be set so: driver-conf --migrate."""


PodTemplate = Annotated[
    dict[str, Any],
    Field(json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]


def _no_typed_keys(properties: dict[str, str]) -> dict[str, str]:
    for key in properties:
        if key in FIELD_OF_SPARK_KEY:
            raise ValueError(_typed(key))
        if not key.startswith("spark.") or len(key) > LONGEST_SPARK_KEY:
            raise ValueError(_SPARK_S)
    return properties


SparkProperties = Annotated[
    dict[str, Annotated[str, Field(max_length=4096)]],
    Field(
        max_length=256,
        json_schema_extra=cel_rules(
            *((f"!('{key}' in self)", _typed(key)) for key in FIELD_OF_SPARK_KEY),
            (
                f"self.all(key, key.startsWith('spark.') && size(key) <= {LONGEST_SPARK_KEY})",
                _SPARK_S,
            ),
        ),
    ),
    AfterValidator(_no_typed_keys),
]


class Executor(ApiModel):
    """What executor pods look like beyond what the driver's configuration says."""

    image: KubernetesName | None = None
    """Image of executors (as spark.kubernetes.executor.container.image of the driver if left out). Another one than the driver pod's needs a cluster policy that allows it."""
    service_account_name: AccountName | None = None
    """Service account of executor pods (as spark.kubernetes.authenticate.executor.serviceAccountName of the driver if left out). Another one than the driver pod's needs a cluster policy that allows it."""
    pod_template: PodTemplate | None = None
    """A pod (metadata and spec) that executors start from, as spark.kubernetes.executor.podTemplateFile would give."""
    delete_on_termination: bool | None = None
    """Delete executor pods that have ended (true if left out). False keeps them, with their logs, until the driver pod is deleted; they use up quota."""


class ProfileResources(ApiModel):
    """Resources that each executor of a resource profile has. All that are named must be exactly so."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            ("has(self.cores) || has(self.memory) || has(self.custom)", _NO_RESOURCE)
        )
    )

    cores: PositiveCount | None = None
    """Cores of an executor. A profile that does not say counts with spark.executor.cores."""
    memory: SparkSize | None = None
    """Memory of an executor, such as 8g. A profile that does not say counts with spark.executor.memory."""
    custom: (
        Annotated[
            dict[str, ExecutorCount],
            Field(min_length=1, max_length=16),
        ]
        | None
    ) = None
    """Amounts of other resources by Spark's name of them, such as gpu: 1. 0 matches profiles without it."""

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.cores is None and self.memory is None and self.custom is None:
            raise ValueError(_NO_RESOURCE)
        return self


class ProfileMatch(ApiModel):
    """Which resource profile an entry is for. Exactly one of id and resources."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(("has(self.id) != has(self.resources)", _MATCHED_ONCE))
    )

    id: ExecutorCount | None = None
    """The id that the driver gave the profile; 0 is the default profile. Ids are of one run: prefer resources."""
    resources: ProfileResources | None = None
    """What executors of the profile have."""

    @model_validator(mode="after")
    def _matched_once(self) -> Self:
        if (self.id is None) == (self.resources is None):
            raise ValueError(_MATCHED_ONCE)
        return self


class ProfileShuffleTracking(ApiModel):
    """How long executors of the profile that hold shuffle data are kept."""

    timeout: SparkDuration | None = None
    """How long an idle executor with shuffle data of finished jobs is kept."""


class Profile(ApiModel):
    """What holds for one resource profile instead of spec.dynamicAllocation and spec.executor. What is left out stays as it is there. Policies lock and limit it like any other value."""

    model_config = ConfigDict(json_schema_extra=_BOUNDS_IN_ORDER)

    match: ProfileMatch
    """The resource profile that this is for. Of several entries that match one profile, one by id wins, then the one that names more resources, then the first; nothing of the others holds."""
    min_executors: ExecutorCount | None = None
    """Fewest executors of the profile."""
    initial_executors: ExecutorCount | None = None
    """Executors that the profile starts with when its first stage comes."""
    max_executors: PositiveCount | None = None
    """Most executors of the profile."""
    executor_idle_timeout: SparkDuration | None = None
    """How long an executor of the profile without tasks is kept."""
    cached_executor_idle_timeout: SparkDuration | None = None
    """How long one without tasks but with cached blocks is kept."""
    shuffle_tracking: ProfileShuffleTracking | None = None
    """Executors of the profile with shuffle data."""
    pod_template: PodTemplate | None = None
    """A pod that executors of the profile start from, instead of spec.executor.podTemplate."""

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        _check_order(self.min_executors, self.initial_executors, self.max_executors)
        return self


class SparkAllocationSpec(ApiModel):
    """The wish: which driver, within which bounds."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            (
                "has(self.managedBy) == has(oldSelf.managedBy) && (!has(self.managedBy) || self.managedBy == oldSelf.managedBy)",
                _MANAGED_BY_FOR_LIFE,
            )
        )
    )

    managed_by: InstallName | None = None
    """Which installation of the operator serves this, where there are several: the one that was started under this name. Left out: the one without a name. Cannot be changed."""
    driver: Driver
    """The driver pod whose executors are allocated."""
    mode: Mode | None = None
    """Allocate (if left out); Recommend computes and reports but touches no pod; Paused freezes everything as it is."""
    dynamic_allocation: DynamicAllocation | None = None
    """Bounds and timeouts."""
    allocation: Allocation | None = None
    """How pods are asked for."""
    decommission: Decommission | None = None
    """How executors leave."""
    executor: Executor | None = None
    """What executor pods look like."""
    profiles: Annotated[list[Profile], Field(max_length=16)] | None = None
    """Bounds, timeouts and pod templates of single resource profiles (stage-level scheduling). A profile that no entry matches has those of the whole application."""
    streaming: Streaming | None = None
    """Executors for Structured Streaming by latency, rate and backlog, in place of what waiting tasks ask for. An empty one asks for it with all defaults."""
    spark_conf: SparkProperties | None = None
    """Other Spark keys of executor pods, with the last word over the driver's own. Also the values of keys that the driver's REST API masks, such as spark.kubernetes.executor.secrets.*. A key that has a field here is refused."""
    deletion_policy: DeletionPolicy | None = None
    """When this object is deleted while the driver lives: Orphan (if left out) leaves the executors to the driver; Drain lets them finish their tasks and go."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Delete this object so many seconds after the application has ended. Left out: it stays."""


class Condition(ApiModel):
    """One statement about the allocation, as in the Kubernetes API conventions."""

    type: Annotated[str, Field(max_length=64)]
    """What is stated."""
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$")]
    """Whether it holds."""
    reason: Annotated[str, Field(max_length=64)]
    """Why, in one word."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why, in a sentence, and what to do."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """Since when the status is what it is."""
    observed_generation: int = 0
    """The generation of the spec that was judged."""


class ProfileStatus(ApiModel):
    """Executors of one resource profile."""

    id: int
    """The id that the driver gave the profile; 0 is the default profile."""
    desired: int = 0
    """Executors that the tasks need."""
    target: int = 0
    """Executors wanted now: the need within the bounds, as far as the ramp has come and budgets grant it."""
    granted: int | None = None
    """Executors that budgets grant. Absent where none covers the application."""
    grant_reason: Annotated[str, Field(max_length=300)] | None = None
    """How the grant came about, such as "wanted 40, budget team-a left 12, pending limit 8 of budget team-a → 8"."""
    running: int = 0
    """Pods that run."""
    registered: int = 0
    """Executors that the driver counts as its own."""
    pending: int = 0
    """Pods that exist and do not run yet."""
    unacknowledged: int = 0
    """Pods that were created and not seen yet."""
    idle: int = 0
    """Registered executors without a task."""
    held_by_shuffle: int = 0
    """Idle executors that are kept for their shuffle data."""
    held_by_cache: int = 0
    """Idle executors that are kept for their cached blocks."""
    decommissioning: int = 0
    """Executors that drain."""
    reason: str = ""
    """Why the target is what it is."""


class DecisionStatus(ApiModel):
    """One change of mind."""

    time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When."""
    profile: int
    """The resource profile."""
    target: int
    """Executors wanted from then on."""
    reason: str
    """Why, in one word."""
    message: Annotated[str, Field(max_length=512)] = ""
    """Why, in a sentence."""
    count: int = 1
    """How many times the same was decided; the time is that of the last."""


class ExecutorEndStatus(ApiModel):
    """Executors that ended for one reason."""

    reason: Annotated[str, Field(max_length=64)]
    """Why, in one word: see docs/reference/executor-ends.md."""
    count: int
    """How many, since the operator serves this life of the driver."""
    first_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the first of them was seen to have ended."""
    last_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the last one was."""
    last_message: Annotated[str, Field(max_length=256)] = ""
    """About the last one: which it was, what happened, what to do, and the words of the kubelet or the scheduler."""
    reaction: Annotated[str, Field(max_length=256)] = ""
    """What the operator does about it now."""


class FailureLimitStatus(ApiModel):
    """Executors that ended unasked lately, against the limit above which others are created one a minute."""

    ended: int
    """How many, within the window."""
    limit: int
    """How many are borne."""
    window_seconds: int
    """For how long an end counts."""


class ExecutorHoursStatus(ApiModel):
    """Executors times hours since the comparison began."""

    spark: float = 0.0
    """Of the driver's own executors."""
    ours: float = 0.0
    """That the operator would have used."""
    saved: float = 0.0
    """The difference; below 0 when the operator would have used more."""


class RecommendationStatus(ApiModel):
    """Spark's own allocation beside the operator's, in mode Recommend."""

    since: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the comparison began. Times in which the operator did not see the driver count for neither."""
    spark_executors: int = 0
    """Executors that the driver has now or has asked for."""
    ours: int = 0
    """Executors that it would have now under the operator."""
    executor_hours: ExecutorHoursStatus
    """What both have cost since."""


class SparkAllocationStatus(ApiModel):
    """What the operator sees and does."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of."""
    state: Annotated[str, Field(max_length=64)] | None = None
    """One word: where the allocation stands."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """The sentence that belongs to the state."""
    driver_pod: str | None = None
    """The driver pod that is served."""
    driver_pod_uid: str | None = None
    """Its uid."""
    application_id: str | None = None
    """Spark's id of the application."""
    incarnation: str | None = None
    """This life of the driver: changes when the driver restarts."""
    spark_version: str | None = None
    """The driver's Spark version."""
    next_executor_id: int | None = None
    """Executor ids below this one may have been used; written before the first of them is."""
    executors: int | None = None
    """Running executors of all profiles."""
    target: int | None = None
    """Wanted executors of all profiles."""
    pending: int | None = None
    """Pods of all profiles that do not run yet."""
    failed: int | None = None
    """Executors that failed in this life of the driver."""
    executor_ends: (
        Annotated[
            list[ExecutorEndStatus],
            Field(
                max_length=16,
                json_schema_extra=keyed_list("reason"),
            ),
        ]
        | None
    ) = None
    """Why executors ended, one entry for each reason, the latest first."""
    failure_limit: FailureLimitStatus | None = None
    """How near the failure limit is."""
    avoided_nodes: Annotated[list[str], Field(max_length=16)] | None = None
    """Nodes that new executors are sent away from: several in a row came to nothing there, while others work elsewhere."""
    recommendation: RecommendationStatus | None = None
    """Spark's own allocation beside the operator's, in mode Recommend."""
    finished_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    """When the application was seen to have ended."""
    profiles: (
        Annotated[
            list[ProfileStatus],
            Field(
                max_length=64,
                json_schema_extra=keyed_list("id"),
            ),
        ]
        | None
    ) = None
    """One entry for each resource profile."""
    streaming: (
        Annotated[
            list[StreamingQueryStatus],
            Field(max_length=MOST_QUERIES, json_schema_extra=keyed_list("query")),
        ]
        | None
    ) = None
    """One entry for each streaming query."""
    streaming_decisions: (
        Annotated[
            list[StreamingDecisionStatus],
            Field(max_length=4, json_schema_extra=keyed_list("profile")),
        ]
        | None
    ) = None
    """What was decided for streams, for each resource profile that they run in."""
    conditions: (
        Annotated[
            list[Condition],
            Field(
                max_length=32,
                json_schema_extra=keyed_list("type"),
            ),
        ]
        | None
    ) = None
    """Statements about the allocation."""
    decisions: Annotated[list[DecisionStatus], Field(max_length=10)] | None = None
    """The latest decisions, newest first."""
