"""Events: one when a reason changes, never one for each pod."""

from datetime import UTC, datetime
from typing import Any

import structlog

from spark_allocation.api.group import API_VERSION, KIND
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.objects_api import ObjectsApi

REPORTER = "spark-allocation-operator"
NORMAL = "Normal"
WARNING = "Warning"

log = structlog.get_logger("events")


class EventWriter:
    """Posts Events about one SparkAllocation; the same reason and message twice in a row is posted once."""

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

    async def post(self, about: str, reason: str, message: str, *, warning: bool = False) -> None:
        """Post an Event unless the last one about the same thing said the same.

        Args:
            about: what the Event is about, such as a condition type or a profile.
        """
        if self._last.get(about) == (reason, message):
            return
        self._last[about] = (reason, message)
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
