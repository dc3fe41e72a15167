"""What becomes of an application's executors when something becomes of their pods, whoever plays the kubelet.

It hears of pods from a feed and changes the truth: a pod that runs registers after a while, one that is being deleted
takes no new task, one that has ended is lost. Whether a task was cut short by the operator is noted here.
"""

import asyncio
from random import Random
from typing import Any

from tests.faults.judged_application import ALLOCATION_LABEL, owner_uid
from tests.faults.pods_feed import PodsFeed
from tests.fleet.applications import FleetApplication

Document = dict[str, Any]


class ExecutorLives:
    """Keeps the executors of applications true to their pods.

    Attributes:
        applications: by the uid of the driver pod; add to it before the first executor pod is made.
        ended_by_others: uids of pods that somebody else than the operator ended.
    """

    def __init__(self, feed: PodsFeed, *, seed: int) -> None:
        self.applications: dict[str, FleetApplication] = {}
        self.ended_by_others: set[str] = set()
        self.registered = 0
        self._chance = Random(f"executor lives {seed}")
        self._registering: dict[str, asyncio.TimerHandle] = {}
        self._life: dict[str, int] = {}
        feed.listeners.append(self._seen)

    def application_of(self, pod: Document) -> FleetApplication | None:
        """Whose executor pod this is, when the operator made it."""
        if ALLOCATION_LABEL not in pod["metadata"].get("labels", {}):
            return None
        return self.applications.get(owner_uid(pod))

    def is_working(self, pod: Document) -> bool:
        """Whether its executor has a task."""
        application = self.application_of(pod)
        if application is None:
            return False
        executor = application.executors.get(executor_number(pod))
        return (
            executor is not None
            and executor.pod_uid == pod["metadata"]["uid"]
            and bool(executor.working)
        )

    def stop(self) -> None:
        """Nobody registers any more."""
        for timer in self._registering.values():
            timer.cancel()

    def _seen(self, kind: str, pod: Document) -> None:
        application = self.application_of(pod)
        if application is None:
            return
        metadata = pod["metadata"]
        uid, number = metadata["uid"], executor_number(pod)
        self._life.setdefault(uid, application.lives)
        phase = pod.get("status", {}).get("phase")
        if kind == "DELETED" or phase in ("Failed", "Succeeded"):
            self._is_gone(application, number, pod)
            if kind == "DELETED":
                self._life.pop(uid, None)
        elif "deletionTimestamp" in metadata:
            self._unregistering(uid)
            executor = application.executors.get(number)
            if executor is not None and executor.pod_uid == uid:
                executor.leaving = True
        elif phase == "Running" and uid not in self._registering:
            profile = int(metadata["labels"].get("spark-exec-resourceprofile-id", 0))
            self._registering[uid] = asyncio.get_running_loop().call_later(
                self._chance.uniform(0.1, 0.8), self._register, application, number, uid, profile
            )

    def _register(self, application: FleetApplication, number: int, uid: str, profile: int) -> None:
        if application.ended_at is None and application.lives == self._life.get(uid):
            self.registered += 1
            application.register(number, uid, profile)

    def _is_gone(self, application: FleetApplication, number: int, pod: Document) -> None:
        uid = pod["metadata"]["uid"]
        self._unregistering(uid)
        theirs = uid in self.ended_by_others or application.ended_at is not None
        self.ended_by_others.discard(uid)
        because = "" if theirs else f"pod {pod['metadata']['name']} ended"
        application.lose(number, uid, because=because)

    def _unregistering(self, uid: str) -> None:
        timer = self._registering.pop(uid, None)
        if timer is not None:
            timer.cancel()


def executor_number(pod: Document) -> int:
    """The executor's id."""
    return int(pod["metadata"]["labels"]["spark-exec-id"])
