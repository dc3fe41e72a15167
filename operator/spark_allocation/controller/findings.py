"""What `doctor` says of one thing that it has looked at."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one thing.

    Attributes:
        check: its name, such as ``rights``.
        about: what was looked at.
        remedy: what to do; "" when nothing is.
    """

    check: str
    about: str
    verdict: Verdict
    message: str
    remedy: str = ""
