"""Answers as tables for people and as JSON or YAML for programs."""

import json
from collections.abc import Sequence
from typing import Any

import typer
import yaml

from spark_allocation.cli.connection import Output

GAP = "   "


def write_document(document: Any, output: Output) -> None:
    """Print a document as JSON or YAML."""
    if output is Output.JSON:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))
    else:
        plain = json.loads(json.dumps(document, default=str))
        typer.echo(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), nl=False)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as kubectl writes them; the last one is as long as it is."""
    lines = [list(heads), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads) - 1)]
    return "\n".join(
        GAP.join(
            [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]
        )
        for line in lines
    )
