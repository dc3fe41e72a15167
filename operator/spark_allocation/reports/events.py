"""Events: one when a reason changes, never one for each pod."""

import time
from datetime import UTC, datetime
from typing import Any

import structlog

from spark_allocation.api.group import API_VERSION, KIND
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.objects_api import ObjectsApi

REPORTER = "spark-allocation-operator"
NORMAL = "Normal"
WARNING = "Warning"
BURST = 15
REFILL_SECONDS = 30.0

log = structlog.get_logger("events")


class EventWriter:
    """Posts Events about one SparkAllocation.

    The same reason and message twice in a row is posted once, and something that flaps is not posted without end: a
    burst of `BURST`, then one in `REFILL_SECONDS`. What is left out still stands in the conditions.
    """

    def __init__(self, objects: ObjectsApi, *, namespace: str, name: str, uid: str) -> None:
        self._objects = objects
        self._namespace = namespace
        self._regarding = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": namespace,
            "name": name,
            "uid": uid,
        }
        self._last: dict[str, tuple[str, str]] = {}
        self._tokens = float(BURST)
        self._filled_at = time.monotonic()

    async def post(self, about: str, reason: str, message: str, *, warning: bool = False) -> None:
        """Post an Event unless the last one about the same thing said the same.

        Args:
            about: what the Event is about, such as a condition type or a profile.
        """
        if self._last.get(about) == (reason, message):
            return
        self._last[about] = (reason, message)
        if not self._take_token():
            return
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        event: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "generateName": f"{self._regarding['name'][:200]}.",
                "namespace": self._namespace,
            },
            "involvedObject": self._regarding,
            "reason": reason,
            "message": message[:1024],
            "type": WARNING if warning else NORMAL,
            "source": {"component": REPORTER},
            "reportingComponent": REPORTER,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._objects.post_event(self._namespace, event)
        except ApiUnavailable as error:
            log.warning("event_not_posted", reason=reason, error=str(error))

    def _take_token(self) -> bool:
        now = time.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._filled_at) / REFILL_SECONDS)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
