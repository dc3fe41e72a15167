"""``spark-allocation plan``: what would be done, from files alone."""

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from spark_allocation.cli.connection import EXIT_PROBLEM, EXIT_USAGE, Output, OutputOption
from spark_allocation.cli.output import table, write_document
from spark_allocation.controller.dry_run import DryRun, dry_runs, read_properties
from spark_allocation.controller.supposed_driver import Supposed
from spark_allocation.core.spark_version import SparkVersion


def plan(  # noqa: PLR0917  (options of a command)
    files: Annotated[
        list[Path],
        typer.Option(
            "--file",
            "-f",
            help="SparkAllocations and policies as YAML; repeat for several; a folder means every .yaml in it.",
            exists=True,
        ),
    ],
    tasks: Annotated[int, typer.Option(min=0, help="Tasks that wait, of one stage.")] = 100,
    start_seconds: Annotated[
        int,
        typer.Option(
            min=0, max=300, help="Seconds from asking for a pod to a registered executor."
        ),
    ] = 5,
    properties_file: Annotated[
        Path | None,
        typer.Option(
            help="The driver's own settings, as spark-submit takes them.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    conf: Annotated[
        list[str] | None, typer.Option(help="One more setting of the driver, key=value.")
    ] = None,
    driver_label: Annotated[
        list[str] | None,
        typer.Option(help="Label of the driver pod, key=value: policies select by it."),
    ] = None,
    user: Annotated[str, typer.Option(help="Spark user: whose defaults hold.")] = "",
    spark: Annotated[str, typer.Option(help="Version of the driver's Spark.")] = "4.1.0",
    output: OutputOption = Output.TABLE,
) -> None:
    """Decide once without a cluster: the settings that hold, and the first wave of executors, second by second.

    spark-allocation plan -f job.yaml -f policies/ --tasks 400 --conf spark.executor.cores=4

    The decision is that of the operator: the same code. The driver counts as passive, every pod starts, no task ends.
    Only the default resource profile is looked at. Several SparkAllocations begin together and share the budgets of the
    policies given; others that a budget covers are not known.

    Exit codes: 0; 1 when the operator would refuse the files; 2 for wrong options.
    """  # fmt: skip
    try:
        documents = [document for file in _all(files) for document in _documents(file)]
        properties = read_properties(_text_of(properties_file)) if properties_file else {}
        supposed = Supposed(
            tasks=tasks,
            start_seconds=start_seconds,
            properties={**properties, **_pairs(conf, "--conf")},
            driver_labels=_pairs(driver_label, "--driver-label"),
            user=user,
            version=SparkVersion.parse(spark),
        )
        found = dry_runs(documents, supposed)
    except (ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_USAGE) from None
    if isinstance(found, str):
        typer.echo(found, err=True)
        raise typer.Exit(EXIT_PROBLEM)
    if output in (Output.JSON, Output.YAML):
        write_document([_document(each) for each in found], output)
    else:
        typer.echo("\n\n".join(_text(each, wide=output is Output.WIDE) for each in found))


def _all(files: list[Path]) -> list[Path]:
    return [
        each
        for file in files
        for each in (sorted(file.glob("*.y*ml")) if file.is_dir() else (file,))
    ]


def _documents(file: Path) -> list[dict[str, Any]]:
    text = _text_of(file)
    try:
        found = [each for each in yaml.safe_load_all(text) if each is not None]
    except (yaml.YAMLError, ValueError, LookupError, RecursionError) as error:
        # the last three: what PyYAML itself stumbles over, such as the date 2026-13-45
        why = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise ValueError(f"{file}: cannot be read as YAML: {why}") from None
    documents: list[dict[str, Any]] = []
    for document in found:
        items = document.get("items") if isinstance(document, dict) else None
        for each in items if isinstance(items, list) else [document]:
            if not isinstance(each, dict) or not isinstance(each.get("metadata") or {}, dict):
                raise ValueError(f"{file}: is not made of Kubernetes objects")  # noqa: TRY004  (a wrong file, no wrong type)
            documents.append(each)
    return documents


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is no text: {error}") from None


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    pairs = {}
    for each in given or ():
        key, sign, value = each.partition("=")
        if not sign or not key:
            raise ValueError(f"{option} {each}: key=value is wanted")
        pairs[key] = value
    return pairs


def _document(run: DryRun) -> dict[str, Any]:
    return {
        "namespace": run.namespace,
        "name": run.name,
        "settings": {
            field: {
                "value": each.value,
                "setBy": str(each.origin),
                "changes": [str(change) for change in each.changes],
            }
            for field, each in run.settings.resolution.settings.items()
        },
        "problems": [
            *run.settings.resolution.conflicts,
            *run.settings.resolution.ignored,
            *run.policies.problems,
        ],
        "grantReason": run.grant_reason,
        "notes": list(run.notes),
        "moments": [
            {
                "second": each.second,
                "target": each.target,
                "granted": each.granted,
                "asked": each.asked,
                "pods": each.pods,
                "running": each.running,
                "why": each.why,
            }
            for each in run.moments
        ],
    }


def _text(run: DryRun, *, wide: bool) -> str:
    resolution = run.settings.resolution
    settings = [
        (
            each.setting.field,
            each.setting.shown(each.value),
            each.origin,
            "; ".join(str(change).split(": ", 1)[1] for change in each.changes),
        )
        for each in resolution.settings.values()
        if wide or each.stated
    ]
    parts = [f"SparkAllocation {run.namespace}/{run.name}"]
    if settings:
        parts.append(table(("SETTING", "VALUE", "SET BY", "CHANGED"), settings))
    problems = (*resolution.conflicts, *resolution.ignored, *run.policies.problems)
    parts += [f"Policies: {each}" for each in problems]
    heads = ["SECOND", "TARGET", "ASKED", "PODS", "RUNNING", "WHY"]
    rows = [
        [each.second, each.target, each.asked, each.pods, each.running, each.why]
        for each in run.moments
    ]
    if run.grant_reason:
        heads.insert(2, "GRANTED")
        for row, each in zip(rows, run.moments, strict=True):
            row.insert(2, "" if each.granted is None else each.granted)
    parts.append(table(heads, rows))
    if run.grant_reason:
        parts.append(f"Budgets: {run.grant_reason}")
    parts += [f"Note: {each}" for each in run.notes]
    return "\n\n".join(parts)
