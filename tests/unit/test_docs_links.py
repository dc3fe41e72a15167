"""Every link in the documentation leads somewhere, in the repository and in the site that `make docs` builds."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.documents import built_site, links, picture, site

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [page.relative_to(ROOT).as_posix() for page in links.pages()]


@pytest.mark.parametrize("page", PAGES)
def test_its_links_lead_somewhere(page: str) -> None:
    assert not list(links.broken(ROOT / page))


def test_all_pages_are_looked_at() -> None:
    assert {"README.md", "docs/index.md", "examples/README.md"} <= set(PAGES)
    assert "charts/spark-allocation-operator/README.md" in PAGES


def test_every_page_can_be_reached_from_the_first() -> None:
    found: set[Path] = set()
    waiting = [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        found.add(page)
        near = [(page.parent / each.partition("#")[0]).resolve() for each in links.links(page) if "://" not in each]  # fmt: skip
        waiting += [each for each in near if each.suffix == ".md" and each.exists() and each not in found]  # fmt: skip
    # designs are numbered and listed by their folder
    missing = {page for page in DOCS.rglob("*.md") if page.parent.name != "designs"} - found
    assert not missing


# -- that the check sees something --------------------------------------------------------------------------------

BROKEN = {
    "[a](none.md)": "there is no such file",
    "[a](quick-start.md#none)": "there is no such heading",
    "[a](#none)": "there is no such heading",
    "![a](images/none.svg)": "there is no such file",
    "[a](../../elsewhere.md)": "leads out of the repository",
    "[a](/docs/quick-start.md)": "leads out of the repository",
    "| a |\n|---|\n| [a](none.md) |": "there is no such file",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_link_that_leads_nowhere_is_told(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = DOCS / "probe.md"
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda self: text if self == page else read(self))
    monkeypatch.setattr(Path, "exists", lambda self: self == page or self.is_file())
    (told,) = links.broken(page)
    assert BROKEN[text] in told


def test_anchors_are_those_of_the_headings() -> None:
    text = (
        "# What never happens\n\n## `spec` of a Thing\n\n## Again\n\n## Again\n\n    # no heading\n"
    )
    assert links.anchors(text) == {"what-never-happens", "spec-of-a-thing", "again"}


def test_a_heading_of_which_two_anchors_are_made_is_refused() -> None:
    with pytest.raises(ValueError, match="on GitHub"):
        links.slug("Policies – and budgets")


# -- the site -----------------------------------------------------------------------------------------------------


def configuration() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "mkdocs.yml").read_text()))


def test_the_navigation_names_pages_that_are_there() -> None:
    for section in configuration()["nav"]:
        ((title, entries),) = section.items()
        assert entries or title in site.FILLED
        for entry in entries:
            assert (DOCS / entry).exists() or (ROOT / entry).exists(), entry


def test_the_site_fetches_nothing_when_it_is_read() -> None:
    theme = configuration()["theme"]
    assert theme["font"] is False
    assert "repo_url" not in configuration()
    # the theme would fetch the program that draws such pictures
    assert not [page for page in PAGES if "```mermaid" in (ROOT / page).read_text()]


def test_what_a_page_fetches_from_elsewhere_is_seen() -> None:
    page = (
        '<link rel="canonical" href="https://a.example/"><a href="https://b.example">b</a><script src="local.js"></script>'
        '<link rel="stylesheet" href="https://c.example/x.css"><img src="//d.example/e.png">'
    )
    assert built_site.fetches(page) == ["<link> https://c.example/x.css", "<img> //d.example/e.png"]


def test_links_are_moved_to_where_things_are_in_the_site() -> None:
    page = DOCS / "howto" / "install.md"
    text = (
        "[a](../policy.md#who-wins) [b](../../examples/driver-pod.yaml) [c](../../examples) [d](../../README.md)\n"
        "[e](https://example.com/x)\n- one\n- two\n```\n[f](../policy.md)\n- no list\n```\n"
    )
    assert site.for_site(text, page) == (
        "[a](../policy.md#who-wins) [b](../examples/driver-pod.yaml.md) [c](../examples/README.md) [d](../index.md)\n"
        "[e](https://example.com/x)\n\n- one\n- two\n```\n[f](../policy.md)\n- no list\n```\n"
    )


def test_the_picture_is_what_the_script_draws() -> None:
    assert picture.FILE.read_text() == picture.picture(), "python -m tests.documents.picture"
