"""Where traces are, and their entries in order.

A trace is recognized by what it says in its first line, whatever its files are called: packed with gzip, as the operator
writes it, or plain. Parts belong together by the SparkAllocation that they name, and follow each other by their own word.

A process that was killed leaves the last part torn; what can be read of a part counts, and its end is then a gap.
"""

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from spark_allocation.core.trace.inputs import LifeBegun
from spark_allocation.core.trace.replay import Entry, Gap
from spark_allocation.traces.format import TRACE, Heading, NotReadable, Reading, heading_of
from spark_allocation.traces.looks import StreamPoint

_GZIP = b"\x1f\x8b"
_LONGEST_HEADING = 4_096
_DEPTH = 4
"""Of folders below the one that is named: the operator makes two."""


class DamagedTrace(ValueError):  # noqa: N818  (what the user reads)
    """A trace that cannot be used; the message names file, line and remedy."""


@dataclass(frozen=True, slots=True)
class TracePart:
    """One file."""

    path: str
    heading: Heading


@dataclass(frozen=True, slots=True)
class Trace:
    """All parts of one SparkAllocation, in order."""

    parts: tuple[TracePart, ...]

    @property
    def name(self) -> str:
        """Namespace and name."""
        heading = self.parts[0].heading
        return f"{heading.namespace}/{heading.name}"

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(Path(part.path).stat().st_size for part in self.parts)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry stands."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path} line {self.line}"


def find_traces(where: str) -> list[Trace]:
    """Traces in a file or below a folder; none when there is no such place, or something else is there.

    Raises:
        DamagedTrace: a file is a trace, but none that can be read.
    """
    path = Path(where)
    files = [path] if path.is_file() else sorted(_files_below(path)) if path.is_dir() else []
    parts = [part for part in map(_part, files) if part is not None]
    by_uid: dict[tuple[str, str, str], list[TracePart]] = {}
    for part in parts:
        heading = part.heading
        key = heading.namespace, heading.name, heading.uid
        by_uid.setdefault(key, []).append(part)
    return [
        Trace(tuple(sorted(of_one, key=lambda each: (each.heading.recording, each.heading.part))))
        for _, of_one in sorted(by_uid.items())
    ]


def looks(trace: Trace) -> Iterator[StreamPoint]:
    """Looks from outside that somebody has added.

    Raises:
        DamagedTrace: a line in the middle cannot be understood.
    """
    for part in trace.parts:
        for _, entry in _entries_of(part):
            if isinstance(entry, StreamPoint):
                yield entry


def entries(trace: Trace) -> Iterator[tuple[Place, Entry]]:
    """All entries of a trace, without looks; a `Gap` where something is missing.

    Raises:
        DamagedTrace: a line in the middle cannot be understood.
    """
    before: Heading | None = None
    torn = False
    for part in trace.parts:
        heading = part.heading
        follows = (
            before is not None
            and not torn
            and (heading.recording, heading.part) == (before.recording, before.part + 1)
        )
        torn = False
        for place, entry in _entries_of(part):
            if follows and isinstance(entry, LifeBegun) and entry.in_the_middle:
                continue  # all that came before is there
            if isinstance(entry, _Torn):
                torn = True
                yield place, Gap()
            elif not isinstance(entry, StreamPoint):
                yield place, entry
        before = heading


class _Torn:
    """The part ends in the middle of a line or of what was packed."""


def _entries_of(part: TracePart) -> Iterator[tuple[Place, Entry | StreamPoint | _Torn]]:
    reading = Reading()
    broken: tuple[Place, str] | None = None
    number = 0
    with _opened(part.path) as file:
        try:
            for number, text in enumerate(file, start=1):
                place = Place(part.path, number)
                if broken is not None:
                    # only the last line may be broken off
                    raise DamagedTrace(_damaged(*broken))
                if number == 1:
                    continue
                try:
                    entry = reading.entry(_object(text))
                except NotReadable as error:
                    broken = place, str(error)
                    continue
                if entry is not None:
                    yield place, entry
        except (EOFError, zlib.error, gzip.BadGzipFile):
            broken = Place(part.path, number + 1), "torn"
    if broken is not None:
        yield broken[0], _Torn()


def _part(path: Path) -> TracePart | None:
    """What the file says that it is; None for no trace."""
    try:
        with _opened(str(path)) as file:
            first = file.readline(_LONGEST_HEADING)
        line = _object(first)
    except (OSError, EOFError, zlib.error, NotReadable):
        return None
    if line.get("is") != TRACE:
        return None
    try:
        return TracePart(str(path), heading_of(line))
    except NotReadable as error:
        raise DamagedTrace(_damaged(Place(str(path), 1), str(error))) from None


def _files_below(folder: Path) -> Iterator[Path]:
    top = len(folder.parts)
    for where, folders, names in os.walk(folder):
        if len(Path(where).parts) - top >= _DEPTH:
            folders.clear()
        yield from (Path(where) / name for name in names)


def _opened(path: str) -> BinaryIO:
    with Path(path).open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    return gzip.open(path, "rb") if packed else Path(path).open("rb")  # type: ignore[return-value]


def _object(text: bytes) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotReadable(f"it is no JSON: {error}") from None
    if not isinstance(line, dict):
        raise NotReadable("it is no JSON object")
    return line


def _damaged(place: Place, why: str) -> str:
    return (
        f"{place}: {why}; leave this file out, or cut it off before this line "
        f"(zcat -f {place.path} | head -n {place.line - 1})"
    )


def names_of(traces: Sequence[Trace]) -> frozenset[str]:
    """All files of these traces."""
    return frozenset(part.path for trace in traces for part in trace.parts)
