"""``spark-allocation plot``: a picture of how streams fare."""

import asyncio
import json
import time
from collections.abc import Callable
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
from spark_allocation.epoch_clock import epoch_ms, epoch_seconds
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.cluster_reading import ClusterReading
from spark_allocation.reports.pictures import PlotsMissing, check_picture
from spark_allocation.reports.stream_plot import plot_streams
from spark_allocation.reports.stream_trace import point_of, points_of
from spark_allocation.traces.files import entries, find_traces, looks
from spark_allocation.traces.format import Heading, Line, Writing
from spark_allocation.traces.looks import StreamPoint


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
        Path | None,
        typer.Option(help="Draw a trace instead of looking: one of the operator, or of --record."),
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
        title, points = _read(trace)
    else:
        where = namespace_of(namespace, kubeconfig, context)
        try:
            looking = seconds(duration)
        except ValueError as error:
            _end(f"--for: {error}", EXIT_USAGE)
        if looking < 0:
            _end(f"--for {duration}: must not be below zero", EXIT_USAGE)
        until = time.monotonic() + looking
        title = f"{where}/{name}"
        if record is None:
            # who has looked for half an hour, and kept nothing, should not hear only then that nothing can be drawn
            try:
                check_picture(output or Path(f"{name}.png"), wanted_by="plot")
            except (PlotsMissing, ValueError) as error:
                _end(str(error), EXIT_USAGE)

        async def look(reading: ClusterReading) -> list[StreamPoint]:
            with nullcontext() if record is None else record.open("w", encoding="utf-8") as kept:
                keep = _keeper(kept, where, str(name))
                return await _look(
                    reading, where, str(name), until=until, interval=interval, keep=keep
                )

        try:
            points = connected(kubeconfig, context, look)
        except OSError as error:
            if record is None:
                raise
            _end(f"--record {record}: {error}", EXIT_USAGE)
    if not points:
        _end(f"{title}: no such SparkAllocation, or it may not be read", EXIT_PROBLEM)
    if not any(point.queries for point in points):
        _end(f"{title}: its status shows no streaming query", EXIT_PROBLEM)
    file = output or Path(f"{name or title.rpartition('/')[2]}.png")
    try:
        plot_streams(file, title, points)
    except (PlotsMissing, ValueError, OSError) as error:
        _end(str(error), EXIT_USAGE)
    typer.echo(f"{file}: {len(points)} looks")


async def _look(
    reading: ClusterReading,
    namespace: str,
    name: str,
    *,
    until: float,
    interval: float,
    keep: Callable[[StreamPoint], None],
) -> list[StreamPoint]:
    """Look until the time is over, the object is gone, or somebody has seen enough.

    A look that fails leaves a gap: an API server that is away for a moment does not end half an hour of looking.

    Raises:
        ApiUnavailable: the very first look failed.
    """
    points: list[StreamPoint] = []
    answered = True
    with suppress(asyncio.CancelledError):
        while True:
            try:
                body = await reading.allocation(namespace, name)
                if body is None:
                    break
                answered = True
                points.append(point_of(body.get("status") or {}, epoch_seconds()))
                keep(points[-1])
            except ApiUnavailable as error:
                if not points:
                    raise
                if answered:
                    typer.echo(f"looking again: {error}", err=True)
                answered = False
            if time.monotonic() + interval > until:
                break
            await asyncio.sleep(interval)
    return points


def _keeper(file: TextIO | None, namespace: str, name: str) -> Callable[[StreamPoint], None]:
    """Keeps looks in a trace, if there is a file."""
    if file is None:
        return lambda _: None
    writing = Writing()

    def write(line: Line) -> None:
        print(json.dumps(line), file=file, flush=True)

    write(Heading(namespace, name, uid="", recording=epoch_ms(), part=1).line)
    return lambda point: write(writing.told(point))


def _read(where: Path) -> tuple[str, list[StreamPoint]]:
    """Whose trace it is, and how its streams fared."""
    try:
        traces = find_traces(str(where))
        if len(traces) != 1:
            names = ", ".join(each.name for each in traces) or "none"
            _end(f"{where}: one trace is wanted here, and there are: {names}", EXIT_PROBLEM)
        (trace,) = traces
        points = list(looks(trace))
        return trace.name, points or list(points_of(entry for _, entry in entries(trace)))
    except (OSError, ValueError) as error:
        _end(f"{where}: {error}", EXIT_PROBLEM)


def _end(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)
