"""``spark-allocation simulate``: yesterday's jobs under another policy, from their event logs or from traces of the operator."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from spark_allocation.cli.connection import EXIT_PROBLEM, EXIT_USAGE, Output, OutputOption
from spark_allocation.cli.output import write_document
from spark_allocation.cli.simulated_logs import (
    allocation_yaml,
    log_document,
    log_runs,
    log_text,
    log_title,
    recommendation_document,
    recommendation_text,
    totals_text,
)
from spark_allocation.cli.simulated_traces import (
    found_at,
    trace_document,
    trace_runs,
    trace_text,
    trace_title,
)
from spark_allocation.controller.policy_files import RefusedPolicy, distinct, read_policy_file
from spark_allocation.controller.policy_search import Recommendation, policy_of
from spark_allocation.controller.trace_study import TraceStudy, trace_studies
from spark_allocation.controller.what_if_on_spark import (
    SparkJobFailed,
    SparkMissing,
    studies_on_spark,
)
from spark_allocation.controller.what_if_study import (
    LogStudy,
    SupposedCluster,
    refused_by_all,
    search,
    searchable,
    studies,
)
from spark_allocation.reports.pictures import PlotsMissing
from spark_allocation.reports.what_if_plot import plot
from spark_allocation.sources.event_log.log_files import LogFiles, NoLog
from spark_allocation.traces.files import DamagedTrace

BAR_AFTER_SECONDS = 2.0
LONGEST_START_SECONDS = 86_400
MOST_FAILURES = 3_600
HIGHEST_PRICE = 1e9


def simulate(  # noqa: PLR0917  (options of a command)
    logs: Annotated[
        list[str],
        typer.Argument(
            metavar="LOG",
            help="Event logs: files, rolled logs (eventlog_v2_…), folders of them, URLs with fsspec. Or traces of the operator: files and folders.",
        ),
    ],
    policy: Annotated[
        list[Path] | None,
        typer.Option(
            help="A policy to try: a SparkAllocation, or Spark properties, as YAML; repeat for several.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    start_delay: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=LONGEST_START_SECONDS,
            help="Seconds from asking for a pod to a registered executor. Left out: as recorded, else 5.",
        ),
    ] = None,
    pods_per_minute: Annotated[
        float | None, typer.Option(min=0.01, help="Most pods that begin to start in a minute.")
    ] = None,
    failure_rate: Annotated[
        float,
        typer.Option(
            min=0,
            max=MOST_FAILURES,
            help="Executors lost unasked, in an hour of an executor's life.",
        ),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of everything that is left to chance.")] = 0,
    price_per_core_hour: Annotated[
        float | None,
        typer.Option(
            "--price-per-core-hour", "--price", min=0, max=HIGHEST_PRICE, help="For the cost."
        ),
    ] = None,
    recommend: Annotated[
        bool,
        typer.Option("--recommend", help="Search for the cheapest policy that is fast enough."),
    ] = False,
    within: Annotated[
        str,
        typer.Option(help="With --recommend: how much slower than the fastest, such as 10%."),
    ] = "10%",
    plot_file: Annotated[
        Path | None,
        typer.Option(
            "--plot", help="Draw the runs into this file (.png, .svg); one log at a time."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes for several logs. Left out: all cores.")
    ] = None,
    spark: Annotated[
        bool,
        typer.Option(
            "--spark",
            help="A Spark task for each log in place of a process of this machine; executors have to see the logs. Needs PySpark.",
        ),
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run recorded applications again, in thought, under other policies.

    spark-allocation simulate eventlog_v2_spark-1 --policy frugal.yaml --policy generous.yaml --price 0.04

    spark-allocation simulate /var/log/spark-events --recommend --within 5% > spark-allocation.yaml

    The decisions are those of production: the same code, on a simulated clock. The first row is what the log tells, the
    second the same settings simulated: how far these two are apart says how far the others can be trusted.

    Several logs are read on all cores, and with --spark on all executors of a Spark application, with the same answer:

    spark-submit --master k8s://… simulate_on_spark.py s3a://logs/spark-events --policy frugal.yaml -o json > answer.json

    A trace of the operator is recognized by its contents. Its decisions are made again and compared, and policies are put
    before the same demand; how long the application would have taken is not in a trace.

    A log that cannot be read or simulated, and a policy that one application cannot have, are told; the others have their
    answers. Exit codes: 0; 1 when no log can be used, no application can have a policy, a run does not end, or a trace of
    this version is decided otherwise; 2 for wrong options.
    """  # fmt: skip
    try:
        share = _share(within)
        found, traces = found_at(logs)
        policies = distinct(each for file in policy or () for each in read_policy_file(file))
    except (NoLog, DamagedTrace, RefusedPolicy) as error:
        _end(str(error), EXIT_PROBLEM)
    except (ValueError, OSError) as error:
        _end(str(error), EXIT_USAGE)
    number = len(found) + len(traces)
    if plot_file is not None and number != 1:
        _end(f"--plot {plot_file}: draws one log, and {number} were found; name one", EXIT_USAGE)
    if recommend and traces:
        _end(
            f"--recommend: {traces[0].name} is a trace of the operator, which does not tell how long tasks take; "
            "name event logs",
            EXIT_USAGE,
        )
    if spark and recommend:
        _end("--recommend: searches on one machine; leave out --spark, or --recommend", EXIT_USAGE)
    if spark and plot_file is not None:
        _end("--plot: draws one log on one machine; leave out --spark, or --plot", EXIT_USAGE)
    supposed = SupposedCluster(
        start_delay_ms=None if start_delay is None else round(start_delay * 1000),
        pods_per_minute=pods_per_minute,
        failures_per_hour=failure_rate,
        seed=seed,
    )
    try:
        recommendation = _recommended(found, supposed, share) if recommend else None
        if recommendation is not None and recommendation.chosen is not None:
            policies.append(policy_of(recommendation.chosen.wishes))
        with _bar("reading and simulating", sum(log.size for log in found)) as advance:
            if spark and found:
                results = studies_on_spark(found, policies, supposed, progress=advance)
            else:
                workers = workers or os.cpu_count() or 1
                results = studies(found, policies, supposed, workers=workers, progress=advance)
        if refused := refused_by_all(results):
            _end(refused, EXIT_PROBLEM)
        with _bar("replaying", sum(trace.size for trace in traces)) as advance:
            replayed = trace_studies(traces, policies, supposed, progress=advance)
        if plot_file is not None:
            _plot(plot_file, results, replayed)
    except (NoLog, RefusedPolicy, SparkJobFailed) as error:
        _end(str(error), EXIT_PROBLEM)
    except (PlotsMissing, SparkMissing, ValueError, OSError) as error:
        _end(str(error), EXIT_USAGE)
    _write(results, replayed, recommendation, share, price_per_core_hour, output)
    runs = [each.outcome for result in results for each in result.outcomes]
    problems = [*(each.problem for each in results), *(each.problem for each in replayed)]
    if all(problems) or not all(outcome.finished for outcome in runs):
        raise typer.Exit(EXIT_PROBLEM)
    if any(study.decides_otherwise for study in replayed):
        raise typer.Exit(EXIT_PROBLEM)
    if recommendation is not None and recommendation.chosen is None:
        raise typer.Exit(EXIT_PROBLEM)


def _end(sentence: str, code: int) -> None:
    typer.echo(sentence, err=True)
    raise typer.Exit(code)


def _share(text: str) -> float:
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / 100
    except ValueError:
        share = -1
    if not 0 <= share <= 100:
        raise ValueError(f"--within {text}: a share is wanted, such as 10%")
    return share


@contextmanager
def _bar(what: str, total: float | None) -> Iterator[Callable[[float], None]]:
    """A progress bar on a terminal, for what takes longer than two seconds."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _advance: None
        return
    number = TextColumn("{task.completed:.0f}")
    columns = (number,) if total is None else (BarColumn(), TimeRemainingColumn())
    progress = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), *columns, console=console, transient=True
    )
    task = progress.add_task(what, total=total)
    # a single step may take long, so the clock shows the bar and not the first step
    timer = threading.Timer(BAR_AFTER_SECONDS, progress.start)
    timer.start()
    try:
        yield lambda advance: progress.advance(task, advance)
    finally:
        timer.cancel()
        timer.join()
        progress.stop()


def _recommended(
    logs: Sequence[LogFiles], supposed: SupposedCluster, share: float
) -> Recommendation:
    with _bar("reading", sum(log.size for log in logs)) as advance:
        applications = searchable(logs, advance)
    with _bar("policies tried:", None) as advance:
        return search(applications, supposed, within=share, tried=lambda: advance(1))


def _plot(file: Path, results: Sequence[LogStudy], replayed: Sequence[TraceStudy]) -> None:
    """Draw the one log, or the life in a trace that had the most executors."""
    drawn = [(log_title(each), log_runs(each)) for each in results if each.recorded is not None]
    lives = [each for each in replayed if each.recorded is not None]
    lives.sort(key=lambda each: each.recorded.executor_ms if each.recorded is not None else 0)
    drawn += [(trace_title(each), trace_runs(each)) for each in lives[-1:]]
    for title, runs in drawn:
        plot(file, title, runs)


def _write(  # noqa: PLR0917
    results: Sequence[LogStudy],
    replayed: Sequence[TraceStudy],
    recommendation: Recommendation | None,
    share: float,
    price: float | None,
    output: Output,
) -> None:
    if output in (Output.JSON, Output.YAML):
        written: dict[str, Any] = {"applications": [log_document(each, price) for each in results]}
        if replayed:
            written["traces"] = [trace_document(each, price) for each in replayed]
        if recommendation is not None:
            written["recommendation"] = recommendation_document(recommendation, share, price)
        write_document(written, output)
        return
    say: Callable[[str], None] = typer.echo
    if recommendation is not None:
        # the object alone goes to the standard output, so that it can be applied as it is
        def say(text: str) -> None:
            typer.echo(text, err=True)

    for result in results:
        say(log_text(result, price) + "\n")
    for study in replayed:
        say(trace_text(study, price) + "\n")
    if sum(not result.problem for result in results) > 1:
        say(totals_text(results, price) + "\n")
    if recommendation is not None:
        say(recommendation_text(recommendation, share))
        if recommendation.chosen is not None:
            typer.echo(allocation_yaml(recommendation, share), nl=False)
