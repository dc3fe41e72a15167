"""From policies as users write them to policies as the core applies them, and whom they are for."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydantic import ValidationError

from spark_allocation.api.group import CLUSTER_POLICY_KIND, POLICY_KIND
from spark_allocation.api.policy_v1alpha1 import (
    ClusterSparkAllocationPolicySpec,
    CountLimits,
    DurationLimits,
    ExecutorAllowList,
    RatioLimits,
    SettingLimits,
    SparkAllocationPolicySpec,
)
from spark_allocation.api.spark_keys import setting_text, stated_values, wished_settings
from spark_allocation.core.pod_allow_list import NOTHING_MORE, PodAllowList
from spark_allocation.core.setting_catalogue import Setting
from spark_allocation.core.setting_layers import Limit, Policy, Scope

PROBLEMS_TOLD = 5


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A policy and whom it is for.

    Attributes:
        namespace: where it lives; "" for a cluster policy.
        namespaces: names, or beginnings followed by ``*``; empty for all.
        driver_labels: that the driver pod must have.
        allowed: what executors may have beyond what their driver pod has.
    """

    policy: Policy
    namespace: str
    namespaces: tuple[str, ...]
    driver_labels: Mapping[str, str]
    allowed: PodAllowList = NOTHING_MORE

    def selects(self, namespace: str, driver_labels: Mapping[str, str]) -> bool:
        """Whether an application with such a driver in such a namespace is meant."""
        if self.namespace not in ("", namespace):
            return False
        if self.namespaces and not any(_matches(each, namespace) for each in self.namespaces):
            return False
        return all(driver_labels.get(key) == value for key, value in self.driver_labels.items())


@dataclass(frozen=True, slots=True)
class InvalidPolicy:
    """A policy that the operator cannot read; the message names the fields."""

    name: str
    message: str


def read_policy(body: Mapping[str, Any]) -> StoredPolicy | InvalidPolicy:
    """A policy of either kind, as the API server or a file has it."""
    metadata = body.get("metadata") or {}
    name = str(metadata.get("name") or "")
    kind = body.get("kind")
    try:
        if kind == CLUSTER_POLICY_KIND:
            cluster = ClusterSparkAllocationPolicySpec.model_validate(body.get("spec") or {})
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
            )
        if kind == POLICY_KIND:
            own = SparkAllocationPolicySpec.model_validate(body.get("spec") or {})
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
        problems = "; ".join(
            f"spec.{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors()[:PROBLEMS_TOLD]
        )
        return InvalidPolicy(name, problems)
    return InvalidPolicy(name, f"kind {kind!r} is not {POLICY_KIND} or {CLUSTER_POLICY_KIND}")


def _limits(limits: SettingLimits | None) -> dict[str, Limit]:
    def text(setting: Setting, value: Any) -> str | None:
        return None if value is None else setting_text(setting, value)

    return {
        setting.field: Limit(text(setting, limit.min), text(setting, limit.max))
        for setting, limit in stated_values(limits)
        if isinstance(limit, CountLimits | RatioLimits | DurationLimits)
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
