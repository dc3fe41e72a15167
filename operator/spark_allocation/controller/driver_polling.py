"""Asks one driver again and again what its tasks need, as often and as much as it matters.

A driver with jobs, or with executors that may have to go soon, is asked every `poll_seconds`. One that is quiet is asked
after a tenth of the time that it has been quiet, between `poll_seconds` and `idle_poll_seconds`: who works every now
and then is seen as soon as who works all the time, and who has slept for an hour is woken later by seconds at most.

What a whole answer costs, both sides, is in its lists of executors and gauges; a driver *at rest* (nothing runs or
waits, every executor that is wanted has registered, no timer runs out soon) can have only one kind of news that is
urgent: a job. So it is asked for its running jobs alone, which is a few bytes, and for everything as soon as there is
one; and every ten to thirty seconds anyway, because executors come to harm also while nothing runs. An answer without
jobs renews nothing else.
A job that came and went between two questions may have left something on an executor: who is about to decide for
another reason than an answer, such as a changed setting, asks for everything first (`up_to_date`).
"""

import asyncio
import time
from collections.abc import Callable, Mapping

from spark_allocation.api.conditions import Reason
from spark_allocation.controller.polling_turns import PollingTurns
from spark_allocation.core.driver_report import DriverReport, ExecutorReport
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.resource_profiles import (
    InvalidProfile,
    ProfileId,
    ResourceProfile,
    ResourceProfileManager,
)
from spark_allocation.core.spark_conf import InvalidSetting
from spark_allocation.reports.metrics import ANSWERED
from spark_allocation.sources.driver_rest import REQUESTS_OF_A_POLL, DriverRest
from spark_allocation.sources.unreachable import Unreachable

FRESH_SECONDS = 15.0
"""An answer of the driver older than this decides nothing."""
QUIET_SHARE = 0.1
"""Of the time that a driver has been quiet: what it may be quiet for until it is asked again."""
ALL_EVERY_SECONDS = 10.0
"""How long a driver that has just come to rest is asked for nothing but its jobs."""
ALL_AT_LEAST_EVERY_SECONDS = 30.0
"""And one that has been quiet for long."""
DEAD_EXECUTORS_EVERY_SECONDS = 10.0
POLLS_THAT_MAY_FAIL = 3
TASKS_GO_OUT_WITHIN_SECONDS = 3.0
"""As long as a task waits by default for an executor near its data (``spark.locality.wait``)."""
UNKNOWN_PROFILE_SECONDS = 15.0
"""A profile that the driver's environment did not explain is not asked for again sooner."""


class DriverPolling:
    """The last answer of a driver, kept new while `run` runs.

    Attributes:
        answered: set once there has been an answer, good or bad.
        report: the last good answer.
        asked_at, answered_at_ns: monotonic seconds and nanoseconds of that.
        unreachable: why the last poll failed; None when it did not.
        listed: executors of the last good answer that live.
        profile_errors: what is wrong with resource profiles that the driver named; "" when nothing is.
        at_rest: set it to True while nothing but a new job would be urgent news.
    """

    def __init__(
        self,
        rest: DriverRest,
        *,
        poll_seconds: float,
        idle_poll_seconds: float,
        profiles: ResourceProfileManager,
        profile_errors: str,
        news: Callable[[], None],
        profiles_learned: Callable[[], None],
        count_poll: Callable[[str, float], None],
        turns: PollingTurns,
    ) -> None:
        """
        Args:
            news: called after each whole poll, good or bad.
            profiles_learned: called when the driver has named resource profiles that were not known.
            count_poll: told the outcome of each whole poll and the seconds that it took.
            turns: waited for before each question that is only due, and for none that a decision or a job waits for.
        """
        self._rest = rest
        self._poll_seconds = poll_seconds
        self._idle_poll_seconds = idle_poll_seconds
        self._profiles = profiles
        self._profiles_asked_at: dict[frozenset[ProfileId], float] = {}
        self._news = news
        self._profiles_learned = profiles_learned
        self._count_poll = count_poll
        self._turns = turns
        self._failed = 0
        self._worked_at = time.monotonic()
        self._work_begins: dict[ProfileId, float] = {}
        self._asking = asyncio.Lock()
        self._taken = True
        self._dead_asked_at = -DEAD_EXECUTORS_EVERY_SECONDS
        self.answered = asyncio.Event()
        self.report: DriverReport | None = None
        self.asked_at = 0.0
        self.answered_at_ns = 0
        self.unreachable: Unreachable | None = None
        self.listed: Mapping[ExecutorId, ExecutorReport] = {}
        self._listed_when_taken: Mapping[ExecutorId, ExecutorReport] = {}
        self.profile_errors = profile_errors
        self.at_rest = False

    @property
    def is_fresh(self) -> bool:
        """The last good answer is new enough to decide on."""
        return self.report is not None and time.monotonic() - self.asked_at < FRESH_SECONDS

    @property
    def lasting_obstacle(self) -> Unreachable | None:
        """Why the driver does not answer, once that has lasted for several polls."""
        return self.unreachable if self._failed >= POLLS_THAT_MAY_FAIL else None

    @property
    def application_is_gone(self) -> bool:
        """The driver answers, but not for this application: it has another one, or none any more."""
        obstacle = self.lasting_obstacle
        return obstacle is not None and obstacle.reason in (
            Reason.NOT_A_SPARK_UI,
            Reason.CONNECTION_REFUSED,
        )

    def take(self) -> DriverReport | None:
        """The last good answer, if it has not been taken yet."""
        if self._taken:
            return None
        self._taken = True
        self._listed_when_taken = self.listed
        return self.report

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            began = time.monotonic()
            if self._is_busy:
                self._worked_at = began
            if not self.at_rest or self.unreachable is not None or self._all_is_due(began):
                await self._turns.wait(REQUESTS_OF_A_POLL)
                await self._ask_in_whole()
            elif await self._has_news():
                self._turns.count(REQUESTS_OF_A_POLL)
                await self._ask_in_whole()
            await asyncio.sleep(
                max(self._rest.rest_seconds, began + self._interval - time.monotonic())
            )

    async def up_to_date(self) -> None:
        """Ask for everything if a driver at rest was last asked so long ago that a job may have come and gone."""
        if self.at_rest:
            await self.confirm(self._interval)

    async def confirm(self, within_seconds: float) -> None:
        """Have an answer that was asked for so lately, if the driver gives one.

        A driver that did not answer the last time is not pressed: `run` asks it again in its time, and how often it has
        failed in a row goes on meaning for how long.
        """
        if self.unreachable is None and time.monotonic() - self.asked_at > within_seconds:
            await self._ask_in_whole()

    async def confirm_again(self, within_seconds: float) -> None:
        """The same, for one of many questions: answers that take long to read are asked for less often."""
        await self.confirm(max(within_seconds, self._rest.rest_seconds))

    def has_worked(self, executor_id: ExecutorId) -> bool:
        """Whether an executor runs tasks, or has begun some since the answer that was taken last."""
        newest, decided = self.listed.get(executor_id), self._listed_when_taken.get(executor_id)
        if newest is None:
            return False
        begun = decided is not None and newest.total_tasks != decided.total_tasks
        return newest.active_tasks > 0 or begun

    def is_about_to_work(self, profile_id: ProfileId) -> bool:
        """Whether executors of a profile that are idle may well have tasks in a moment.

        Inside the driver an idle executor gets a waiting task at once. Both seen together are a moment in between, unless
        it lasts: then the tasks wait for something else.
        """
        since = self._work_begins.get(profile_id)
        return since is not None and time.monotonic() - since < TASKS_GO_OUT_WITHIN_SECONDS

    async def _ask_in_whole(self) -> None:
        wished_at = time.monotonic()
        async with self._asking:
            if self.asked_at <= wished_at:
                await self._ask(time.monotonic())

    @property
    def _is_busy(self) -> bool:
        report = self.report
        if report is None:
            return False
        return bool(report.running_jobs) or (bool(report.executors) and not self.at_rest)

    @property
    def _interval(self) -> float:
        if self._is_busy:
            return self._poll_seconds
        quiet_for = time.monotonic() - self._worked_at
        return min(self._idle_poll_seconds, max(self._poll_seconds, QUIET_SHARE * quiet_for))

    def _all_is_due(self, now: float) -> bool:
        """The next time would be too late."""
        quiet = min(QUIET_SHARE * (now - self._worked_at), ALL_AT_LEAST_EVERY_SECONDS)
        return now + self._interval - self.asked_at >= max(ALL_EVERY_SECONDS, quiet)

    async def _has_news(self) -> bool:
        await self._turns.wait(1)
        jobs = await self._rest.running_jobs()
        return isinstance(jobs, Unreachable) or bool(jobs)

    async def _ask(self, began: float) -> None:
        with_dead = began - self._dead_asked_at >= DEAD_EXECUTORS_EVERY_SECONDS
        answer = await self._rest.poll(with_dead_executors=with_dead)
        seconds = time.monotonic() - began
        if isinstance(answer, Unreachable):
            self._count_poll(answer.reason, seconds)
            self.unreachable = answer
            self._failed += 1
        else:
            self._count_poll(ANSWERED, seconds)
            if with_dead:
                self._dead_asked_at = began
            await self._learn_profiles(answer)
            self.unreachable = None
            self._failed = 0
            self.report = answer
            self.listed = {executor.id: executor for executor in answer.executors}
            self._work_begins = {
                profile_id: self._work_begins.get(profile_id, began)
                for profile_id in _profiles_that_begin(answer)
            }
            self.asked_at = began
            self.answered_at_ns = time.monotonic_ns()
            self._taken = False
        self.answered.set()
        self._news()

    async def _learn_profiles(self, report: DriverReport) -> None:
        """Ask for the profiles again when a stage or an executor names one that is not known."""
        named = {stage.profile_id for stage in report.stages}
        named |= {executor.profile_id for executor in report.executors}
        unknown = frozenset(profile_id for profile_id in named if profile_id not in self._profiles)
        if not unknown:
            return
        now = time.monotonic()
        if now - self._profiles_asked_at.get(unknown, -UNKNOWN_PROFILE_SECONDS) < (
            UNKNOWN_PROFILE_SECONDS
        ):
            return
        self._profiles_asked_at = {unknown: now}
        environment = await self._rest.environment()
        if isinstance(environment, Unreachable):
            return
        self.profile_errors = add_profiles(self._profiles, environment.resource_profiles)
        self._profiles_learned()


def _profiles_that_begin(report: DriverReport) -> frozenset[ProfileId]:
    """Profiles of which tasks wait, or, when a job runs of which no stage does yet, of which there are executors."""
    if report.running_jobs and not report.stages:
        return frozenset(executor.profile_id for executor in report.executors)
    return report.waiting_profiles


def add_profiles(
    profiles: ResourceProfileManager, reported: Mapping[ProfileId, ResourceProfile]
) -> str:
    """Make reported profiles known; returns a sentence about those that Spark itself would refuse."""
    errors: list[str] = []
    for profile in reported.values():
        try:
            profiles.add(profile)
        except (InvalidProfile, InvalidSetting) as error:
            errors.append(str(error))
    return "; ".join(errors)
