"""What must hold at every moment of a run, judged by the API server's own word and by what the operator asked for."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from tests.faults.fault_proxy import Passage
from tests.faults.fault_schedule import Kind
from tests.faults.judged_application import ALLOCATION_LABEL, JudgedApplication, owner_uid
from tests.faults.pods_feed import PodsFeed

Document = dict[str, Any]
HEARD_SECONDS = 3.0
"""An executor that was busy in every answer of so long was not idle when its deletion was decided."""
OLD_ANSWER_SECONDS = 22.0
"""The operator decides nothing on an answer older than 15 s; the rest is for a request that was on its way."""
BOUNDS_ARE_KNOWN_SECONDS = 40.0
"""How long a change of bounds may take to reach the operator while faults go on."""
END_IS_KNOWN_SECONDS = 22.0


class Invariants:
    """Collects what was broken.

    Attributes:
        broken: sentences; empty is what a run is for.
    """

    def __init__(self, feed: PodsFeed, applications: Sequence[JudgedApplication]) -> None:
        self.broken: list[str] = []
        self._feed = feed
        self._applications = {each.pod_uid: each for each in applications}
        self._ids: dict[tuple[str, str], str] = {}
        self._foreign: dict[str, Document] = {}
        self._lost_at: dict[str, float] = {}
        self.creations = 0
        self._over = False
        feed.listeners.append(self._seen)

    def judge(self, application: JudgedApplication) -> None:
        """From now on this one, too; before its first executor pod is made."""
        self._applications[application.pod_uid] = application

    def foreign(self, pod: Document) -> None:
        """A pod that is not the operator's: nobody may touch it."""
        self._foreign[pod["metadata"]["uid"]] = pod

    def leads(self, operator: str, after: str = "") -> None:
        """An operator leads from now on: the one that led before must not write any more."""
        if after:
            self._lost_at[after] = time.monotonic()
        self._lost_at.pop(operator, None)

    # -- what the API server says ------------------------------------------------------------------------------------

    def _seen(self, kind: str, pod: Document) -> None:
        uid = pod["metadata"]["uid"]
        if self._over:
            return
        if uid in self._foreign:
            if kind == "DELETED" or "deletionTimestamp" in pod["metadata"]:
                self._break(f"foreign pod {pod['metadata']['name']} was deleted")
            return
        application = self._applications.get(owner_uid(pod))
        if application is None or ALLOCATION_LABEL not in pod["metadata"].get("labels", {}):
            return
        if kind == "ADDED":
            self._id_is_new(application, pod)
            self._not_above_maximum(application, pod)
            self._not_after_the_end(application, pod)

    def _id_is_new(self, application: JudgedApplication, pod: Document) -> None:
        number = pod["metadata"]["labels"]["spark-exec-id"]
        uid = pod["metadata"]["uid"]
        if self._ids.setdefault((application.pod_uid, number), uid) != uid:
            self._break(f"{application.name}: executor id {number} was used twice")

    def _beside(self, application: JudgedApplication, pod: Document) -> list[Document]:
        """Living executors of the same life and profile, this one among them."""
        life = (incarnation(pod), profile_id(pod))
        return [
            each
            for each in self.living(application)
            if (incarnation(each), profile_id(each)) == life
        ]

    def _not_above_maximum(self, application: JudgedApplication, pod: Document) -> None:
        living = self._beside(application, pod)
        now = time.monotonic()
        allowed = application.maximum(since=now - BOUNDS_ARE_KNOWN_SECONDS)
        if len(living) > allowed:
            names = ", ".join(sorted(each["metadata"]["name"] for each in living))
            self._break(f"{application.name}: {len(living)} executors, {allowed} allowed: {names}")

    def _not_after_the_end(self, application: JudgedApplication, pod: Document) -> None:
        ended = application.ended_at
        if ended is not None and time.monotonic() - ended > END_IS_KNOWN_SECONDS:
            self._break(f"{application.name} has ended, and {pod['metadata']['name']} was created")

    def living(self, application: JudgedApplication) -> list[Document]:
        """Executor pods that the operator made and that nobody is ending."""
        return [
            pod
            for pod in self._feed.pods.values()
            if owner_uid(pod) == application.pod_uid
            and ALLOCATION_LABEL in pod["metadata"].get("labels", {})
            and pod["metadata"]["uid"] not in self._foreign
            and "deletionTimestamp" not in pod["metadata"]
            and not has_ended(pod)
        ]

    # -- what the operator asks for ----------------------------------------------------------------------------------

    def asked(self, passage: Passage) -> None:
        """A request of the operator has arrived at a proxy."""
        if passage.method == "GET" or passage.kind is Kind.DRIVER:
            return
        if passage.kind is not Kind.LEASE:
            lost_at = self._lost_at.get(passage.by)
            if lost_at is not None and passage.at > lost_at:
                self._break(f"{passage.by} wrote {passage.path} after another operator led")
        name = passage.path.rpartition("/")[2]
        if "/pods/" not in passage.path:
            self.creations += passage.kind is Kind.CREATE
            return
        if any(pod["metadata"]["name"] == name for pod in self._foreign.values()):
            self._break(f"foreign pod {name} was meant: {passage.method} {passage.path}")
        if passage.kind is Kind.DELETE:
            self._was_idle(passage, name)

    def answered(self, passage: Passage) -> None:
        """The API server's answer to a request of the operator, whether or not the operator got it."""
        application = self._applications.get(owner_uid(passage.answer or {"metadata": {}}))
        if passage.kind is Kind.CREATE and passage.status == 201 and application is not None:
            self._id_is_new(application, passage.answer)

    def _was_idle(self, passage: Passage, name: str) -> None:
        uid = (passage.body.get("preconditions") or {}).get("uid")
        if not uid:
            self._break(f"a deletion of {name} without a uid")
            return
        pod = self._feed.pods.get(uid)
        application = self._applications.get(owner_uid(pod)) if pod is not None else None
        if pod is None or application is None or application.ended_at is not None:
            return
        number = int(pod["metadata"]["labels"]["spark-exec-id"])
        executor = application.executors.get(number)
        if executor is None or executor.pod_uid != uid or executor.leaving:
            return
        now = passage.at
        lowest = application.lowest_maximum(since=now - BOUNDS_ARE_KNOWN_SECONDS)
        if len(self._beside(application, pod)) > lowest:
            # who lowers the maximum wants busy ones to go as well
            application.let_go.append(str(number))
            return
        recent = [busy for at, busy in application.heard if at > now - HEARD_SECONDS]
        busy_since = executor.busy_since
        if (
            recent
            and all(number in busy for busy in recent)
            and busy_since is not None
            and busy_since < now - HEARD_SECONDS
        ):
            self._break(f"{application.name}: busy executor {number} was deleted")
        heard_at = max((at for at, _ in application.heard), default=0.0)
        if now - heard_at > OLD_ANSWER_SECONDS:
            self._break(
                f"{application.name}: executor {number} was deleted on an answer {now - heard_at:.0f} s old"
            )

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self, passages: Iterable[Passage] = ()) -> None:
        """Judge what can only be judged at the end; what comes later is the cleaning up.

        Args:
            passages: everything the operators asked for, for pods that were gone before a watch told of them.
        """
        self._over = True
        for passage in passages:
            self.answered(passage)
        for uid, before in self._foreign.items():
            after = self._feed.pods.get(uid)
            if after is None:
                self._break(f"foreign pod {before['metadata']['name']} is gone")
            elif (after["metadata"].get("labels"), after["spec"]) != (
                before["metadata"].get("labels"),
                before["spec"],
            ):
                self._break(f"foreign pod {before['metadata']['name']} was changed")
        for application in self._applications.values():
            self.broken += [f"{application.name}: {each}" for each in application.cut_short]

    def _break(self, sentence: str) -> None:
        if sentence not in self.broken:
            self.broken.append(sentence)


def has_ended(pod: Document) -> bool:
    """Whether nothing runs in it any more: a kubelet tells of the containers' end before it tells of the pod's."""
    status = pod.get("status", {})
    states = [each.get("state") or {} for each in status.get("containerStatuses") or ()]
    over = bool(states) and all("terminated" in each for each in states)
    return over or status.get("phase") in ("Failed", "Succeeded")


def incarnation(pod: Document) -> str:
    """Which life of its driver a pod was made for."""
    annotations = pod["metadata"].get("annotations") or {}
    return str(annotations.get("sparkallocation.dev/incarnation", ""))


def profile_id(pod: Document) -> str:
    """Which resource profile a pod was made for; bounds are of each."""
    return str(pod["metadata"]["labels"].get("spark-exec-resourceprofile-id", "0"))
