"""Everything that `doctor` looks at.

Nothing is changed. What may not be looked at with the rights at hand is a finding of its own, so that silence never
means that all is well.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from spark_allocation.controller.allocation_findings import allocation_findings
from spark_allocation.controller.explanation import Explanation, explain_body, read_policies
from spark_allocation.controller.findings import Finding, Verdict
from spark_allocation.controller.installation_findings import Extent, installation_findings
from spark_allocation.controller.policy_directory import PolicyDirectory
from spark_allocation.controller.seen_driver import see_driver
from spark_allocation.core.passive_driver import offences
from spark_allocation.core.setting_layers import Scope
from spark_allocation.kube.cluster_reading import ClusterReading

ALLOCATIONS_AT_ONCE = 8
_DRIVERS = "spark-role=driver"


async def check_up(reading: ClusterReading, extent: Extent) -> list[Finding]:
    """Look at everything, or at the installation alone.

    Raises:
        ApiUnavailable: the API server does not answer.
    """
    findings = await installation_findings(reading, extent)
    if extent.as_operator:
        return findings
    served: set[str] = set()
    for namespace in extent.namespaces or (None,):
        bodies = await reading.allocations(namespace)
        if bodies is None:
            findings.append(
                Finding(
                    "allocations",
                    namespace or "all namespaces",
                    Verdict.UNKNOWN,
                    "may not be listed, or the kind is not installed",
                    "grant list on sparkallocations, or kubectl apply -f crds/",
                )
            )
            continue
        policies = await read_policies(reading, namespace)
        gate = asyncio.Semaphore(ALLOCATIONS_AT_ONCE)

        async def explained(
            body: Mapping[str, Any], gate: asyncio.Semaphore = gate, policies: Any = policies
        ) -> Explanation:
            async with gate:
                return await explain_body(reading, body, policies)

        explanations = await asyncio.gather(*map(explained, bodies))
        for explanation in explanations:
            findings += allocation_findings(explanation)
            served.add(str(explanation.status.get("driverPodUid") or ""))
        findings += _policies_for_nobody(policies[0], explanations, everywhere=namespace is None)
        findings += await _unserved_drivers(reading, namespace, served)
    return findings


def _policies_for_nobody(
    directory: PolicyDirectory, explanations: Iterable[Explanation], *, everywhere: bool
) -> Iterator[Finding]:
    """Policies that select nothing. Of one namespace alone that can be said of its own policies only."""
    used = {
        (each.namespace if policy.scope is Scope.NAMESPACE else "", policy.name)
        for each in explanations
        for policy in each.policies.policies
    }
    for stored in directory.all():
        key = (stored.namespace, stored.policy.name)
        if key not in used and (everywhere or stored.namespace):
            about = "/".join(part for part in key if part)
            yield Finding(
                "policies",
                about,
                Verdict.WARNING,
                f"this {stored.policy.scope} policy is for no SparkAllocation that there is now",
                "look at its selector, unless its applications are yet to come",
            )


async def _unserved_drivers(
    reading: ClusterReading, namespace: str | None, served: set[str]
) -> list[Finding]:
    where = "" if namespace is None else f"/namespaces/{namespace}"
    pods = await reading.all_of(f"/api/v1{where}/pods", _DRIVERS)
    if pods is None:
        return [
            Finding(
                "unserved-drivers",
                namespace or "all namespaces",
                Verdict.UNKNOWN,
                "driver pods may not be listed",
            )
        ]
    found: list[Finding] = []
    for pod in pods:
        metadata = pod["metadata"]
        if (
            metadata["uid"] in served
            or (pod.get("status") or {}).get("phase") != "Running"
            or "deletionTimestamp" in metadata
        ):
            continue
        driver = await see_driver(reading, metadata["namespace"], metadata["name"], None)
        about = f"{metadata['namespace']}/{metadata['name']}"
        if driver.properties is None:
            found.append(
                Finding(
                    "unserved-drivers",
                    about,
                    Verdict.UNKNOWN,
                    f"no SparkAllocation serves it, and whether it allocates for itself is not known: {driver.why_not}",
                )
            )
        elif not offences(driver.properties):
            found.append(
                Finding(
                    "unserved-drivers",
                    about,
                    Verdict.FAILURE,
                    "the driver is passive and no SparkAllocation serves it: nobody allocates executors",
                    "label it sparkallocation.dev/managed=true, or write a SparkAllocation for it",
                )
            )
    return found
