"""The command ``spark-allocation``."""

import contextlib
import io
import os
import sys
from collections.abc import Callable

import structlog
import typer

from spark_allocation.cli import (
    crd,
    doctor,
    driver_conf,
    explain,
    plan,
    plot,
    release,
    run,
    simulate,
    top,
)

app = typer.Typer(
    name="spark-allocation",
    help="Runs Spark's dynamic allocation outside the driver, on Kubernetes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # plain text: in boxes flags look as if they took a value, and long names and defaults are cut off
    rich_markup_mode=None,
)
app.command("run")(run.run)
app.command("driver-conf")(driver_conf.driver_conf)
app.command("crd", short_help="Print or write the CRDs.")(crd.crd)


def _add_shared(to: typer.Typer) -> None:
    """The commands that ``kubectl salloc`` has as well, each with a sentence that fits into a line of the list."""
    shared: tuple[tuple[str, Callable[..., None], str], ...] = (
        ("explain", explain.explain, "Show every setting with who set it, and the last decisions."),
        ("top", top.top, "Show all allocations live, the largest first."),
        ("doctor", doctor.doctor, "Check rights, CRDs, clocks, the operator, and drivers."),
        ("plan", plan.plan, "Decide once from files, without a cluster."),
        ("plot", plot.plot, "Draw rate, backlog, durations and executors of streams."),
        ("release", release.release, "Take the operator's finalizer off SparkAllocations."),
        ("simulate", simulate.simulate, "Run recorded applications again under other policies."),
    )
    for name, command, sentence in shared:
        to.command(name, short_help=sentence)(command)


_add_shared(app)


def _plugin(*, add_completion: bool) -> typer.Typer:
    """The commands of ``kubectl salloc``; kubectl installs no completion the way that the option would."""
    plugin = typer.Typer(
        name="kubectl salloc",
        help="Looks after SparkAllocations: why they are what they are, and what is wrong.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        add_completion=add_completion,
    )
    plugin.command("driver-conf")(driver_conf.driver_conf)
    _add_shared(plugin)
    return plugin


def _log_beside_answers() -> None:
    """What is logged goes to the standard error: the standard output is the answer, which programs read.

    `run` sets logging up by itself.
    """
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def main() -> None:
    """The console script."""
    _log_beside_answers()
    app()


def kubectl_salloc() -> None:
    """``kubectl-salloc`` on the PATH is ``kubectl salloc``."""
    _log_beside_answers()
    _plugin(add_completion=False)(prog_name="kubectl salloc")


def kubectl_complete_salloc() -> None:
    """``kubectl_complete-salloc`` on the PATH completes ``kubectl salloc``.

    kubectl hands over the words so far, the last of them unfinished, and reads suggestions and a directive: 4 for no
    names of files, 0 for those when there is nothing else to suggest.
    """
    words = sys.argv[1:]
    os.environ["_KUBECTL_SALLOC_COMPLETE"] = "complete_bash"
    os.environ["COMP_WORDS"] = " ".join(["kubectl-salloc", *words])
    os.environ["COMP_CWORD"] = str(len(words))
    suggested = io.StringIO()
    with contextlib.redirect_stdout(suggested), contextlib.suppress(SystemExit):
        _plugin(add_completion=True)(prog_name="kubectl-salloc", args=[])
    print(suggested.getvalue(), end="")  # noqa: T201  (what kubectl reads)
    print(":4" if suggested.getvalue().strip() else ":0")  # noqa: T201
