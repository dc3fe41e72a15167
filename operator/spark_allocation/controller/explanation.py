"""Why a SparkAllocation is what it is: each setting with who set it, and the operator's last decisions.

The layers are put together here as the operator does it, by the same function. What cannot be read with a person's
rights (policies, the driver's own configuration) is named, for then a value may be another one in truth.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spark_allocation.api.group import (
    CLUSTER_POLICY_KIND,
    CLUSTER_POLICY_PLURAL,
    POLICY_KIND,
    POLICY_PLURAL,
)
from spark_allocation.controller.effective_settings import resolved
from spark_allocation.controller.policy_directory import PolicyDirectory, SelectedPolicies
from spark_allocation.controller.profile_settings import NO_ENTRIES, ProfileSettings
from spark_allocation.controller.seen_driver import SeenDriver, see_driver
from spark_allocation.controller.spec_reading import InvalidSpec, read_spec
from spark_allocation.core.setting_layers import EffectiveSetting, Resolution
from spark_allocation.kube.cluster_reading import ClusterReading, collection


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of one SparkAllocation.

    Attributes:
        resolution: None when the spec cannot be read; `unknown` says why.
        unknown: what could not be read; sentences.
        profiles: what holds for single resource profiles.
    """

    namespace: str
    name: str
    status: Mapping[str, Any]
    driver: SeenDriver
    policies: SelectedPolicies
    resolution: Resolution | None
    unknown: tuple[str, ...]
    profiles: ProfileSettings = NO_ENTRIES

    def document(self) -> dict[str, Any]:
        """For programs."""
        settings = self.resolution.settings.values() if self.resolution else ()
        return {
            "namespace": self.namespace,
            "name": self.name,
            "user": self.driver.user,
            "policies": [
                {"scope": each.scope, "name": each.name, "priority": each.priority}
                for each in self.policies.policies
            ],
            "settings": [_setting(each) for each in settings],
            "profiles": self._profiles(),
            "conflicts": list(self.resolution.conflicts) if self.resolution else [],
            "ignored": [
                *(self.resolution.ignored if self.resolution else ()),
                *self.policies.problems,
            ],
            "unknown": list(self.unknown),
            "status": dict(self.status),
        }

    def _profiles(self) -> list[dict[str, Any]]:
        if self.resolution is None:
            return []
        return [
            {
                "profile": profile_id,
                "entry": self.profiles.choices.chosen[profile_id].name,
                "settings": [_setting(each) for each in differing],
            }
            for profile_id, differing in self.profiles.differing(self.resolution).items()
        ]


def _setting(each: EffectiveSetting) -> dict[str, Any]:
    return {
        "setting": each.setting.field,
        "sparkKey": each.setting.spark_key,
        "value": each.value,
        "shown": each.setting.shown(each.value),
        "setBy": str(each.origin),
        "changes": [str(change) for change in each.changes],
    }


async def explain(reading: ClusterReading, namespace: str, name: str) -> Explanation | None:
    """Explain one SparkAllocation; None when there is no such object, or it may not be read.

    Raises:
        ApiUnavailable: the API server does not answer.
    """
    body = await reading.allocation(namespace, name)
    if body is None:
        return None
    return await explain_body(reading, body, await read_policies(reading, namespace))


async def explain_body(
    reading: ClusterReading,
    body: Mapping[str, Any],
    policies: tuple[PolicyDirectory, tuple[str, ...]],
) -> Explanation:
    """Explain a SparkAllocation that was read already, under policies that were."""
    directory, unreadable = policies
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    status = body.get("status") or {}
    spec = read_spec(body)
    if isinstance(spec, InvalidSpec):
        nothing = SeenDriver(why_not="the spec cannot be read")
        unknown = (*unreadable, f"the spec cannot be read: {spec}")
        return Explanation(namespace, name, status, nothing, SelectedPolicies(), None, unknown)
    pod_name = status.get("driverPod") or spec.driver.pod_name or ""
    driver = await see_driver(reading, namespace, pod_name, spec.driver.ui_port)
    selected = directory.selected(namespace, driver.labels)
    unknown = unreadable
    if driver.properties is None:
        unknown = (*unknown, f"the driver's own configuration: {driver.why_not}")
    found = resolved(
        spec,
        driver.properties or {},
        selected,
        driver.user,
        profiles=driver.profiles,
    )
    return Explanation(
        namespace, name, status, driver, selected, found.common, unknown, found.profiles
    )


async def read_policies(
    reading: ClusterReading, namespace: str | None
) -> tuple[PolicyDirectory, tuple[str, ...]]:
    """All policies, and sentences about those that may not be read.

    Args:
        namespace: None for all.
    """
    directory = PolicyDirectory()
    unknown: list[str] = []
    for kind, plural, within in (
        (CLUSTER_POLICY_KIND, CLUSTER_POLICY_PLURAL, None),
        (POLICY_KIND, POLICY_PLURAL, namespace),
    ):
        found = await reading.all_of(collection(plural, within))
        if found is None:
            unknown.append(f"{plural} may not be read, or their kind is not installed")
        else:
            directory.replace_all(plural, ({**body, "kind": kind} for body in found))
    return directory, tuple(unknown)
