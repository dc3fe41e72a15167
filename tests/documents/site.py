"""What mkdocs needs beyond mkdocs.yml to make a site of docs/ (`make docs`).

- Pages link to files beside docs/, as they do on a repository's page: an example, the chart's README. Such files become pages of the
  site, and links to them lead there.
- A guide or a design that mkdocs.yml does not name comes last in its section.
- A list or table that begins right under a line of text is one for GitHub and for us, and for mkdocs with a blank line before it.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FILLED = {"How to": "howto", "Designs": "designs"}
"""Section → folder whose pages all belong to it."""
SHOWN_AS_CODE = {".yaml": "yaml", ".py": "python", ".properties": "properties", ".sh": "bash"}

_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")
_FENCE = re.compile(r"^ *(```|~~~)")
_ITEM = re.compile(r"^([-*]|\d+\.) ")


def beside_docs(page: Path) -> Iterator[Path]:
    """The files outside of docs/ that a page links to."""
    for target, _ in _LINK.findall(page.read_text()):
        if "://" not in target:
            file = (page.parent / target).resolve()
            if not file.is_relative_to(DOCS) and file.is_relative_to(ROOT) and file != ROOT / "README.md":  # fmt: skip
                yield file / "README.md" if file.is_dir() else file


def all_beside_docs() -> list[Path]:
    """All of them, and what those link to in turn."""
    found: set[Path] = set()
    waiting = sorted(DOCS.rglob("*.md"))
    while waiting:
        for file in beside_docs(waiting.pop()):
            if file not in found and file.exists():
                found.add(file)
                if file.suffix == ".md":
                    waiting.append(file)
    return sorted(found)


def source(file: Path) -> str:
    """The name under which mkdocs knows a file of the repository."""
    if file == ROOT / "README.md":
        return "index.md"
    if file.is_dir():
        file = file / ("index.md" if file == DOCS else "README.md")
    name = file.relative_to(DOCS if file.is_relative_to(DOCS) else ROOT).as_posix()
    return f"{name}.md" if file.suffix in SHOWN_AS_CODE else name


def for_site(text: str, page: Path) -> str:
    """A page's text with links that hold in the site, and blank lines where mkdocs needs them."""
    lines: list[str] = []
    in_code = False
    for line in text.splitlines():
        if _FENCE.match(line):
            in_code = not in_code
        elif not in_code:
            before = lines[-1] if lines else ""
            begins = (_ITEM.match(line) and not _ITEM.match(before.lstrip())) or (
                line.startswith("|") and not before.startswith("|")
            )
            if begins and before.strip() and not before.startswith(" "):
                lines.append("")
            line = _LINK.sub(lambda found: _moved(found, page), line)
        lines.append(line)
    return "\n".join(lines) + "\n"


def _moved(found: re.Match[str], page: Path) -> str:
    target, anchor = found[1], found[2] or ""
    if "://" in target:
        return found[0]
    there = source((page.parent / target).resolve())
    return posixpath.relpath(there, posixpath.dirname(source(page)) or ".") + anchor


# -- what mkdocs calls --------------------------------------------------------------------------------------------------


def on_config(config: Any) -> Any:
    """Fill the sections."""
    for section in config.nav:
        ((title, entries),) = section.items()
        if title in FILLED:
            named = {next(iter(each.values())) if isinstance(each, dict) else each for each in entries}  # fmt: skip
            folder = sorted((DOCS / FILLED[title]).glob("*.md"))
            entries += [name for name in map(source, folder) if name not in named]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the files beside docs/."""
    from mkdocs.structure.files import File, InclusionLevel

    named = {entry for section in config.nav for entry in next(iter(section.values()))}
    for file in all_beside_docs():
        name = source(file)
        content: bytes | str = file.read_bytes()
        if file.suffix in SHOWN_AS_CODE:
            title = file.relative_to(ROOT).as_posix()
            content = f"# {title}\n\n```{SHOWN_AS_CODE[file.suffix]}\n{file.read_text()}```\n"
        level = InclusionLevel.INCLUDED if name in named else InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, name, content=content, inclusion=level))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Move links and add blank lines."""
    name = page.file.src_uri
    file = DOCS / name if (DOCS / name).exists() else ROOT / name
    return for_site(markdown, file) if file.exists() else markdown
