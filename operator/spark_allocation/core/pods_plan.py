"""What one round of the pods allocator decides: plain values that a caller carries out, logs and reports.

Theory of operation
-------------------
Spark decides and calls the API server in one method, and its log is the only account of why. Here the decision is a
value: requests and withdrawals for the caller, the counts on which they rest, the bound that kept a profile below its
target, and Spark's own log lines word by word, so that an operator's log reads like a driver's.

Source: ``scheduler.cluster.k8s.ExecutorPodsAllocator.onNewSnapshots``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod
from spark_allocation.core.resource_profiles import ProfileId


class RequestBound(StrEnum):
    """What kept a profile from getting all the pods that it lacks in this round."""

    NOTHING = "Nothing"
    BATCH_SIZE = "BatchSize"
    PREVIOUS_BATCH = "PreviousBatchNotSeen"
    MAX_PENDING_PODS = "MaxPendingPods"
    MAX_PENDING_PODS_PER_PROFILE = "MaxPendingPodsPerProfile"
    CLAIM_REUSE = "WaitingForClaims"
    BACK_OFF = "BackOff"
    """Executors keep failing; the plan itself never says so."""
    BUDGET = "Budget"
    """A budget grants no more."""
    BUDGET_PENDING_PODS = "BudgetPendingPods"
    """A budget lets no more pods be pending."""


@dataclass(frozen=True, slots=True)
class RoundCap:
    """What budgets leave to one profile in one round (ours).

    Attributes:
        room: pods that may be asked for.
        pending: pods that may be pending at once; None for no cap.
        withdraw_now: pods in excess go whatever their age.
    """

    room: int
    pending: int | None = None
    withdraw_now: bool = False


@dataclass(frozen=True, slots=True)
class UnseenPod:
    """A pod that was asked for and that no snapshot has shown.

    Attributes:
        asked_at: epoch milliseconds at which it was asked for.
        created_at: epoch milliseconds of the answer; None while the request is under way.
        uid: of the created pod, when the answer told it.
    """

    executor_id: ExecutorId
    profile_id: ProfileId
    asked_at: int
    created_at: int | None = None
    uid: str = ""


@dataclass(frozen=True, slots=True)
class PodRequests:
    """Executors to ask for: ``count`` pods of one profile, possibly none when a limit leaves no room.

    Attributes:
        held_back: so many more would be asked for if executors did not keep failing.
        spark_count: how many Spark says that it asks for.
    """

    profile_id: ProfileId
    count: int
    target: int
    known: int
    shared_slots: int
    bound: RequestBound = RequestBound.NOTHING
    spark_count: int = 0
    held_back: int = 0

    @property
    def log_line(self) -> str:
        """Spark's words (INFO); its count may be negative under a limit per profile."""
        count = self.count if self.held_back else self.spark_count
        line = (
            f"Going to request {count} executors from Kubernetes for ResourceProfile Id: "
            f"{self.profile_id}, target: {self.target}, known: {self.known}, "
            f"sharedSlotFromPendingPods: {self.shared_slots}."
        )
        if self.held_back:
            line += f" {self.held_back} more are held back because executors keep failing."
        return line


@dataclass(frozen=True, slots=True)
class ExcessPods:
    """Pods of one profile to withdraw: only while they are still pending.

    Attributes:
        unseen: no snapshot has shown them, oldest first.
        pending: as the snapshot shows them; their resourceVersion makes a safe precondition.
    """

    profile_id: ProfileId
    unseen: tuple[UnseenPod, ...] = ()
    pending: tuple[ExecutorPod, ...] = ()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.unseen) + len(self.pending)

    @property
    def executor_ids(self) -> tuple[ExecutorId, ...]:
        """All of them, in the order in which they were chosen."""
        return (
            *(pod.executor_id for pod in self.unseen),
            *(pod.executor_id for pod in self.pending),
        )

    @property
    def log_line(self) -> str:
        """Spark's words (INFO)."""
        ids = self.executor_ids
        return f"Deleting {len(ids)} excess pod requests ({','.join(map(str, ids))})."


@dataclass(frozen=True, slots=True)
class GivenUpPods:
    """Pods that were created and never seen.

    Attributes:
        pods: oldest first.
        delete: whether to delete what there may be of them.
        after_ms: the creation timeout, or None when a full list proved that they are not there.
    """

    pods: tuple[UnseenPod, ...]
    delete: bool
    after_ms: int | None

    @property
    def log_line(self) -> str:
        """Spark's words (WARN), or ours for the proof that Spark does not use."""
        ids = ",".join(str(pod.executor_id) for pod in self.pods)
        if self.after_ms is None:
            return (
                f"Executors with ids {ids} were created but are not in a later full list of pods."
            )
        return (
            f"Executors with ids {ids} were not detected in the Kubernetes cluster after {self.after_ms} ms "
            "despite the fact that a previous allocation attempt tried to create them. The executors may have been "
            "deleted but the application missed the deletion event."
        )


@dataclass(frozen=True, slots=True)
class ProfilePods:
    """The executors of one profile, counted before the plan's own requests and withdrawals.

    Attributes:
        pending: PENDING pods whose executor has not registered.
        pending_registered: PENDING pods whose executor the driver lists already.
        unacknowledged: asked for, not seen, not registered.
        unacknowledged_registered: registered, but no snapshot showed the pod yet.
        leaving: not counted any more but still there: drained, lost by the driver, or withdrawn.
        bound: what keeps the profile below its target in this round.
    """

    profile_id: ProfileId
    target: int
    running: int = 0
    pending: int = 0
    pending_registered: int = 0
    unacknowledged: int = 0
    unacknowledged_registered: int = 0
    leaving: int = 0
    bound: RequestBound = RequestBound.NOTHING

    @property
    def not_running(self) -> int:
        """What counts against the limits on pending pods."""
        return (
            self.pending
            + self.pending_registered
            + self.unacknowledged
            + self.unacknowledged_registered
        )

    @property
    def known(self) -> int:
        """What counts against the target."""
        return self.running + self.not_running

    @property
    def log_line(self) -> str:
        """Spark's words (DEBUG)."""
        return (
            f"ResourceProfile Id: {self.profile_id} (pod allocation status: {self.running} running, "
            f"{self.pending} unknown pending, {self.pending_registered} scheduler backend known pending, "
            f"{self.unacknowledged} unknown newly created, {self.unacknowledged_registered} scheduler backend "
            "known newly created)"
        )


@dataclass(frozen=True, slots=True)
class PodsPlan:
    """What to ask the API server for now.

    Attributes:
        given_up: counted no more; deleted by executor id when ``delete`` says so.
        withdraw: excess per profile; delete each pod only if it is still what was seen.
        create: per profile, in order of their ids.
        profiles: the counts on which the plan rests, one for each profile with a target.
        claims_in_use: names of persistent volume claims that a new pod must not be given.
    """

    given_up: tuple[GivenUpPods, ...] = ()
    withdraw: tuple[ExcessPods, ...] = ()
    create: tuple[PodRequests, ...] = ()
    profiles: Mapping[ProfileId, ProfilePods] = field(default_factory=dict)
    claims_in_use: frozenset[str] = frozenset()

    @property
    def log_lines(self) -> tuple[str, ...]:
        """Spark's lines of level INFO and above, in its order."""
        lines: list[GivenUpPods | ExcessPods | PodRequests] = [
            *self.given_up,
            *self.withdraw,
            *self.create,
        ]
        return tuple(line.log_line for line in lines)
