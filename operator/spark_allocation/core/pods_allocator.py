"""From a target per resource profile to executor pods: what to ask for, what to withdraw.

Theory of operation
-------------------
Each round compares, per profile, the target with the executors that *count*: those RUNNING and PENDING in the last
snapshot, and those asked for that no snapshot has shown yet. Every other state counts as "not there", so a failed or
deleted pod is replaced in the next round. Then, in this order:

1. *Unseen* pods: an id that a snapshot shows leaves the unseen ones; one that registered with the driver first moves
   to the unseen but registered ones. An unseen and unregistered pod older than the creation timeout is given up.
2. *Excess*: with more executors than the target, pods asked for and pending pods are withdrawn, when they are older
   than the idle timeout and not registered. A running pod or a registered executor is never withdrawn here: to remove
   those is the business of the allocation manager, which knows what they hold. Withdrawn pods stop counting at once.
3. *Growth*: profiles below target share the slots that the limit on pending pods leaves, in the order of their ids;
   each asks for at most a batch, and (Spark) only when its previous batch was seen completely.

The allocator does no I/O. `ExecutorPodsAllocator.plan` returns a `PodsPlan`; whoever carries it out reports each step:
`creation_started` right before a pod is asked for (it counts from then on, so that a plan made while requests are under
way asks for nothing twice), then `pod_created` or `pod_creation_failed`. Requests that a caller has not started when it
gets the next plan are void: the next plan asks for them again if they are still wanted. A withdrawal is taken for done
until `withdrawal_refused`. Carrying a plan out twice does no more than once: ids make names, names make conflicts,
and withdrawals name the pod.

An executor that *leaves* (it is being drained, or the driver has lost it) is given as ``not_counted``. The target of
the allocation manager excludes it already: were it counted here, a drain would look like excess and withdraw pending
pods that are needed as soon as it has gone; and while it leaves, a risen target must be met by a new pod because a
drain cannot be undone. So it neither counts, nor uses up a pending slot, nor is withdrawn, until its pod is gone. A pod
that merely has a deletionTimestamp while it runs counts, as in Spark, unless it is named.

After a restart the unseen and withdrawn ones are forgotten. One full list repairs that: pods created just before are in
it, withdrawn ones are gone or DELETED. The caller therefore waits for the first full list before it plans.

Where a round breaks off, Spark (one thread, first failing creation throws) forgets what the round wanted to remember:
`round_broken_off` does the same for a caller that creates in order as Spark does. Others never call it.

Source: ``scheduler.cluster.k8s.ExecutorPodsAllocator.onNewSnapshots``, ``requestNewExecutors``, ``splitSlots``.
Deliberate differences are chosen in `spark_allocation.core.pods_allocator_conf`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.pods_plan import (
    ExcessPods,
    GivenUpPods,
    PodRequests,
    PodsPlan,
    ProfilePods,
    RequestBound,
    RoundCap,
    UnseenPod,
)
from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ProfileId
from spark_allocation.core.snapshots import EMPTY_SNAPSHOT, ExecutorPodsSnapshot

_NOBODY: frozenset[ExecutorId] = frozenset()
_NO_CAPS: Mapping[ProfileId, RoundCap] = {}


OrderOfExcess = Callable[[Iterable[ExecutorPod]], Sequence[ExecutorPod]]


def least_advanced_first(pods: Iterable[ExecutorPod]) -> Sequence[ExecutorPod]:
    """Order pending pods for withdrawal: those without a node first, then the youngest."""
    return sorted(pods, key=lambda pod: (pod.node != "", -pod.executor_id))


class ExecutorPodsAllocator:
    """Keeps the executors of one driver at their target (``ExecutorPodsAllocator``). Times are epoch milliseconds.

    Args:
        conf: may be replaced by `reconfigure` at any time.
        order_of_excess: which pending pods go first when not all are in excess; Spark's own order is that of a hash
            table, without meaning.
    """

    def __init__(
        self, conf: PodsAllocatorConf, *, order_of_excess: OrderOfExcess = least_advanced_first
    ) -> None:
        self._conf = conf
        self._order_of_excess = order_of_excess
        self._expected: dict[ProfileId, int] = {}
        self._unseen: dict[ExecutorId, UnseenPod] = {}
        self._unseen_registered: dict[ExecutorId, UnseenPod] = {}
        self._withdrawn: frozenset[ExecutorId] = _NOBODY
        self._withdrawn_unseen: dict[ExecutorId, UnseenPod] = {}
        self._last_snapshot = EMPTY_SNAPSHOT
        self._claims_made = 0
        self._pending_after_round = 0
        self._published: tuple[frozenset[ExecutorId], int] = (_NOBODY, 0)
        self._outstanding_when_broken_off: int | None = None

    @property
    def conf(self) -> PodsAllocatorConf:
        """The settings in force."""
        return self._conf

    @property
    def expected(self) -> Mapping[ProfileId, int]:
        """The target of each profile."""
        return self._expected

    @property
    def unseen(self) -> Mapping[ExecutorId, UnseenPod]:
        """Asked for, not seen, not registered (``newlyCreatedExecutors``), in the order of asking."""
        return self._unseen

    @property
    def unseen_registered(self) -> Mapping[ExecutorId, UnseenPod]:
        """Registered, but no snapshot showed the pod yet (``schedulerKnownNewlyCreatedExecs``)."""
        return self._unseen_registered

    @property
    def withdrawn(self) -> frozenset[ExecutorId]:
        """Withdrawn as excess and still in the last snapshot (``deletedExecutorIds``)."""
        return self._withdrawn

    @property
    def asked_to_go(self) -> AbstractSet[ExecutorId]:
        """Withdrawn, whether a snapshot has shown the pod or not."""
        return self._withdrawn.union(self._withdrawn_unseen)

    @property
    def last_snapshot(self) -> ExecutorPodsSnapshot:
        """The picture on which the last plan rested."""
        return self._last_snapshot

    @property
    def outstanding(self) -> int:
        """Executors asked for that neither run nor have registered (``numOutstandingPods``)."""
        if self._outstanding_when_broken_off is not None:
            return self._outstanding_when_broken_off
        return self._pending_after_round + len(self._unseen)

    def reconfigure(self, conf: PodsAllocatorConf) -> None:
        """Use other settings from the next plan on."""
        self._conf = conf

    def expect(self, targets: Mapping[ProfileId, int]) -> bool:
        """Set targets; a profile that is not named keeps its own (``setTotalExpectedExecutors``).

        Returns:
            Whether to plan at once: as in Spark when nothing is outstanding, or because the settings say so.
        """
        self._expected.update(targets)
        return self._conf.round_at_once or self.outstanding == 0

    def plan(
        self,
        snapshot: ExecutorPodsSnapshot | None,
        *,
        registered: AbstractSet[ExecutorId],
        now: int,
        vanished: Iterable[ExecutorPod] = (),
        not_counted: AbstractSet[ExecutorId] = _NOBODY,
        caps: Mapping[ProfileId, RoundCap] = _NO_CAPS,
    ) -> PodsPlan:
        """Plan one round (``onNewSnapshots``).

        Args:
            snapshot: the newest picture, or None when nothing changed since the last round.
            registered: executors that the driver lists as alive.
            now: epoch milliseconds.
            vanished: pods that were seen since the last round and are not in ``snapshot``.
            not_counted: executors that are leaving or that the driver has lost, though their pods run.
            caps: what budgets leave to each profile; one that is not named is not capped, as in Spark.
        """
        self._published = (self._withdrawn, self.outstanding)
        self._outstanding_when_broken_off = None
        gone = tuple(vanished)
        self._acknowledge(snapshot, gone)
        self._move_registered(registered)
        given_up = self._give_up(snapshot, now)
        if snapshot is not None:
            self._last_snapshot = snapshot
            self._withdrawn = self._withdrawn.intersection(snapshot.pods)
            self._withdrawn_unseen = {
                executor_id: pod
                for executor_id, pod in self._withdrawn_unseen.items()
                if executor_id not in snapshot.pods and not _is_proven_absent(pod, snapshot)
            }
        pods = _PodsByProfile(self, registered, frozenset(not_counted))
        counted = [pods.count(profile_id) for profile_id in sorted(self._expected)]
        excess = [
            self._withdraw_excess(pods, profile, now, caps.get(profile.profile_id))
            for profile in counted
        ]
        not_running = [
            profile.not_running - surplus.count
            for profile, surplus in zip(counted, excess, strict=True)
        ]
        self._pending_after_round = sum(
            profile.pending - len(surplus.pending)
            for profile, surplus in zip(counted, excess, strict=True)
        )
        bounds, create = self._grow(counted, not_running, caps, has_news=snapshot is not None)
        return PodsPlan(
            given_up=given_up,
            withdraw=tuple(surplus for surplus in excess if surplus.count),
            create=create,
            profiles={
                profile.profile_id: replace(profile, bound=bounds[profile.profile_id])
                for profile in counted
            },
            claims_in_use=self._claims_in_use(snapshot, gone),
        )

    def creation_started(self, executor_id: ExecutorId, profile_id: ProfileId, now: int) -> None:
        """A pod is about to be asked for; it counts from now on."""
        self._unseen[executor_id] = UnseenPod(executor_id, profile_id, now)

    def pod_created(self, executor_id: ExecutorId, now: int, *, uid: str = "") -> None:
        """The API server has made the pod; nothing happens when a snapshot was faster than the answer."""
        for unseen in (self._unseen, self._unseen_registered):
            pod = unseen.get(executor_id)
            if pod is not None:
                unseen[executor_id] = replace(pod, created_at=now, uid=uid)

    def pod_creation_failed(self, executor_id: ExecutorId) -> None:
        """There is certainly no such pod (an unclear answer, such as a timeout, is resolved by name first)."""
        self._unseen.pop(executor_id, None)
        self._unseen_registered.pop(executor_id, None)

    def withdrawal_refused(self, executor_id: ExecutorId) -> None:
        """The pod was not what the plan took it for, and lives: it counts again."""
        self._withdrawn = self._withdrawn.difference((executor_id,))
        unseen = self._withdrawn_unseen.pop(executor_id, None)
        if unseen is not None and executor_id not in self._last_snapshot.pods:
            self._unseen[executor_id] = unseen

    def claim_made(self) -> None:
        """A new persistent volume claim was created for an executor (``PVC_COUNTER``)."""
        self._claims_made += 1

    def claims_found(self, count: int) -> None:
        """So many claims that were made for this driver exist: a former run of the operator may have made them."""
        self._claims_made = max(self._claims_made, count)

    @property
    def claims_made(self) -> int:
        """Persistent volume claims that were made for this driver's executors (``PVC_COUNTER``)."""
        return self._claims_made

    def must_wait_for_claims(self, reusable: int, *, under_way: int = 0) -> bool:
        """No executor may be created until one of the existing claims is free.

        Args:
            reusable: free claims that are left in this round.
            under_way: claims that are being made right now (none in Spark, which makes one after the other).
        """
        claims = self._conf.claims
        made = self._claims_made + under_way
        return reusable == 0 and claims.waits_for_reuse and claims.maximum <= made

    def round_broken_off(self) -> None:
        """Forget the outcome of the last plan as Spark does when a creation throws: see the theory of operation."""
        self._withdrawn, self._outstanding_when_broken_off = self._published

    def _acknowledge(
        self, snapshot: ExecutorPodsSnapshot | None, vanished: tuple[ExecutorPod, ...]
    ) -> None:
        seen = {pod.executor_id for pod in vanished}
        pods: Mapping[ExecutorId, ExecutorPod] = {} if snapshot is None else snapshot.pods
        for unseen in (self._unseen, self._unseen_registered):
            for executor_id in [each for each in unseen if each in pods or each in seen]:
                del unseen[executor_id]

    def _move_registered(self, registered: AbstractSet[ExecutorId]) -> None:
        for executor_id in [each for each in self._unseen if each in registered]:
            self._unseen_registered[executor_id] = self._unseen.pop(executor_id)

    def _give_up(self, snapshot: ExecutorPodsSnapshot | None, now: int) -> tuple[GivenUpPods, ...]:
        timeout = self._conf.creation_timeout_ms
        late = tuple(pod for pod in self._unseen.values() if now - pod.asked_at > timeout)
        late_ids = {pod.executor_id for pod in late}
        missing: tuple[UnseenPod, ...] = ()
        if self._conf.repair_known_faults and snapshot is not None:
            missing = tuple(
                pod
                for pod in (*self._unseen.values(), *self._unseen_registered.values())
                if _is_proven_absent(pod, snapshot) and pod.executor_id not in late_ids
            )
        for pod in (*late, *missing):
            self._unseen.pop(pod.executor_id, None)
            self._unseen_registered.pop(pod.executor_id, None)
        delete = self._conf.delete_on_termination
        return (
            *((GivenUpPods(late, delete, timeout),) if late else ()),
            *((GivenUpPods(missing, delete=False, after_ms=None),) if missing else ()),
        )

    def _withdraw_excess(
        self, pods: "_PodsByProfile", profile: ProfilePods, now: int, cap: RoundCap | None
    ) -> ExcessPods:
        excess = profile.known - profile.target
        if excess <= 0:
            return ExcessPods(profile.profile_id)
        at_once = cap is not None and cap.withdraw_now
        idle_timeout = -1 if at_once else self._conf.idle_timeout_ms
        unseen = tuple(
            pod
            for pod in pods.unseen(profile.profile_id)
            if pod.created_at is not None and now - pod.asked_at > idle_timeout
        )[:excess]
        old = [
            pod
            for pod in pods.pending(profile.profile_id)
            if now - round(pod.created_at * 1000) > idle_timeout
        ]
        pending = tuple(self._order_of_excess(old)[: excess - len(unseen)])
        chosen = ExcessPods(profile.profile_id, unseen, pending)
        for pod in unseen:
            self._withdrawn_unseen[pod.executor_id] = self._unseen.pop(pod.executor_id)
        self._withdrawn = self._withdrawn.union(chosen.executor_ids)
        return chosen

    def _grow(
        self,
        counted: Sequence[ProfilePods],
        not_running: Sequence[int],
        caps: Mapping[ProfileId, RoundCap],
        *,
        has_news: bool,
    ) -> tuple[dict[ProfileId, RequestBound], tuple[PodRequests, ...]]:
        bounds = {profile.profile_id: RequestBound.NOTHING for profile in counted}
        candidates: list[tuple[ProfilePods, int]] = []
        for profile, waiting in zip(counted, not_running, strict=True):
            if profile.known >= profile.target:
                continue
            if self._conf.wait_for_previous_batch and profile.unacknowledged > 0:
                bounds[profile.profile_id] = RequestBound.PREVIOUS_BATCH
            else:
                candidates.append((profile, waiting))
        slots = self._conf.max_pending_pods - sum(not_running)
        refusal = None
        if slots <= 0:
            refusal = RequestBound.MAX_PENDING_PODS
        elif not has_news and self.must_wait_for_claims(0):
            refusal = RequestBound.CLAIM_REUSE
        if refusal is not None:
            return bounds | {profile.profile_id: refusal for profile, _ in candidates}, ()
        create = tuple(
            self._request(profile, waiting, share, caps.get(profile.profile_id))
            for (profile, waiting), share in zip(
                candidates, split_slots(len(candidates), slots), strict=True
            )
        )
        return bounds | {ask.profile_id: ask.bound for ask in create}, create

    def _request(
        self, profile: ProfilePods, waiting: int, share: int, cap: RoundCap | None
    ) -> PodRequests:
        missing = profile.target - profile.known
        limits = [
            (missing, RequestBound.NOTHING),
            (
                missing if self._conf.batch_size is None else self._conf.batch_size,
                RequestBound.BATCH_SIZE,
            ),
            (share, RequestBound.MAX_PENDING_PODS),
            (
                self._conf.max_pending_pods_per_profile - waiting,
                RequestBound.MAX_PENDING_PODS_PER_PROFILE,
            ),
        ]
        if cap is not None:
            limits.append((cap.room, RequestBound.BUDGET))
            if cap.pending is not None:
                limits.append((cap.pending - waiting, RequestBound.BUDGET_PENDING_PODS))
        count, bound = min(limits, key=lambda limit: limit[0])
        return PodRequests(
            profile_id=profile.profile_id,
            count=max(0, count),
            target=profile.target,
            known=profile.known,
            shared_slots=share,
            bound=bound,
            spark_count=count,
        )

    def _claims_in_use(
        self, snapshot: ExecutorPodsSnapshot | None, vanished: tuple[ExecutorPod, ...]
    ) -> frozenset[str]:
        if self._conf.repair_known_faults:
            # a pod that is gone mounts nothing: its replacement, asked for in this very round, may have its claim
            return self._last_snapshot.by_state.claims
        claims = frozenset() if snapshot is None else snapshot.by_state.claims
        return claims.union(claim for pod in vanished for claim in pod.claims)


class _PodsByProfile:
    """The pods and requests that concern one round, sorted by profile."""

    __slots__ = (
        "_expected",
        "_leaving",
        "_pending",
        "_registered",
        "_running",
        "_unseen",
        "_unseen_registered",
    )

    def __init__(
        self,
        allocator: ExecutorPodsAllocator,
        registered: AbstractSet[ExecutorId],
        not_counted: frozenset[ExecutorId],
    ) -> None:
        self._expected = allocator.expected
        self._running: dict[ProfileId, int] = {}
        self._leaving: dict[ProfileId, int] = {}
        self._registered: dict[ProfileId, int] = {}
        self._pending: dict[ProfileId, list[ExecutorPod]] = {}
        self._unseen: dict[ProfileId, list[UnseenPod]] = {}
        self._unseen_registered: dict[ProfileId, int] = {}
        # Spark: with at most one expected profile nobody looks at the pods' labels.
        one_profile = len(allocator.expected) <= 1 and not allocator.conf.repair_known_faults
        pods = allocator.last_snapshot.staying(
            not_counted | allocator.withdrawn if allocator.withdrawn else not_counted
        )
        for counts, found in ((self._running, pods.running), (self._leaving, pods.leaving)):
            for profile_id, count in found.items():
                _add(counts, DEFAULT_PROFILE_ID if one_profile else profile_id, count)
        for pod in pods.pending:
            profile_id = DEFAULT_PROFILE_ID if one_profile else pod.profile_id
            if pod.executor_id in registered:
                _add(self._registered, profile_id)
            else:
                self._pending.setdefault(profile_id, []).append(pod)
        for unseen in allocator.unseen.values():
            if unseen.executor_id in not_counted:
                _add(self._leaving, unseen.profile_id)
            else:
                self._unseen.setdefault(unseen.profile_id, []).append(unseen)
        for unseen in allocator.unseen_registered.values():
            if unseen.executor_id in not_counted:
                _add(self._leaving, unseen.profile_id)
            else:
                _add(self._unseen_registered, unseen.profile_id)

    def pending(self, profile_id: ProfileId) -> Sequence[ExecutorPod]:
        return self._pending.get(profile_id, ())

    def unseen(self, profile_id: ProfileId) -> Sequence[UnseenPod]:
        return self._unseen.get(profile_id, ())

    def count(self, profile_id: ProfileId) -> ProfilePods:
        return ProfilePods(
            profile_id=profile_id,
            target=self._expected[profile_id],
            running=self._running.get(profile_id, 0),
            pending=len(self.pending(profile_id)),
            pending_registered=self._registered.get(profile_id, 0),
            unacknowledged=len(self.unseen(profile_id)),
            unacknowledged_registered=self._unseen_registered.get(profile_id, 0),
            leaving=self._leaving.get(profile_id, 0),
        )


def _is_proven_absent(pod: UnseenPod, snapshot: ExecutorPodsSnapshot) -> bool:
    """A full list that was asked for after its creation does not show this unseen pod."""
    return pod.created_at is not None and snapshot.full_sync_at > pod.created_at


def _add(counts: dict[ProfileId, int], profile_id: ProfileId, count: int = 1) -> None:
    counts[profile_id] = counts.get(profile_id, 0) + count


def split_slots(consumers: int, slots: int) -> tuple[int, ...]:
    """Share slots evenly; the first ones get what does not divide (``ExecutorPodsAllocator.splitSlots``)."""
    if consumers == 0:
        return ()
    each, more = divmod(slots, consumers)
    return (each + 1,) * more + (each,) * (consumers - more)
