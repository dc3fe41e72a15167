"""``spark-allocation explain``: why an allocation is what it is."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer

from spark_allocation.cli.connection import (
    EXIT_PROBLEM,
    Context,
    Kubeconfig,
    Namespace,
    Output,
    OutputOption,
    connected,
    namespace_of,
)
from spark_allocation.cli.output import table, write_document
from spark_allocation.controller.explanation import Explanation
from spark_allocation.controller.explanation import explain as explain_allocation
from spark_allocation.core.setting_layers import EffectiveSetting

_WORTH_TELLING = {
    "Ready": "False",
    "DriverReachable": "False",
    "DriverPassive": "False",
    "Stalled": "True",
    "AmbiguousDriver": "True",
    "Conflicted": "True",
    "Decommissioning": "False",
    "Limited": "True",
    "PolicyConflict": "True",
    "ProfilesMatched": "False",
    "ScalingIneffective": "True",
    "StreamingRefused": "True",
    "StreamingMetricsMissing": "True",
    "Finished": "True",
}


def explain(
    name: Annotated[str, typer.Argument(help="Name of the SparkAllocation.")],
    namespace: Namespace = None,
    output: OutputOption = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show the effective value of every setting with who set it, what limits and locks changed, and the last decisions.

    kubectl salloc explain nightly-report -n spark-jobs

    Each value is the last of: default, driver, cluster policy, namespace policy, defaults of the user,
    SparkAllocation; then locked and limited by cluster policies. With -o wide also settings that nobody has set.

    Exit codes: 0; 1 when there is no such SparkAllocation; 2 without credentials; 4 when the API server does not answer.
    """
    where = namespace_of(namespace, kubeconfig, context)
    found = connected(kubeconfig, context, lambda reading: explain_allocation(reading, where, name))
    if found is None:
        typer.echo(
            f"there is no SparkAllocation {name} in namespace {where}, or it may not be read",
            err=True,
        )
        raise typer.Exit(EXIT_PROBLEM)
    if output in (Output.JSON, Output.YAML):
        write_document(found.document(), output)
    else:
        typer.echo(_text(found, wide=output is Output.WIDE))


def _text(found: Explanation, *, wide: bool) -> str:
    parts = [_head(found), _settings(found, wide=wide), *_of_profiles(found)]
    if found.status.get("recommendation"):
        parts.append(_recommendation(found.status["recommendation"]))
    profiles = found.status.get("profiles") or ()
    if profiles:
        parts.append(_profiles(profiles))
        granted = [
            f"  profile {each.get('id')}: {each['grantReason']}"
            for each in profiles
            if each.get("grantReason")
        ]
        if granted:
            parts.append("Budgets:\n" + "\n".join(granted))
    if found.status.get("streaming") or found.status.get("streamingDecisions"):
        parts.append(_streams(found.status))
    problems = (
        *(found.resolution.conflicts if found.resolution else ()),
        *(found.resolution.ignored if found.resolution else ()),
        *found.policies.problems,
    )
    if problems:
        parts.append(
            "Policies that cannot all hold:\n" + "\n".join(f"  {each}" for each in problems)
        )
    told = [
        f"  {each['type']}={each['status']} ({each.get('reason')}): {each.get('message')}"
        for each in found.status.get("conditions") or ()
        if _WORTH_TELLING.get(each.get("type", "")) == each.get("status")
    ]
    if told:
        parts.append("Conditions:\n" + "\n".join(told))
    decisions = found.status.get("decisions") or ()
    if decisions:
        parts.append(
            "Last decisions:\n"
            + "\n".join(
                f"  {each.get('time')}  profile {each.get('profile')}: {each.get('message')}"
                for each in decisions
            )
        )
    if found.unknown:
        parts.append(
            "Not known, so that a value may be another one in truth:\n"
            + "\n".join(f"  {each}" for each in found.unknown)
        )
    return "\n\n".join(parts)


def _head(found: Explanation) -> str:
    status = found.status
    lines = [
        f"SparkAllocation {found.namespace}/{found.name}: {status.get('state') or 'not seen by an operator'}"
        + (f", {status['message']}" if status.get("message") else "")
    ]
    if found.driver.pod_name:
        user = f", user {found.driver.user}" if found.driver.user else ""
        lines.append(
            f"Driver {found.driver.pod_name}, application {status.get('applicationId') or 'unknown'}, "
            f"Spark {status.get('sparkVersion') or 'unknown'}{user}"
        )
    if found.policies.policies:
        named = ", ".join(f"{each.scope} policy {each.name}" for each in found.policies.policies)
        lines.append(f"Policies: {named}")
    return "\n".join(lines)


def _settings(found: Explanation, *, wide: bool) -> str:
    if found.resolution is None:
        return "The spec cannot be read."
    rows = _rows(each for each in found.resolution.settings.values() if wide or each.stated)
    hidden = len(found.resolution.settings) - len(rows)
    more = f"\n({hidden} more settings have their defaults: -o wide)" if hidden else ""
    return table(("SETTING", "VALUE", "SET BY", "CHANGED"), rows) + more


def _recommendation(told: Mapping[str, Any]) -> str:
    hours = told.get("executorHours") or {}
    return table(
        (f"SINCE {told.get('since')}", "SPARK", "OURS", "SAVED"),
        [
            ("executors now", *_compared(told.get("sparkExecutors", 0), told.get("ours", 0))),
            ("executor-hours", *_compared(hours.get("spark", 0.0), hours.get("ours", 0.0))),
        ],
    )


def _compared(spark: float, ours: float) -> tuple[str, str, str]:
    share = f" ({(spark - ours) / spark:.0%})" if spark else ""
    return f"{spark:g}", f"{ours:g}", f"{spark - ours:g}{share}"


def _of_profiles(found: Explanation) -> Iterator[str]:
    """What is otherwise in single resource profiles, and which entries are for none."""
    if found.resolution is None:
        return
    for profile_id, differing in found.profiles.differing(found.resolution).items():
        entry = found.profiles.choices.chosen[profile_id]
        title = f"Resource profile {profile_id}, by {entry.name} ({entry.match}):"
        settings = table(("SETTING", "VALUE", "SET BY", "CHANGED"), _rows(differing))
        template = "\nIts pods start from the podTemplate of the entry."
        yield f"{title}\n{settings}{template if profile_id in found.profiles.templates else ''}"
    choices = found.profiles.choices
    told = [
        *choices.ties,
        *(f"{entry.name} ({entry.match}) is for none so far" for entry in choices.unused),
    ]
    if told:
        yield "Entries of spec.profiles:\n" + "\n".join(f"  {each}" for each in told)


def _rows(settings: Iterable[EffectiveSetting]) -> list[tuple[object, ...]]:
    return [
        (
            each.setting.field,
            each.setting.shown(each.value),
            each.origin,
            "; ".join(str(change).split(": ", 1)[1] for change in each.changes),
        )
        for each in settings
    ]


def _streams(status: Mapping[str, Any]) -> str:
    """What queries want, and what came of it."""
    queries = table(
        (
            "QUERY",
            "BUSY",
            "BATCH",
            "MAY TAKE",
            "ROWS/S IN",
            "ROWS/S DONE",
            "BACKLOG",
            "WANTS",
            "BY",
        ),
        [
            (
                each.get("query"),
                _figure(each, "utilization", share=True),
                _figure(each, "batchSeconds", unit="s"),
                _figure(each, "intervalSeconds", unit="s"),
                _figure(each, "inputRate"),
                _figure(each, "processingRate"),
                _figure(each, "backlogSeconds", unit="s"),
                each.get("desired", "-"),
                each.get("reason") or "-",
            )
            for each in status.get("streaming") or ()
        ],
    )
    lines = []
    for each in status.get("streamingDecisions") or ():
        by = f", by {each['policy']} of query {each['query']}" if each.get("query") else ""
        asked = each.get("executors")
        what = "what tasks need decides" if asked is None else f"{asked} executors"
        wanted = f"{each['wanted']} wanted{by}; " if each.get("wanted") is not None else ""
        lines.append(f"  profile {each.get('profile')}: {wanted}{what} ({each.get('reason')})")
    return "\n".join([queries, *(["Streams:", *lines] if lines else [])])


def _figure(entry: Mapping[str, Any], name: str, *, unit: str = "", share: bool = False) -> str:
    value = entry.get(name)
    if not isinstance(value, int | float):
        return "-"
    if share:
        return f"{value:.0%}"
    return f"{value:,.0f}{unit}" if value >= 1000 else f"{value:.3g}{unit}"


def _profiles(profiles: list[Mapping[str, Any]]) -> str:
    return table(
        (
            "PROFILE",
            "DESIRED",
            "GRANTED",
            "TARGET",
            "RUNNING",
            "PENDING",
            "IDLE",
            "HELD",
            "DRAINING",
            "WHY",
        ),
        [
            (
                each.get("id"),
                each.get("desired", 0),
                each.get("granted", "-"),
                each.get("target", 0),
                each.get("running", 0),
                each.get("pending", 0),
                each.get("idle", 0),
                each.get("heldByShuffle", 0) + each.get("heldByCache", 0),
                each.get("decommissioning", 0),
                each.get("reason", ""),
            )
            for each in profiles
        ],
    )
