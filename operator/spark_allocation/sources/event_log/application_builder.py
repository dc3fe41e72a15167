"""From the events of a log to a recorded application.

Theory of operation
-------------------
Each event goes to what it tells of: what there was to do (`LoggedProgram`) or how it went (`RunOverTime`). The end of a task
tells both. Its duration belongs to the program, but for what the executor took to warm up (`WarmUps`); what was lost with an executor and done again belongs to the run, and so does
the time in which a task computed a cached block anew, because the executor that had it was gone.

Source: ``org.apache.spark.util.JsonProtocol``, ``SparkListenerEvent``.
"""

from collections.abc import Callable, Mapping
from typing import Any

from spark_allocation.core.passive_driver import migration_obstacle
from spark_allocation.core.resource_profiles import (
    DEFAULT_PROFILE_ID,
    ExecutorResourceRequest,
    InvalidProfile,
    ProfileId,
    ResourceProfile,
    TaskResourceRequest,
)
from spark_allocation.core.simulation.application import RecordedApplication, RecordedExecutor
from spark_allocation.sources.event_log import wire
from spark_allocation.sources.event_log.log_notes import LogNotes
from spark_allocation.sources.event_log.program import UNKNOWN, LoggedProgram, LoggedStage
from spark_allocation.sources.event_log.run_over_time import RunOverTime
from spark_allocation.sources.event_log.warm_ups import WarmUps

_LOST = frozenset({"FetchFailed", "ExecutorLostFailure"})


class ApplicationBuilder:
    """Puts an application together.

    Args:
        notes: counts what cannot be used as it is.
    """

    def __init__(self, notes: LogNotes) -> None:
        self._notes = notes
        self._program = LoggedProgram(notes)
        self._run = RunOverTime(notes)
        self._warm_ups = WarmUps()
        self._version = self._name = self._id = ""
        self._end: int | None = None
        self._properties: dict[str, str] = {}
        self._profiles: list[ResourceProfile] = []
        self._blocks: dict[int, dict[int, tuple[str, int]]] = {}

    @property
    def handlers(self) -> Mapping[bytes, Callable[[Any], None]]:
        """Who takes an event of a kind of `wire.KINDS`, by its name there."""
        return {
            b"LogStart": self._on_log_start,
            b"ApplicationStart": self._on_application_start,
            b"ApplicationEnd": self._on_application_end,
            b"EnvironmentUpdate": self._on_environment_update,
            b"ResourceProfileAdded": self._on_resource_profile_added,
            b"ExecutorAdded": self._on_executor_added,
            b"ExecutorRemoved": self._on_executor_removed,
            b"StageSubmitted": self._on_stage_submitted,
            b"StageCompleted": self._on_stage_completed,
            b"JobStart": self._on_job_start,
            b"JobEnd": self._on_job_end,
            b"TaskStart": self._on_task_start,
            b"TaskEnd": self._on_task_end,
            b"UnpersistRDD": self._on_unpersist_rdd,
        }

    def finish(self) -> RecordedApplication | None:
        """The application; None when no job began in the log."""
        begin, latest = self._run.begin, self._run.latest
        if not self._program.has_begun or begin is None or latest is None:
            return None
        end = self._end if self._end is not None else latest
        warm_ups_ms = self._warm_ups.taken_out()
        program = self._program.finish(begin, end)
        return RecordedApplication(
            application_id=self._id,
            name=self._name,
            spark_version=self._version,
            properties=self._properties,
            profiles=tuple(self._profiles),
            jobs=program.jobs,
            stages=program.stages,
            unpersists=program.unpersists,
            run=self._run.finish(begin, warm_ups_ms),
            started_at_ms=begin,
            duration_ms=max(0, end - begin),
            tail_ms=program.tail_ms,
            ended=self._end is not None,
        )

    # -- the application ---------------------------------------------------------------------------------------------

    def _on_log_start(self, event: wire.LogStart) -> None:
        self._version = event.version

    def _on_application_start(self, event: wire.ApplicationStart) -> None:
        self._name, self._id = event.name, event.app_id or ""
        self._run.application_started(self._run.now(event.at))

    def _on_application_end(self, event: wire.Timed) -> None:
        self._end = self._run.now(event.at)
        self._run.note()

    def _on_environment_update(self, event: wire.Environment) -> None:
        self._properties = event.properties

    def _on_resource_profile_added(self, event: wire.ResourceProfileAdded) -> None:
        if event.profile_id == DEFAULT_PROFILE_ID:
            return
        try:
            profile = ResourceProfile(
                ProfileId(event.profile_id),
                {
                    name: ExecutorResourceRequest(name, int(each.amount))
                    for name, each in event.executor.items()
                },
                {name: TaskResourceRequest(name, each.amount) for name, each in event.task.items()},
                task_only=not event.executor,
            )
        except InvalidProfile as refused:
            self._notes.refused_profiles.append(f"{event.profile_id}: {refused}")
            return
        self._profiles.append(profile)

    # -- executors -----------------------------------------------------------------------------------------------------

    def _on_executor_added(self, event: wire.ExecutorAdded) -> None:
        at = self._run.now(event.at)
        info = event.info
        if event.executor_id == "driver":
            return
        start = None
        if info.requested_at is not None:
            start = max(0, (info.registered_at or event.at) - info.requested_at)
        self._run.executor_added(
            RecordedExecutor(
                executor_id=event.executor_id,
                profile_id=ProfileId(info.profile_id),
                cores=info.cores,
                added_ms=at,
                start_ms=start,
            )
        )

    def _on_executor_removed(self, event: wire.ExecutorRemoved) -> None:
        self._run.executor_removed(event.executor_id, self._run.now(event.at))

    # -- jobs and stages ---------------------------------------------------------------------------------------------

    def _on_job_start(self, event: wire.JobStart) -> None:
        self._program.job_started(event, self._run.now(event.at))

    def _on_job_end(self, event: wire.JobEnd) -> None:
        self._program.job_ended(event.job_id, self._run.now(event.at))

    def _on_stage_submitted(self, event: wire.OfStage) -> None:
        info = event.stage
        self._program.stage_submitted(info, self._run.now(info.submitted_at))
        self._run.attempt_submitted((info.stage_id, info.attempt), info.num_tasks)

    def _on_stage_completed(self, event: wire.OfStage) -> None:
        info = event.stage
        self._program.stage_completed(info, self._run.now(info.completed_at))
        self._run.attempt_completed((info.stage_id, info.attempt))

    def _on_unpersist_rdd(self, event: wire.UnpersistRdd) -> None:
        self._blocks.pop(event.rdd_id, None)
        if self._run.latest is not None:
            self._program.unpersisted(event.rdd_id, self._run.latest)

    # -- tasks -------------------------------------------------------------------------------------------------------

    def _on_task_start(self, event: wire.TaskStart) -> None:
        info, run = event.info, self._run
        at = run.now(info.launched_at)
        key = (event.stage_id, event.attempt)
        run.task_started(key, info.executor_id, at, speculative=info.speculative)

    def _on_task_end(self, event: wire.TaskEnd) -> None:
        info, reason, run = event.info, event.reason.name, self._run
        key = (event.stage_id, event.attempt)
        if reason == "Resubmitted":
            run.output_lost(key)
            return
        run.now(info.finished_at)
        took = info.finished_at - info.launched_at
        known = info.finished_at > 0 and took >= 0
        again = reason not in ("Success", "TaskKilled") and not info.speculative
        run.task_ended(key, took if known else 0, again=again)
        cold = known and self._warm_ups.was_cold(info)
        stage = self._program.stage(event.stage_id)
        if stage is None:
            self._notes.orphans += 1
            return
        if event.kind == "ShuffleMapTask":
            stage.writes_shuffle = True
        place = stage.place(event.attempt, info)
        if not known or place is None:
            return
        before = stage.durations[place]
        if reason == "Success":
            if before == UNKNOWN:
                stage.durations[place] = self._without_lost_block(stage, place, info, took)
                if cold:
                    self._warm_ups.note(info.executor_id, stage, place)
            elif not info.speculative:
                run.lost_ms += took
        elif reason == "TaskKilled":
            if before != UNKNOWN and not info.speculative and event.attempt == 0:
                # a copy of it was faster: without copies it would have taken at least this long
                stage.durations[place] = max(before, took)
        elif reason in _LOST:
            run.lost_ms += took
        elif again:
            stage.failures.setdefault(place, []).append(took)

    def _without_lost_block(
        self, stage: LoggedStage, place: int, info: wire.TaskInfo, took: int
    ) -> int:
        """How long the task takes when the block that it reads is there."""
        if not stage.cached_rdds:
            return took
        blocks = self._blocks.setdefault(stage.cached_rdds[0], {})
        if place not in blocks:
            blocks[place] = (info.executor_id, took)
            return took
        holder, computed = blocks[place]
        if not self._run.was_gone(holder, info.launched_at):
            return took
        blocks[place] = (info.executor_id, computed)
        if took <= computed or not migration_obstacle(self._properties):
            return took
        self._run.lost_ms += computed
        return took - computed
