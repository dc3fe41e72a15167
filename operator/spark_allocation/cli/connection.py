"""What commands that talk to a cluster share: where it is, which namespace is meant, and how they end.

Outside a cluster the kubeconfig is ``--kubeconfig``, then the first file that ``KUBECONFIG`` names (kubectl would put
several together), then ``~/.kube/config``; the namespace is ``--namespace``, then that of the context.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import yaml

from spark_allocation.kube.api_client import ApiUnavailable, NoCredentials, open_kubernetes_api
from spark_allocation.kube.cluster_reading import ClusterReading

EXIT_PROBLEM = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 4
OWN_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

T = TypeVar("T")


class Output(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        help="Kubeconfig file. Left out: the first one of KUBECONFIG, else ~/.kube/config."
    ),
]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Namespace. Left out: that of the context."),
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")]
OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="How to write the answer.", show_choices=True)
]


def in_cluster(kubeconfig: Path | None) -> bool:
    """Whether the credentials of the pod are meant."""
    return (
        kubeconfig is None
        and not os.environ.get("KUBECONFIG")
        and bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
    )


def kubeconfig_file(kubeconfig: Path | None) -> Path:
    """The kubeconfig file that is meant."""
    if kubeconfig is not None:
        return kubeconfig
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(named) if named else Path.home() / ".kube" / "config"


def namespace_of(namespace: str | None, kubeconfig: Path | None, context: str | None) -> str:
    """The namespace that is meant."""
    if namespace:
        return namespace
    if in_cluster(kubeconfig):
        with suppress(OSError):
            return OWN_NAMESPACE_FILE.read_text().strip()
        return "default"
    document: Any = None
    with suppress(OSError, yaml.YAMLError, UnicodeDecodeError):
        document = yaml.safe_load(kubeconfig_file(kubeconfig).read_text())
    if not isinstance(document, dict):
        return "default"
    wanted = context or document.get("current-context")
    contexts = document.get("contexts")
    for each in contexts if isinstance(contexts, list) else ():
        found = (
            each.get("context") if isinstance(each, dict) and each.get("name") == wanted else None
        )
        if isinstance(found, dict):
            return str(found.get("namespace") or "default")
    return "default"


def connected(
    kubeconfig: Path | None,
    context: str | None,
    work: Callable[[ClusterReading], Awaitable[T]],
) -> T:
    """Do something with a cluster; without one, end with a sentence and an exit code of its own."""

    async def run() -> T:
        file = None if in_cluster(kubeconfig) else kubeconfig_file(kubeconfig)
        api = await open_kubernetes_api(kubeconfig=file, context=context, connections=16)
        try:
            return await work(ClusterReading(api))
        finally:
            await api.close()

    try:
        return asyncio.run(run())
    except NoCredentials as error:
        file = kubeconfig_file(kubeconfig)
        missing = not in_cluster(kubeconfig) and not file.exists()
        remedy = f"there is no kubeconfig {file}: name one with --kubeconfig or KUBECONFIG"
        typer.echo(remedy if missing else str(error), err=True)
        raise typer.Exit(EXIT_USAGE) from None
    except ApiUnavailable as error:
        typer.echo(f"the API server does not answer as it should: {error}", err=True)
        raise typer.Exit(EXIT_UNREACHABLE) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
