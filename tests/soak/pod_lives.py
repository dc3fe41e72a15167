"""How long each executor pod was there, and which of them got stuck."""

import time
from dataclasses import dataclass, field

from tests.faults.judged_application import owner_uid
from tests.faults.pods_feed import Document, PodsFeed

PENDING_SECONDS = 150.0
"""A pod that has not begun for so long, with nobody ending it, is stuck: images are there and the node has room."""
AFTER_GRACE_SECONDS = 45.0
"""A pod that is being deleted may be there for so long after its grace."""
AFTER_THE_END_SECONDS = 60.0
"""No executor may be there for longer after its application's end."""
ENDED = ("Succeeded", "Failed")


@dataclass(slots=True)
class PodLife:
    """One executor pod. Times are monotonic seconds; None for what has not happened.

    Attributes:
        number: its executor id.
        asked_at: when it was seen to be deleted, with `grace` seconds.
        ended_at: when its containers had ended.
    """

    name: str
    driver_uid: str
    number: str
    created_at: float
    running_at: float | None = None
    asked_at: float | None = None
    grace: float = 0.0
    ended_at: float | None = None
    gone_at: float | None = None

    def seconds(self, now: float) -> float:
        """How long it has had its share of the node."""
        ends = [each for each in (self.ended_at, self.gone_at) if each is not None]
        return min(ends, default=now) - self.created_at

    def complaint(self, now: float, application_ended_at: float | None) -> str:
        """Why it is stuck, "" when it is not."""
        gone = self.gone_at or now
        if self.asked_at is not None and gone - self.asked_at > self.grace + AFTER_GRACE_SECONDS:
            return f"{self.name} was deleted with {self.grace:.0f} s of grace and stayed {gone - self.asked_at:.0f} s"
        began = min(each for each in (self.running_at, self.asked_at, self.ended_at, gone) if each)
        if began - self.created_at > PENDING_SECONDS:
            return f"{self.name} was pending for {began - self.created_at:.0f} s"
        if application_ended_at is not None and gone - application_ended_at > AFTER_THE_END_SECONDS:
            return f"{self.name} was there {gone - application_ended_at:.0f} s after its application's end"
        return ""


@dataclass
class PodLives:
    """Remembers every executor pod that a feed tells of."""

    feed: PodsFeed
    by_uid: dict[str, PodLife] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.feed.listeners.append(self._seen)

    def of(self, driver_uid: str) -> list[PodLife]:
        """The executor pods of a driver, oldest first."""
        return [each for each in self.by_uid.values() if each.driver_uid == driver_uid]

    def at_work(self, driver_uid: str) -> list[tuple[str, PodLife]]:
        """(uid, pod) of those that run and that nobody is ending."""
        return [
            (uid, each)
            for uid, each in self.by_uid.items()
            if each.driver_uid == driver_uid
            and each.running_at is not None
            and each.asked_at is each.ended_at is each.gone_at is None
        ]

    def _seen(self, kind: str, pod: Document) -> None:
        metadata, status = pod["metadata"], pod.get("status", {})
        labels = metadata.get("labels", {})
        if labels.get("spark-role") != "executor":
            return
        now = time.monotonic()
        life = self.by_uid.setdefault(
            metadata["uid"],
            PodLife(metadata["name"], owner_uid(pod), labels.get("spark-exec-id", ""), now),
        )
        phase = status.get("phase")
        if phase == "Running" and life.running_at is None:
            life.running_at = now
        if "deletionTimestamp" in metadata:
            life.asked_at = life.asked_at or now
            life.grace = max(life.grace, metadata.get("deletionGracePeriodSeconds") or 0)
        if phase in ENDED and life.ended_at is None:
            life.ended_at = now
        if kind == "DELETED":
            life.gone_at = now
