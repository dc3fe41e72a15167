"""Values that the operator has read and that nobody may read from it: they are taken out of logs, status and Events.

A driver masks what looks like a secret. Where the operator reads such a value elsewhere, to build the pod that Spark
would build, the value may come back in a sentence: a setting that Spark refuses, a field that the API server does not
take. Each sentence is written without it. The values are known to the task that read them and to those that it starts,
so that those of one application are never looked for in another's sentences.
"""

import json
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from spark_allocation.core.redacted_settings import REDACTED, looks_secret

SHORTEST = 3
"""Shorter ones would take ordinary words apart."""

_hidden: ContextVar[tuple[str, ...]] = ContextVar("hidden", default=())


def hide(values: Iterable[str]) -> None:
    """Let this task, and those that it starts from now on, write none of these values, nor words of them that look secret."""
    texts: set[str] = set()
    for value in values:
        for text in (value, value.strip(), *filter(looks_secret, value.split())):
            # as they stand in a sentence: plainly, quoted by Python, quoted by the API server
            texts |= {text, repr(text)[1:-1], json.dumps(text)[1:-1]}
    known = set(_hidden.get()) | {text for text in texts if len(text) >= SHORTEST}
    _hidden.set(tuple(sorted(known, key=len, reverse=True)))


def without_hidden(text: str) -> str:
    """The text with each of the values replaced."""
    for value in _hidden.get():
        text = text.replace(value, REDACTED)
    return text


def event_without_hidden(_: object, __: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """A processor for structlog: no part of a line holds one of the values."""
    if not _hidden.get():
        return dict(event)
    return {key: _part_without_hidden(part) for key, part in event.items()}


def _part_without_hidden(part: Any) -> Any:
    if isinstance(part, str):
        return without_hidden(part)
    if isinstance(part, Mapping):
        return {key: _part_without_hidden(each) for key, each in part.items()}
    if isinstance(part, list | tuple | set | frozenset):
        return [_part_without_hidden(each) for each in part]
    return part
