"""``spark-allocation top``: all allocations, live."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from spark_allocation.cli.connection import (
    EXIT_PROBLEM,
    AllNamespaces,
    Context,
    Kubeconfig,
    Namespace,
    Output,
    OutputOption,
    connected,
    namespace_of,
)
from spark_allocation.cli.output import table, write_document
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.cluster_reading import ClusterReading

HEADS = ("NAMESPACE", "NAME", "STATE", "DESIRED", "TARGET", "RUNNING", "PENDING", "IDLE", "HELD", "DRAINING", "FAILED", "AGE")  # fmt: skip
WIDE_HEADS = (*HEADS, "DRIVER", "APPLICATION", "MESSAGE")
SAVED_HEAD = "SAVED"
_NUMBERS = frozenset((*HEADS[3:11], SAVED_HEAD))
_STYLES = {"Stalled": "red", "Running": "green", "ScalingUp": "cyan", "Finished": "dim"}


def top(  # noqa: PLR0917  (options of a command)
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    interval: Annotated[float, typer.Option(min=0.5, help="Seconds between two looks.")] = 2.0,
    once: Annotated[
        bool,
        typer.Option("--once", help="One look; also what happens when the output is no terminal."),
    ] = False,
    output: OutputOption = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show all allocations with what their tasks need and what they have, the largest first.

    kubectl salloc top -A

    DESIRED is what the tasks need, TARGET what bounds, policies and the ramp make of it. HELD executors are idle and
    kept for shuffle data or cached blocks. Of drivers that are only advised (mode Recommend) RUNNING is what Spark itself
    has, TARGET what the operator would have, and SAVED the executor-hours between them.

    Exit codes: 0; 1 when SparkAllocations may not be listed; 2 without credentials; 4 when the API server does not
    answer.
    """
    where = None if all_namespaces else namespace_of(namespace, kubeconfig, context)
    # FORCE_COLOR makes a terminal of any pipe for rich, and whoever reads the pipe waits for its end
    live = not once and output in (Output.TABLE, Output.WIDE) and sys.stdout.isatty()

    async def look(reading: ClusterReading) -> list[dict[str, Any]] | None:
        return await reading.allocations(where)

    if live:
        wide = output is Output.WIDE
        connected(
            kubeconfig,
            context,
            lambda reading: _keep_looking(lambda: look(reading), interval, wide),
        )
        _not_listable()
    bodies = connected(kubeconfig, context, look)
    if bodies is None:
        _not_listable()
    elif output in (Output.JSON, Output.YAML):
        write_document(
            [
                {
                    "namespace": each["metadata"]["namespace"],
                    "name": each["metadata"]["name"],
                    "status": each.get("status") or {},
                }
                for each in bodies
            ],
            output,
        )
    else:
        wide = output is Output.WIDE
        heads, rows = _table(bodies, wide=wide)
        typer.echo(table(heads, rows) if rows else "No SparkAllocations.")


async def _keep_looking(
    look: Callable[[], Awaitable[list[dict[str, Any]] | None]], interval: float, wide: bool
) -> None:
    """Show what there is until it may not be listed any more.

    While the API server does not answer, what was seen last stays, and says how old it is.

    Raises:
        ApiUnavailable: the very first look failed.
    """
    seen: Table | None = None
    caption, seen_at = "", ""
    with Live(auto_refresh=False, screen=False) as screen:
        while True:
            try:
                bodies = await look()
            except ApiUnavailable as error:
                if seen is None:
                    raise
                seen.caption = f"{caption}, as of {seen_at}: {error}"
            else:
                if bodies is None:
                    return
                seen = _rich(bodies, wide=wide)
                caption, seen_at = str(seen.caption), f"{datetime.now():%H:%M:%S}"  # noqa: DTZ005  (for a person's eyes)
            screen.update(seen, refresh=True)
            await asyncio.sleep(interval)


def _not_listable() -> None:
    typer.echo(
        "SparkAllocations may not be listed, or their kind is not installed (kubectl apply -f crds/)",
        err=True,
    )
    raise typer.Exit(EXIT_PROBLEM)


def _table(
    bodies: list[dict[str, Any]], *, wide: bool
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and rows; what is saved is a column while some driver is only advised."""
    ordered = sorted(bodies, key=_largest_first)
    saved = [_saved(body) for body in ordered]
    heads, rows = WIDE_HEADS if wide else HEADS, [_row(body, wide=wide) for body in ordered]
    if not any(saved):
        return heads, rows
    place = len(HEADS)
    return (
        (*heads[:place], SAVED_HEAD, *heads[place:]),
        [(*row[:place], each, *row[place:]) for row, each in zip(rows, saved, strict=True)],
    )


def _saved(body: Mapping[str, Any]) -> str:
    """Executor-hours between Spark's own allocation and ours, such as ``3.42h 37%``."""
    hours = ((body.get("status") or {}).get("recommendation") or {}).get("executorHours") or {}
    spark, saved = hours.get("spark", 0.0), hours.get("saved", 0.0)
    if not hours:
        return ""
    return f"{saved:.2f}h" + (f" {saved / spark:.0%}" if spark else "")


def _largest_first(body: Mapping[str, Any]) -> tuple[int, str, str]:
    metadata = body["metadata"]
    executors = (body.get("status") or {}).get("executors") or 0
    return -executors, metadata["namespace"], metadata["name"]


def _row(body: Mapping[str, Any], *, wide: bool) -> tuple[str, ...]:
    metadata, status = body["metadata"], body.get("status") or {}
    profiles = status.get("profiles") or ()

    def total(*names: str) -> str:
        return str(sum(profile.get(name, 0) for profile in profiles for name in names))

    row = (
        metadata["namespace"],
        metadata["name"],
        status.get("state") or "",
        total("desired"),
        str(status.get("target") or 0),
        str(status.get("executors") or 0),
        str(status.get("pending") or 0),
        total("idle"),
        total("heldByShuffle", "heldByCache"),
        total("decommissioning"),
        str(status.get("failed") or 0),
        _age(metadata.get("creationTimestamp")),
    )
    if not wide:
        return row
    return (
        *row,
        status.get("driverPod") or "",
        status.get("applicationId") or "",
        status.get("message") or "",
    )


def _age(created: str | None) -> str:
    if not created:
        return ""
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{max(0, seconds)}s"


def _rich(bodies: list[dict[str, Any]], *, wide: bool) -> Table:
    heads, rows = _table(bodies, wide=wide)
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        drawn.add_column(head, justify="right" if head in _NUMBERS else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*row, style=_STYLES.get(row[2]))
    drawn.caption = f"{len(rows)} allocations, {sum(int(row[5]) for row in rows)} executors of {sum(int(row[4]) for row in rows)} wanted"
    return drawn
