"""What is worked out of a stream that was run (`make stream`), and the section of the documentation that is made of it.

The stream itself runs in tests/e2e/test_streaming.py.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.documents import stream_course
from tests.streams.course import Course, Source, Way, course_of, read_courses, write_courses

BEGAN = 1_795_268_150.0


def result(*, rows: int = 900) -> dict[str, Any]:
    """Of a stream of 10 rows a second for 10 s, then 40 for 20 s; its batches from 10 s on."""
    batches = [(10.0, 9.0, 100), (20.0, 25.0, 400), (45.0, 8.0, 400)]
    return {
        "answers": {
            "rows": {"computed": rows, "known": 900},
            "the query ended by itself": {"computed": False, "known": False},
        },
        "failedTasks": 0,
        "began": BEGAN,
        "interval": 10,
        "phases": [[10.0, 10.0], [20.0, 40.0]],
        "batches": [
            {
                "batch": number,
                "at": datetime.fromtimestamp(BEGAN + at, UTC).isoformat(),
                "seconds": seconds,
                "rows": rows,
            }
            for number, (at, seconds, rows) in enumerate(batches)
        ],
        "registered": [[0.0, 1], [30.0, 4], [60.0, 2]],
    }


@pytest.fixture
def course() -> Course:
    return course_of(Way.OPERATOR, result())


def test_executor_seconds_are_those_of_registered_executors(course: Course) -> None:
    assert course.executor_seconds == 30 * 1 + 30 * 4
    assert (course.peak, course.last) == (4, 2)


def test_rows_wait_from_when_they_came_to_the_end_of_their_batch(course: Course) -> None:
    # at 19 s the batch of the first hundred ends, and 9 s of 40 rows have come since
    assert course.backlog()[1:3] == [(19.0, 460.0), (19.0, 360.0)]
    assert course.backlog()[-1] == (53.0, 0.0)


def test_batches_are_in_time_again_when_the_last_late_one_has_ended() -> None:
    told = result()
    told["phases"][1][0] = 40.0
    assert course_of(Way.SPARK, told).back_in_time_after(1) == 45.0 - 10.0


def test_a_stream_that_stays_late_is_never_in_time_again(course: Course) -> None:
    assert course.back_in_time_after(1) is None


def test_a_lost_row_and_a_failed_task_are_told() -> None:
    told = result(rows=899) | {"failedTasks": 2}
    assert course_of(Way.FIXED, told).complaints() == [
        "rows: 899 instead of 900",
        "2 tasks failed",
    ]


def test_what_was_run_is_read_as_it_was_written(course: Course, tmp_path: Path) -> None:
    file = tmp_path / "made" / "stream.json"
    write_courses(file, [course], Source.KAFKA, spark="4.1.4")
    read = read_courses(file)
    assert (read.source, read.spark, read.courses) == (Source.KAFKA, "4.1.4", (course,))


def test_the_section_is_replaced_and_the_page_around_it_stays(
    course: Course, tmp_path: Path
) -> None:
    file = tmp_path / "stream.json"
    write_courses(file, [course], Source.KAFKA, spark="4.1.4")
    page = f"# Streams\n\n{stream_course.BEGIN}\nold\n{stream_course.END}\n\n## More\n"
    made = stream_course.with_section(page, stream_course.section(read_courses(file)))
    assert made.startswith(f"# Streams\n\n{stream_course.BEGIN}\n## Beside")
    assert made.endswith(f"{stream_course.END}\n\n## More\n")
    assert "| the operator | 150 | 3 | 33% | 4 | 2 | never |" in made.splitlines()
    assert "10 for 10 s, then 40 for 20 s" in made
    assert "old" not in made


def test_the_page_has_a_place_for_the_section() -> None:
    assert stream_course.with_section(stream_course.PAGE.read_text(), "anything")


def test_a_run_with_lost_rows_does_not_get_into_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "stream.json"
    write_courses(file, [course_of(Way.SPARK, result(rows=899))], Source.FILES, spark="4.1.4")
    before = stream_course.PAGE.read_text()
    monkeypatch.setattr("sys.argv", ["stream_course", str(file)])
    assert stream_course.main() == 1
    assert "899 instead of 900" in capsys.readouterr().err
    assert stream_course.PAGE.read_text() == before


def test_the_page_and_the_picture_are_written(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, picture = tmp_path / "page.md", tmp_path / "stream.png"
    page.write_text(f"{stream_course.BEGIN}{stream_course.END}")
    monkeypatch.setattr(stream_course, "PAGE", page)
    monkeypatch.setattr(stream_course, "PICTURE", picture)
    file = tmp_path / "stream.json"
    write_courses(file, [course, course], Source.FILES, spark="4.1.4")
    monkeypatch.setattr("sys.argv", ["stream_course", str(file)])
    assert stream_course.main() == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "images/stream.png" in page.read_text()
    assert json.loads(file.read_text())["source"] == "files"
