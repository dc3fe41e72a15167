"""What there is to say of the operator's installation: the API server, its kinds, admission, rights, the leader.

What may not be looked at with the rights at hand is a finding of its own, so that silence never means that all is well.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from spark_allocation.api.admission import admission_policies
from spark_allocation.api.crd import cluster_policy_crd, policy_crd, sparkallocation_crd
from spark_allocation.api.group import PLURAL
from spark_allocation.controller.findings import Finding, Verdict
from spark_allocation.controller.operator_rights import (
    FOR_NODES,
    IN_ALL_NAMESPACES,
    IN_EACH_NAMESPACE,
    IN_ITS_OWN_NAMESPACE,
)
from spark_allocation.kube.cluster_reading import ClusterReading, Right

SKEW_SECONDS = 5.0
LEASE_SILENCE_SECONDS = 30.0
RIGHTS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Extent:
    """What to look at.

    Attributes:
        namespaces: that are served; empty for all.
        operator_namespace: where the operator runs.
        user: whose rights are asked for; "" for the caller's own.
        clock: epoch seconds by this machine's clock.
        as_operator: the caller is the operator's account and asks for its installation alone: what it lacks is a
            failure, and what tenants have written is not looked at.
    """

    namespaces: tuple[str, ...]
    operator_namespace: str
    lease_name: str
    user: str
    clock: Callable[[], float]
    as_operator: bool = False


async def installation_findings(reading: ClusterReading, extent: Extent) -> list[Finding]:
    """Look at the installation.

    Raises:
        ApiUnavailable: the API server does not answer.
    """
    findings = [*await _clock(reading, extent), *await _definitions(reading)]
    findings += await _admission(reading)
    findings += await _rights(reading, extent)
    findings += await _leader(reading, extent)
    if extent.as_operator:
        findings.append(await _kind(reading))
    return findings


async def _clock(reading: ClusterReading, extent: Extent) -> Iterable[Finding]:
    before = extent.clock()
    answer = await reading.answer("/version")
    after = extent.clock()
    version = answer.json().get("gitVersion") or "unknown version"
    found = [Finding("api-server", version, Verdict.OK, "answers")]
    if answer.server_time is None:
        found.append(
            Finding("clock", "this machine", Verdict.UNKNOWN, "the API server tells no time")
        )
        return found
    # the server wrote its time at some moment in between, in whole seconds
    early, late = before - (answer.server_time + 1), after - answer.server_time
    skew = early if early > 0 else min(0.0, late)
    bad = abs(skew) > SKEW_SECONDS
    found.append(
        Finding(
            "clock",
            "this machine",
            Verdict.WARNING if bad else Verdict.OK,
            f"{abs(skew):.0f} s {'before' if skew > 0 else 'behind'} the API server's"
            if bad
            else "within a few seconds of the API server's",
            "set the clocks by NTP: waits and timeouts are told by them" if bad else "",
        )
    )
    return found


async def _definitions(reading: ClusterReading) -> Iterable[Finding]:
    found = []
    for wanted in (sparkallocation_crd(), policy_crd(), cluster_policy_crd()):
        name = wanted["metadata"]["name"]
        there = await reading.one(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
        if there is None:
            found.append(
                Finding(
                    "crd",
                    name,
                    Verdict.UNKNOWN,
                    "is not installed, or may not be read",
                    "kubectl apply -f crds/",
                )
            )
            continue
        missing = sorted(_fields(wanted) - _fields(there))
        more = _fields(there) - _fields(wanted)
        if missing:
            shown = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
            found.append(
                Finding(
                    "crd",
                    name,
                    Verdict.FAILURE,
                    f"is older than this command: {shown} missing",
                    "kubectl apply -f crds/",
                )
            )
        elif more:
            found.append(
                Finding(
                    "crd",
                    name,
                    Verdict.WARNING,
                    f"is newer than this command: it has {len(more)} more fields",
                    "use the command of the operator's own version",
                )
            )
        else:
            found.append(Finding("crd", name, Verdict.OK, "is the one of this version"))
    return found


async def _kind(reading: ClusterReading) -> Finding:
    """The operator's account may not read CustomResourceDefinitions, but sees whether its kind is served."""
    if await reading.knows_allocations():
        return Finding("kind", PLURAL, Verdict.OK, "is served")
    return Finding("kind", PLURAL, Verdict.FAILURE, "is not served", "kubectl apply -f crds/")


def _fields(definition: Mapping[str, Any]) -> set[str]:
    def walk(schema: Any, path: str) -> Iterator[str]:
        for name, inner in (schema.get("properties") or {}).items():
            yield f"{path}{name}"
            yield from walk(inner, f"{path}{name}.")
        if isinstance(schema.get("items"), dict):
            yield from walk(schema["items"], path)

    versions = definition["spec"]["versions"]
    return set(walk(versions[0]["schema"]["openAPIV3Schema"], ""))


async def _admission(reading: ClusterReading) -> list[Finding]:
    """Who may say what executor pods are: the policies, each with its binding."""
    found = []
    for policy in admission_policies():
        if policy["kind"] != "ValidatingAdmissionPolicy":
            continue
        name = policy["metadata"]["name"]
        answers = [
            await reading.answer(f"/apis/admissionregistration.k8s.io/v1/{plural}/{name}")
            for plural in ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
        ]
        verdict, message, remedy = Verdict.OK, "is the one of this version, and bound", ""
        if any(each.status == HTTPStatus.NOT_FOUND for each in answers):
            verdict = Verdict.WARNING
            message = "is missing or not bound: whoever may write SparkAllocations or change driver pods says what executor pods are"
            remedy = "kubectl apply -f deploy/16-admission-policies.yaml, or let only those do so who may create pods"
        elif not all(each.ok for each in answers):
            verdict, message = Verdict.UNKNOWN, "may not be read"
        elif _expressions(answers[0].json()) != _expressions(policy):
            verdict, message = Verdict.WARNING, "is not the one of this version"
            remedy = "kubectl apply -f deploy/16-admission-policies.yaml"
        found.append(Finding("admission", name, verdict, message, remedy))
    return found


def _expressions(policy: Mapping[str, Any]) -> list[str]:
    spec = policy.get("spec") or {}
    return [
        str(each.get("expression"))
        for part in ("matchConditions", "variables", "validations")
        for each in spec.get(part) or ()
    ]


async def _rights(reading: ClusterReading, extent: Extent) -> Iterable[Finding]:
    needed = [
        Right(right.group, right.resource, right.verb, namespace)
        for namespace in extent.namespaces or ("",)
        for right in IN_EACH_NAMESPACE
    ]
    if not extent.namespaces:
        needed += IN_ALL_NAMESPACES
    needed += [
        Right(right.group, right.resource, right.verb, extent.operator_namespace)
        for right in IN_ITS_OWN_NAMESPACE
    ]
    gate = asyncio.Semaphore(RIGHTS_AT_ONCE)

    async def asked(right: Right) -> bool | None:
        async with gate:
            return await reading.may(right, extent.user)

    answers = await asyncio.gather(*map(asked, needed))
    who = extent.user or "you"
    lacking = [right for right, answer in zip(needed, answers, strict=True) if answer is False]
    unknown = sum(answer is None for answer in answers)
    if unknown:
        return [
            Finding(
                "rights",
                who,
                Verdict.UNKNOWN,
                f"{unknown} of {len(needed)} rights could not be asked for",
                "ask as somebody who may create subjectaccessreviews",
            )
        ]
    if not lacking:
        return [Finding("rights", who, Verdict.OK, f"has all {len(needed)} rights of the operator")]
    # people need not have the operator's rights: only of its own account is that a failure
    is_operator = bool(extent.user) or extent.as_operator
    remedy = (
        "kubectl apply -f deploy/"
        if is_operator
        else "name the operator's account with --service-account to ask for its rights instead"
    )
    return [
        Finding(
            "rights",
            who,
            Verdict.FAILURE if is_operator and right not in FOR_NODES else Verdict.WARNING,
            f"may not {right}",
            remedy,
        )
        for right in lacking
    ]


async def _leader(reading: ClusterReading, extent: Extent) -> Iterable[Finding]:
    about = f"{extent.operator_namespace}/{extent.lease_name}"
    lease = await reading.one(
        f"/apis/coordination.k8s.io/v1/namespaces/{extent.operator_namespace}/leases/{extent.lease_name}"
    )
    if lease is None:
        return [
            Finding(
                "operator",
                about,
                Verdict.FAILURE if extent.as_operator else Verdict.UNKNOWN,
                "there is no such Lease, or it may not be read",
                "is the operator installed there? --operator-namespace names another place",
            )
        ]
    spec = lease.get("spec") or {}
    holder, renewed = spec.get("holderIdentity"), spec.get("renewTime")
    if not holder or not renewed:
        return [
            Finding(
                "operator", about, Verdict.FAILURE, "nobody leads", "look at the operator's pods"
            )
        ]
    silent = extent.clock() - datetime.fromisoformat(renewed).timestamp()
    if silent > LEASE_SILENCE_SECONDS:
        return [
            Finding(
                "operator",
                about,
                Verdict.FAILURE,
                f"{holder} led until {silent:.0f} s ago",
                "look at the operator's pods",
            )
        ]
    if silent < -SKEW_SECONDS:
        return [
            Finding(
                "clock",
                f"operator {holder}",
                Verdict.WARNING,
                f"renews its Lease {-silent:.0f} s in the future",
                "set the clocks by NTP",
            )
        ]
    return [Finding("operator", about, Verdict.OK, f"{holder} leads")]
