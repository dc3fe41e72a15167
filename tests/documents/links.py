"""Where the links of the Markdown files lead, and whether there is something.

Links to files beside the page, to folders, and to headings of a page. Addresses of other hosts are not asked.
"""

import itertools
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
_PARSER = MarkdownIt("commonmark").enable("table")


def pages() -> list[Path]:
    """The Markdown files that are looked at."""
    folders = ("docs", "charts", "examples", "deploy")
    found = [file for folder in folders for file in (ROOT / folder).rglob("*.md")]
    return sorted([*found, *ROOT.glob("*.md")])


def links(page: Path) -> Iterator[str]:
    """The targets of all links and pictures, as written; none out of code."""
    for block in _PARSER.parse(page.read_text()):
        for token in block.children or ():
            for key in ("href", "src"):
                target = token.attrGet(key)
                if isinstance(target, str):
                    yield target


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them; of a heading that is there twice that of the first.

    Raises:
        ValueError: GitHub and mkdocs make different anchors of one.
    """
    return {slug(heading) for heading in _headings(text)}


def _headings(text: str) -> Iterator[str]:
    for heading, inside in itertools.pairwise(_PARSER.parse(text)):
        if heading.type == "heading_open":
            yield "".join(each.content for each in inside.children or () if each.type in {"text", "code_inline"})  # fmt: skip


def slug(heading: str) -> str:
    """The anchor of a heading.

    Raises:
        ValueError: GitHub and mkdocs make different anchors of it.
    """
    lower = heading.strip().lower()
    github = re.sub(r"[^\w\- ]", "", lower).replace(" ", "-")
    plain = unicodedata.normalize("NFKD", lower).encode("ascii", "ignore").decode()
    mkdocs = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain)).strip("-")
    if github != mkdocs:
        raise ValueError(f"{heading!r} is {github!r} on GitHub and {mkdocs!r} in the site")
    return github


def broken(page: Path) -> Iterator[str]:
    """A sentence for each link of a page that leads nowhere."""
    for target in links(page):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        where = f"{page.relative_to(ROOT)}: {target}"
        if target.startswith("/") or not file.is_relative_to(ROOT):
            yield f"{where}: leads out of the repository"
        elif not file.exists():
            yield f"{where}: there is no such file"
        elif anchor and (file.suffix != ".md" or not _has(file, anchor)):
            yield f"{where}: there is no such heading"


def _has(file: Path, anchor: str) -> bool:
    """Whether a page has the anchor; a heading of which two anchors are made does not count."""
    for heading in _headings(file.read_text()):
        with suppress(ValueError):
            if slug(heading) == anchor:
                return True
    return False
