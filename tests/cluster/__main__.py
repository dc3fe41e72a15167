"""`python -m tests.cluster`: the test cluster's commands, without logic of their own."""

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from tests.cluster import access, loading, local
from tests.cluster.layout import DEFAULT_NAME
from tests.machine.errors import ClusterError
from tests.machine.reporting import Reporter

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""A real Kubernetes for the tests and the demo, without a container engine.

    `up` builds etcd, the API server, controller manager, scheduler and kubelet from their Go
    modules (once, about 7 minutes on two cores, kept in the cache folder), takes containerd and
    runc from Debian, and starts them in namespaces of their own: about 10 seconds to a Ready node.
    Needs root, and Debian or Ubuntu. It is idempotent, and the remedy after a crash.

    `--provider existing --context NAME` uses a cluster of yours instead; your kubeconfig is never
    read unless you name a context. A provider for kind (a cluster in Docker) is not there yet.

    Exit codes: 0 done (status: all healthy), 1 it did not work (the message says what to do),
    2 wrong usage.
    """,
)


class Provider(StrEnum):
    """Where the cluster comes from."""

    LOCAL = "local"
    EXISTING = "existing"


class TestImage(StrEnum):
    """Images this repository makes."""

    PAUSE = "pause"
    SPARK = "spark"
    OPERATOR = "operator"


Name = Annotated[
    str,
    typer.Option(help="Which local cluster; each name has networks and a folder of its own."),
]
ProviderOption = Annotated[Provider, typer.Option(help="Where the cluster comes from.")]
Context = Annotated[str, typer.Option(help="The existing cluster's kube context.")]
Kubeconfig = Annotated[
    Path | None, typer.Option(help="The file that has --context, if not kubectl's own.")
]


@app.command()
def up(
    name: Name = DEFAULT_NAME,
    provider: ProviderOption = Provider.LOCAL,
    context: Context = "",
    kubeconfig: Kubeconfig = None,
) -> None:
    """Bring the cluster up, or mend it after a crash; quick when it is healthy."""
    _check_usage(provider, context)
    started = time.monotonic()
    if provider is Provider.EXISTING:
        cluster = access.connect_existing(context, kubeconfig)
    else:
        cluster = access.require(name, Reporter())
    typer.echo(f"Cluster {cluster.name} is up ({time.monotonic() - started:.1f} s).")
    typer.echo(f"  {' '.join(cluster.kubectl_command('get', 'nodes'))}")
    if provider is Provider.LOCAL:
        typer.echo("  (local provider; kind, a cluster in Docker, is not supported yet)")


@app.command()
def down(name: Name = DEFAULT_NAME) -> None:
    """Take the local cluster down: no process, mount, interface, cgroup or file stays.

    The built programs and images stay in the cache folder.
    """
    if local.down(name, Reporter()):
        typer.echo(f"Cluster {name} is down.")
    else:
        typer.echo(f"Cluster {name} was not up.")


@app.command()
def status(name: Name = DEFAULT_NAME) -> None:
    """Show every component; exit code 0 only when all are healthy."""
    lines = local.status(name)
    table = Table("Component", "PID", "Healthy", "Since", box=None, pad_edge=False)
    for line in lines:
        since = line.process and time.strftime("%F %T", time.localtime(line.process.since))
        table.add_row(
            line.name,
            str(line.process.pid) if line.process else "-",
            "yes" if line.complaint is None else f"no: {line.complaint}",
            since or "-",
        )
    Console(soft_wrap=True).print(table)
    if any(line.complaint is not None for line in lines):
        raise typer.Exit(1)


@app.command()
def kubeconfig(name: Name = DEFAULT_NAME) -> None:
    """Print the path of the running cluster's kubeconfig.

    For a shell: export KUBECONFIG=$(python -m tests.cluster kubeconfig)
    """
    typer.echo(access.connect(name).kubeconfig)


@app.command()
def kubectl(
    arguments: Annotated[list[str], typer.Argument(help="kubectl's own arguments, after --.")],
    name: Name = DEFAULT_NAME,
) -> None:
    """Run the cluster's own kubectl: python -m tests.cluster kubectl -- get pods."""
    import os

    command = access.connect(name).kubectl_command(*arguments)
    os.execv(command[0], command)


@app.command()
def load_image(
    image: Annotated[
        str,
        typer.Argument(help="pause, spark or operator, or the path of a docker-archive tar file."),
    ],
    spark_version: Annotated[str, typer.Option(help="Which Spark, for the spark image.")] = "",
    base_image: Annotated[
        str, typer.Option(help="Base of the operator's image, if not the one made here.")
    ] = "",
    name: Name = DEFAULT_NAME,
) -> None:
    """Make an image (kept in the cache folder) and give it to the running cluster's node."""
    reporter = Reporter()
    cluster = access.connect(name)
    if image == TestImage.PAUSE:
        loaded = loading.load_pause(cluster, reporter)
    elif image == TestImage.SPARK:
        loaded = loading.load_spark(cluster, reporter, version=spark_version or None)
    elif image == TestImage.OPERATOR:
        loaded = loading.load_operator(cluster, reporter, base_image=base_image or None)
    elif Path(image).is_file():
        loaded = loading.load_archive(cluster, reporter, Path(image))
    else:
        raise ClusterError(
            f"{image!r} is neither pause, spark, operator nor a file; "
            "see `python -m tests.cluster load-image --help`."
        )
    typer.echo(loaded)


def _check_usage(provider: Provider, context: str) -> None:
    if provider is Provider.EXISTING and not context:
        raise typer.BadParameter(
            "an existing cluster is only used when you name it: add --context NAME",
            param_hint="--provider",
        )
    if provider is Provider.LOCAL and context:
        raise typer.BadParameter(
            "belongs to --provider existing; the local cluster has its own context",
            param_hint="--context",
        )


def main() -> None:
    """Run the command line; a ClusterError becomes one message and exit code 1."""
    try:
        app(prog_name="python -m tests.cluster")
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
