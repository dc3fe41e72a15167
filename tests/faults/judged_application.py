"""One application as its judge knows it: its driver pod, its bounds, and what the operator was told of its executors."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tests.faults.fault_proxy import Passage

Document = dict[str, Any]
ALLOCATION_LABEL = "sparkallocation.dev/allocation-uid"


@dataclass(slots=True)
class TrueExecutor:
    """An executor as its driver knows it.

    Attributes:
        busy_since: monotonic seconds; None while it has no task.
        leaving: it takes no new task.
    """

    pod_uid: str
    registered_at: float
    busy_since: float | None = None
    task_ends: float = 0.0
    task_seconds: float = 0.0
    tasks: int = 0
    leaving: bool = False
    profile_id: int = 0


@dataclass
class JudgedApplication:
    """What the invariants ask of an application.

    Attributes:
        ended_at: monotonic seconds of its driver's end; None while it runs.
        bounds: (since, minimum, maximum) in force, oldest first; in monotonic seconds.
        executors: by executor id.
        heard: what the operator has been told of executors: when, and the ids with active tasks.
        cut_short: tasks that an operator's deletion ended.
        let_go: ids of executors that were deleted while there were more than a maximum allowed that had been lowered.
    """

    name: str
    pod_uid: str = ""
    ended_at: float | None = None
    bounds: list[tuple[float, int, int]] = field(default_factory=list)
    executors: dict[int, TrueExecutor] = field(default_factory=dict)
    heard: deque[tuple[float, frozenset[int]]] = field(default_factory=lambda: deque(maxlen=200))
    cut_short: list[str] = field(default_factory=list)
    let_go: list[str] = field(default_factory=list)

    def maximum(self, *, since: float) -> int:
        """The largest maximum that was in force at any time from then on."""
        return max(self._maxima(since))

    def lowest_maximum(self, *, since: float) -> int:
        """The smallest of them."""
        return min(self._maxima(since))

    def _maxima(self, since: float) -> list[int]:
        now = [each for each in self.bounds if each[0] >= since]
        before = [each for each in self.bounds if each[0] < since]
        return [each[2] for each in (*before[-1:], *now)]

    def hears(self, passage: Passage, documents: Any) -> None:
        """The operator was told of the executors."""
        if passage.path.endswith("executors"):
            busy = frozenset(int(each["id"]) for each in documents if each["activeTasks"])
            self.heard.append((time.monotonic(), busy))


def owner_uid(pod: Document) -> str:
    """The uid of the pod that owns this one."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((each["uid"] for each in owners if each["kind"] == "Pod"), "")
