"""``spark-allocation plot``: a picture of how streams fare."""

import asyncio
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated, NoReturn, TextIO

import typer

from spark_allocation.api.field_types import seconds
from spark_allocation.cli.connection import (
    EXIT_PROBLEM,
    EXIT_USAGE,
    Context,
    Kubeconfig,
    Namespace,
    connected,
    namespace_of,
)
from spark_allocation.epoch_clock import epoch_seconds
from spark_allocation.kube.cluster_reading import ClusterReading
from spark_allocation.reports.pictures import PlotsMissing
from spark_allocation.reports.stream_plot import plot_streams
from spark_allocation.reports.stream_trace import StreamPoint, point_of, read_trace


def plot(  # noqa: PLR0917  (options of a command)
    name: Annotated[str | None, typer.Argument(help="Name of the SparkAllocation.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write: .png, .svg or .pdf. Left out: NAME.png."
        ),
    ] = None,
    duration: Annotated[
        str, typer.Option("--for", help="How long to look, such as 30min; Ctrl-C ends it sooner.")
    ] = "10min",
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 5.0,
    record: Annotated[
        Path | None, typer.Option(help="Also keep what is seen in this file, for --trace.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Draw what --record has kept instead of looking.")
    ] = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Draw input rate, backlog, batch duration and executors of streams over time.

    kubectl salloc plot orders -n spark-jobs --for 30min

    Needs the package matplotlib. The operator writes figures of streams into the status every ten seconds.

    Exit codes: 0; 1 when there is no such SparkAllocation or trace, or nothing to draw; 2 without matplotlib, without
    credentials, or for options that make no sense; 4 when the API server does not answer.
    """
    if (name is None) == (trace is None):
        _end("name a SparkAllocation, or a trace with --trace", EXIT_USAGE)
    if trace is not None:
        points = _read(trace)
        title = trace.name
    else:
        where = namespace_of(namespace, kubeconfig, context)
        try:
            until = time.monotonic() + seconds(duration)
        except ValueError as error:
            _end(f"--for: {error}", EXIT_USAGE)
        title = f"{where}/{name}"

        async def look(reading: ClusterReading) -> list[StreamPoint]:
            with nullcontext() if record is None else record.open("w", encoding="utf-8") as kept:
                return await _look(
                    reading, where, str(name), until=until, interval=interval, kept=kept
                )

        points = connected(kubeconfig, context, look)
    if not points:
        _end(f"{title}: no such SparkAllocation, or it may not be read", EXIT_PROBLEM)
    if not any(point.queries for point in points):
        _end(f"{title}: its status shows no streaming query", EXIT_PROBLEM)
    file = output or Path(f"{name or title}.png")
    try:
        plot_streams(file, title, points)
    except (PlotsMissing, ValueError) as error:
        _end(str(error), EXIT_USAGE)
    typer.echo(f"{file}: {len(points)} looks")


async def _look(
    reading: ClusterReading,
    namespace: str,
    name: str,
    *,
    until: float,
    interval: float,
    kept: TextIO | None,
) -> list[StreamPoint]:
    """Look until the time is over, the object is gone, or somebody has seen enough."""
    points: list[StreamPoint] = []
    with suppress(asyncio.CancelledError):
        while True:
            body = await reading.allocation(namespace, name)
            if body is None:
                break
            points.append(point_of(body.get("status") or {}, epoch_seconds()))
            if kept is not None:
                print(points[-1].line, file=kept, flush=True)
            if time.monotonic() + interval > until:
                break
            await asyncio.sleep(interval)
    return points


def _read(trace: Path) -> list[StreamPoint]:
    try:
        return read_trace(trace.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        _end(f"{trace}: {error}", EXIT_PROBLEM)


def _end(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)
