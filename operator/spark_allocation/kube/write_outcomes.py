"""What became of a write to any object, as a value."""

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from spark_allocation.kube.api_client import ApiAnswer, ApiUnavailable


class WriteResult(StrEnum):
    """The ways in which a write can end."""

    DONE = "done"
    EXISTS = "exists"
    """There is an object of this name already."""
    CONFLICT = "conflict"
    """The object is not, or not any more, what the write was meant for."""
    GONE = "gone"
    REFUSED = "refused"
    """The server will refuse it the next time as well, until somebody changes something."""


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """A write's result and the server's words."""

    result: WriteResult
    message: str = ""

    @property
    def done(self) -> bool:
        """It was carried out."""
        return self.result is WriteResult.DONE


DONE = WriteOutcome(WriteResult.DONE)


def write_outcome(answer: ApiAnswer) -> WriteOutcome:
    """Judge an answer.

    Raises:
        ApiUnavailable: the server is busy or broken; whether it acted is unknown.
    """
    if answer.ok:
        return DONE
    if answer.is_transient:
        raise ApiUnavailable(f"{answer.status} {answer.message}")
    if answer.status == HTTPStatus.NOT_FOUND:
        return WriteOutcome(WriteResult.GONE, answer.message)
    if answer.status == HTTPStatus.CONFLICT:
        exists = answer.reason == "AlreadyExists"
        return WriteOutcome(WriteResult.EXISTS if exists else WriteResult.CONFLICT, answer.message)
    return WriteOutcome(WriteResult.REFUSED, answer.message)
