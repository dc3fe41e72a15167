"""From an event log to a recorded application, in one pass and in little memory.

Theory of operation
-------------------
Parts give lines (`lines`), lines give events (`event_lines`), and events an application (`application_builder`). Nothing is
given up for a line that cannot be read: what was passed over, guessed or put right is counted in `LogNotes`, and the caller
says so.
"""

from collections.abc import Callable
from dataclasses import dataclass

from spark_allocation.core.simulation.application import RecordedApplication
from spark_allocation.sources.event_log.application_builder import ApplicationBuilder
from spark_allocation.sources.event_log.event_lines import EventLines
from spark_allocation.sources.event_log.lines import lines_of
from spark_allocation.sources.event_log.log_files import NO_PARTS, LogFiles, NoLog
from spark_allocation.sources.event_log.log_notes import LogNotes


@dataclass(frozen=True, slots=True)
class ReadLog:
    """A log that was read."""

    application: RecordedApplication
    notes: LogNotes


def read_log(files: LogFiles, progress: Callable[[int], None] = lambda _bytes: None) -> ReadLog:
    """Read one log.

    Args:
        progress: told of every so many bytes that were taken from storage.

    Raises:
        NoLog: when no job of an application is in it.
        CodecMissing: when it is packed with what cannot be unpacked here.
    """
    if not files.parts:
        raise NoLog(f"{files.name}: {NO_PARTS}")
    notes = LogNotes(compacted=files.compacted, missing_parts=files.missing)
    builder = ApplicationBuilder(notes)
    events = EventLines(builder.handlers, notes)
    for line in lines_of(files, notes, progress):
        events.take(line)
    application = builder.finish()
    if application is None:
        what = "no job began in it" if events.known else "it is no event log"
        if files.in_progress:
            what = "no job has begun in it yet"
        raise NoLog(
            f"{files.name}: {what} ({notes.lines} lines, {notes.damaged} damaged); "
            "wanted is what spark.eventLog.enabled=true writes"
        )
    # its name may say otherwise: the last renaming can fail, and files can be copied
    notes.in_progress = not application.ended
    return ReadLog(application, notes)
