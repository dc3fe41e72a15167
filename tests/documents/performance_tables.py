"""What docs/performance.md says of each benchmark's figures: its tables, with what keeps its aim and what misses it."""

import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from tests.documents import performance_pictures
from tests.documents.performance_pictures import EXPONENTIAL, IMMEDIATE, SPARK, Document, waits
from tests.perf import aims, machine
from tests.perf.aims import Aim

Documents = Mapping[str, Document]
"""What docs/performance has, by name."""


# -- parts of a page --------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return re.sub(" +", " ", f"| {' | '.join(cells)} |")


def measured_on(found: Document, name: str) -> str:
    return f"[{name}.json](performance/{name}.json), {machine.described(found['machine'])}"


def _picture(picture: performance_pictures.Picture) -> str:
    return f"![{picture.says}](images/{picture.file})"


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _span(values: Iterable[float], form: str) -> str:
    """One figure, or the least and the largest of several."""
    ordered = sorted(values)
    least, most = format(ordered[0], form), format(ordered[-1], form)
    return least if least == most else f"{least} to {most}"


# -- what a creation costs --------------------------------------------------------------------------------------------


def _creation(found: Documents) -> list[str]:
    memory, real = found["create-memory"], found["create"]
    columns = [each["creations"] for each in (memory, real)]

    def row(words: str, cell: Callable[[Sequence[Document]], str], aim: str = "") -> list[str]:
        return [words, aim, *map(cell, columns)]

    def of(figure: str, form: str) -> Callable[[Sequence[Document]], str]:
        return lambda runs: _span((run[figure] for run in runs), form)

    def judged(aim: Aim, figure: str, form: str) -> Callable[[Sequence[Document]], str]:
        worst = min if aim.least else max
        return lambda runs: aim.marked(worst(run[figure] for run in runs), of(figure, form)(runs))

    def answered(runs: Sequence[Document]) -> str:
        within = [run["answered_within_seconds"]["p99"] * 1000 for run in runs]
        return f"{_span(within, '.0f')} ms"

    rows = [
        row("building it, CPU ms", of("build_cpu_ms", ".2f")),
        row("asking for it, CPU ms", of("ask_cpu_ms", ".2f")),
        row(
            "both",
            judged(aims.CREATION_CPU_MS, "creation_cpu_ms", ".2f"),
            f"{aims.CREATION_CPU_MS.bound:g}",
        ),
        row(
            "creations a second",
            judged(aims.CREATIONS_PER_SECOND, "asked_a_second", ",.0f"),
            f"at least {aims.CREATIONS_PER_SECOND.bound:g}",
        ),
        row("99 % are answered within", answered),
    ]
    return [
        "Runs, and pods in each: "
        + "; ".join(
            f"{len(each['creations'])} of {each['creations'][0]['pods']:,} ({measured_on(each, name)})"
            for name, each in (("create-memory", memory), ("create", real))
        )
        + ".",
        "",
        *table(["", "aim", "API server in memory", "a test cluster's"], rows),
    ]


# -- beside Spark's own allocation ------------------------------------------------------------------------------------

_WAYS = {SPARK: "Spark's own", EXPONENTIAL: "operator", IMMEDIATE: "operator, `rampUp: Immediate`"}


def _beside_spark(found: Documents) -> list[str]:
    document = found["beside-spark"]
    spark = waits(document, SPARK)
    rounds = {way: waits(document, way) for way in _WAYS}
    rows = []
    for count in sorted(spark):
        row = [f"{count}", _seconds(statistics.median(spark[count]))]
        for way in (EXPONENTIAL, IMMEDIATE):
            there = rounds[way].get(count)
            row += ["–", ""] if not there else _beside(way, count, there, spark[count])
        rows.append(row)
    most = max(spark)
    told = (
        f"Spark {document['spark']}; medians of {len(spark[1])} rounds to the first pod and {len(spark[most])} to {most} "
        f"({measured_on(document, 'beside-spark')}):"
    )
    return [
        told,
        "",
        *table(["pods", _WAYS[SPARK], _WAYS[EXPONENTIAL], "", _WAYS[IMMEDIATE], ""], rows),
        "",
        _picture(performance_pictures.WAVES),
        "",
        *table(
            ["", *_WAYS.values()],
            [
                [words, *(cell(document["ways"][way]) for way in _WAYS)]
                for words, cell in _COSTS.items()
            ],
        ),
    ]


def _beside(way: str, count: int, there: list[float], spark: list[float]) -> list[str]:
    ours = statistics.median(there)
    ratio = ours / statistics.median(spark)
    words, aim = f"{ratio:.2f} ×", performance_pictures.RATIO_AIMS.get((way, count))
    if aim is not None:
        words = f"{aim.marked(ratio, words)} (aim {aim.bound:g})"
    return [_seconds(ours), words]


def _cpu(figure: str) -> Callable[[Document], str]:
    return lambda way: f"{way[figure]:.1f} s" if way.get(figure) else "–"


def _calm(way: Document) -> str:
    if "calmRequests" not in way:
        return "–"
    asked = [f"{count} {name}" for name, count in sorted(way["calmRequests"].items())]
    return f"{', '.join(asked) or 'none'} in {way['calmSeconds']:.0f} s"


_COSTS: Mapping[str, Callable[[Document], str]] = {
    "pods in all": lambda way: f"{way['pods']:,}",
    "CPU of the driver": _cpu("driverCpuSeconds"),
    "CPU of the operator": _cpu("operatorCpuSeconds"),
    "requests while nothing changes": _calm,
}


# -- what many applications cost --------------------------------------------------------------------------------------


def largest_run(found: Document) -> Document:
    """The one that the aims are for.

    Raises:
        ValueError: there is none.
    """
    for run in found["runs"]:
        if run["applications"] == aims.APPLICATIONS:
            return dict(run)
    raise ValueError(f"no run of {aims.APPLICATIONS} applications")


def _many(found: Documents) -> list[str]:
    document = found["many"]
    run = largest_run(document)
    told = (
        f"{run['applications']:,} applications with {run['pods']:,} executor pods for {run['seconds']:.0f} s "
        f"({measured_on(document, 'many')}):"
    )
    statuses = (
        f"{run['status_patches_per_second']:.1f}",
        f"at most {run['most_statuses_in_a_second']} in one second",
    )
    rows = [
        [
            "CPU",
            f"{aims.CPU_CORES.bound * 100:.0f} % of a core",
            aims.CPU_CORES.marked(run["cpu_cores"], f"{run['cpu_cores'] * 100:.1f} %"),
        ],
        [
            "memory",
            f"{aims.MEMORY_MIB.bound:g} MiB",
            aims.MEMORY_MIB.marked(run["rss_mib"], f"{run['rss_mib']:.0f} MiB"),
        ],
        [
            "job of an application at work to its first new executor",
            _within(aims.REACTION_ACTIVE_SECONDS),
            _reaction(aims.REACTION_ACTIVE_SECONDS, run["reaction_active"]),
        ],
        [
            "job of an application at rest",
            _within(aims.REACTION_RESTING_SECONDS),
            _reaction(aims.REACTION_RESTING_SECONDS, run["reaction_resting"]),
        ],
        ["LISTs", f"{aims.LISTS.bound:g}", aims.LISTS.marked(run["lists"], f"{run['lists']}")],
        [
            "status writes a second",
            f"{aims.STATUSES_PER_SECOND.bound:g}",
            f"{aims.STATUSES_PER_SECOND.marked(run['status_patches_per_second'], statuses[0])}, {statuses[1]}",
        ],
        ["event loop, late", "", f"at most {run['event_lag']['worst'] * 1000:.0f} ms"],
        [
            "requests to drivers a second, and what they answer",
            "",
            f"{run['driver_requests_per_second']:.0f}, {run['driver_kib_per_second'] / 1024:.1f} MiB",
        ],
        [
            "until all had their executors, from nothing",
            "",
            f"{run['complete_seconds']:.1f} s, {run['complete_cpu_seconds']:.0f} s of CPU",
        ],
    ]
    return [
        told,
        "",
        *table(["", "aim", ""], rows),
        "",
        _picture(performance_pictures.REACTIONS),
    ]


def _within(aim: Aim) -> str:
    return f"99 % within {aim.bound:g} s"


def _reaction(aim: Aim, found: Document) -> str:
    if not found["count"]:
        return "–"
    who = f"all {found['count']}" if found["count"] < 100 else f"99 % of {found['count']}"
    words = f"{who} within {found['p99']:.2f} s, half within {found['p50']:.2f}"
    return aim.marked(found["p99"], words)


_GROWING: Mapping[str, tuple[str, str]] = {
    "cpu_cores": ("CPU, cores", ".3f"),
    "cpu_ms_per_driver_request": ("CPU for each request to a driver, ms", ".2f"),
    "rss_mib": ("memory, MiB", ".0f"),
    "complete_cpu_seconds": ("CPU until all have their executors, s", ".1f"),
}


def _growth(found: Documents) -> list[str]:
    runs = found["many"]["runs"]
    rows = [
        [
            f"{run['applications']:,}",
            f"{run['pods']:,}",
            *(format(run[figure], form) for figure, (_, form) in _GROWING.items()),
            f"{run['seconds']:.0f} s",
        ]
        for run in runs
    ]
    sizes = [run["applications"] for run in runs]
    exponents = [machine.exponent(sizes, [run[figure] for run in runs]) for figure in _GROWING]
    marked = [aims.GROWTH.marked(each, f"{each:.2f}") for each in exponents]
    rows.append(["grows with the exponent", "", *marked, f"aim: {aims.GROWTH.bound:g}"])
    names = [words for words, _ in _GROWING.values()]
    return [
        *table(["applications", "executor pods", *names, "measured for"], rows),
        "",
        _picture(performance_pictures.GROWTH),
    ]


def _again(found: Documents) -> list[str]:
    restarts, failovers = found["restart"], found["failover"]
    rows = [
        [
            "restart",
            f"{run['applications']:,}",
            f"{run['pods']:,}",
            f"picture of all pods after {_seconds(run['synced_seconds'])}",
            _picture_cpu(run),
            _seconds(run["first_served_seconds"]),
            f"{_seconds(run['served_seconds'])}, {_seconds(run['served_cpu_seconds'])} of CPU",
            f"{run['rss_mib']:.0f} MiB",
            aims.PODS_MADE_AGAIN.marked(run["pods_made"], f"{run['pods_made']}"),
        ]
        for run in restarts["runs"]
    ]
    rows += [
        [
            "change of leader",
            f"{run['applications']:,}",
            f"{run['pods']:,}",
            f"Lease after {_seconds(run['taken_seconds'])}",
            "",
            aims.FAILOVER_SECONDS.marked(
                run["first_served_seconds"], _seconds(run["first_served_seconds"])
            )
            + f" (aim {aims.FAILOVER_SECONDS.bound:g})",
            f"{_seconds(run['served_seconds'])}, {_seconds(run['served_cpu_seconds'])} of CPU",
            f"{run['standby_rss_mib']:.0f} MiB before",
            aims.PODS_MADE_AGAIN.marked(run["pods_made"], f"{run['pods_made']}"),
        ]
        for run in failovers["runs"]
    ]
    head = [
        *("", "applications", "executor pods", "begins", "CPU until then"),
        *("first driver served", "all served", "memory", "pods made again"),
    ]
    files = (("restart", restarts), ("failover", failovers))
    return [
        f"{'; '.join(measured_on(document, name) for name, document in files)}:",
        "",
        *table(head, rows),
    ]


def _picture_cpu(run: Document) -> str:
    """The aim is for a picture of so many pods; a smaller one is not judged by it."""
    words = _seconds(run["synced_cpu_seconds"])
    if run["pods"] < 0.9 * aims.PICTURE_PODS:
        return words
    marked = aims.PICTURE_CPU_SECONDS.marked(run["synced_cpu_seconds"], words)
    return f"{marked} (aim {aims.PICTURE_CPU_SECONDS.bound:g})"


def _real(found: Documents) -> list[str]:
    document = found.get("many-real")
    if document is None:
        return ["Not measured yet."]
    head = [
        *("applications", "executor pods", "CPU, cores", "memory, MiB", "LISTs"),
        *("job at work to its first new executor", "at rest", "cluster: CPU, cores; memory, MiB"),
    ]
    rows = [
        [
            f"{run['applications']:,}",
            f"{run['pods']:,}",
            _if_aimed(run, aims.CPU_CORES, run["cpu_cores"], f"{run['cpu_cores']:.3f}"),
            _if_aimed(run, aims.MEMORY_MIB, run["rss_mib"], f"{run['rss_mib']:.0f}"),
            aims.LISTS.marked(run["lists"], f"{run['lists']}"),
            _reaction(aims.REACTION_ACTIVE_SECONDS, run["reaction_active"]),
            _reaction(aims.REACTION_RESTING_SECONDS, run["reaction_resting"]),
            "; ".join(
                f"{name} {each['cpu_cores']:.2f}, {each['rss_mib']:.0f}"
                for name, each in run.get("cluster", {}).items()
            ),
        ]
        for run in document["runs"]
    ]
    return [f"{measured_on(document, 'many-real')}:", "", *table(head, rows)]


def _if_aimed(run: Document, aim: Aim, figure: float, words: str) -> str:
    return aim.marked(figure, words) if run["applications"] == aims.APPLICATIONS else words


SECTIONS: Mapping[str, Callable[[Documents], list[str]]] = {
    "creation": _creation,
    "beside-spark": _beside_spark,
    "many": _many,
    "growth": _growth,
    "again": _again,
    "real": _real,
}
