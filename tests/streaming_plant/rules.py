"""The rules that are compared: ours, and what there is elsewhere."""

import math
from collections import deque
from dataclasses import dataclass, replace

from tests.streaming_plant.plant import Batch, View
from tests.streaming_plant.workload import STEP_S, Workload

from spark_allocation.core.streaming.batch_gap import BatchGap
from spark_allocation.core.streaming.demand import StreamingDemand
from spark_allocation.core.streaming.observations import (
    BatchSample,
    QueryName,
    QueryObservation,
    QueryState,
    RunningBatch,
    Slots,
    StreamingObservation,
    Trigger,
)
from spark_allocation.core.streaming.settings import StreamingSettings

QUERY = QueryName("orders")
MINIMUM = 1
"""Executors that every rule keeps."""
MONDAY = 1_780_272_000.0


class Ours:
    """`StreamingDemand` with what the operator would see, and executors that leave as the operator lets them."""

    looks = True

    def __init__(self, work: Workload, settings: StreamingSettings) -> None:
        self.work = work
        if not work.trigger_s:
            settings = replace(settings, target_duration_s=work.target_s)
        self.settings = settings
        self.demand = StreamingDemand(settings)
        self.gap = BatchGap()
        self.ended_at = 0.0

    def look(self, view: View) -> None:
        if view.batches:
            self.ended_at = view.batches[-1].ended_at
        running = None
        if view.running_since is not None:
            running = RunningBatch(
                view.now - view.running_since, view.running_number, self.work.tasks, view.stages
            )
        quiet = view.now - self.ended_at
        idle = running is None and quiet > max(2 * self.work.target_s, 10.0)
        self.demand.take(
            StreamingObservation(
                view.now,
                (
                    QueryObservation(
                        QUERY,
                        run_id="1",
                        state=QueryState.IDLE if idle else QueryState.ACTIVE,
                        trigger=Trigger.PROCESSING_TIME,
                        trigger_interval_s=self.work.trigger_s,
                        batches=tuple(map(self._sample, view.batches)),
                        running=running,
                        keeps_state=self.work.keeps_state,
                    ),
                ),
            ),
            self._slots(view),
        )

    def _slots(self, view: View) -> Slots:
        return Slots(
            executors=view.ready,
            tasks_per_executor=self.work.tasks_per_executor,
            running_tasks=0 if view.running_since is None else 1,
            executors_asked=view.asked,
        )

    def executors(self, view: View) -> int:
        decision = self.demand.decide(
            now=view.now,
            wall_clock_s=MONDAY + view.now,
            slots=self._slots(view),
            min_executors=MINIMUM,
            max_executors=self.work.max_executors,
        )
        return view.asked if decision.executors is None else decision.executors

    def may_leave(self, view: View, surplus: int) -> int:
        idle = view.running_since is None
        return self.gap.decide(
            surplus,
            self.demand.boundaries(),
            now=view.now,
            migrates=True,
            leaving=view.leaving,
            idle=idle,
            free=view.ready if idle else 0,
            boundary_wait_s=self.settings.boundary_wait_s,
        ).executors

    def _sample(self, batch: Batch) -> BatchSample:
        return BatchSample(
            ended_at=batch.ended_at,
            duration_s=batch.duration_s,
            batch_id=batch.number,
            input_rows=batch.rows,
            processing_rate=batch.rows / batch.duration_s,
            backlog_rows=batch.backlog_rows if self.work.backlog_is_told else None,
            largest_stage_tasks=self.work.tasks,
        )


class _LeaveAtOnce:
    """Executors leave when they are told to: better than any of these really has it."""

    looks = False

    def look(self, view: View) -> None:
        """It is asked every `STEP_S`, which is all that it looks."""

    def may_leave(self, view: View, surplus: int) -> int:
        return surplus


class Fixed(_LeaveAtOnce):
    """So many executors, always."""

    def __init__(self, executors: int) -> None:
        self.count = executors

    def executors(self, view: View) -> int:
        return self.count


@dataclass(frozen=True)
class HpaSettings:
    """A HorizontalPodAutoscaler.

    Attributes:
        metric: ``cpu`` is the share of the last half minute in which executors were busy, ``duration`` the last batch's
            duration (or the age of the one that runs, when greater) ÷ what it may take.
        target: of the metric.
        down_s: stabilisation window for scale-down.
        up_s: for scale-up.
    """

    metric: str = "duration"
    target: float = 0.7
    down_s: float = 300.0
    up_s: float = 0.0


class Hpa(_LeaveAtOnce):
    """Every 15 s, tolerance 0.1, up by 100 % or 4 in 15 s, down by 100 %: Kubernetes' defaults but for the windows."""

    SYNC_S = 15.0
    TOLERANCE = 0.1

    def __init__(self, work: Workload, settings: HpaSettings) -> None:
        self.work = work
        self.settings = settings
        self.last: Batch | None = None
        self.busy: deque[tuple[float, float]] = deque()
        self.recommended: deque[tuple[float, int]] = deque()
        self.next_at = 0.0
        self.target: int | None = None

    def executors(self, view: View) -> int:
        if self.target is None:
            self.target = view.asked
        if view.batches:
            self.last = view.batches[-1]
        self._note_busy(view)
        if view.now < self.next_at:
            return self.target
        self.next_at = view.now + self.SYNC_S
        metric = self._metric(view)
        if metric is None:
            return self.target
        ratio = metric / self.settings.target
        # without this the metric of those that are ready would be taken for one of those that start, too
        current = max(1, view.ready)
        wanted = view.asked if abs(ratio - 1) <= self.TOLERANCE else math.ceil(current * ratio)
        if ratio > 1 + self.TOLERANCE:
            wanted = max(wanted, view.asked) if self.settings.metric == "cpu" else wanted
        wanted = max(MINIMUM, min(self.work.max_executors, wanted))
        now, window = view.now, self.settings
        self.recommended.append((now, wanted))
        while self.recommended[0][0] <= now - max(window.down_s, window.up_s, 1.0):
            self.recommended.popleft()
        down = max(n for at, n in self.recommended if at > now - max(window.down_s, 1.0))
        up = min(n for at, n in self.recommended if at > now - max(window.up_s, 1.0))
        target = self.target
        if target < up:
            target = min(up, max(2 * target, target + 4))
        elif target > down:
            target = down
        self.target = target
        return target

    def _note_busy(self, view: View) -> None:
        for batch in view.batches:
            self.busy.append((batch.began_at, batch.ended_at))
        while self.busy and self.busy[0][1] < view.now - 30.0:
            self.busy.popleft()

    def _metric(self, view: View) -> float | None:
        if self.settings.metric == "cpu":
            since = max(0.0, view.now - 30.0)
            spans = [*self.busy]
            if view.running_since is not None:
                spans.append((view.running_since, view.now))
            busy = sum(max(0.0, min(end, view.now) - max(begin, since)) for begin, end in spans)
            return busy / 30.0
        running = 0.0 if view.running_since is None else view.now - view.running_since
        if self.last is None:
            return None
        recent = self.last.duration_s
        if view.running_since is None and view.now - self.last.ended_at > 60 + self.work.target_s:
            recent = 0.0
        return max(recent, running) / self.work.target_s


class SparkBacklog(_LeaveAtOnce):
    """Spark's own rule: by tasks that wait, doubling each second; idle executors go after a timeout.

    Shuffle tracking is left out, which would hold every executor for ever.
    """

    def __init__(self, work: Workload, idle_s: float) -> None:
        self.work = work
        self.idle_s = idle_s
        self.target: int | None = None
        self.idle_since: list[float | None] = []

    def executors(self, view: View) -> int:
        if self.target is None:
            self.target = view.asked
        per, now = self.work.tasks_per_executor, view.now
        left = 0
        if view.running_since is not None:
            left = math.ceil(self.work.tasks * view.remaining_share)
        need = min(self.work.max_executors, math.ceil(left / per))
        # 1, 2, 4, 8, … each second from one second after the backlog began: thirty-one within a step of five
        pending = left - view.ready * per
        if pending > 0 and view.running_since is not None:
            rounds = min(STEP_S, now - view.running_since)
            self.target = max(self.target, min(need, view.asked + 2 ** int(rounds) - 1))
        # executors beyond those that tasks keep busy are idle; those of the lowest rank are filled first
        busy = min(view.ready, math.ceil(left / per))
        self.idle_since = self.idle_since[: view.ready]
        self.idle_since += [None] * (view.ready - len(self.idle_since))
        for rank in range(view.ready):
            if rank < busy:
                self.idle_since[rank] = None
            elif self.idle_since[rank] is None:
                self.idle_since[rank] = now
        timed_out = sum(
            1 for since in self.idle_since if since is not None and now - since >= self.idle_s
        )
        if pending <= 0:
            self.target = max(MINIMUM, need, view.asked - timed_out)
        return self.target
