"""``spark-allocation release``: the way out."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

import typer

from spark_allocation.api.group import finalizer_of, is_finalizer
from spark_allocation.cli.connection import (
    EXIT_PROBLEM,
    EXIT_USAGE,
    AllNamespaces,
    Context,
    Kubeconfig,
    connected,
    namespace_of,
)
from spark_allocation.kube.cluster_reading import ClusterReading, Document

PODS_GONE_SECONDS = 90.0
"""How long the operator's pods may take to end; their grace period is 30 s."""
LOOK_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Released:
    """How many objects were let go, and what failed."""

    done: int
    failures: tuple[str, ...]


def release(  # noqa: PLR0917  (options of a command)
    names: Annotated[
        list[str] | None, typer.Argument(help="SparkAllocations to let go. Or --all.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All of the namespace.")] = False,
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            "--namespace",
            "-n",
            help="Namespace; with --all, repeat for several. Left out: that of the context.",
        ),
    ] = None,
    all_namespaces: AllNamespaces = False,
    scale_to_zero: Annotated[
        str | None,
        typer.Option(
            metavar="NAMESPACE/DEPLOYMENT",
            help="First scale this Deployment of the operator to zero and wait until its pods are gone.",
        ),
    ] = None,
    managed_by: Annotated[
        str | None,
        typer.Option(
            help="Only the finalizer of the installation of this name; '' is the one without. Left out: of any."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Take the operator's finalizer off SparkAllocations, so that they can be deleted without an operator.

    kubectl salloc release --all -A --scale-to-zero spark-allocation-system/spark-allocation-operator

    For an operator that was uninstalled, or that cannot run any more. No executor is touched: they stay until their
    driver ends. While an operator runs, it puts the finalizer back: scale it to zero first, or say --scale-to-zero.

    Exit codes: 0; 1 when something could not be released, or you said no; 2 for wrong options or without credentials;
    4 when the API server does not answer.
    """
    if bool(names) == every:
        typer.echo("name SparkAllocations, or say --all", err=True)
        raise typer.Exit(EXIT_USAGE)
    if names and all_namespaces:
        typer.echo("names are of one namespace: -A goes with --all", err=True)
        raise typer.Exit(EXIT_USAGE)
    if names and len(namespace or ()) > 1:
        typer.echo("names are of one namespace: several go with --all", err=True)
        raise typer.Exit(EXIT_USAGE)
    operator_namespace, _, deployment = (scale_to_zero or "").partition("/")
    if scale_to_zero is not None and not (operator_namespace and deployment):
        typer.echo("--scale-to-zero: NAMESPACE/DEPLOYMENT", err=True)
        raise typer.Exit(EXIT_USAGE)
    places: list[str | None] = [None]
    if not all_namespaces:
        places = list(dict.fromkeys(namespace or [namespace_of(None, kubeconfig, context)]))
    if scale_to_zero is not None:
        if not yes and not typer.confirm(f"Scale {scale_to_zero} to zero?"):
            raise typer.Exit(EXIT_PROBLEM)
        obstacle = connected(
            kubeconfig, context, lambda reading: _stop(reading, operator_namespace, deployment)
        )
        if obstacle:
            typer.echo(obstacle, err=True)
            raise typer.Exit(EXIT_PROBLEM)
    bodies = connected(kubeconfig, context, lambda reading: _allocations(reading, places))
    if bodies is None:
        typer.echo("SparkAllocations may not be listed", err=True)
        raise typer.Exit(EXIT_PROBLEM)
    missing = sorted(set(names or ()) - {each["metadata"]["name"] for each in bodies})
    if missing:
        typer.echo(f"there is no SparkAllocation {', '.join(missing)}", err=True)
        raise typer.Exit(EXIT_PROBLEM)

    def goes(finalizer: str) -> bool:
        if managed_by is None:
            return is_finalizer(finalizer)
        return finalizer == finalizer_of(managed_by)

    held = [
        each
        for each in bodies
        if any(map(goes, each["metadata"].get("finalizers") or ()))
        and (every or each["metadata"]["name"] in (names or ()))
    ]
    if not held:
        typer.echo("No SparkAllocation has the operator's finalizer.")
        return
    for each in held:
        typer.echo(f"{each['metadata']['namespace']}/{each['metadata']['name']}")
    if not yes and not typer.confirm(f"Release these {len(held)}?"):
        raise typer.Exit(EXIT_PROBLEM)
    released = connected(kubeconfig, context, lambda reading: _release(reading, held, goes))
    typer.echo(f"released {released.done}")
    for failure in released.failures:
        typer.echo(failure, err=True)
    if released.failures:
        raise typer.Exit(EXIT_PROBLEM)


async def _stop(reading: ClusterReading, namespace: str, deployment: str) -> str:
    """Scale a Deployment to zero and wait for the end of its pods; why that did not come, or ""."""
    scaled = await reading.scale_deployment(namespace, deployment, 0)
    if scaled is None:
        return ""  # there is no such Deployment: nobody who would put a finalizer back
    if isinstance(scaled, str):
        return f"{namespace}/{deployment} cannot be scaled: {scaled}"
    selector = scaled["status"]["selector"]
    end = time.monotonic() + PODS_GONE_SECONDS
    while True:
        pods = await reading.all_of(f"/api/v1/namespaces/{quote(namespace)}/pods", selector)
        if pods is None:
            return f"pods of {namespace} may not be listed: nobody knows whether the operator has ended"
        if not pods:
            return ""
        if time.monotonic() > end:
            named = ", ".join(pod["metadata"]["name"] for pod in pods)
            return f"still there after {PODS_GONE_SECONDS:.0f} s: {named}; nothing is released"
        await asyncio.sleep(LOOK_EVERY_SECONDS)


async def _allocations(reading: ClusterReading, places: list[str | None]) -> list[Document] | None:
    """All of these places; none where their kind is gone, which is how an uninstallation may find it."""
    if not await reading.knows_allocations():
        return []
    found: list[Document] = []
    for place in places:
        bodies = await reading.allocations(place)
        if bodies is None:
            return None
        found += bodies
    return found


async def _release(
    reading: ClusterReading, held: list[Document], goes: Callable[[str], bool]
) -> Released:
    failures: list[str] = []
    for each in held:
        metadata = each["metadata"]
        outcome = await reading.set_finalizers(
            metadata["namespace"],
            metadata["name"],
            [name for name in metadata["finalizers"] if not goes(name)],
            metadata["resourceVersion"],
        )
        if not outcome.done:
            failures.append(f"{metadata['namespace']}/{metadata['name']}: {outcome.message}")
    return Released(len(held) - len(failures), tuple(failures))
