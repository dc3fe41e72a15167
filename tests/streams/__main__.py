"""Run the stream in each way, one after the other, and compare: a table, figures as JSON, and a picture.

    python -m tests.streams --source kafka
    python -m tests.streams --ways operator --phases 90:8,150:32,150:4

The exit code is 1 when rows were lost or doubled, or a driver failed. `python -m tests.documents.stream_course` puts what
came of it into docs/howto/streaming.md.
"""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.cluster import arguments
from tests.demo.api import Api
from tests.demo.installation import delete_namespace, install_on_host, make_namespace
from tests.e2e.workspace import Workspace
from tests.streams.course import (
    DRIVER,
    ENDS_WITHIN_SECONDS,
    Course,
    Source,
    Way,
    course_of,
    start,
    write_courses,
)
from tests.streams.picture import write_png

PHASES = "90:8,150:32,150:4"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--ways", default=",".join(way.name.lower() for way in Way))
    parser.add_argument("--source", type=Source, choices=list(Source), default=Source.FILES)
    parser.add_argument("--phases", default=PHASES, help="seconds:rows-a-second,…")
    parser.add_argument("--png", type=Path, default=Path("demo-output") / "stream.png")
    parser.add_argument("--json", type=Path, default=Path("demo-output") / "stream.json")
    arguments.add_arguments(parser)
    options = parser.parse_args()
    ways = [Way[each.upper()] for each in options.ways.split(",")]
    cluster, image = arguments.cluster_and_image(parser, options)
    folder = Path(tempfile.mkdtemp(prefix="streams-"))
    courses: list[Course] = []
    failed: list[str] = []
    installation = install_on_host(cluster, folder)
    try:
        with Api(cluster) as api:
            for way in ways:
                namespace = f"stream-{secrets.token_hex(4)}"
                make_namespace(cluster, namespace)
                space = Workspace(cluster, api, namespace, image)
                print(f"{way}: the stream runs", flush=True)
                try:
                    start(space, folder / namespace, way, options.phases, options.source)
                    phase = space.await_end(DRIVER, within=ENDS_WITHIN_SECONDS)
                    course = course_of(way, space.result(DRIVER))
                    courses.append(course)
                    wrong = course.complaints()
                    if phase != "Succeeded":
                        wrong.append(f"the driver ended {phase}")
                    failed += [f"{way}: {each}" for each in wrong]
                    print(line(course), flush=True)
                finally:
                    delete_namespace(cluster, namespace)
    finally:
        installation.close()
    write_png(courses, options.png)
    write_courses(options.json, courses, options.source, spark=image.rsplit(":", 1)[1])
    print(f"\n{options.png}, {options.json}; the operator's log is in {folder}")
    for each in failed:
        print(f"BROKEN: {each}")
    return 1 if failed else 0


def line(course: Course) -> str:
    """One row of the table."""
    back = course.back_in_time_after(1)
    return (
        f"{course.way:28} {course.executor_seconds:7.0f} executor-s   {len(course.batches):3} batches, "
        f"{course.late_share:4.0%} late   peak {course.peak}, at the end {course.last}   in time again "
        + ("never" if back is None else f"{back:.0f} s after the step")
    )


if __name__ == "__main__":
    sys.exit(main())
