"""``spark-allocation crd``: the CustomResourceDefinitions."""

from pathlib import Path
from typing import Annotated

import typer

from spark_allocation.api.crd import crd_files


def crd(
    directory: Annotated[
        Path | None,
        typer.Option(help="Write the files here. Left out: print them.", file_okay=False),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the files there instead of writing.")
    ] = False,
) -> None:
    """Print or write the CRDs, such as for ``spark-allocation crd | kubectl apply -f -``.

    Exit codes: 0, or 1 when --check finds a difference.
    """
    files = crd_files()
    if directory is None:
        typer.echo("---\n".join(files.values()))
        return
    stale = []
    for name, text in files.items():
        path = directory / name
        if check:
            if not path.exists() or path.read_text() != text:
                stale.append(str(path))
        else:
            directory.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            typer.echo(f"wrote {path}")
    if stale:
        typer.echo(
            f"out of date: {', '.join(stale)}; run `spark-allocation crd --directory {directory}`",
            err=True,
        )
        raise typer.Exit(1)
