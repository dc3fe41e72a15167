"""What there is to say of one SparkAllocation: its conditions, what policies made of it, how its driver is configured."""

from collections.abc import Iterator, Mapping

from spark_allocation.api.conditions import ConditionType
from spark_allocation.controller.explanation import Explanation
from spark_allocation.controller.findings import Finding, Verdict
from spark_allocation.core.passive_driver import drains, migration_obstacle
from spark_allocation.core.setting_catalogue import (
    BY_FIELD,
    INITIAL_EXECUTORS,
    MAX_EXECUTORS,
    MIGRATE,
    MIN_EXECUTORS,
)
from spark_allocation.core.spark_conf import SECOND, InvalidSetting, SparkConf

LONGEST_GC_INTERVAL_SECONDS = 300
SPARK_GC_INTERVAL_SECONDS = 1800
_SHUFFLE_TRACKING = BY_FIELD["dynamicAllocation.shuffleTracking.enabled"]


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
    return [*found, *_driver_findings(about, explanation, properties)]


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


def _driver_findings(
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
