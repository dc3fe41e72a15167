"""How many executors the streams of one resource profile are to have: the policies, and what is around them.

Theory of operation
-------------------
    samples ─► history of a query ─► picture ─► policies ─► the largest ─► cap ─► pacing ─► floors ─► bounds

Where no policy that is on has anything to say of a query, the batch duration policy stands in with its defaults.

Each policy says for each query how many executors it wants, of the whole profile: what is measured of a query already has in
it that others run beside it. So the largest number serves all, and the sum would serve everybody several times. Then, in this
order, each with a reason of its own:

1. *What batches can use.* No more executors than have a slot for each task of the largest stages of all queries.
2. *Pacing.* Windows, freeze windows, cooldown, merged scale-downs and steps (`pacing`); no more after a scale-up that had no
   effect (`scaling_effect`).
3. *Floors.* While a batch runs or may, one executor at least, as otherwise it would never end and nothing would ever
   be known of it; where executors cannot finish what they run before they leave, as many as running tasks need.
4. *Bounds* of the profile, whatever else holds.

What is not a stream of batches is not served here, and then what tasks need decides, as in an application without streams:
before the first query is seen, some time after the last one, and while all are AvailableNow, Once or Continuous.

Without metrics the number stays, or is the one that was given for that. Nothing else happens then.

Times are seconds of one monotonic clock, but for freeze windows, which go by the calendar.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ProfileId
from spark_allocation.core.streaming import backlog, batch_duration, rate
from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.batch_gap import BatchBoundaries
from spark_allocation.core.streaming.decisions import (
    PolicyWant,
    QueryStanding,
    StreamingCondition,
    StreamingDecision,
    StreamingPolicy,
    StreamingProblem,
    StreamingReason,
)
from spark_allocation.core.streaming.executor_starts import ExecutorStarts
from spark_allocation.core.streaming.executors_over_time import ExecutorsOverTime
from spark_allocation.core.streaming.first_executors import FirstExecutors
from spark_allocation.core.streaming.observations import (
    QueryName,
    QueryObservation,
    QueryState,
    Slots,
    StreamingObservation,
    Trigger,
)
from spark_allocation.core.streaming.pacing import Paced, Pacing
from spark_allocation.core.streaming.query_history import QueryHistory
from spark_allocation.core.streaming.query_picture import QueryPicture
from spark_allocation.core.streaming.scaling_effect import ScalingEffect
from spark_allocation.core.streaming.settings import (
    BatchDurationSettings,
    MissingMetrics,
    StreamingSettings,
)
from spark_allocation.core.streaming.steady_input import SteadyInput

LEARNED_QUERIES_KEPT = 50
BAD_SAMPLES_TOLD = 3
"""In a row: one alone happens when a query starts."""
_STAND_IN = BatchDurationSettings()
_BATCH_TRIGGERS = frozenset({Trigger.AVAILABLE_NOW, Trigger.ONCE, Trigger.CONTINUOUS})


class StreamingDemand:
    """Of one life of a driver.

    Args:
        settings: may be replaced by `reconfigure`.
        learned: what batches of a query cost, as `learned` gave it in an earlier life or before a restart.
        resumed: see `FirstExecutors`.
    """

    def __init__(
        self,
        settings: StreamingSettings,
        *,
        profile_id: ProfileId = DEFAULT_PROFILE_ID,
        learned: Mapping[QueryName, LearnedCost] | None = None,
        resumed: bool = False,
    ) -> None:
        self._settings = settings
        self._profile_id = profile_id
        self._learned = dict(learned or {})
        self._queries: dict[QueryName, QueryHistory] = {}
        self._seen: set[QueryName] = set()
        self._executors = ExecutorsOverTime()
        self._starts = ExecutorStarts()
        self._first = FirstExecutors(resumed=resumed)
        self._pacing = Pacing(settings)
        self._input = SteadyInput()
        self._effect = ScalingEffect()
        self._observed_at: float | None = None
        self._began_at: float | None = None
        self._query_seen_at: float | None = None
        self._unserved: dict[QueryName, Trigger] = {}
        self._batches = 0
        self._batches_of_gone = 0

    # -- what comes in -----------------------------------------------------------------------------------------------

    @property
    def settings(self) -> StreamingSettings:
        """The settings in force."""
        return self._settings

    def reconfigure(self, settings: StreamingSettings) -> None:
        """Judge by other settings from the next decision on; what is known of queries stays known."""
        self._settings = settings
        self._pacing.reconfigure(settings)
        self._input.forget()

    @property
    def learned(self) -> Mapping[QueryName, LearnedCost]:
        """What batches of each query cost: to be kept over restarts. The newest queries, when there were very many."""
        return dict(self._learned)

    def take(self, observation: StreamingObservation, slots: Slots) -> None:
        """Take one observation.

        Args:
            observation: not before the last one; an earlier one is left out.
            slots: that there were then.
        """
        at = observation.observed_at
        if not math.isfinite(at) or (self._observed_at is not None and at < self._observed_at):
            return
        looked_before = self._observed_at is not None
        self._observed_at = at
        self._note_executors(at, slots)
        self._unserved = {}
        here: set[QueryName] = set()
        for query in observation.queries:
            self._seen.add(query.name)
            if query.state is QueryState.TERMINATED or self._settings.is_ignored(query.name):
                continue
            if query.trigger in _BATCH_TRIGGERS:
                self._unserved[query.name] = query.trigger
                continue
            here.add(query.name)
            self._take_query(query, at, slots, has_begun=looked_before)
        for name in self._queries.keys() - here:
            self._batches_of_gone += self._queries.pop(name).batches
        if here:
            self._query_seen_at = at
        self._batches = self._batches_of_gone + sum(each.batches for each in self._queries.values())
        settings = self._settings
        watched = self._effect.watched
        self._effect.look(
            None if watched is None else self._queries.get(watched),
            now=at,
            least_share=settings.effective_share,
            hold_s=settings.ineffective_hold_s,
        )

    def _take_query(
        self, query: QueryObservation, at: float, slots: Slots, *, has_begun: bool
    ) -> None:
        history = self._queries.get(query.name)
        if history is None:
            history = QueryHistory(query.name, self._learned.get(query.name), has_begun=has_begun)
            self._queries[query.name] = history
        interval_s = history.interval_s(self._settings.of_query(query.name))
        history.take(
            query,
            at=at,
            executors=self._executors,
            tasks_per_executor=max(1, slots.tasks_per_executor),
            interval_s=interval_s,
        )
        self._learned.pop(query.name, None)
        self._learned[query.name] = history.cost
        while len(self._learned) > LEARNED_QUERIES_KEPT:
            del self._learned[next(iter(self._learned))]

    # -- what it says ------------------------------------------------------------------------------------------------

    def boundaries(self) -> BatchBoundaries:
        """Where the queries are between two batches, as last observed."""
        running, next_at, ended_at, periods = False, math.inf, None, []
        for history in self._queries.values():
            query, last = history.last, history.last_batch
            running = running or query.running is not None
            interval_s = query.trigger_interval_s
            if last is not None:
                ended_at = max(last.ended_at, ended_at or -math.inf)
            if interval_s is None or not interval_s > 0 or last is None:
                next_at = -math.inf
                continue
            periods.append(interval_s)
            # a batch that was late, or came after one that was, is not on the grid of triggers, so the next may come early
            late = last.duration_s > interval_s or (last.fill_s or interval_s) < interval_s * 0.98
            next_at = min(next_at, -math.inf if late else last.began_at + interval_s)
        return BatchBoundaries(
            running=running or not self._queries,
            ended_at=ended_at,
            next_at=next_at if math.isfinite(next_at) else None,
            period_s=max(periods, default=None),
            keeps_state=any(each.last.keeps_state is not False for each in self._queries.values()),
        )

    def decide(
        self,
        *,
        now: float,
        wall_clock_s: float,
        slots: Slots,
        min_executors: int,
        max_executors: int,
        finishes_tasks: bool = True,
    ) -> StreamingDecision:
        """Decide.

        Args:
            now: not before the last observation.
            wall_clock_s: the same moment, seconds since 1970-01-01 UTC.
            slots: that there are.
            min_executors: of the profile.
            max_executors: of the profile; not below `min_executors`.
            finishes_tasks: an executor that leaves finishes what it runs.
        """
        if self._began_at is None:
            self._began_at = now
        self._note_executors(now, slots)
        present, bounds = slots.executors_asked, (min_executors, max_executors)
        if self._observed_at is not None and self._queries:
            vanished = self._settings.missing_metrics
            if now - self._observed_at > vanished.after_s:
                fixed = vanished.executors if vanished.behaviour is MissingMetrics.FIXED else None
                held = present if fixed is None else fixed
                problem = StreamingProblem(StreamingCondition.METRICS_MISSING)
                return self._decided(
                    Paced(held, StreamingReason.METRICS_MISSING), bounds, problems=[problem]
                )
        if not self._queries:
            return self._without_queries(now, present, bounds)
        waiting = {
            name
            for name, history in self._queries.items()
            if history.waits_for_the_first(self._executors, now)
        }
        self._first.look(executors=slots.executors, asked=present, waited_for=bool(waiting))
        until_more = self._starts.until_more(now)
        pictures = [
            history.picture(
                self._settings.of_query(name),
                now=now,
                asked=present,
                executors=self._executors,
                none_came_of=self._first.begun_with if name in waiting else None,
                until_more=until_more,
            )
            for name, history in sorted(self._queries.items())
        ]
        standings = tuple(map(self._standing, pictures))
        problems = self._problems(pictures)
        wants = [want for standing in standings for want in standing.wants]
        if not wants:
            held = self._at_least_one(present, slots)
            chosen = Paced(held, StreamingReason.WAITING_FOR_BATCHES)
            return self._decided(chosen, bounds, standings, problems)
        most = max(wants, key=lambda want: (want.executors, want.query, want.policy))
        cap = _useful(pictures)
        wanted = most.executors
        if any(
            history.first_is_late(self._settings.of_query(name), now)
            for name, history in self._queries.items()
        ):
            # the time before its executors came counts as time in which nobody was busy
            wanted = max(wanted, present)
        wanted = wanted if cap is None else min(wanted, cap)
        if cap is not None and wanted == cap < most.executors and present >= cap:
            problems.append(
                StreamingProblem(StreamingCondition.CAPPED_BY_TASKS, most.query, str(cap))
            )
        input_rate = _sum(picture.input_rate for picture in pictures)
        chosen = self._pacing.follow(
            wanted,
            present,
            now=now,
            wall_clock_s=wall_clock_s,
            batches=self._batches,
            input_rate=input_rate,
            more_is_useless=self._effect.is_held(now),
            just_begun=not all(picture.is_measured for picture in pictures),
            steady=self._is_steady(pictures, now, input_rate),
            starting=slots.executors < present,
        )
        if cap is not None and chosen.executors == cap < most.executors:
            chosen = Paced(cap, StreamingReason.CAPPED_BY_TASKS)
        floor = self._at_least_one(chosen.executors, slots)
        if not finishes_tasks:
            # not more than there are to be: tasks that run have a place already
            needed = math.ceil(slots.running_tasks / max(1, slots.tasks_per_executor))
            floor = max(floor, min(needed, present))
        if floor > chosen.executors:
            chosen = Paced(floor, StreamingReason.RUNNING_TASKS)
        if self._effect.is_held(now):
            problems.append(StreamingProblem(StreamingCondition.SCALING_INEFFECTIVE, most.query))
        decision = self._decided(chosen, bounds, standings, problems, most)
        self._note_change(decision, present, now, input_rate)
        return decision

    # -- inside ------------------------------------------------------------------------------------------------------

    def _is_steady(
        self, pictures: Sequence[QueryPicture], now: float, input_rate: float | None
    ) -> bool:
        if any(picture.back_to_back for picture in pictures):
            self._input.forget()
            return False
        return self._input.look(
            now,
            of_batches=_sum(picture.rate_of_batches for picture in pictures),
            at_present=input_rate,
            late=any(picture.is_late for picture in pictures),
        )

    def _note_executors(self, at: float, slots: Slots) -> None:
        self._executors.note(at, slots.executors)
        self._starts.note(at, slots.executors, slots.executors_asked)

    def _without_queries(
        self, now: float, present: int, bounds: tuple[int, int]
    ) -> StreamingDecision:
        problems = self._problems(())
        began_at = now if self._began_at is None else self._began_at
        if self._observed_at is None and now - began_at > self._settings.missing_metrics.after_s:
            problems.append(StreamingProblem(StreamingCondition.METRICS_MISSING))
        gone_at = self._query_seen_at
        if (
            not self._unserved
            and gone_at is not None
            and now - gone_at < self._settings.stabilization_down_s
        ):
            # a query that restarts is away for a moment
            chosen = Paced(present, StreamingReason.NO_QUERY)
            return self._decided(chosen, bounds, problems=problems)
        self._pacing.reset()
        if gone_at is not None:
            self._first.forget()
        reason = StreamingReason.BATCH_DEMAND if self._unserved else StreamingReason.NO_QUERY
        return StreamingDecision(
            None, reason, problems=tuple(problems), profile_id=self._profile_id
        )

    def _standing(self, picture: QueryPicture) -> QueryStanding:
        name = picture.query
        settings = self._settings.of_query(name)
        found: list[PolicyWant] = []
        if settings.batch_duration is not None:
            executors = batch_duration.wanted(settings.batch_duration, picture)
            if executors is not None:
                found.append(PolicyWant(name, StreamingPolicy.BATCH_DURATION, executors))
        if settings.rate is not None:
            executors = rate.wanted(settings.rate, picture)
            if executors is not None:
                found.append(PolicyWant(name, StreamingPolicy.RATE, executors))
        if settings.backlog is not None:
            executors = backlog.wanted(settings.backlog, picture)
            if executors is not None:
                found.append(PolicyWant(name, StreamingPolicy.BACKLOG, executors))
        if not found:
            # what it takes to know rows and their cost is not there, or not yet
            executors = batch_duration.wanted(_STAND_IN, picture)
            if executors is not None:
                found.append(PolicyWant(name, StreamingPolicy.BATCH_DURATION, executors))
        if found and settings.nominal_rate is not None and picture.input_rate is not None:
            executors = math.ceil(picture.input_rate / settings.nominal_rate - 1e-9)
            found.append(PolicyWant(name, StreamingPolicy.NOMINAL_RATE, executors))
        found.sort(key=lambda want: (-want.executors, want.policy))
        return QueryStanding(
            query=name,
            utilization=picture.utilization,
            batch_duration_s=self._queries[name].duration_s(),
            interval_s=picture.interval_s,
            input_rate=picture.input_rate,
            processing_rate=picture.processing_rate,
            true_rate=rate.true_rate(picture),
            backlog_s=picture.backlog_s,
            wants=tuple(found),
        )

    def _problems(self, pictures: Sequence[QueryPicture]) -> list[StreamingProblem]:
        found = [
            StreamingProblem(StreamingCondition.CONTINUOUS_TRIGGER, name)
            for name, trigger in sorted(self._unserved.items())
            if trigger is Trigger.CONTINUOUS
        ]
        for picture in pictures:
            name = picture.query
            settings = self._settings.of_query(name)
            if picture.interval_s is None:
                found.append(StreamingProblem(StreamingCondition.NO_TARGET_DURATION, name))
            if settings.rate is not None and rate.fixed_cost_is_too_large(settings.rate, picture):
                found.append(StreamingProblem(StreamingCondition.FIXED_COST, name))
            if self._queries[name].bad_samples >= BAD_SAMPLES_TOLD:
                found.append(StreamingProblem(StreamingCondition.BAD_SAMPLES, name))
        if self._seen:
            found += [
                StreamingProblem(StreamingCondition.UNKNOWN_QUERY, name)
                for name in sorted(self._settings.queries.keys() - self._seen)
            ]
        return found

    def _at_least_one(self, executors: int, slots: Slots) -> int:
        at_work = slots.running_tasks > 0 or any(
            history.last.running is not None or history.last.state is QueryState.ACTIVE
            for history in self._queries.values()
        )
        return max(executors, 1) if at_work else executors

    def _decided(
        self,
        chosen: Paced,
        bounds: tuple[int, int],
        standings: tuple[QueryStanding, ...] = (),
        problems: Sequence[StreamingProblem] = (),
        most: PolicyWant | None = None,
    ) -> StreamingDecision:
        executors, reason = chosen.executors, chosen.reason
        least, greatest = bounds
        if executors > greatest:
            executors, reason = greatest, StreamingReason.CAPPED_BY_MAX
        elif executors < least:
            executors, reason = least, StreamingReason.FLOOR_MIN
        return StreamingDecision(
            executors,
            reason,
            wanted=None if most is None else most.executors,
            query=None if most is None else most.query,
            policy=None if most is None else most.policy,
            queries=standings,
            problems=tuple(problems),
            profile_id=self._profile_id,
        )

    def _note_change(
        self, decision: StreamingDecision, present: int, now: float, input_rate: float | None
    ) -> None:
        executors = decision.executors
        if executors is None or executors == present:
            return
        self._pacing.changed(present, executors, now=now, input_rate=input_rate)
        if executors < present:
            self._effect.scaled_down()
        elif decision.query is not None:
            self._effect.scaled_up(self._queries[decision.query], now)


def _useful(pictures: Sequence[QueryPicture]) -> int | None:
    """The most executors that batches of all queries could use at once; None when the tasks of one are not known."""
    executors = 0
    for picture in pictures:
        if picture.tasks is None:
            return None
        executors += math.ceil(picture.tasks / picture.tasks_per_executor)
    return max(1, executors)


def _sum(rates: Iterable[float | None]) -> float | None:
    """Of all queries; None when that of one is not known."""
    total = 0.0
    for rate_of_query in rates:
        if rate_of_query is None:
            return None
        total += rate_of_query
    return total
