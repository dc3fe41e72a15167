"""The simulated day: its plan follows from a seed, and a slope is found where there is one and nowhere else."""

import json
from pathlib import Path
from random import Random

import pytest
from tests.day import report
from tests.day.memory import Slope, slope
from tests.day.plan import Day
from tests.day.run import DayResult, Window
from tests.day.samples import Sample, request_name
from tests.faults.fault_proxy import Passage
from tests.faults.fault_schedule import KILLS, DeedKind, Kind

HOUR = range(0, 3600, 5)


def noisy(level: float, per_hour: float, *, seed: int = 1) -> list[float]:
    """Memory that wanders about a line: neighbouring samples resemble each other."""
    chance, wandering, found = Random(seed), 0.0, []
    for at in HOUR:
        wandering = 0.95 * wandering + chance.gauss(0, 0.3)
        found.append(level + per_hour * at / 3600 + wandering)
    return found


def test_a_day_follows_from_its_seed() -> None:
    first, again, other = (Day.from_seed(seed, minutes=20) for seed in (3, 3, 4))
    assert first.applications == again.applications
    assert first.applications != other.applications


@pytest.mark.parametrize("minutes", [5, 20, 60])
def test_two_hundred_applications_come_and_all_begin_before_the_day_is_over(minutes: float) -> None:
    day = Day.from_seed(1, minutes=minutes)
    assert len(day.applications) == 200
    assert len({each.name for each in day.applications}) == 200
    assert all(0 <= each.starts < day.seconds for each in day.applications)
    assert all(each.jobs for each in day.applications)
    assert {each.managed for each in day.applications} == {True, False}


def test_the_operator_is_killed_in_the_first_window_or_the_last_one_only() -> None:
    """Between them lives the process whose memory is measured."""
    day = Day.from_seed(1, minutes=60)
    kinds = [{deed.kind for deed in schedule.deeds} for _, schedule in day.windows]
    assert kinds[0] & set(KILLS)
    assert all(not each & {*KILLS, DeedKind.RESTART_API} for each in kinds[1:-1])
    assert [at for at, _ in day.windows] == sorted(at for at, _ in day.windows)
    assert day.windows[-1][0] < day.seconds


@pytest.mark.parametrize("per_hour", [0.0, 20.0])
def test_the_slope_that_is_there_is_found(per_hour: float) -> None:
    inside = 0
    for seed in range(40):
        found = slope(list(HOUR), noisy(120, per_hour, seed=seed))
        assert found is not None
        inside += found.low <= per_hour <= found.high
    assert inside >= 33, "95 % of the intervals hold it, less for few bins"


def test_memory_that_follows_the_work_is_no_leak() -> None:
    """Work doubles in the second half: over time alone that looks like growth, like for like it does not."""
    work = [20.0 if at < 1800 else 40.0 for at in HOUR]
    mib = [base + 0.5 * much for base, much in zip(noisy(120, 0.0), work, strict=True)]
    alone, like = slope(list(HOUR), mib), slope(list(HOUR), mib, work)
    assert alone is not None
    assert like is not None
    assert alone.low > 5
    assert like.low < 0 < like.high


def test_too_few_samples_say_nothing() -> None:
    assert slope([0.0, 5.0, 10.0], [1.0, 1.0, 1.0]) is None
    assert slope([], []) is None


def test_memory_that_does_not_move_has_no_slope() -> None:
    found = slope(list(HOUR), [100.0] * len(HOUR), [3.0] * len(HOUR))
    assert found is not None
    assert (found.mib_per_hour, found.high) == (pytest.approx(0), pytest.approx(0))
    assert str(Slope(1, 0, 2)) == "+1.00 MiB/h (95 % between +0.00 and +2.00)"


@pytest.mark.parametrize(
    ("method", "path", "kind", "name"),
    [
        ("GET", "/api/v1/pods", Kind.LIST, "list pods"),
        ("GET", "/api/v1/pods", Kind.WATCH, "watch pods"),
        ("GET", "/api/v1/namespaces/n/pods/p", Kind.GET, "get pods"),
        ("POST", "/api/v1/namespaces/n/pods", Kind.CREATE, "create pods"),
        ("DELETE", "/api/v1/namespaces/n/pods/p", Kind.DELETE, "delete pods"),
        ("PATCH", "/apis/sparkallocation.dev/v1alpha1/namespaces/n/sparkallocations/a/status", Kind.STATUS, "patch sparkallocations/status"),
        ("PATCH", "/apis/sparkallocation.dev/v1alpha1/namespaces/n/sparkallocations/a", Kind.OTHER, "patch sparkallocations"),
        ("GET", "/apis/sparkallocation.dev/v1alpha1/sparkallocations", Kind.LIST, "list sparkallocations"),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/n/leases/l", Kind.LEASE, "put leases"),
    ],
)  # fmt: skip
def test_requests_are_counted_by_verb_and_resource(
    method: str, path: str, kind: Kind, name: str
) -> None:
    assert request_name(Passage(0.0, "operator", kind, method, path)) == name


def a_day(per_hour: float, *, minutes: float = 60.0) -> DayResult:
    """A day whose operator is killed after five minutes, and whose second process grows so fast."""
    result = DayResult(Day.from_seed(1, minutes=minutes))
    mib = noisy(100, per_hour)
    result.samples = [
        Sample(
            at=float(at), pid=1 if at < 300 else 2, rss_mib=mib[number], cpu_seconds=at * 0.1,
            allocations=20 + number % 7, executors=90, running=80, needed=85, requests=at, driver_requests=at * 10,
            faults=number // 10, disturbed=False, load=2.0,
        )
        for number, at in enumerate(HOUR)
    ]  # fmt: skip
    result.windows = [Window(400.0, 445.0, 30, 8.2, 9.1, 20, ["everything is slow"])]
    result.seconds = 3600.0
    return result


@pytest.mark.parametrize(("per_hour", "grows"), [(0.0, False), (4.0, False), (30.0, True)])
def test_a_day_fails_when_memory_grows_faster_than_the_bound(per_hour: float, grows: bool) -> None:
    found = report.figures(a_day(per_hour))
    assert any("memory grows" in each for each in found["broken"]) is grows
    assert ("BROKEN: memory grows" in report.table(found)) is grows


def test_only_the_process_that_lived_longest_is_judged_after_its_warm_up() -> None:
    memory = report.Memory(a_day(0.0))
    assert memory.processes == 2
    assert memory.samples[0].at == 300 + report.WARM_UP_SHARE * 3600


def test_a_short_day_says_nothing_of_memory() -> None:
    found = report.figures(a_day(30.0, minutes=5))
    assert found["broken"] == []
    assert found["memory"]["judged"] is False


def test_the_day_is_written_as_figures_a_table_and_a_picture(tmp_path: Path) -> None:
    result = a_day(0.0)
    report.write(result, report.figures(result), tmp_path)
    assert json.loads((tmp_path / "day.json").read_text())["memory"]["processes"] == 2
    assert "slope, like for like" in (tmp_path / "day.txt").read_text()
    assert (tmp_path / "day.png").read_bytes()[:4] == b"\x89PNG"
