"""The picture of one application's executor pods at one moment.

Theory of operation
-------------------
Pods reach us in two ways: as single events of a watch and as full lists. A snapshot is the immutable sum of both.
`ExecutorPodsSnapshot.with_update` replaces one pod by its executor id and keeps the time of the last full list;
`ExecutorPodsSnapshot.replaced` starts again from a full list. Only a full list can prove that a pod is *absent*:
an update never removes anything (Spark ignores the type of a watch event; a deleted pod stays with its last state
until the next list). That is why `full_sync_at` is part of the value.

Everything that decides asks the same few questions about thousands of pods: how many run, which wait, which leave,
which have ended. `ExecutorPodsSnapshot.by_state` answers them from one look at each pod, made when it is first asked.

Source: ``scheduler.cluster.k8s.ExecutorPodsSnapshot``, ``ExecutorPodsSnapshotsStoreImpl``.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.resource_profiles import ProfileId

# Looked up once: of an enumeration's members, the look-up costs as much as the rest of the look at a pod.
_RUNNING = PodState.RUNNING
_PENDING = PodState.PENDING
_SUCCEEDED = PodState.SUCCEEDED
_FAILED = PodState.FAILED
_DELETED = PodState.DELETED


class PodsByState:
    """The pods of a snapshot, sorted by what is asked of them; in the order of the snapshot.

    Attributes:
        profiles: those of all pods.
        running: how many are RUNNING, by profile.
        pending: those that are PENDING.
        explained: those among them of which the kubelet or the scheduler says why they wait.
        ended: those that are SUCCEEDED, FAILED or DELETED.
        deleting: those with a deletionTimestamp, in whatever state.
        claims: names of the persistent volume claims that any of them mounts.
    """

    __slots__ = ("claims", "deleting", "ended", "explained", "pending", "profiles", "running")

    def __init__(self, pods: Iterable[ExecutorPod]) -> None:
        running: dict[ProfileId, int] = {}
        pending: list[ExecutorPod] = []
        explained: list[ExecutorPod] = []
        ended: list[ExecutorPod] = []
        deleting: list[ExecutorPod] = []
        claims: set[str] = set()
        profiles: set[ProfileId] = set()
        for pod in pods:
            state = pod.state
            if state is _RUNNING:
                profile_id = pod.profile_id
                running[profile_id] = running.get(profile_id, 0) + 1
            else:
                profiles.add(pod.profile_id)
                if state is _PENDING:
                    pending.append(pod)
                    if pod.reason:
                        explained.append(pod)
                elif state is _FAILED or state is _SUCCEEDED or state is _DELETED:
                    ended.append(pod)
            if pod.deleting:
                deleting.append(pod)
            if pod.claims:
                claims.update(pod.claims)
        self.running: Mapping[ProfileId, int] = running
        self.pending: Sequence[ExecutorPod] = pending
        self.explained: Sequence[ExecutorPod] = explained
        self.ended: Sequence[ExecutorPod] = ended
        self.deleting: Sequence[ExecutorPod] = deleting
        self.claims = frozenset(claims)
        self.profiles = frozenset(profiles.union(running))


@dataclass(frozen=True, slots=True)
class StayingPods:
    """The pods of a snapshot that live, without those that leave.

    Attributes:
        running: how many stay and are RUNNING, by profile.
        pending: those that stay and are PENDING.
        waiting: how many those are, by profile.
        leaving: how many RUNNING and PENDING ones leave, by profile.
    """

    running: Mapping[ProfileId, int]
    pending: Sequence[ExecutorPod]
    waiting: Mapping[ProfileId, int]
    leaving: Mapping[ProfileId, int]


@dataclass(frozen=True, slots=True)
class ExecutorPodsSnapshot:
    """An immutable view of one application's executor pods (``ExecutorPodsSnapshot``).

    Attributes:
        pods: by executor id; whoever makes a snapshot gives the mapping away and changes it no more.
        full_sync_at: epoch milliseconds at which the full list below this snapshot was asked for; 0 when there was
            none yet. The time of the *request*: a pod created after it may be missing from the answer.
    """

    pods: Mapping[ExecutorId, ExecutorPod] = field(default_factory=dict)
    full_sync_at: int = 0
    _by_state: PodsByState | None = field(default=None, init=False, repr=False, compare=False)
    _staying: dict[frozenset[ExecutorId], StayingPods] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def by_state(self) -> PodsByState:
        """The pods sorted, once."""
        found = self._by_state
        if found is None:
            found = PodsByState(self.pods.values())
            object.__setattr__(self, "_by_state", found)
        return found

    def staying(self, leaving: frozenset[ExecutorId]) -> StayingPods:
        """Those that live and do not leave; asked twice for the same leaving ones, it looks once."""
        known = self._staying.get(leaving)
        if known is not None:
            return known
        by_state = self.by_state
        pending = by_state.pending
        running = Counter(by_state.running)
        gone: Counter[ProfileId] = Counter()
        if leaving:
            theirs = [pod for pod in map(self.pods.get, leaving) if pod is not None]
            gone.update(pod.profile_id for pod in theirs if pod.state is _RUNNING)
            running.subtract(gone)
            gone.update(pod.profile_id for pod in theirs if pod.state is _PENDING)
            pending = [pod for pod in pending if pod.executor_id not in leaving]
        waiting = Counter(pod.profile_id for pod in pending)
        found = self._staying[leaving] = StayingPods(running, pending, waiting, gone)
        return found

    def with_update(self, pod: ExecutorPod) -> "ExecutorPodsSnapshot":
        """This picture with one pod new or changed; the time of the full list is kept."""
        return ExecutorPodsSnapshot({**self.pods, pod.executor_id: pod}, self.full_sync_at)

    @classmethod
    def replaced(cls, pods: Iterable[ExecutorPod], *, at: int) -> "ExecutorPodsSnapshot":
        """A picture of these pods and no others, listed at ``at`` (epoch milliseconds)."""
        return cls({pod.executor_id: pod for pod in pods}, at)


EMPTY_SNAPSHOT = ExecutorPodsSnapshot()
