"""From policies as users write them to policies as the core applies them, and whom they are for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pydantic import ValidationError

from spark_allocation.api import later_fields
from spark_allocation.api.field_types import is_label_key, mebibytes, milli_cores
from spark_allocation.api.group import CLUSTER_POLICY_KIND, POLICY_KIND
from spark_allocation.api.later_fields import validated
from spark_allocation.api.limit_ranges import (
    CountLimits,
    DurationLimits,
    NumberLimits,
    RatioLimits,
)
from spark_allocation.api.policy_v1alpha1 import Budget as WrittenBudget
from spark_allocation.api.policy_v1alpha1 import (
    BudgetWeight,
    ClusterPolicySelector,
    ClusterSparkAllocationPolicySpec,
    ExecutorAllowList,
    PrometheusServer,
    SettingLimits,
    SparkAllocationPolicySpec,
)
from spark_allocation.api.refusals import refusal
from spark_allocation.api.spark_keys import setting_text, stated_values, wished_settings
from spark_allocation.core.budgets import Budget
from spark_allocation.core.pod_allow_list import NOTHING_MORE, PodAllowList
from spark_allocation.core.setting_catalogue import Setting
from spark_allocation.core.setting_layers import Limit, Policy, Scope


@dataclass(frozen=True, slots=True)
class Selection:
    """Some applications.

    Attributes:
        namespaces: names, or beginnings followed by ``*``; empty for all.
        driver_labels: that the driver pod must have.
    """

    namespaces: tuple[str, ...] = ()
    driver_labels: Mapping[str, str] = field(default_factory=dict)

    def selects(self, namespace: str, driver_labels: Mapping[str, str] | None) -> bool:
        """Whether an application with such a driver in such a namespace is meant; labels that nobody knows may be any."""
        if self.namespaces and not any(_matches(each, namespace) for each in self.namespaces):
            return False
        return driver_labels is None or all(
            driver_labels.get(key) == value for key, value in self.driver_labels.items()
        )


@dataclass(frozen=True, slots=True)
class StoredBudget:
    """A budget of a cluster policy and whom it covers.

    Attributes:
        policy: its name; with that of the budget it is unique.
        of_policy: whom the policy selects.
        own: whom the budget selects among those.
        weights: the first that fits holds.
    """

    policy: str
    budget: Budget
    of_policy: Selection
    own: Selection
    weights: tuple[tuple[Selection, int], ...] = ()

    @property
    def key(self) -> str:
        """Unique among the budgets of an installation."""
        return f"{self.policy}/{self.budget.name}"

    def covers(self, namespace: str, driver_labels: Mapping[str, str] | None) -> bool:
        """Whether it covers an application with such a driver in such a namespace; labels that nobody knows may be any."""
        return self.of_policy.selects(namespace, driver_labels) and self.own.selects(
            namespace, driver_labels
        )

    def weight(self, namespace: str, driver_labels: Mapping[str, str] | None) -> int:
        """Of an application that it covers."""
        if driver_labels is None:
            return 1
        return next(
            (weight for whom, weight in self.weights if whom.selects(namespace, driver_labels)), 1
        )

    @property
    def looks_at_labels(self) -> bool:
        """Whether it depends on labels whom it covers."""
        return bool(self.of_policy.driver_labels or self.own.driver_labels)


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A policy and whom it is for.

    Attributes:
        namespace: where it lives; "" for a cluster policy.
        namespaces: names, or beginnings followed by ``*``; empty for all.
        driver_labels: that the driver pod must have.
        allowed: what executors may have beyond what their driver pod has.
        budgets: of a cluster policy.
        prometheus_servers: where selected applications may ask for the backlog of their streams.
    """

    policy: Policy
    namespace: str
    namespaces: tuple[str, ...]
    driver_labels: Mapping[str, str]
    allowed: PodAllowList = NOTHING_MORE
    budgets: tuple[StoredBudget, ...] = ()
    prometheus_servers: tuple[PrometheusServer, ...] = ()

    def selects(self, namespace: str, driver_labels: Mapping[str, str]) -> bool:
        """Whether an application with such a driver in such a namespace is meant."""
        if self.namespace not in ("", namespace):
            return False
        return Selection(self.namespaces, self.driver_labels).selects(namespace, driver_labels)


@dataclass(frozen=True, slots=True)
class InvalidPolicy:
    """A policy that the operator cannot read; the message names the fields."""

    name: str
    message: str


def unknown_fields(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields of a policy's spec that this version does not know, as paths."""
    of_cluster = body.get("kind") == CLUSTER_POLICY_KIND
    model = ClusterSparkAllocationPolicySpec if of_cluster else SparkAllocationPolicySpec
    return later_fields.unknown_fields(model, body.get("spec") or {})


def weights_for_nobody(policy: StoredPolicy) -> tuple[str, ...]:
    """Weights of its budgets that ask for labels which no pod can have; sentences."""
    return tuple(
        f"spec.budgets[{budget.budget.name}].weights[{place}].driverLabels: {key!r} cannot be the key of a label, "
        "so nobody has this weight"
        for budget in policy.budgets
        for place, (whom, _) in enumerate(budget.weights)
        for key in whom.driver_labels
        if not is_label_key(key)
    )


def read_policy(body: Mapping[str, Any], *, strict: bool = False) -> StoredPolicy | InvalidPolicy:
    """A policy of either kind, as the API server or a file has it.

    Args:
        strict: refuse fields that nobody knows, which in a file are mistakes. An API server that has such a field has
            CustomResourceDefinitions of a later version: then what is known holds, and `unknown_fields` names the rest.
    """
    metadata = body.get("metadata") or {}
    name = str(metadata.get("name") or "")
    kind = body.get("kind")
    try:
        if kind == CLUSTER_POLICY_KIND:
            cluster = validated(
                ClusterSparkAllocationPolicySpec, body.get("spec") or {}, strict=strict
            )
            selector = cluster.selector
            return StoredPolicy(
                Policy(
                    name,
                    Scope.CLUSTER,
                    cluster.priority or 0,
                    wished_settings(cluster.defaults),
                    cluster.user_defaults or {},
                    _limits(cluster.limits),
                    wished_settings(cluster.locks),
                ),
                "",
                tuple((selector.namespaces if selector else None) or ()),
                (selector.driver_labels if selector else None) or {},
                _allow_list(cluster.allow),
                tuple(_budget(name, _selection(selector), each) for each in cluster.budgets or ()),
                tuple(cluster.prometheus_servers or ()),
            )
        if kind == POLICY_KIND:
            own = validated(SparkAllocationPolicySpec, body.get("spec") or {}, strict=strict)
            return StoredPolicy(
                Policy(
                    name,
                    Scope.NAMESPACE,
                    own.priority or 0,
                    wished_settings(own.defaults),
                    own.user_defaults or {},
                    _limits(own.limits),
                ),
                str(metadata.get("namespace") or ""),
                (),
                (own.selector.driver_labels if own.selector else None) or {},
            )
    except ValidationError as error:
        model = (
            ClusterSparkAllocationPolicySpec
            if kind == CLUSTER_POLICY_KIND
            else SparkAllocationPolicySpec
        )
        return InvalidPolicy(name, refusal(model, error, of_file=strict))
    return InvalidPolicy(name, f"kind {kind!r} is not {POLICY_KIND} or {CLUSTER_POLICY_KIND}")


def _selection(selector: ClusterPolicySelector | BudgetWeight | None) -> Selection:
    if selector is None:
        return Selection()
    return Selection(tuple(selector.namespaces or ()), selector.driver_labels or {})


def _budget(policy: str, of_policy: Selection, written: WrittenBudget) -> StoredBudget:
    return StoredBudget(
        policy,
        Budget(
            written.name,
            executors=written.executors,
            milli_cores=None if written.cores is None else milli_cores(written.cores),
            memory_mib=None if written.memory is None else mebibytes(written.memory),
            pending_pods=written.pending_pods,
        ),
        of_policy,
        _selection(written.selector),
        tuple((_selection(each), each.weight) for each in written.weights or ()),
    )


def _limits(limits: SettingLimits | None) -> dict[str, Limit]:
    def text(setting: Setting, value: Any) -> str | None:
        return None if value is None else setting_text(setting, value)

    return {
        setting.field: Limit(text(setting, limit.min), text(setting, limit.max))
        for setting, limit in stated_values(limits)
        if isinstance(limit, CountLimits | RatioLimits | DurationLimits | NumberLimits)
    }


def _allow_list(allow: ExecutorAllowList | None) -> PodAllowList:
    if allow is None:
        return NOTHING_MORE
    lists = {each.name: getattr(allow, each.name, None) for each in fields(PodAllowList)}
    lists["fields"] = allow.fields_
    return PodAllowList(**{name: tuple(patterns or ()) for name, patterns in lists.items()})


def _matches(pattern: str, namespace: str) -> bool:
    if pattern.endswith("*"):
        return namespace.startswith(pattern[:-1])
    return namespace == pattern
