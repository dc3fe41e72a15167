"""``spark-allocation driver-conf``: settings that leave a driver's allocation to the operator."""

from enum import StrEnum
from typing import Annotated

import typer

from spark_allocation.api.group import MANAGED_LABEL
from spark_allocation.core.passive_driver import (
    FALLBACK_SETTINGS,
    MIGRATION_SETTINGS,
    PASSIVE_SETTINGS,
    Setting,
    parallelism_settings,
)


class Format(StrEnum):
    """How settings are written."""

    PROPERTIES = "properties"
    FLAGS = "flags"


def driver_conf(  # noqa: PLR0917  (each is an option)
    format: Annotated[  # noqa: A002  (the option's name)
        Format,
        typer.Option(
            help="A properties file for --properties-file, or --conf flags for spark-submit."
        ),
    ] = Format.PROPERTIES,
    expected_cores: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Cores that the application is going to have: also sets the parallelism that Spark would take from "
            "executors present at its start.",
        ),
    ] = None,
    managed: Annotated[
        bool,
        typer.Option(
            "--managed",
            help="Also label the driver pod so that the operator makes its SparkAllocation.",
        ),
    ] = False,
    migrate: Annotated[
        bool,
        typer.Option(
            "--migrate", help="Also hand on cached and shuffle blocks of executors that leave."
        ),
    ] = False,
    streaming: Annotated[
        bool,
        typer.Option(
            "--streaming",
            help="Also show how streaming queries fare, for a SparkAllocation with spec.streaming.",
        ),
    ] = False,
    fallback: Annotated[
        bool,
        typer.Option(
            "--fallback",
            help="Instead: settings of a driver that allocates for itself, without operator.",
        ),
    ] = False,
) -> None:
    """Print the driver settings that belong to this operator.

    spark-submit --properties-file <(spark-allocation driver-conf --managed --expected-cores 40) …

    The driver keeps its own Spark; it only stops asking for executors and dismissing them. Its service account needs
    no right to create or delete pods.
    """
    settings: list[Setting] = list(FALLBACK_SETTINGS if fallback else PASSIVE_SETTINGS)
    if migrate:
        settings += MIGRATION_SETTINGS
    if streaming:
        settings.append(
            Setting(
                "spark.sql.streaming.metricsEnabled",
                "true",
                "gauges say how long batches take and how fast rows come",
            )
        )
    if expected_cores is not None and not fallback:
        settings += parallelism_settings(expected_cores)
    if managed and not fallback:
        settings.append(
            Setting(
                f"spark.kubernetes.driver.label.{MANAGED_LABEL}",
                "true",
                "the operator makes the SparkAllocation",
            )
        )
    if format is Format.FLAGS:
        typer.echo(" ".join(f"--conf {setting.key}={setting.value}" for setting in settings))
        return
    for setting in settings:
        typer.echo(f"# {setting.why}\n{setting.key}={setting.value}")
