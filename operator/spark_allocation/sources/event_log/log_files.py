"""Where event logs are: a file, a rolled log, a folder of both, or a URL.

A *rolled* log is a folder ``eventlog_v2_<application>`` with ``events_<number>_<application>`` and an empty
``appstatus_<application>`` that ends in ``.inprogress`` until the application has ended
(``RollingEventLogFilesWriter``). The history server may have compacted the oldest files into one ``….compact``: what it
holds stands for all before it. A log in one file ends in ``.inprogress`` as long (``SingleEventLogFileWriter``).
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

_ROLLED = "eventlog_v2_"
_STATUS = "appstatus_"
MOST_MISSING = 20
"""Parts that are told to be missing; a name may have any number in it."""
_PART = re.compile(r"^events_(\d+)_.*?(\.compact)?$")
_IN_PROGRESS = ".inprogress"


NO_PARTS = "the rolled log holds no events_<number>_… file"


class NoLog(ValueError):  # noqa: N818  (what the user reads)
    """A path at which there is no event log; the message says what is there instead, and what is wanted."""


@dataclass(frozen=True, slots=True)
class LogFiles:
    """One application's log.

    Attributes:
        name: where it is, for people.
        parts: its files in the order of writing; none in a rolled log that has only begun.
        size: of all of them as they are stored, in bytes.
        in_progress: by its name, the application has not ended.
        compacted: the history server has thrown the oldest events away.
        missing: parts that should be there and are not.
    """

    name: str
    parts: tuple[str, ...]
    size: int
    in_progress: bool = False
    compacted: bool = False
    missing: tuple[int, ...] = ()

    def open_parts(self) -> Iterator[BinaryIO]:
        """The files, opened one after the other; each is closed before the next."""
        for part in self.parts:
            with _store(part).open(part) as stream:
                yield stream


def find_logs(where: str) -> list[LogFiles]:
    """The logs at a place, by name.

    In a folder, what cannot be read is found all the same, so that it can be told beside the others: the folder of a running
    cluster has logs that have only begun, and logs that are renamed while it is looked at.

    Raises:
        NoLog: when there is none.
    """
    store = _store(where)
    try:
        return _found(store, where)
    except (NoLog, OSError):
        raise
    except Exception as error:  # each store has its own
        raise NoLog(f"{where}: {type(error).__name__}: {error}") from error


def _found(store: "_Store", where: str) -> list[LogFiles]:
    if not store.exists(where):
        # stores of URLs say no more than that when nothing answers there
        unreached = ", or nothing answers there" if "://" in where else ""
        raise NoLog(f"{where}: there is no such file or folder{unreached}")
    if not store.is_folder(where):
        return [_single(store, where)]
    if _base(where).startswith(_ROLLED) or _parts(store.names(where)):
        rolled = _rolled(store, where)
        if not rolled.parts:
            raise NoLog(f"{where}: {NO_PARTS}")
        return [rolled]
    found: list[LogFiles] = []
    for name in sorted(store.names(where)):
        path = store.join(where, name)
        if name.startswith((".", "_")) or name.endswith((".crc", ".png", ".yaml", ".yml", ".md")):
            continue
        if not store.is_folder(path):
            found.append(_single(store, path))
        elif name.startswith(_ROLLED):
            found.append(_rolled(store, path))
    if not found:
        raise NoLog(f"{where}: the folder holds no event log; name a log, or the folder that spark.eventLog.dir names")  # fmt: skip
    return found


def _single(store: "_Store", path: str) -> LogFiles:
    return LogFiles(path, (path,), _size(store, path), path.endswith(_IN_PROGRESS))


def _size(store: "_Store", path: str) -> int:
    try:
        return store.size(path)
    except OSError:
        return 0  # whoever reads it is told why


def _parts(names: Iterable[str]) -> dict[int, tuple[bool, str]]:
    """Files of a rolled log by number; of two with one number the compacted one counts."""
    found: dict[int, tuple[bool, str]] = {}
    for name in sorted(names):
        match = _PART.match(name)
        if match:
            number, compact = int(match[1]), match[2] is not None
            if compact or number not in found:
                found[number] = (compact, name)
    return found


def _rolled(store: "_Store", folder: str) -> LogFiles:
    names = list(store.names(folder))
    parts = _parts(names)
    compacted = [number for number, (compact, _) in parts.items() if compact]
    first = max(compacted, default=min(parts, default=1))
    numbers = sorted(number for number in parts if number >= first)
    expected = 1 if not compacted else first
    missing: list[int] = []
    for number in numbers:
        missing += range(expected, min(number, expected + MOST_MISSING - len(missing)))
        expected = number + 1
    paths = tuple(store.join(folder, parts[number][1]) for number in numbers)
    status = [name for name in names if name.startswith(_STATUS)]
    return LogFiles(
        name=folder,
        parts=paths,
        size=sum(_size(store, path) for path in paths),
        in_progress=not status or any(name.endswith(_IN_PROGRESS) for name in status),
        compacted=bool(compacted),
        missing=tuple(missing),
    )


def _base(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class _Store:
    """Where files are kept."""

    exists: Callable[[str], bool]
    is_folder: Callable[[str], bool]
    names: Callable[[str], Iterable[str]]
    size: Callable[[str], int]
    open: Callable[[str], Any]
    join: Callable[[str, str], str]


_LOCAL = _Store(
    exists=os.path.exists,
    is_folder=os.path.isdir,
    names=os.listdir,
    size=os.path.getsize,
    open=lambda path: Path(path).open("rb"),  # noqa: SIM115  (the caller closes it)
    join=lambda folder, name: str(Path(folder) / name),
)


def _store(where: str) -> _Store:
    scheme = where.partition("://")[0] if "://" in where else ""
    if not scheme:
        return _LOCAL
    try:
        fsspec: Any = import_module("fsspec.core")
    except ImportError:
        raise NoLog(
            f"{where}: to read from {scheme}:// install the package fsspec and the one for this scheme "
            "(such as s3fs, gcsfs, adlfs), or copy the log here first"
        ) from None
    try:
        files, _ = fsspec.url_to_fs(where)
    except (ImportError, ValueError) as error:
        raise NoLog(f"{where}: {error}") from None
    return _Store(
        exists=files.exists,
        is_folder=files.isdir,
        names=lambda path: [_base(str(each)) for each in files.ls(path, detail=False)],
        size=lambda path: int(files.size(path) or 0),
        open=lambda path: files.open(path, "rb"),
        join=lambda folder, name: f"{folder.rstrip('/')}/{name}",
    )
