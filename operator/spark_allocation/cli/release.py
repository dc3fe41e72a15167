"""``spark-allocation release``: the way out."""

from dataclasses import dataclass
from typing import Annotated

import typer

from spark_allocation.api.group import FINALIZER
from spark_allocation.cli.connection import (
    EXIT_PROBLEM,
    EXIT_USAGE,
    AllNamespaces,
    Context,
    Kubeconfig,
    Namespace,
    connected,
    namespace_of,
)
from spark_allocation.kube.cluster_reading import ClusterReading, Document


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
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Take the operator's finalizer off SparkAllocations, so that they can be deleted without an operator.

    kubectl salloc release --all -A

    For an operator that was uninstalled, or that cannot run any more. No executor is touched: they stay until their
    driver ends. While an operator runs, it puts the finalizer back: scale it to zero first.

    Exit codes: 0; 1 when something could not be released, or you said no; 2 for wrong options or without credentials;
    4 when the API server does not answer.
    """
    if bool(names) == every:
        typer.echo("name SparkAllocations, or say --all", err=True)
        raise typer.Exit(EXIT_USAGE)
    if names and all_namespaces:
        typer.echo("names are of one namespace: -A goes with --all", err=True)
        raise typer.Exit(EXIT_USAGE)
    where = None if all_namespaces else namespace_of(namespace, kubeconfig, context)
    bodies = connected(kubeconfig, context, lambda reading: reading.allocations(where))
    if bodies is None:
        typer.echo("SparkAllocations may not be listed, or their kind is not installed", err=True)
        raise typer.Exit(EXIT_PROBLEM)
    missing = sorted(set(names or ()) - {each["metadata"]["name"] for each in bodies})
    if missing:
        typer.echo(f"there is no SparkAllocation {', '.join(missing)}", err=True)
        raise typer.Exit(EXIT_PROBLEM)
    held = [
        each
        for each in bodies
        if FINALIZER in (each["metadata"].get("finalizers") or ())
        and (every or each["metadata"]["name"] in (names or ()))
    ]
    if not held:
        typer.echo("No SparkAllocation has the operator's finalizer.")
        return
    for each in held:
        typer.echo(f"{each['metadata']['namespace']}/{each['metadata']['name']}")
    if not yes and not typer.confirm(f"Release these {len(held)}?"):
        raise typer.Exit(EXIT_PROBLEM)
    released = connected(kubeconfig, context, lambda reading: _release(reading, held))
    typer.echo(f"released {released.done}")
    for failure in released.failures:
        typer.echo(failure, err=True)
    if released.failures:
        raise typer.Exit(EXIT_PROBLEM)


async def _release(reading: ClusterReading, held: list[Document]) -> Released:
    failures: list[str] = []
    for each in held:
        metadata = each["metadata"]
        outcome = await reading.set_finalizers(
            metadata["namespace"],
            metadata["name"],
            [name for name in metadata["finalizers"] if name != FINALIZER],
            metadata["resourceVersion"],
        )
        if not outcome.done:
            failures.append(f"{metadata['namespace']}/{metadata['name']}: {outcome.message}")
    return Released(len(held) - len(failures), tuple(failures))
