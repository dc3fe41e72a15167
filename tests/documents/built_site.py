"""Looks through a site that mkdocs has built: nothing may be fetched from elsewhere when somebody reads it. Standard library only.

python tests/documents/built_site.py site

mkdocs itself has checked links and anchors (`strict` and `validation` in mkdocs.yml).
"""

import sys
from html.parser import HTMLParser
from pathlib import Path

_FETCHED = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
}
"""What a browser fetches without being asked to; a link that somebody may follow is something else."""
_ONLY_SAID = {"canonical", "next", "prev"}


class Fetches(HTMLParser):
    """What a page fetches from other hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser.handle_starttag`."""
        told = dict(attrs)
        address = told.get(_FETCHED.get(tag, "")) or ""
        if address.startswith(("http:", "https:", "//")) and told.get("rel") not in _ONLY_SAID:
            self.found.append(f"<{tag}> {address}")


def fetches(html: str) -> list[str]:
    """What a page fetches from other hosts."""
    parser = Fetches()
    parser.feed(html)
    return parser.found


def main() -> int:
    """Say what was found; 1 when something is fetched, or when there is no page."""
    site = Path(sys.argv[1])
    pages = sorted(site.rglob("*.html"))
    found = [
        f"{page.relative_to(site)}: {each}" for page in pages for each in fetches(page.read_text())
    ]
    found += [
        f"{sheet.relative_to(site)}: @import"
        for sheet in site.rglob("*.css")
        if "@import" in sheet.read_text() or "url(http" in sheet.read_text()
    ]
    print(
        *found,
        f"{len(pages)} pages in {site}/, which fetch nothing from elsewhere" if not found else "",
        sep="\n",
    )
    return 1 if found or not pages else 0


if __name__ == "__main__":
    sys.exit(main())
