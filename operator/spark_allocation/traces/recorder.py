"""Writes traces: never in anybody's way, never more than so many bytes.

Theory of operation
-------------------
The event loop puts values into a queue and goes on; a thread of its own makes lines of them and writes them. Values are
never changed once they are made, so both can hold them. The queue has a limit, counted in pods and executors because those are what it holds in memory;
beyond it values are dropped, counted, and a `Gap` is in the trace where they were. A life that begins is never dropped.

A trace is a folder ``<namespace>/<name>`` of *parts*. Lines are gathered for `WRITE_AFTER_SECONDS` or `CHUNK` characters, packed
with gzip and appended as one member, so a part can be read at any time, and a process that is killed loses seconds. A
part that has reached its size is followed by the next one, which begins with the life as it stands then. Where a SparkAllocation or all of them
together have more than they may, the oldest part goes. An eighth of what one may have is the size of a part, so seven
eighths are always there.

What cannot be written (a full disk) is dropped and counted like what does not fit into the queue.

Files of former processes count as well. Of two processes that write into the same volume each keeps the limit for what it sees.
"""

import gzip
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from spark_allocation.core.allocation_step import Step
from spark_allocation.core.trace.driven_allocation import TraceSink
from spark_allocation.core.trace.inputs import (
    Input,
    LifeBegun,
    ProfilesLearned,
    ReportTaken,
    StepAsked,
)
from spark_allocation.core.trace.replay import Gap
from spark_allocation.traces.format import Heading, Line, Writing

SUFFIX = ".jsonl.gz"
PARTS = 8
"""Of one SparkAllocation, when it has as much as it may."""
LEAST_PART_BYTES = 4_096
LOOK_EVERY_SECONDS = 0.5
WRITE_AFTER_SECONDS = 5.0
CHUNK = 64_000
QUEUE_LIMIT = 200_000
END_PATIENCE_SECONDS = 3.0
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
_FOR_US_ALONE = 0o600

log = structlog.get_logger("trace_recorder")


@dataclass(frozen=True, slots=True)
class TraceLimits:
    """In bytes, as they are in files.

    Attributes:
        allocation_bytes: of one SparkAllocation.
        total_bytes: of all together.
    """

    allocation_bytes: int = 64 << 20
    total_bytes: int = 512 << 20

    @property
    def part_bytes(self) -> int:
        """Of one file, about."""
        return max(LEAST_PART_BYTES, min(self.allocation_bytes, self.total_bytes) // PARTS)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose trace."""

    namespace: str
    name: str
    uid: str


@dataclass(slots=True)
class TraceCounts:
    """What became of it so far, in this process.

    Attributes:
        lines: that were written.
        written_bytes: of them, packed.
        not_taken: values that are missing because too many waited.
        not_written: and those that could not be written.
        parts_removed: parts that had to make room.
        kept_bytes: of all parts that are there.
    """

    lines: int = 0
    written_bytes: int = 0
    not_taken: int = 0
    not_written: int = 0
    parts_removed: int = 0
    kept_bytes: int = 0


class _Over:
    """There will be no more of a SparkAllocation."""


Told = LifeBegun | Input | ProfilesLearned | Gap | tuple[StepAsked, Step] | _Over


class TraceRecorder:
    """Of one process.

    Args:
        directory: is made if it is not there.

    Attributes:
        limits: what it may keep.
        counts: what became of what it was told.
    """

    def __init__(
        self,
        directory: Path,
        limits: TraceLimits,
        *,
        operator: str,
        epoch_ms: Callable[[], int],
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        """
        Args:
            operator: its version.
            queue_limit: values that may wait, each pod and executor in them counted.
        """
        self._directory = directory
        self.limits = limits
        self._operator = operator
        self._epoch_ms = epoch_ms
        self._recording = epoch_ms()
        self._queue_limit = queue_limit
        self._condition = threading.Condition()
        self._queue: deque[tuple[Subject, Told, int]] = deque()
        self._waiting = 0
        self._lost: dict[Subject, int] = {}
        self._ending = False
        self._traces: dict[Subject, _Trace] = {}
        self._sizes: dict[Path, int] = {}
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._failed = ""
        self._idle: list[threading.Event] = []
        self.counts = TraceCounts()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self, patience_seconds: float = END_PATIENCE_SECONDS) -> None:
        """Write what waits, as far as that is quick."""
        with self._condition:
            self._ending = True
            self._condition.notify()
        self._thread.join(patience_seconds)

    def wait_until_idle(self, patience_seconds: float) -> None:
        """Wait until everything that was put before is written, for tests and figures."""
        done = threading.Event()
        with self._condition:
            self._idle.append(done)
            self._condition.notify()
        done.wait(patience_seconds)

    def sink(self, subject: Subject) -> TraceSink:
        """For one SparkAllocation."""
        return _Sink(self, subject)

    def forget(self, subject: Subject) -> None:
        """No more will be told of it."""
        self.put(subject, _Over(), 0)

    def put(self, subject: Subject, told: Told, weight: int) -> None:
        """Have it written some time; never waits."""
        with self._condition:
            if self._waiting + weight > self._queue_limit and not isinstance(
                told, LifeBegun | _Over
            ):
                self._lost[subject] = self._lost.get(subject, 0) + 1
                self.counts.not_taken += 1
                return
            lost = self._lost.pop(subject, 0)
            if lost:
                self._queue.append((subject, Gap(lost), 0))
            self._queue.append((subject, told, weight))
            self._waiting += weight

    # -- in the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._look_at_former_parts()
        while True:
            with self._condition:
                if not (self._ending or self._idle):
                    self._condition.wait(LOOK_EVERY_SECONDS)
                taken, self._queue, self._waiting = self._queue, deque(), 0
                ending = self._ending
                awaited, self._idle = self._idle, []
            while taken:
                subject, told, _ = taken.popleft()
                self._take(subject, told)
            now = time.monotonic()
            for trace in list(self._traces.values()):
                if trace.lines and (ending or awaited or now >= trace.write_at):
                    self._write(trace)
            for each in awaited:
                each.set()
            if ending:
                return

    def _take(self, subject: Subject, told: Told) -> None:
        if isinstance(told, _Over):
            over = self._traces.pop(subject, None)
            if over is not None:
                self._write(over)
            return
        trace = self._traces.get(subject)
        if trace is None:
            trace = self._traces[subject] = _Trace(subject)
        try:
            if trace.size >= self.limits.part_bytes or not trace.path:
                self._begin_part(trace, told)
            match told:
                case LifeBegun():
                    line = trace.writing.begun(told)
                case (asked, step):
                    line = trace.writing.stepped(asked, step)
                case _:
                    line = trace.writing.told(told)
        except Exception as error:  # noqa: BLE001  (whatever a trace cannot hold must not end all recording)
            self.counts.not_written += 1
            self._failed_with(repr(error))
            line = {"is": "gap", "lost": 1}
        trace.add(line)
        if trace.characters >= CHUNK:
            self._write(trace)

    def _begin_part(self, trace: "_Trace", told: Told) -> None:
        self._write(trace)
        trace.part += 1
        subject = trace.subject
        folder = self._directory / _folder(subject.namespace) / _folder(subject.name)
        trace.path = folder / f"{self._recording}-{trace.part:06d}{SUFFIX}"
        trace.size = 0
        heading = Heading(
            subject.namespace,
            subject.name,
            subject.uid,
            self._recording,
            trace.part,
            self._operator,
        )
        trace.add(heading.line)
        if not isinstance(told, LifeBegun):
            now_ns, now_ms = _moment(told)
            if now_ms == 0:
                now_ns, now_ms = time.monotonic_ns(), self._epoch_ms()
            for line in trace.writing.begin_part(now_ns, now_ms):
                trace.add(line)
            if trace.lost:
                trace.add(trace.writing.told(Gap(trace.lost)))
        trace.lost = 0

    def _write(self, trace: "_Trace") -> None:
        if not trace.lines or trace.path is None:
            return
        lines, trace.lines, trace.characters = trace.lines, [], 0
        chunk = gzip.compress("".join(lines).encode(), compresslevel=6, mtime=0)
        try:
            trace.path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(trace.path, _APPEND, _FOR_US_ALONE), "wb") as file:
                file.write(chunk)
        except OSError as error:
            self.counts.not_written += len(lines)
            self._failed_with(str(error))
            # what was written of it, if anything, is the torn end of this part
            trace.forget_part()
            trace.lost += len(lines)
            return
        self.counts.lines += len(lines)
        self.counts.written_bytes += len(chunk)
        trace.size += len(chunk)
        self._sizes[trace.path] = trace.size
        self._make_room(trace.path.parent)
        self.counts.kept_bytes = sum(self._sizes.values())

    def _make_room(self, folder: Path) -> None:
        own = [path for path in self._sizes if path.parent == folder]
        self._shrink(own, self.limits.allocation_bytes)
        if sum(self._sizes.values()) > self.limits.total_bytes:
            self._shrink(list(self._sizes), self.limits.total_bytes)

    def _shrink(self, paths: list[Path], limit: int) -> None:
        size = sum(self._sizes[path] for path in paths)
        for path in sorted(paths, key=lambda each: (each.name, each)):
            if size <= limit:
                return
            size -= self._sizes.pop(path)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                self._failed_with(str(error))
            self.counts.parts_removed += 1
            for trace in self._traces.values():
                if trace.path == path:
                    trace.forget_part()

    def _look_at_former_parts(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            for path in self._directory.glob(f"*/*/*{SUFFIX}"):
                self._sizes[path] = path.stat().st_size
            self._shrink(list(self._sizes), self.limits.total_bytes)
        except OSError as error:
            self._failed_with(str(error))

    def _failed_with(self, error: str) -> None:
        if error != self._failed:
            self._failed = error
            log.warning("trace_not_written", directory=str(self._directory), error=error)


@dataclass(slots=True)
class _Trace:
    """The trace of one SparkAllocation that is being written."""

    subject: Subject
    writing: Writing = field(default_factory=Writing)
    path: Path | None = None
    part: int = 0
    size: int = 0
    lines: list[str] = field(default_factory=list)
    characters: int = 0
    write_at: float = 0.0
    lost: int = 0

    def add(self, line: Line) -> None:
        if not self.lines:
            self.write_at = time.monotonic() + WRITE_AFTER_SECONDS
        text = json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n"
        self.lines.append(text)
        self.characters += len(text)

    def forget_part(self) -> None:
        """It goes on in the next one."""
        self.path, self.size = None, 0


class _Sink:
    """A `TraceSink` for one SparkAllocation."""

    def __init__(self, recorder: TraceRecorder, subject: Subject) -> None:
        self._recorder = recorder
        self._subject = subject

    def begun(self, life: LifeBegun) -> None:
        self._recorder.put(self._subject, life, 1)

    def told(self, entry: Input | ProfilesLearned) -> None:
        weight = 1
        if isinstance(entry, ReportTaken):
            weight += len(entry.report.executors) + len(entry.report.dead_executors or ())
        self._recorder.put(self._subject, entry, weight)

    def stepped(self, asked: StepAsked, step: Step) -> None:
        self._recorder.put(self._subject, (asked, step), 1 + len(asked.snapshot.pods))


def _moment(told: Told) -> tuple[int, int]:
    match told:
        case (asked, _):
            return asked.now_ns, asked.now_ms
        case ReportTaken():
            return told.now_ns, told.now_ms
    return 0, 0


def _folder(name: str) -> str:
    """A name of Kubernetes as the name of a folder: they are made for that, but for dots in front."""
    return name.replace("/", "_").lstrip(".") or "_"
