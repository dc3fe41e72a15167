"""Streams of one life of a driver: what is seen of them at each answer, and what is wrong with seeing it."""

from spark_allocation.api.conditions import ConditionType, Reason
from spark_allocation.controller.streaming_backlogs import BacklogAsking
from spark_allocation.controller.streaming_settings import BacklogQuestions
from spark_allocation.core.driver_report import DriverReport
from spark_allocation.core.streaming.decisions import StreamingCondition, StreamingProblem
from spark_allocation.core.streaming.observations import QueryState, StreamingObservation
from spark_allocation.core.streaming.settings import StreamingSettings
from spark_allocation.reports.streams import StreamingStatement, statements
from spark_allocation.sources.streaming_batches import StreamBatches

_NANOSECONDS = 1e9


class LifeStreams:
    """Nothing is seen, and nobody is asked, while the settings are None."""

    def __init__(self, backlogs: BacklogAsking) -> None:
        self._backlogs = backlogs
        self._settings: StreamingSettings | None = None
        self._batches = StreamBatches()
        self._unreadable: tuple[str, ...] = ()
        self._blind_since: float | None = None
        self._blind_for = 0.0

    def reconfigure(self, settings: StreamingSettings | None, questions: BacklogQuestions) -> None:
        """Look on with other settings."""
        if settings is None:
            self._batches = StreamBatches()
            self._unreadable = ()
            self._blind_since, self._blind_for = None, 0.0
            questions = BacklogQuestions()
        self._settings = settings
        self._backlogs.reconfigure(questions)

    async def run(self) -> None:
        """Ask for backlogs until cancelled."""
        await self._backlogs.run()

    def observe(
        self, report: DriverReport, *, answered_at_ns: int, epoch_ms: int
    ) -> tuple[StreamingObservation, ...]:
        """What an answer of the driver shows; nothing when nothing is to be seen or nothing could be.

        Of a profile in which streams were believed to run nothing is told any more: the core leaves it to its tasks as soon as it
        is told of another one (`Streams.take`), and takes an observation of the former for the streams having moved back.

        Args:
            epoch_ms: moment of the answer.
        """
        settings = self._settings
        if settings is None:
            return ()
        self._unreadable = report.streaming.unreadable
        now = answered_at_ns / _NANOSECONDS
        observed = self._batches.observe(
            report.streaming,
            report.stages,
            now=now,
            epoch_ms=epoch_ms,
            interval_s=settings.target_duration_s,
            backlogs=self._backlogs.known,
        )
        if observed is None:
            self._blind_since = self._blind_since or now
            self._blind_for = now - self._blind_since
            return ()
        self._blind_since, self._blind_for = None, 0.0
        self._backlogs.assign(
            query.name
            for query in observed.queries
            if query.state is not QueryState.TERMINATED and not settings.is_ignored(query.name)
        )
        return (observed,)

    @property
    def statements(self) -> list[StreamingStatement]:
        """What is wrong with what is seen."""
        if self._settings is None:
            return []
        told: list[StreamingStatement] = []
        if self._blind_for >= self._settings.missing_metrics.after_s:
            # a driver that has never told anything is nothing that the core could decide about
            told += statements([StreamingProblem(StreamingCondition.METRICS_MISSING)])
        told += [
            StreamingStatement(
                ConditionType.STREAMING_REFUSED
                if unknown.refused
                else ConditionType.STREAMING_METRICS_MISSING,
                Reason.BACKLOG_QUERY_REFUSED if unknown.refused else Reason.BACKLOG_UNKNOWN,
                query,
                f"its backlog is not known: {unknown.message}" if query else unknown.message,
            )
            for query, unknown in self._backlogs.problems.items()
        ]
        told += [
            StreamingStatement(
                ConditionType.STREAMING_METRICS_MISSING, Reason.PROGRESS_UNREADABLE, "", each
            )
            for each in self._unreadable
        ]
        return told
