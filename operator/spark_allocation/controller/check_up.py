"""What `doctor` looks at, and what to do about each finding.

Nothing is changed. What may not be looked at with the rights at hand is a finding of its own, so that silence never
means that all is well.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from spark_allocation.api.admission import admission_policies
from spark_allocation.api.conditions import ConditionType
from spark_allocation.api.crd import cluster_policy_crd, policy_crd, sparkallocation_crd
from spark_allocation.api.group import PLURAL
from spark_allocation.controller.explanation import Explanation, explain_body, read_policies
from spark_allocation.controller.operator_rights import (
    FOR_NODES,
    IN_ALL_NAMESPACES,
    IN_EACH_NAMESPACE,
    IN_ITS_OWN_NAMESPACE,
)
from spark_allocation.controller.policy_directory import PolicyDirectory
from spark_allocation.controller.seen_driver import see_driver
from spark_allocation.core.passive_driver import (
    drains,
    migration_obstacle,
    offences,
)
from spark_allocation.core.setting_catalogue import (
    BY_FIELD,
    INITIAL_EXECUTORS,
    MAX_EXECUTORS,
    MIGRATE,
    MIN_EXECUTORS,
)
from spark_allocation.core.setting_layers import Scope
from spark_allocation.core.spark_conf import SECOND, InvalidSetting, SparkConf
from spark_allocation.kube.cluster_reading import ClusterReading, Right

SKEW_SECONDS = 5.0
LEASE_SILENCE_SECONDS = 30.0
LONGEST_GC_INTERVAL_SECONDS = 300
SPARK_GC_INTERVAL_SECONDS = 1800
AT_ONCE = 8
_DRIVERS = "spark-role=driver"
_SHUFFLE_TRACKING = BY_FIELD["dynamicAllocation.shuffleTracking.enabled"]


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one thing.

    Attributes:
        check: its name, such as ``rights``.
        about: what was looked at.
        remedy: what to do; "" when nothing is.
    """

    check: str
    about: str
    verdict: Verdict
    message: str
    remedy: str = ""


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


async def check_up(reading: ClusterReading, extent: Extent) -> list[Finding]:
    """Look at everything, or at the installation alone.

    Raises:
        ApiUnavailable: the API server does not answer.
    """
    findings = [*await _clock(reading, extent), *await _definitions(reading)]
    findings += await _admission(reading)
    findings += await _rights(reading, extent)
    findings += await _leader(reading, extent)
    if extent.as_operator:
        return [*findings, await _kind(reading)]
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
        gate = asyncio.Semaphore(AT_ONCE)

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


# -- the installation -------------------------------------------------------------------------------------------------


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
    gate = asyncio.Semaphore(AT_ONCE)

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


# -- allocations ------------------------------------------------------------------------------------------------------


def allocation_findings(explanation: Explanation) -> list[Finding]:
    """What there is to say of one SparkAllocation."""
    about = f"{explanation.namespace}/{explanation.name}"
    conditions = {
        each["type"]: each for each in explanation.status.get("conditions") or () if "type" in each
    }
    finished = conditions.get(ConditionType.FINISHED, {}).get("status") == "True"
    if finished:
        return []
    found = [
        Finding(check, about, Verdict.FAILURE if bad else Verdict.OK, message, "")
        for check, kind, wrong in (
            ("driver-reachable", ConditionType.DRIVER_REACHABLE, "False"),
            ("driver-passive", ConditionType.DRIVER_PASSIVE, "False"),
            ("executors", ConditionType.STALLED, "True"),
            ("one-allocation", ConditionType.CONFLICTED, "True"),
        )
        if (condition := conditions.get(kind)) is not None
        for bad in (condition.get("status") == wrong,)
        for message in (condition.get("message") or condition.get("reason") or "",)
    ]
    if not conditions:
        found.append(
            Finding(
                "operator",
                about,
                Verdict.FAILURE,
                "the operator has said nothing of it",
                "does it run, and serve this namespace?",
            )
        )
    if explanation.resolution is None:
        return [
            *found,
            Finding("spec", about, Verdict.FAILURE, explanation.unknown[-1], "mend the spec"),
        ]
    problems = (
        *explanation.resolution.conflicts,
        *explanation.resolution.ignored,
        *explanation.policies.problems,
    )
    found += [
        Finding("policies", about, Verdict.WARNING, each, "mend the policy") for each in problems
    ]
    found += _sizing(about, explanation)
    properties = explanation.driver.properties
    if properties is None:
        why = explanation.driver.why_not
        return [
            *found,
            Finding(
                "driver-configuration",
                about,
                Verdict.UNKNOWN,
                why,
                "grant get on pods/proxy to look at it",
            ),
        ]
    return [*found, *driver_findings(about, explanation, properties)]


def _sizing(about: str, explanation: Explanation) -> Iterator[Finding]:
    resolution = explanation.resolution
    assert resolution is not None
    try:
        least, initial, most = (
            int(setting.measure(resolution.value(setting)))
            for setting in (MIN_EXECUTORS, INITIAL_EXECUTORS, MAX_EXECUTORS)
        )
    except ValueError as error:
        yield Finding("sizing", about, Verdict.FAILURE, str(error), "mend the setting")
        return
    if least > most or initial > most:
        yield Finding(
            "sizing",
            about,
            Verdict.FAILURE,
            f"minExecutors {least}, initialExecutors {initial}, maxExecutors {most}: Spark's rules refuse that",
            "min <= initial <= max",
        )
    elif max(least, initial) >= most:
        yield Finding(
            "sizing",
            about,
            Verdict.WARNING,
            f"initialExecutors {max(least, initial)} is maxExecutors {most}: there is nothing to allocate dynamically",
            "leave room: min <= initial < max",
        )
    elif 0 < initial < least:
        yield Finding(
            "sizing",
            about,
            Verdict.WARNING,
            f"initialExecutors {initial} is below minExecutors {least}, which holds",
            "min <= initial < max",
        )
    else:
        yield Finding("sizing", about, Verdict.OK, "min <= initial < max")


def driver_findings(
    about: str, explanation: Explanation, properties: Mapping[str, str]
) -> Iterator[Finding]:
    """What the driver's configuration has to say."""
    resolution = explanation.resolution
    assert resolution is not None
    conf = SparkConf(properties)
    try:
        if drains(properties):
            yield Finding(
                "decommission", about, Verdict.OK, "executors that leave finish their tasks first"
            )
        else:
            yield Finding(
                "decommission",
                about,
                Verdict.WARNING,
                "spark.decommission.enabled is off: executors go without handing anything on",
                "start the driver with what `spark-allocation driver-conf` prints",
            )
        obstacle = migration_obstacle(conf)
        if resolution.value(MIGRATE) == "true" and obstacle:
            yield Finding(
                "migration",
                about,
                Verdict.FAILURE,
                f"decommission.migrate is true, but in the driver {obstacle}",
                "spark-allocation driver-conf --migrate",
            )
        elif obstacle:
            yield Finding(
                "migration",
                about,
                Verdict.OK,
                "off: executors with shuffle data are held, as decommission.migrate says",
            )
        else:
            yield Finding("migration", about, Verdict.OK, "the driver hands shuffle blocks on")
        interval = conf.time("spark.cleaner.periodicGC.interval", SPARK_GC_INTERVAL_SECONDS, SECOND)
    except InvalidSetting as error:
        yield Finding(
            "driver-configuration",
            about,
            Verdict.FAILURE,
            str(error),
            "mend the driver's configuration",
        )
        return
    if resolution.value(_SHUFFLE_TRACKING) == "true" and interval > LONGEST_GC_INTERVAL_SECONDS:
        yield Finding(
            "shuffle-tracking",
            about,
            Verdict.WARNING,
            f"spark.cleaner.periodicGC.interval is {interval} s: a driver that collects no garbage forgets no shuffle, and executors are held for it",
            "set it to 5min or less in the driver",
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
