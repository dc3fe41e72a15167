"""The command ``spark-allocation``."""

import contextlib
import io
import os
import sys

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
)
app.command("run")(run.run)
app.command("driver-conf")(driver_conf.driver_conf)
app.command("crd")(crd.crd)
app.command("explain")(explain.explain)
app.command("top")(top.top)
app.command("doctor")(doctor.doctor)
app.command("plan")(plan.plan)
app.command("plot")(plot.plot)
app.command("release")(release.release)
app.command("simulate")(simulate.simulate)


def _plugin(*, add_completion: bool) -> typer.Typer:
    """The commands of ``kubectl salloc``; kubectl installs no completion the way that the option would."""
    plugin = typer.Typer(
        name="kubectl salloc",
        help="Looks after SparkAllocations: why they are what they are, and what is wrong.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=add_completion,
    )
    plugin.command("explain")(explain.explain)
    plugin.command("top")(top.top)
    plugin.command("doctor")(doctor.doctor)
    plugin.command("plan")(plan.plan)
    plugin.command("plot")(plot.plot)
    plugin.command("driver-conf")(driver_conf.driver_conf)
    plugin.command("release")(release.release)
    plugin.command("simulate")(simulate.simulate)
    return plugin


def main() -> None:
    """The console script."""
    app()


def kubectl_salloc() -> None:
    """``kubectl-salloc`` on the PATH is ``kubectl salloc``."""
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
