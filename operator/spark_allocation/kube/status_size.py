"""How large a status may get: eight KiB, whatever tenants and servers write into sentences.

Every write of a status is sent to etcd, to every watch and back to us, and kopf decodes it: a status of half a megabyte
that changes every second would cost more than all pods together. Ids and versions come from a driver's REST API and
messages quote the API server, so neither has a length of its own.

What goes first is what is read least: old decisions, the ends of long sentences, then the decisions, then what is known of
streaming queries, and the profiles with the highest ids last, because an operator that restarts takes their targets up again.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

LARGEST_STATUS_BYTES = 8 * 1024
LONGEST_TEXT = 253
"""Characters of a field of its own: as long as the longest name in Kubernetes."""
LONGEST_STATE_MESSAGE = 1024

_RESERVED_BYTES = 64
"""For ``nextExecutorId``, which is written by itself."""
_SHORTER_MESSAGES = (512, 256, 128, 0)


def within_size(status: Mapping[str, Any]) -> dict[str, Any]:
    """The status as it may be written: the same, or without what does not fit into `LARGEST_STATUS_BYTES`."""
    bounded = {key: _bounded_text(key, value) for key, value in status.items()}
    if _fits(bounded):
        return bounded
    bounded = copy.deepcopy(bounded)
    for _ in _steps(bounded):
        if _fits(bounded):
            break
    return bounded


def _steps(status: dict[str, Any]) -> Iterator[None]:
    """Take something away at each step."""
    decisions = status.get("decisions") or []
    ends = status.get("executorEnds") or []
    for entries in (decisions, ends):
        while len(entries) > 3:
            entries.pop()
            yield
    for longest in _SHORTER_MESSAGES:
        for item in (
            *(status, *decisions, *ends),
            *(status.get("conditions") or ()),
            *(status.get("profiles") or ()),
        ):
            for field in ("message", "lastMessage", "grantReason"):
                if field in item:
                    item[field] = _cut(item[field], longest)
        yield
    decisions.clear()
    yield
    ends.clear()
    yield
    queries = status.get("streaming") or []
    for query in reversed(queries):
        if query.pop("learned", None) is not None:
            yield
    while queries:
        queries.pop()
        yield
    profiles = status.get("profiles") or []
    while profiles:
        profiles.pop()
        yield


def _fits(status: Mapping[str, Any]) -> bool:
    return len(json.dumps(status, separators=(",", ":"))) <= LARGEST_STATUS_BYTES - _RESERVED_BYTES


def _bounded_text(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return _cut(value, LONGEST_STATE_MESSAGE if key == "message" else LONGEST_TEXT)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: max(0, longest - 1)] + "…"[:longest]
