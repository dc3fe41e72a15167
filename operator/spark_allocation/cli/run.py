"""``spark-allocation run``: the operator process."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from spark_allocation.controller.logging_setup import configure_logging
from spark_allocation.controller.process import run_process
from spark_allocation.controller.process_settings import ProcessSettings
from spark_allocation.kube.api_client import NoCredentials
from spark_allocation.kube.leader_lease import LeaseLost

EXIT_USAGE = 2
EXIT_CREDENTIALS = 2
EXIT_LEASE_LOST = 3

_LISTS = {"namespaces": '["spark-jobs"]', "driver_networks": '["10.0.0.0/8"]'}
"""Settings that are lists, with how one is written into a variable."""


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
        typer.Option(
            help="Namespace to serve; repeat for several. Left out: all. As a variable SPARK_ALLOCATION_NAMESPACES, a JSON list."
        ),
    ] = None,
    managed_by: Annotated[
        str | None,
        typer.Option(
            help="Name of this installation, where there are several: spec.managedBy of the SparkAllocations that it serves."
        ),
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option(
            help="Port of /healthz, /readyz and /metrics; 0 takes a free one. Left out: 8080."
        ),
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="json or console. Left out: json.")] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error. Left out: info.")
    ] = None,
) -> None:
    """Run the operator until SIGTERM or SIGINT.

    Every option can also be set as an environment variable, SPARK_ALLOCATION_KUBECONFIG and so on; that of --namespace is
    SPARK_ALLOCATION_NAMESPACES='["spark-jobs"]'. Ending the operator touches no pod: executors run on, and the next
    operator goes on where this one stopped.

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
    options = {key: value for key, value in given.items() if value is not None}
    try:
        settings = ProcessSettings(**options)
    except (ValidationError, SettingsError) as error:
        for refusal in _refusals(error, options):
            typer.echo(refusal, err=True)
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


def _refusals(
    error: ValidationError | SettingsError, options: Mapping[str, object]
) -> Iterator[str]:
    """What is wrong, each with the option or the variable that says so, and its value."""
    if isinstance(error, SettingsError):
        yield from list(_no_lists()) or [str(error)]
        return
    told: dict[tuple[str, str], list[str]] = {}
    for problem in error.errors(include_url=False):
        field, *below = problem["loc"]
        # of a value that may be of several kinds pydantic names these too
        place = "".join(f"[{each}]" for each in below if isinstance(each, int))
        where = _option(str(field)) if field in options else _variable(str(field))
        told.setdefault((f"{where}{place}", repr(problem["input"])), []).append(problem["msg"])
    for (where, value), rules in told.items():
        yield f"{where}: {'; '.join(rules)} (it is {value})"


def _no_lists() -> Iterator[str]:
    """Variables whose text is not read as a list, because it is no JSON."""
    for field, example in _LISTS.items():
        text = os.environ.get(_variable(field), "")
        try:
            json.loads(text or "[]")
        except ValueError:
            yield f"{_variable(field)}: a JSON list is wanted, such as {example} (it is {text!r})"


def _option(field: str) -> str:
    return "--namespace" if field == "namespaces" else f"--{field.replace('_', '-')}"


def _variable(field: str) -> str:
    """Settings that Kubernetes itself gives are told by the name of the variable."""
    return f"SPARK_ALLOCATION_{field.upper()}" if field in ProcessSettings.model_fields else field
