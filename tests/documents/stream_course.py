"""Puts what `make stream` found into docs/howto/streaming.md, with docs/images/stream.png.

    python -m tests.documents.stream_course [demo-output/stream.json]

A run in which rows were lost or doubled is refused.
"""

import argparse
import sys
from pathlib import Path

from tests.streams.course import (
    INTERVAL_SECONDS,
    MOST,
    PARTITIONS,
    ROW_SECONDS,
    Course,
    Courses,
    Source,
    Way,
    read_courses,
)
from tests.streams.picture import write_png

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "howto" / "streaming.md"
PICTURE = DOCS / "images" / "stream.png"
BEGIN, END = "<!-- made by `make stream-page` -->", "<!-- to here -->"
_NAMES = {
    Way.OPERATOR: "the operator",
    Way.SPARK: "Spark's dynamic allocation",
    Way.FIXED: "nobody, fixed",
}
_SOURCES = {
    Source.FILES: "files",
    Source.KAFKA: f"a topic of Kafka with {PARTITIONS} partitions",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("json", type=Path, nargs="?", default=Path("demo-output") / "stream.json")
    found = read_courses(parser.parse_args().json)
    wrong = [f"{each.way}: {what}" for each in found.courses for what in each.complaints()]
    if wrong or not found.courses:
        print("\n".join(wrong) or "nothing was run", file=sys.stderr)
        return 1
    write_png(found.courses, PICTURE)
    PAGE.write_text(with_section(PAGE.read_text(), section(found)))
    print(f"{PAGE}, {PICTURE}")
    return 0


def with_section(page: str, text: str) -> str:
    """The page with another text between the two marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def section(found: Courses) -> str:
    """What stands between the marks."""
    first = found.courses[0]
    input_ = ", then ".join(f"{rate:.0f} for {seconds:.0f} s" for seconds, rate in first.phases)
    times = "in each way" if len(found.courses) > 1 else "once"
    told = (
        f"A real stream, {times}, on a test cluster of two cores with Spark {found.spark} (`make stream`). Its rows come from "
        f"{_SOURCES[found.source]}: rows a second are {input_}. A batch is wanted every {INTERVAL_SECONDS} s, "
        f"a row takes {ROW_SECONDS:g} s of a task, which waits rather than computes, and there may be {MOST} executors of one core. "
        "Every row came out once, and no task failed."
    )
    lines = [
        "## Beside Spark's own allocation",
        "",
        f"![Input, rows that wait, batches and executors over time](../images/{PICTURE.name})",
        "",
        told,
        "",
        "| Executors by | executor-seconds | batches | took longer than the interval | most executors | at the end | in time again after the rise |",
        "|---|---|---|---|---|---|---|",
        *map(_row, found.courses),
    ]
    return "\n".join(lines)


def _row(course: Course) -> str:
    back = course.back_in_time_after(1)
    cells = (
        _NAMES[course.way],
        f"{course.executor_seconds:.0f}",
        f"{len(course.batches)}",
        f"{course.late_share:.0%}",
        f"{course.peak}",
        f"{course.last}",
        "never" if back is None else f"{back:.0f} s",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
