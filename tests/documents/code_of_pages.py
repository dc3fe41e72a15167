"""What the Markdown files have as code: spans, and blocks with their language."""

from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt

_PARSER = MarkdownIt("commonmark").enable("table")


def spans(page: Path) -> Iterator[str]:
    """Code within a line."""
    for block in _PARSER.parse(page.read_text()):
        for token in block.children or ():
            if token.type == "code_inline":
                yield token.content


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of each block; "" where none is named."""
    for block in _PARSER.parse(page.read_text()):
        if block.type in {"fence", "code_block"}:
            yield block.info.strip(), block.content
