"""SparkAllocationPolicy and ClusterSparkAllocationPolicy, v1alpha1: what a platform team writes.

Defaults and locks have the fields of a SparkAllocation, limits have the same fields with ``min`` and ``max``. How the
layers come together is decided in `spark_allocation.core.setting_layers`.
"""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from spark_allocation.api.api_model import ApiModel
from spark_allocation.api.field_types import (
    AccessName,
    CoreQuantity,
    ExecutorCount,
    Labels,
    MatchLabels,
    MemoryQuantity,
    PositiveCount,
    ServerName,
    cel_rules,
    keyed_list,
)
from spark_allocation.api.limit_ranges import CountLimits, DurationLimits, RatioLimits
from spark_allocation.api.streaming_limits_v1alpha1 import StreamingLimits
from spark_allocation.api.streaming_v1alpha1 import StreamingValues
from spark_allocation.api.v1alpha1 import (
    Allocation,
    Condition,
    Decommission,
    DynamicAllocation,
)

ALLOW_BY_NAMESPACE = (
    "what executors may have is allowed to namespaces: driver labels are what the tenant writes"
)
SERVERS_BY_NAMESPACE = (
    "Prometheus servers are granted to namespaces: driver labels are what the tenant writes"
)

CAPS_NOTHING = "a budget caps at least one of executors, cores, memory and pendingPods"
NAMED_TWICE = "each budget of a policy has a name of its own"

_USER_DEFAULT_KEYS = cel_rules(
    (
        r"self.all(key, key.matches('^___(.|\\n)+___\\.spark\\..+$'))",
        "keys are ___USER___.SPARK-KEY, such as ___alice___.spark.dynamicAllocation.maxExecutors",
    )
)

NamespacePattern = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?|([a-z0-9][-a-z0-9]*)?\*)$", max_length=63
    ),
]
"""A namespace's name, or the beginning of names followed by ``*``."""

Patterns = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=253)]], Field(max_length=256)
]

UserDefaults = Annotated[
    dict[str, Annotated[str, Field(max_length=256)]],
    Field(max_length=1024, json_schema_extra=_USER_DEFAULT_KEYS),
]


class ShuffleTrackingLimits(ApiModel):
    """Limits for executors with shuffle data."""

    timeout: DurationLimits | None = None
    """Limits of dynamicAllocation.shuffleTracking.timeout, which is for ever unless somebody says otherwise."""


class DynamicAllocationLimits(ApiModel):
    """Limits of bounds and timeouts. initialExecutors always lies between minExecutors and maxExecutors."""

    min_executors: CountLimits | None = None
    """Limits of minExecutors. Its min is a floor that everybody gets."""
    max_executors: CountLimits | None = None
    """Limits of maxExecutors. Its max is what no application exceeds, in each resource profile."""
    executor_allocation_ratio: RatioLimits | None = None
    """Limits of executorAllocationRatio."""
    scheduler_backlog_timeout: DurationLimits | None = None
    """Limits of schedulerBacklogTimeout."""
    sustained_scheduler_backlog_timeout: DurationLimits | None = None
    """Limits of sustainedSchedulerBacklogTimeout."""
    executor_idle_timeout: DurationLimits | None = None
    """Limits of executorIdleTimeout."""
    cached_executor_idle_timeout: DurationLimits | None = None
    """Limits of cachedExecutorIdleTimeout."""
    shuffle_tracking: ShuffleTrackingLimits | None = None
    """Limits for executors with shuffle data."""


class FailuresLimits(ApiModel):
    """Limits of what counts as a crash loop."""

    max: CountLimits | None = None
    """Limits of allocation.failures.max."""
    window: DurationLimits | None = None
    """Limits of allocation.failures.window."""


class AllocationLimits(ApiModel):
    """Limits of how pods are asked for."""

    batch_size: CountLimits | None = None
    """Limits of batchSize."""
    pod_allocation_delay: DurationLimits | None = None
    """Limits of podAllocationDelay."""
    executor_creation_timeout: DurationLimits | None = None
    """Limits of executorCreationTimeout."""
    max_pending_pods: CountLimits | None = None
    """Limits of maxPendingPods."""
    max_pending_pods_per_profile: CountLimits | None = None
    """Limits of maxPendingPodsPerProfile."""
    failures: FailuresLimits | None = None
    """Limits of when executors end again and again."""


class DecommissionLimits(ApiModel):
    """Limits of how executors leave."""

    grace_period: DurationLimits | None = None
    """Limits of gracePeriod."""
    max_concurrent: CountLimits | None = None
    """Limits of maxConcurrent."""


class SettingLimits(ApiModel):
    """Limits, with the fields of a SparkAllocation. Of several policies the narrowest limits hold."""

    dynamic_allocation: DynamicAllocationLimits | None = None
    """Limits of bounds and timeouts."""
    allocation: AllocationLimits | None = None
    """Limits of how pods are asked for."""
    decommission: DecommissionLimits | None = None
    """Limits of how executors leave."""
    streaming: StreamingLimits | None = None
    """Limits of executors for Structured Streaming. They hold for single queries, too."""


class SettingValues(ApiModel):
    """Values, with the fields of a SparkAllocation."""

    dynamic_allocation: DynamicAllocation | None = None
    """Bounds and timeouts."""
    allocation: Allocation | None = None
    """How pods are asked for."""
    decommission: Decommission | None = None
    """How executors leave."""
    streaming: StreamingValues | None = None
    """Executors for Structured Streaming."""


class ExecutorAllowList(ApiModel):
    """What executors may have beyond what their driver pod has. Patterns as in a shell, such as team-a-*."""

    images: Patterns | None = None
    """Images of the executor container."""
    extra_containers: Patterns | None = None
    """Images of sidecars and init containers."""
    service_accounts: Patterns | None = None
    """Names of service accounts."""
    secrets: Patterns | None = None
    """Names of Secrets, wherever they are used: volumes, variables, image pull secrets."""
    config_maps: Patterns | None = None
    """Names of ConfigMaps."""
    claims: Patterns | None = None
    """Names of existing persistent volume claims."""
    host_paths: Patterns | None = None
    """Paths on the node, each with everything below it."""
    nfs_servers: Patterns | None = None
    """Names or addresses of NFS servers."""
    csi_drivers: Patterns | None = None
    """Names of drivers of inline CSI volumes."""
    tolerations: Patterns | None = None
    """Taint keys; * also allows a toleration of every taint."""
    priority_classes: Patterns | None = None
    """Names of priority classes."""
    runtime_classes: Patterns | None = None
    """Names of runtime classes."""
    capabilities: Patterns | None = None
    """Linux capabilities that may be added."""
    finalizers: Patterns | None = None
    """Names of finalizers."""
    metadata_keys: Patterns | None = None
    """Labels and annotations that other controllers answer with rights."""
    fields_: Annotated[Patterns | None, Field(alias="fields")] = None
    """Paths of other fields that may have any value, such as spec.hostNetwork."""


class NamespacePolicySelector(ApiModel):
    """Which applications of the namespace a policy is for."""

    driver_labels: MatchLabels | None = None
    """Every one of these labels must be on the driver pod with this value."""


class ClusterPolicySelector(NamespacePolicySelector):
    """Which applications a policy is for. What is left out selects all."""

    namespaces: Annotated[list[NamespacePattern], Field(min_length=1, max_length=256)] | None = None
    """Names of namespaces, or beginnings of names followed by *, such as team-*. Namespaces are what to select limits and locks by: driver labels are the tenant's own unless admission protects them."""


class BudgetWeight(ApiModel):
    """A greater share for some of the applications that a budget covers."""

    namespaces: Annotated[list[NamespacePattern], Field(min_length=1, max_length=64)] | None = None
    """Names of namespaces, or beginnings of names followed by *. Left out: all that the budget covers."""
    driver_labels: Labels | None = None
    """Every one of these labels must be on the driver pod with this value. Labels are the tenant's own unless admission protects them."""
    weight: Annotated[int, Field(ge=1, le=1000)]
    """How many times the share of an application of weight 1 it gets."""


class Budget(ApiModel):
    """What all applications that it covers may have together. It is divided fairly: minExecutors first, then by weight, an application as a whole before its resource profiles. Executors above minExecutors are drained when others have lacked them for half a minute, and at once when the budget is lowered below what exists; idle ones first."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            (
                "has(self.executors) || has(self.cores) || has(self.memory) || has(self.pendingPods)",
                CAPS_NOTHING,
            )
        )
    )

    name: Annotated[
        str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
    ]
    """What status, metrics and explain call it."""
    selector: ClusterPolicySelector | None = None
    """Which of the applications that the policy selects are covered. Left out: all of them. Of several budgets that cover an application the smallest grant holds."""
    executors: ExecutorCount | None = None
    """Most executors of all of them together. Left out: no cap."""
    cores: CoreQuantity | None = None
    """Most cores that their executor pods request together, such as 400 or 1500m. Left out: no cap."""
    memory: MemoryQuantity | None = None
    """Most memory that their executor pods request together, such as 1600Gi. Left out: no cap."""
    pending_pods: PositiveCount | None = None
    """Most executor pods that may be pending at once. Left out: no cap."""
    weights: Annotated[list[BudgetWeight], Field(min_length=1, max_length=64)] | None = None
    """Greater shares, the first entry that fits an application holds; without one its weight is 1."""

    @model_validator(mode="after")
    def _caps_something(self) -> Self:
        if all(
            each is None for each in (self.executors, self.cores, self.memory, self.pending_pods)
        ):
            raise ValueError(CAPS_NOTHING)
        return self


Budgets = Annotated[
    list[Budget],
    Field(
        max_length=64,
        json_schema_extra=keyed_list("name"),
    ),
]


class RequiredMatcher(ApiModel):
    """A matcher that every selector of a query must have."""

    label: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=63)]
    """Name of the label."""
    value: Annotated[str, StringConstraints(max_length=253)] | None = None
    """Value that the label must equal. Left out: the namespace of the SparkAllocation that asks."""


class PrometheusServer(ApiModel):
    """A Prometheus server that SparkAllocations may ask for the backlog of their streams."""

    name: ServerName
    """What spec.streaming.backlog.promQL.server of a SparkAllocation says."""
    url: Annotated[
        str,
        StringConstraints(
            pattern=r"^https?://[A-Za-z0-9.\[\]:_-]+(/[A-Za-z0-9._~/-]*)?$", max_length=512
        ),
    ]
    """Where it is, up to where /api/v1/query follows, such as https://prometheus.monitoring:9090."""
    required_matchers: Annotated[
        list[RequiredMatcher],
        Field(max_length=8, json_schema_extra=keyed_list("label")),
    ]
    """What every selector of a query must demand, so that nobody reads the series of others; a query that lacks one is refused, none is added. An empty list grants all series of the server."""
    access: AccessName | None = None
    """What the operator was given to reach it through TLS or a login, mounted into its pod under this name; needs https. Left out: no credentials."""


PrometheusServers = Annotated[
    list[PrometheusServer], Field(max_length=16, json_schema_extra=keyed_list("name"))
]

Priority = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]


class SparkAllocationPolicySpec(ApiModel):
    """Defaults and narrower limits for one namespace."""

    selector: NamespacePolicySelector | None = None
    """The applications that this is for. Left out: all of the namespace."""
    priority: Priority | None = None
    """Of several policies of the namespace the defaults of the highest priority win, of equal ones those of the name that sorts first (0 if left out)."""
    defaults: SettingValues | None = None
    """What holds where the SparkAllocation says nothing. Wins over the defaults of cluster policies."""
    user_defaults: UserDefaults | None = None
    """Defaults for single Spark users, in Kyuubi's style: ___alice___.spark.dynamicAllocation.maxExecutors: "20". The user is the label sparkallocation.dev/user of the driver pod, else the Spark user that the driver names: what the tenant says. It selects defaults, never limits."""
    limits: SettingLimits | None = None
    """What no value may be below or above, within what cluster policies allow."""


class ClusterSparkAllocationPolicySpec(ApiModel):
    """Defaults, limits, locks and budgets for many namespaces. Limits, locks and budgets always win."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            (
                "!has(self.allow) || !has(self.selector) || !has(self.selector.driverLabels)",
                ALLOW_BY_NAMESPACE,
            ),
            (
                "!has(self.prometheusServers) || !has(self.selector) || !has(self.selector.driverLabels)",
                SERVERS_BY_NAMESPACE,
            ),
        )
    )

    selector: ClusterPolicySelector | None = None
    """The applications that this is for. Left out: all."""
    priority: Priority | None = None
    """Of several cluster policies the defaults and locks of the highest priority win, of equal ones those of the name that sorts first (0 if left out). Limits have no priority: the narrowest holds."""
    defaults: SettingValues | None = None
    """What holds where neither a policy of the namespace nor the SparkAllocation says anything."""
    user_defaults: UserDefaults | None = None
    """Defaults for single Spark users, in Kyuubi's style: ___alice___.spark.dynamicAllocation.maxExecutors: "20". The user is the label sparkallocation.dev/user of the driver pod, else the Spark user that the driver names: what the tenant says. It selects defaults, never limits."""
    limits: SettingLimits | None = None
    """What no value may be below or above, whoever set it."""
    locks: SettingValues | None = None
    """Values that nobody may change."""
    allow: ExecutorAllowList | None = None
    """What executors may have beyond what their driver pod has. The lists of several policies add up."""
    budgets: Budgets | None = None
    """What all selected applications of this installation may have together; each divides one pool."""
    prometheus_servers: PrometheusServers | None = None
    """Where selected applications may ask for the backlog of their streams. Of several policies that name one server the one of the highest priority wins."""

    @model_validator(mode="after")
    def _budgets_have_names(self) -> Self:
        names = [budget.name for budget in self.budgets or ()]
        if len(set(names)) < len(names):
            raise ValueError(NAMED_TWICE)
        return self

    @model_validator(mode="after")
    def _allows_by_namespace(self) -> Self:
        if self.allow is not None and self.selector is not None and self.selector.driver_labels:
            raise ValueError(ALLOW_BY_NAMESPACE)
        return self

    @model_validator(mode="after")
    def _grants_servers_by_namespace(self) -> Self:
        if self.prometheus_servers and self.selector is not None and self.selector.driver_labels:
            raise ValueError(SERVERS_BY_NAMESPACE)
        return self


class PolicyCondition(StrEnum):
    """What a policy can be said to be."""

    READY = "Ready"
    """It could be read, and holds for what it selects."""
    SELECTS_NOTHING = "SelectsNothing"
    """It is for no SparkAllocation that there is now."""
    POLICY_CONFLICT = "PolicyConflict"
    """It contradicts another policy for some SparkAllocation."""
    BUDGET_BELOW_MINIMA = "BudgetBelowMinima"
    """A budget of it does not suffice for the minExecutors of all that it covers."""


class BudgetStatus(ApiModel):
    """How far a budget is used."""

    name: Annotated[str, Field(max_length=63)]
    """The budget's name."""
    executors: int = 0
    """Executors that there are, those too that leave."""
    cores: Annotated[str, Field(max_length=24)] = ""
    """Cores that their pods request."""
    memory: Annotated[str, Field(max_length=24)] = ""
    """Memory that their pods request."""
    pending_pods: int = 0
    """Pods of them that do not run yet."""
    granted: int = 0
    """Executors that there may be now, counting those that there are."""
    applications: int = 0
    """Applications that it covers and that have or want executors."""
    short: int = 0
    """Those among them that are granted less than they want."""


class PolicyStatus(ApiModel):
    """What the operator makes of a policy; written by the installation that leads, at most every ten seconds."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of."""
    allocations: int | None = None
    """SparkAllocations that the policy is for."""
    conditions: (
        Annotated[
            list[Condition],
            Field(
                max_length=8,
                json_schema_extra=keyed_list("type"),
            ),
        ]
        | None
    ) = None
    """Statements about the policy."""


class ClusterPolicyStatus(PolicyStatus):
    """The same, with the budgets."""

    budgets: (
        Annotated[
            list[BudgetStatus],
            Field(
                max_length=64,
                json_schema_extra=keyed_list("name"),
            ),
        ]
        | None
    ) = None
    """How far each budget is used."""
