"""Why a driver gave no usable answer."""

from dataclasses import dataclass

from spark_allocation.api.conditions import Reason

LONGEST_QUOTE = 200
"""Of a stranger's words in a message."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The driver gave no usable answer: why, and what to do about it."""

    reason: Reason
    message: str


class NoAnswer(Exception):  # noqa: N818
    """What is raised on the way to an answer; `DriverRest` returns what it holds."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.unreachable = Unreachable(reason, message)
