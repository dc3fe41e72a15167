"""The command ``spark-allocation``."""

import typer

from spark_allocation.cli import crd, driver_conf, run

app = typer.Typer(
    name="spark-allocation",
    help="Runs Spark's dynamic allocation outside the driver, on Kubernetes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("driver-conf")(driver_conf.driver_conf)
app.command("crd")(crd.crd)


def main() -> None:
    """The console script."""
    app()
