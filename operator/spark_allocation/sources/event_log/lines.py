"""The lines of an event log, part after part, in little memory.

A part that is cut gives the lines before the cut; a line longer than `LONGEST_LINE` is passed over without being kept.
"""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from spark_allocation.sources.event_log.framings import CutStream, unpacked
from spark_allocation.sources.event_log.log_files import LogFiles
from spark_allocation.sources.event_log.log_notes import LogNotes

LONGEST_LINE = 256 << 20
"""In bytes."""


class _Counted:
    """A stream that tells how much was taken from it."""

    def __init__(self, stream: BinaryIO, progress: Callable[[int], None]) -> None:
        self._stream = stream
        self._progress = progress

    def read(self, count: int = -1) -> bytes:
        data = self._stream.read(count)
        self._progress(len(data))
        return data


def lines_of(files: LogFiles, notes: LogNotes, progress: Callable[[int], None]) -> Iterator[bytes]:
    """All lines of a log, without their ends.

    Args:
        notes: counts lines, those that are left out for their length, and parts that are cut.
        progress: told of every so many bytes that were taken from storage.

    Raises:
        CodecMissing: when it is packed with what cannot be unpacked here.
    """
    for stream in files.open_parts():
        rest: list[bytes] = []
        length = 0
        try:
            for piece in unpacked(_Counted(stream, progress)):  # type: ignore[arg-type]
                if b"\n" not in piece:
                    length += len(piece)
                    if length <= LONGEST_LINE:
                        rest.append(piece)
                    continue
                found = piece.split(b"\n")
                if length > LONGEST_LINE:
                    notes.lines += 1
                    notes.damaged += 1
                elif rest:
                    found[0] = b"".join((*rest, found[0]))
                rest, last = [], found.pop()
                if length > LONGEST_LINE:
                    del found[0]
                length = len(last)
                if last:
                    rest.append(last)
                notes.lines += len(found)
                yield from found
        except CutStream as cut:
            notes.cut.append(str(cut))
        if rest and 0 < length <= LONGEST_LINE:
            notes.lines += 1
            yield b"".join(rest)
