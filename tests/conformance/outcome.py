"""What the comparison of one scenario came to."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Same:
    """Both gave the same answer, to the end or to the step at which Spark itself failed."""

    steps: int
    ended_by_spark: bool = False


@dataclass(frozen=True, slots=True)
class Departed:
    """We depart from Spark on purpose, by a named departure of docs/differences-from-spark.md."""

    name: str
    step: int


@dataclass(frozen=True, slots=True)
class Diverged:
    """The answers differ and no departure allows it."""

    step: int
    path: str
    theirs: Any
    ours: Any

    def __str__(self) -> str:
        return f"step {self.step}, {self.path}: Spark {self.theirs!r}, ours {self.ours!r}"


Outcome = Same | Departed | Diverged


def first_difference(theirs: Any, ours: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """Where two JSON values first differ: path, theirs, ours."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(theirs.keys() | ours.keys()):
            below = f"{path}.{key}" if path else key
            if key not in theirs or key not in ours:
                return below, theirs.get(key, "absent"), ours.get(key, "absent")
            found = first_difference(theirs[key], ours[key], below)
            if found is not None:
                return found
        return None
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, (their, our) in enumerate(zip(theirs, ours, strict=True)):
            found = first_difference(their, our, f"{path}[{index}]")
            if found is not None:
                return found
        return None
    return None if theirs == ours else (path, theirs, ours)
