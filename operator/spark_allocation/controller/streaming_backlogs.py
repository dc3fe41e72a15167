"""Asks Prometheus again and again for the backlog of queries, and hands out what is known now.

Nothing waits for an answer: a decision is made with what is known, and a backlog that nobody has confirmed for a minute is
unknown.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

from spark_allocation.api.streaming_v1alpha1 import PromQuery
from spark_allocation.controller.streaming_settings import NO_QUESTIONS, BacklogQuestions
from spark_allocation.core.streaming.observations import QueryName
from spark_allocation.sources.promql import BacklogFault, PrometheusQueries, UnknownBacklog

ASK_EVERY_SECONDS = 10.0
OLD_AFTER_SECONDS = 60.0
ANSWERED = "Answered"


class BacklogAsking:
    """For one life of a driver."""

    def __init__(
        self,
        prometheus: PrometheusQueries,
        namespace: str,
        count: Callable[[str], None] = lambda _: None,
        *,
        every_seconds: float = ASK_EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            namespace: of the SparkAllocation that asks.
            count: told what became of each question: `ANSWERED`, or a `BacklogFault`.
            clock: seconds.
        """
        self._prometheus = prometheus
        self._namespace = namespace
        self._count = count
        self._every_seconds = every_seconds
        self._clock = clock
        self._questions = NO_QUESTIONS
        self._changed = asyncio.Event()
        self._rows: dict[QueryName | None, tuple[float, float]] = {}
        self._unknown: dict[QueryName | None, UnknownBacklog] = {}
        self._of_common: QueryName | None = None
        self._several = False

    def reconfigure(self, questions: BacklogQuestions) -> None:
        """Ask other questions."""
        if questions != self._questions:
            self._questions = questions
            self._rows.clear()
            self._unknown.clear()
            self._changed.set()

    @property
    def problems(self) -> dict[str, UnknownBacklog]:
        """Why backlogs are not known, by query; "" for the one that is of no query yet."""
        found = {query or "": unknown for query, unknown in self._unknown.items()}
        if self._several and self._questions.common is not None:
            found[""] = UnknownBacklog(
                BacklogFault.SEVERAL_QUERIES,
                "the application has several streaming queries: say in spec.streaming.queries whose backlog it is",
            )
        return found

    def assign(self, names: Iterable[QueryName]) -> None:
        """Name the queries that there are: what is asked for without a name is of the only one that has no question of its own."""
        without_own = [name for name in names if name not in self._questions.of_queries]
        self._several = len(without_own) > 1
        self._of_common = without_own[0] if len(without_own) == 1 else None

    @property
    def known(self) -> dict[QueryName, float]:
        """Rows that wait, by query."""
        now = self._clock()
        found: dict[QueryName, float] = {}
        for asked_for, (rows, at) in self._rows.items():
            name = asked_for or self._of_common
            if name is not None and now - at <= OLD_AFTER_SECONDS:
                found[name] = rows
        return found

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            self._changed.clear()
            questions: list[tuple[QueryName | None, PromQuery]] = [
                *self._questions.of_queries.items()
            ]
            if self._questions.common is not None:
                questions.append((None, self._questions.common))
            for name, question in questions:
                if not self._changed.is_set():
                    await self._ask(name, question)
            try:
                async with asyncio.timeout(self._every_seconds if questions else None):
                    await self._changed.wait()
            except TimeoutError:
                pass  # that is what the pause is for

    async def _ask(self, name: QueryName | None, question: PromQuery) -> None:
        server = self._questions.servers.get(question.server)
        answer: float | UnknownBacklog
        if server is None:
            answer = UnknownBacklog(
                BacklogFault.NO_SUCH_SERVER,
                f"no cluster policy grants a Prometheus server {question.server!r} to namespace {self._namespace}",
            )
        else:
            answer = await self._prometheus.rows(server, question.query, self._namespace)
        if self._changed.is_set():
            return
        if isinstance(answer, UnknownBacklog):
            self._count(answer.fault)
            self._unknown[name] = answer
        else:
            self._count(ANSWERED)
            self._rows[name] = (answer, self._clock())
            self._unknown.pop(name, None)
