"""``spark-allocation crd``: the CustomResourceDefinitions."""

from pathlib import Path
from typing import Annotated

import typer

from spark_allocation.api.crd import crd_files
from spark_allocation.cli.connection import EXIT_PROBLEM, EXIT_USAGE


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

    Exit codes: 0; 1 when --check finds a difference; 2 for wrong options, or where files cannot be written.
    """
    files = crd_files()
    if check and directory is None:
        typer.echo("--check: say which files, with --directory", err=True)
        raise typer.Exit(EXIT_USAGE)
    if directory is None:
        typer.echo("---\n".join(files.values()))
        return
    stale = []
    try:
        for name, text in files.items():
            path = directory / name
            if check:
                if not path.exists() or path.read_text() != text:
                    stale.append(str(path))
            else:
                directory.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
                typer.echo(f"wrote {path}")
    except (OSError, UnicodeDecodeError) as error:
        typer.echo(f"--directory {directory}: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from None
    if stale:
        typer.echo(
            f"out of date: {', '.join(stale)}; run `spark-allocation crd --directory {directory}`",
            err=True,
        )
        raise typer.Exit(EXIT_PROBLEM)
