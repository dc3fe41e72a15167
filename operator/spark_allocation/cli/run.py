"""``spark-allocation run``: the operator process."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from spark_allocation.controller.logging_setup import configure_logging
from spark_allocation.controller.process import run_process
from spark_allocation.controller.process_settings import ProcessSettings
from spark_allocation.kube.api_client import NoCredentials
from spark_allocation.kube.leader_lease import LeaseLost

EXIT_USAGE = 2
EXIT_CREDENTIALS = 2
EXIT_LEASE_LOST = 3


def run(  # noqa: PLR0917  (options of a command)
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            help="Kubeconfig file. Left out: in-cluster credentials.", exists=True, dir_okay=False
        ),
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(help="Namespace to serve; repeat for several. Left out: all."),
    ] = None,
    managed_by: Annotated[
        str | None,
        typer.Option(
            help="Name of this installation, where there are several: spec.managedBy of the SparkAllocations that it serves."
        ),
    ] = None,
    health_port: Annotated[
        int | None, typer.Option(help="Port of /healthz, /readyz and /metrics; 0 takes a free one.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="json or console.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Run the operator until SIGTERM or SIGINT.

    Every option can also be set as an environment variable, SPARK_ALLOCATION_KUBECONFIG and so on. Ending the
    operator touches no pod: executors run on, and the next operator goes on where this one stopped.

    Exit codes: 0 after a signal, 2 for wrong options or without usable credentials, 3 when another operator has taken the Lease.
    """
    given: dict[str, Any] = {
        "kubeconfig": kubeconfig,
        "context": context,
        "namespaces": tuple(namespace) if namespace else None,
        "managed_by": managed_by,
        "health_port": health_port,
        "log_format": log_format,
        "log_level": log_level,
    }
    try:
        settings = ProcessSettings(
            **{key: value for key, value in given.items() if value is not None}
        )
    except ValidationError as error:
        for problem in error.errors():
            option = "-".join(str(part).replace("_", "-") for part in problem["loc"])
            typer.echo(f"--{option}: {problem['msg']}", err=True)
        raise typer.Exit(EXIT_USAGE) from None
    import uvloop  # here: there is none for Windows, where the other commands work

    configure_logging(log_format=settings.log_format, log_level=settings.log_level)
    try:
        uvloop.run(run_process(settings))
    except LeaseLost as lost:
        typer.echo(str(lost), err=True)
        raise typer.Exit(EXIT_LEASE_LOST) from None
    except NoCredentials as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_CREDENTIALS) from None
