"""Puts what benchmarks measured into docs/performance.md: its tables between marks, and its pictures.

    python -m tests.documents.performance_page [demo-output]

A benchmark writes what it found into the folder (`make bench-many`, `make bench-create`, `make beside-spark`). What is newer
there than in docs/performance is taken over; the page and the pictures are made of docs/performance alone. Around the
marks the page is written by hand. What should be reached, and how it is marked, is in `tests.perf.aims`.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.documents.performance_pictures import PICTURES
from tests.documents.performance_tables import SECTIONS, Documents

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "performance.md"
DATA = DOCS / "performance"
IMAGES = DOCS / "images"
FILES = (
    *("beside-spark", "many", "restart", "failover"),
    *("create", "create-memory"),
)
NOT_YET = ("many-real",)
"""May be missing."""
END = "<!-- to here -->"


def begin(section: str) -> str:
    """The mark before a section."""
    return f"<!-- {section}: made by `make bench-page` -->"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("made", type=Path, nargs="?", default=Path("demo-output"))
    for name in take_over(parser.parse_args().made):
        print(f"{name} is a newer one")
    found = documents()
    PAGE.write_text(with_sections(PAGE.read_text(), sections(found)))
    for picture in PICTURES:
        picture.write(found[picture.of], IMAGES)
    print(PAGE)
    return 0


def take_over(made: Path) -> list[str]:
    """Keep in docs/performance what was measured later than what is there; returns the names of those files."""
    taken = []
    for name in FILES + NOT_YET:
        file, kept = made / f"{name}.json", DATA / f"{name}.json"
        if not file.exists():
            continue
        text = file.read_text()
        if not kept.exists() or measured_at(text) > measured_at(kept.read_text()):
            kept.write_text(text)
            taken.append(kept.name)
    return taken


def measured_at(text: str) -> str:
    """When; later is greater."""
    return str(json.loads(text)["machine"]["at"])


def documents() -> Documents:
    """What docs/performance has, by name."""
    names = [*FILES, *(name for name in NOT_YET if (DATA / f"{name}.json").exists())]
    return {name: json.loads((DATA / f"{name}.json").read_text()) for name in names}


def with_sections(page: str, texts: Mapping[str, str]) -> str:
    """The page with other texts between its marks.

    Raises:
        ValueError: it has not exactly one place for each of them.
    """
    for name, text in texts.items():
        before, rest = page.split(begin(name))
        _, after = rest.split(END, 1)
        page = f"{before}{begin(name)}\n\n{text}\n\n{END}{after}"
    return page


def sections(found: Documents) -> dict[str, str]:
    """What stands between the marks, by the name of the section."""
    return {name: "\n".join(made(found)) for name, made in SECTIONS.items()}


if __name__ == "__main__":
    sys.exit(main())
