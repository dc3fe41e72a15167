"""A cluster in memory around the pods allocator: it carries plans out as Spark does, one pod after the other."""

from collections.abc import Mapping
from dataclasses import replace

from spark_allocation.core.executor_ids import ExecutorIds
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.pods_allocator import ExecutorPodsAllocator
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.pods_plan import PodsPlan
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot

START = 1_700_000_000_000


class AllocatorWorld:
    """An API server, a watch that reports what it is told to, and a driver's list of executors."""

    def __init__(self, conf: PodsAllocatorConf) -> None:
        self.conf = conf
        self.now = START
        self.allocator = ExecutorPodsAllocator(conf)
        self.ids = ExecutorIds(reserved_until=2**31, maximum=conf.allocation_maximum)
        self.pods: dict[ExecutorId, ExecutorPod] = {}
        self.registered: set[ExecutorId] = set()
        self.not_counted: set[ExecutorId] = set()
        self.created: list[tuple[int, int]] = []
        self.deleted: list[int] = []
        self.failing_creations = 0
        self._snapshot = ExecutorPodsSnapshot()
        self._news = True

    @property
    def created_ids(self) -> list[int]:
        return [executor_id for executor_id, _ in self.created]

    def expect(self, targets: Mapping[int, int]) -> None:
        """Set targets; plan at once when nothing is outstanding, as Spark does."""
        if self.allocator.expect({ProfileId(rp): count for rp, count in targets.items()}):
            self.round()

    def round(self, after_ms: int = 0) -> PodsPlan:
        """One round of the allocator, carried out."""
        plan = self.plan(after_ms)
        self.carry_out(plan)
        return plan

    def plan(self, after_ms: int = 0) -> PodsPlan:
        self.now += after_ms
        snapshot = self._snapshot if self._news else None
        self._news = False
        return self.allocator.plan(
            snapshot, registered=self.registered, now=self.now, not_counted=self.not_counted
        )

    def carry_out(self, plan: PodsPlan) -> None:
        for lost in plan.given_up:
            if lost.delete:
                self._delete([pod.executor_id for pod in lost.pods])
        for excess in plan.withdraw:
            self._delete(list(excess.executor_ids))
        for ask in plan.create:
            for _ in range(ask.count):
                executor_id = self.ids.take()
                if executor_id is None or self.failing_creations > 0:
                    self.failing_creations -= 1
                    self.allocator.round_broken_off()
                    return
                self.create(executor_id, ask.profile_id)

    def create(self, executor_id: ExecutorId, profile_id: ProfileId) -> None:
        self.allocator.creation_started(executor_id, profile_id, self.now)
        self.pods[executor_id] = ExecutorPod(
            uid=f"uid-{executor_id}",
            name=f"app-exec-{executor_id}",
            namespace="default",
            executor_id=executor_id,
            profile_id=profile_id,
            state=PodState.PENDING,
            created_at=self.now / 1000,
        )
        self.allocator.pod_created(executor_id, self.now)
        self.created.append((int(executor_id), int(profile_id)))

    def becomes(self, state: PodState, *executor_ids: int) -> None:
        """The pods reach a state, and the watch says so."""
        for each in executor_ids:
            executor_id = ExecutorId(each)
            self.pods[executor_id] = replace(self.pods[executor_id], state=state)
            self.report(executor_id)

    def report(self, executor_id: ExecutorId) -> None:
        """The watch tells the present state of a pod."""
        self._snapshot = self._snapshot.with_update(self.pods[executor_id])
        self._news = True

    def vanishes(self, executor_id: int) -> None:
        """A pod goes, and nobody hears of it."""
        self.pods.pop(ExecutorId(executor_id), None)

    def list_all(self) -> None:
        """A full list replaces the picture."""
        self._snapshot = ExecutorPodsSnapshot.replaced(self.pods.values(), at=self.now)
        self._news = True

    def registers(self, *executor_ids: int) -> None:
        self.registered.update(map(ExecutorId, executor_ids))

    def restart(self) -> None:
        """The operator dies and comes back: nothing is remembered, the pods are listed."""
        expected = dict(self.allocator.expected)
        self.allocator = ExecutorPodsAllocator(self.conf)
        self.allocator.expect(expected)
        self.now += 1
        self.list_all()

    def _delete(self, executor_ids: list[ExecutorId]) -> None:
        for executor_id in executor_ids:
            self.pods.pop(executor_id, None)
            self.deleted.append(int(executor_id))
