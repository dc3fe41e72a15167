"""From a line of an event log to its event.

A line begins with its event's name, so most lines are passed over after a look at their first bytes; the others are decoded
into the few fields that are needed. A line that some other program has written anew, with spaces or its fields in another
order, is decoded for its name first.

Source: ``org.apache.spark.util.JsonProtocol``, ``ReplayListenerBus``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from spark_allocation.sources.event_log import wire
from spark_allocation.sources.event_log.log_notes import LogNotes

_SPARKS_OWN = b'{"Event":"SparkListener'
_OTHERS = b'{"Event":"'


class EventLines:
    """Hands the events of lines on.

    Args:
        handlers: who takes an event of a kind of `wire.KINDS`, by its name there.
        notes: counts lines that are damaged or of kinds that are not known.

    Attributes:
        known: lines so far that are what Spark or an extension of it writes.
    """

    def __init__(self, handlers: Mapping[bytes, Callable[[Any], None]], notes: LogNotes) -> None:
        self._notes = notes
        self._handlers = {
            name: (msgspec.json.Decoder(kind).decode, handlers[name])
            for name, kind in wire.KINDS.items()
        }
        self._decode_name = msgspec.json.Decoder(wire.Named).decode
        self.known = 0

    def take(self, line: bytes) -> None:
        """Decode one line, and give its event to its handler."""
        if line.startswith(_SPARKS_OWN):
            self._take_own(line[len(_SPARKS_OWN) : line.find(b'"', len(_SPARKS_OWN), 100)], line)
        elif line.startswith(_OTHERS):
            # events of SQL, streaming and extensions bear the full name of their class
            name = line[len(_OTHERS) : line.find(b'"', len(_OTHERS), 300)]
            if not line.endswith(b"}"):
                self._notes.damaged += 1
            elif b"." not in name:
                self._unknown(name)
            else:
                self.known += 1
        elif line.strip():
            self._take_written_otherwise(line)

    def _take_own(self, name: bytes, line: bytes) -> None:
        """An event of Spark's core."""
        handler = self._handlers.get(name)
        if handler is None:
            if name in wire.PASSED_OVER:
                self.known += 1
            elif line.endswith(b"}"):
                self._unknown(b"SparkListener" + name)
            else:
                self._notes.damaged += 1
            return
        decode, put = handler
        try:
            event = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._notes.damaged += 1
            return
        self.known += 1
        put(event)

    def _take_written_otherwise(self, line: bytes) -> None:
        """A line that some other program has written anew: with spaces, or its fields in another order."""
        try:
            name = self._decode_name(line).name.encode()
        except (msgspec.DecodeError, UnicodeError):
            self._notes.damaged += 1
            return
        if name.startswith(b"SparkListener"):
            self._take_own(name.removeprefix(b"SparkListener"), line.rstrip())
        elif b"." in name:
            self.known += 1
        else:
            self._unknown(name)

    def _unknown(self, name: bytes) -> None:
        kind = name.decode(errors="replace")[:80]
        if kind in self._notes.unknown or len(self._notes.unknown) < 100:
            self._notes.unknown[kind] = self._notes.unknown.get(kind, 0) + 1
        else:
            self._notes.unknown["…"] = self._notes.unknown.get("…", 0) + 1
