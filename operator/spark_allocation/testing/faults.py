"""What can go wrong between the operator and an API server, told to a fake beforehand.

    pods.will("create", LOST, UNANSWERED, CreateOutcome(CreateResult.QUOTA_EXCEEDED, "exceeded quota"))

The next three creations meet these, in this order; later ones go through. An outcome stands for the server's answer
without any effect. `LOST` is the worst: the server acted, and nobody hears of it.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar, cast

from spark_allocation.kube.api_client import ApiUnavailable

T = TypeVar("T")


class Fault(Enum):
    """Ways to get no answer."""

    UNANSWERED = "the server did not act"
    LOST = "the server acted, and its answer was lost"
    HANGS = "neither an answer nor an end"


UNANSWERED = Fault.UNANSWERED
LOST = Fault.LOST
HANGS = Fault.HANGS


@dataclass(frozen=True, slots=True)
class Call:
    """One call that a fake has seen.

    Attributes:
        verb: the port's method.
        name: of the object, or the selector of a list.
        details: the other arguments.
    """

    verb: str
    namespace: str | None
    name: str
    details: dict[str, Any] = field(default_factory=dict)


class Faulty:
    """Base of the fakes: remembers calls and meets them with what was told."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._plans: defaultdict[str, deque[object]] = defaultdict(deque)
        self._always: dict[str, object] = {}

    def will(self, verb: str, *answers: object) -> None:
        """Meet the next calls of this verb with these: a `Fault`, or the value to return instead of acting."""
        self._plans[verb].extend(answers)

    def always(self, verb: str, answer: object | None) -> None:
        """Meet all calls of this verb with this; None ends it."""
        self._always.pop(verb, None)
        if answer is not None:
            self._always[verb] = answer

    def made(self, *verbs: str) -> list[Call]:
        """The calls of these verbs; of all of them when none is named."""
        return [call for call in self.calls if not verbs or call.verb in verbs]

    async def meet(self, call: Call, act: Callable[[], T]) -> T:
        """Carry a call out, unless something else was told.

        Raises:
            ApiUnavailable: as told.
        """
        self.calls.append(call)
        await asyncio.sleep(0)
        plan = self._plans[call.verb]
        answer = plan.popleft() if plan else self._always.get(call.verb)
        if answer is None:
            return act()
        if answer is Fault.HANGS:
            await _for_ever()
        if answer is Fault.LOST:
            act()
        if isinstance(answer, Fault):
            raise ApiUnavailable(f"{call.verb} {call.name}: {answer.value}")
        return cast("T", answer)


def _for_ever() -> Awaitable[None]:
    return asyncio.get_running_loop().create_future()
