"""docs/performance.md says what was measured: its tables and pictures are those of docs/performance/*.json."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.documents import performance_page, performance_pictures, performance_tables
from tests.perf import aims, machine
from tests.perf.aims import Aim

REMEDY = "make bench-page"


@pytest.fixture
def documents() -> dict[str, Any]:
    """What is in docs/performance, to be changed by a test."""
    return dict(performance_page.documents())


def section(name: str, documents: dict[str, Any]) -> str:
    return performance_page.sections(documents)[name]


# -- the page in the repository ---------------------------------------------------------------------------------------


def test_the_page_is_what_its_figures_give(documents: dict[str, Any]) -> None:
    page = performance_page.PAGE.read_text()
    made = performance_page.with_sections(page, performance_page.sections(documents))
    assert page == made, REMEDY


@pytest.mark.parametrize("picture", performance_pictures.PICTURES, ids=lambda each: each.file)
def test_its_pictures_were_drawn_of_its_figures(
    picture: performance_pictures.Picture, documents: dict[str, Any]
) -> None:
    with Image.open(performance_page.IMAGES / picture.file) as image:
        drawn_of = image.info[performance_pictures.DIGEST]
    assert drawn_of == performance_pictures.digest(documents[picture.of]), REMEDY


def test_every_picture_is_shown(documents: dict[str, Any]) -> None:
    page = performance_page.PAGE.read_text()
    assert all(f"(images/{each.file})" in page for each in performance_pictures.PICTURES)


# -- what is made of figures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aim", "figure", "keeps"),
    [
        (Aim(350), 349.9, True),
        (Aim(350), 350, True),
        (Aim(350), 350.1, False),
        (Aim(300, least=True), 300, True),
        (Aim(300, least=True), 299, False),
    ],
)
def test_a_figure_that_misses_its_aim_is_told(aim: Aim, figure: float, keeps: bool) -> None:
    assert aim.marked(figure, "so much") == ("**so much**" if keeps else "**missed: so much**")


def test_the_aims_are_for_the_largest_run(documents: dict[str, Any]) -> None:
    runs = [dict(each) for each in documents["many"]["runs"]]
    runs[0]["rss_mib"] = 9_999.0
    runs[-1]["rss_mib"] = aims.MEMORY_MIB.bound + 1
    documents["many"] = {**documents["many"], "runs": runs}
    assert "| memory | 350 MiB | **missed: 351 MiB** |" in section("many", documents)
    documents["many"] = {**documents["many"], "runs": runs[:-1]}
    with pytest.raises(ValueError, match="1000"):
        section("many", documents)


def test_reactions_of_a_hundred_are_a_share_and_of_fewer_are_all(documents: dict[str, Any]) -> None:
    run = dict(documents["many"]["runs"][-1])
    run["reaction_active"] = {"count": 99, "p50": 1.0, "p99": 2.0, "worst": 2.0}
    run["reaction_resting"] = {"count": 100, "p50": 1.0, "p99": 6.5, "worst": 9.0}
    documents["many"] = {**documents["many"], "runs": [documents["many"]["runs"][0], run]}
    text = section("many", documents)
    assert "**all 99 within 2.00 s, half within 1.00**" in text
    assert "**missed: 99 % of 100 within 6.50 s, half within 1.00**" in text


def test_runs_of_a_creation_are_told_from_the_least_to_the_most_and_the_worst_is_judged(
    documents: dict[str, Any],
) -> None:
    creation = dict(documents["create"]["creations"][0])
    creations = [
        {**creation, "creation_cpu_ms": each, "asked_a_second": 400} for each in (0.31, 0.2)
    ]
    documents["create"] = {**documents["create"], "creations": creations}
    (both,) = [line for line in section("creation", documents).splitlines() if "| both" in line]
    assert both.endswith("| **missed: 0.20 to 0.31** |")
    assert "| **400** |" in section("creation", documents)


def test_who_is_sooner_than_spark_is_told_by_the_ratio_of_medians(
    documents: dict[str, Any],
) -> None:
    rounds = {
        performance_pictures.SPARK: [{"1": 1.0}, {"1": 1.0, "100": 10.0}, {"1": 3.0, "100": 20.0}],
        performance_pictures.EXPONENTIAL: [{"1": 1.2, "100": 6.0}],
        performance_pictures.IMMEDIATE: [{"1": 0.5}],
    }
    ways = {way: {"secondsToPods": each, "pods": 3} for way, each in rounds.items()}
    documents["beside-spark"] = {**documents["beside-spark"], "ways": ways}
    lines = section("beside-spark", documents).splitlines()
    assert (
        "| 1 | 1.00 s | 1.20 s | **missed: 1.20 ×** (aim 1.1) | 0.50 s | **0.50 ×** (aim 1.1) |"
        in lines
    )
    assert "| 100 | 15.00 s | 6.00 s | **0.40 ×** (aim 0.45) | – | |" in lines
    assert "| CPU of the operator | – | – | – |" in lines


def test_a_restart_with_few_pods_is_not_judged_by_the_aim_for_many(
    documents: dict[str, Any],
) -> None:
    (run,) = documents["restart"]["runs"]
    few, many = {**run, "pods": 300, "synced_cpu_seconds": 3.5}, {**run, "synced_cpu_seconds": 3.5}
    documents["restart"] = {**documents["restart"], "runs": [few, many]}
    text = section("again", documents)
    assert "| 3.50 s |" in text
    assert "| **missed: 3.50 s** (aim 3) |" in text


def test_what_was_not_measured_on_a_real_api_server_is_told(documents: dict[str, Any]) -> None:
    documents.pop("many-real", None)
    assert section("real", documents) == "Not measured yet."


def test_a_real_api_server_is_told_beside_what_it_costs_itself(documents: dict[str, Any]) -> None:
    cluster = {"kube-apiserver": {"cpu_cores": 0.514, "rss_mib": 812.4}}
    few = {**documents["many"]["runs"][1], "cluster": cluster, "rss_mib": 400.0}
    many = {**documents["many"]["runs"][-1], "cluster": cluster, "rss_mib": 400.0}
    documents["many-real"] = {**documents["many"], "runs": [few, many]}
    lines = section("real", documents).splitlines()
    assert "| 400 |" in lines[-2]
    assert "| **missed: 400** |" in lines[-1]
    assert lines[-1].endswith("| kube-apiserver 0.51, 812 |")


def test_a_machine_is_described_with_what_disturbs_figures() -> None:
    found = {
        "at": "2026-01-31T10:00:00Z",
        "python": "CPython 3.13.1",
        "system": "Linux-6.8.0-45-generic-x86_64-with-glibc2.39",
        "processor": "Some CPU",
        "processors": 8,
        "memory": "32886476 kB",
        "load": [0.2, 0.1, 0.1],
        "priority": 0,
    }
    told = "2026-01-31: 8 processors (Some CPU), 31 GiB, Linux 6.8, CPython 3.13.1, load 0.2 before"
    assert machine.described(found) == told
    assert machine.described(found | {"priority": 19}) == f"{told}, at a lower priority (19)"
    assert machine.described(machine.machine())


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 1.0, 2.0])
def test_what_grows_by_a_power_is_fitted_by_it(exponent: float) -> None:
    sizes = [10, 100, 1000]
    fitted = machine.power_law(sizes, [3 * size**exponent for size in sizes])
    assert fitted == pytest.approx((3, exponent))


# -- taking over ------------------------------------------------------------------------------------------------------


def measured(folder: Path, at: str) -> None:
    (folder / "many.json").write_text(json.dumps({"machine": {"at": at}}))


@pytest.mark.parametrize(
    ("at", "taken"), [("2026-03-01T00:00:00Z", ["many.json"]), ("2026-01-01T00:00:00Z", [])]
)
def test_what_was_measured_later_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, taken: list[str]
) -> None:
    made, kept = tmp_path / "made", tmp_path / "kept"
    made.mkdir()
    kept.mkdir()
    monkeypatch.setattr(performance_page, "DATA", kept)
    measured(kept, "2026-02-01T00:00:00Z")
    measured(made, at)
    assert performance_page.take_over(made) == taken
    assert performance_page.take_over(made) == []
    newest = max(at, "2026-02-01T00:00:00Z")
    assert performance_page.measured_at((kept / "many.json").read_text()) == newest


def test_nothing_is_taken_over_where_nothing_was_measured(tmp_path: Path) -> None:
    assert performance_page.take_over(tmp_path / "none") == []


def test_a_section_is_replaced_and_the_page_around_it_stays() -> None:
    mark = performance_page.begin("many")
    page = f"# Cost\n\n{mark}\nold\n{performance_page.END}\n\n## More\n"
    made = performance_page.with_sections(page, {"many": "new"})
    assert made == f"# Cost\n\n{mark}\n\nnew\n\n{performance_page.END}\n\n## More\n"
    assert performance_page.with_sections(made, {"many": "new"}) == made


def test_a_page_without_a_place_for_a_section_is_refused() -> None:
    with pytest.raises(ValueError, match="unpack"):
        performance_page.with_sections("# Cost\n", {"many": "new"})


def test_pictures_are_drawn(tmp_path: Path, documents: dict[str, Any]) -> None:
    for picture in performance_pictures.PICTURES:
        picture.write(documents[picture.of], tmp_path)
        with Image.open(tmp_path / picture.file) as image:
            width, _ = image.size
            assert image.info == image.info | {
                performance_pictures.DIGEST: performance_pictures.digest(documents[picture.of])
            }
        assert width > 1000


def test_every_section_is_one_of_the_page() -> None:
    page = performance_page.PAGE.read_text()
    assert all(page.count(performance_page.begin(name)) == 1 for name in performance_tables.SECTIONS)  # fmt: skip
