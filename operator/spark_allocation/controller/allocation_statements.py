"""What a runner says on its way to the driver and after the end: each answer as conditions, a state and a remedy.

While a life is served, `LifeStatements` speaks; before and after it, this does. Nothing is asked here and
nothing decided.
"""

import time
from collections.abc import Iterable, Iterator
from datetime import datetime

from spark_allocation.api.conditions import ConditionType, Reason
from spark_allocation.controller.allocation_reporter import (
    STREAMING_CONDITIONS,
    AllocationReporter,
)
from spark_allocation.controller.driver_connection import Connection, Obstruction, Unconnected
from spark_allocation.controller.effective_settings import EffectiveSettings
from spark_allocation.controller.profile_settings import ProfileSettings
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.reports.status import timestamp

_NO_MATTER_OF_TIME = (Reason.NO_ACCESS, Reason.NOT_TRUSTED, Reason.ADDRESS_NOT_ALLOWED)
START_PATIENCE_SECONDS = 60.0
"""A driver that has started so lately and does not answer is starting; later it is unreachable."""
LONGEST_MESSAGE = 1000
MOST_KEYS_NAMED = 5


class AllocationStatements:
    """Puts answers into words, for one SparkAllocation."""

    def __init__(self, reporter: AllocationReporter) -> None:
        self._reporter = reporter
        self._unknown_fields: tuple[str, ...] = ()
        self._without_effect: tuple[str, ...] = ()
        self.policy_conflicts: tuple[str, ...] = ()
        """Where policies contradict each other, as it was said last; sentences."""

    # -- on the way --------------------------------------------------------------------------------------------------

    def not_ready(self, state: str, reason: Reason, message: str) -> None:
        """The way ended here."""
        self._reporter.say(ConditionType.READY, False, reason, message)
        self._reporter.state(state, message)

    def ambiguity(self, sentence: str) -> None:
        """Several live pods match the selector, as the sentence says; "" when that is not so."""
        if sentence:
            self._reporter.say(
                ConditionType.AMBIGUOUS_DRIVER, True, Reason.AMBIGUOUS_DRIVER, sentence
            )
        else:
            self._reporter.conditions.drop(ConditionType.AMBIGUOUS_DRIVER)

    def conflict(self, other: str, driver: DriverPod) -> None:
        """An older SparkAllocation serves the driver."""
        message = (
            f"SparkAllocation {other} is older and serves driver pod {driver.name}; this one touches nothing. "
            "Delete one of the two"
        )
        self._reporter.say(ConditionType.CONFLICTED, True, Reason.OLDER_ALLOCATION_WINS, message)
        self.not_ready("Conflicted", Reason.OLDER_ALLOCATION_WINS, message)

    def no_conflict(self) -> None:
        """The driver is ours to serve."""
        self._reporter.say(
            ConditionType.CONFLICTED,
            False,
            Reason.ONLY_ALLOCATION,
            "no other SparkAllocation serves the driver",
        )

    def unconnected(self, nothing: Unconnected, driver: DriverPod) -> bool:
        """The way to the driver has an obstruction; returns whether it is only that the driver is starting."""
        if nothing.obstruction is not Obstruction.UNREACHABLE:
            self._say_reachable()
            if nothing.obstruction is Obstruction.NOT_PASSIVE:
                self._reporter.say(
                    ConditionType.DRIVER_PASSIVE, False, nothing.reason, nothing.message
                )
            self.not_ready(nothing.obstruction, nothing.reason, nothing.message)
            return False
        started_at = driver.started_at
        is_new = started_at is not None and time.time() - started_at < START_PATIENCE_SECONDS
        if is_new and nothing.reason not in _NO_MATTER_OF_TIME:
            message = f"driver pod {driver.name} runs and its REST API does not answer yet"
            self._reporter.say(
                ConditionType.DRIVER_REACHABLE, None, Reason.DRIVER_STARTING, message
            )
            self.not_ready("DriverStarting", Reason.DRIVER_STARTING, message)
            return True
        self._reporter.say(ConditionType.DRIVER_REACHABLE, False, nothing.reason, nothing.message)
        self.not_ready(nothing.obstruction, nothing.reason, nothing.message)
        return False

    def connected(self, connection: Connection) -> None:
        """The driver answers."""
        self._say_reachable()
        if connection.passive:
            self._reporter.say(ConditionType.DRIVER_PASSIVE, True, Reason.PASSIVE)
        else:  # only in mode Recommend: otherwise the way ends there
            self._reporter.say(
                ConditionType.DRIVER_PASSIVE,
                False,
                Reason.RECOMMENDING,
                "the driver allocates for itself, as it is to while the operator only recommends",
            )
        self._without_effect = connection.configuration.without_effect
        self._say_ignored()
        self.policies(connection.settings)

    def unknown_fields(self, paths: tuple[str, ...]) -> None:
        """The spec has fields of a later version."""
        if paths != self._unknown_fields:
            self._unknown_fields = paths
            self._say_ignored()

    def _say_ignored(self) -> None:
        sentences = []
        if self._unknown_fields:
            sentences.append(
                f"{_named(self._unknown_fields)}: this version of the operator does not know that: upgrade it, or leave it out"
            )
        if self._without_effect:
            sentences.append(
                f"spec.sparkConf: {_named(self._without_effect)}: without effect. Only what executor pods are made of and how "
                "many there are follows from sparkConf; set what the driver or tasks read when the driver is started"
            )
        if not sentences:
            self._reporter.conditions.drop(ConditionType.IGNORED)
            return
        message = ". ".join(sentences)
        self._reporter.say(ConditionType.IGNORED, True, Reason.NO_EFFECT, message[:LONGEST_MESSAGE])

    def profiles(self, settings: ProfileSettings) -> None:
        """Which entries of ``spec.profiles`` are for which resource profiles, and which are for none."""
        if not settings.wished:
            self._reporter.conditions.drop(ConditionType.PROFILES_MATCHED)
            return
        choices = settings.choices
        matched = [
            f"{entry.name} is for resource profile {profile_id}"
            for profile_id, entry in sorted(choices.chosen.items())
        ]
        unused = [
            f"{entry.name} ({entry.match}) is for none that the driver has named so far"
            for entry in choices.unused
        ]
        self._reporter.say(
            ConditionType.PROFILES_MATCHED,
            not choices.ties and not unused,
            Reason.SEVERAL_ENTRIES_MATCH
            if choices.ties
            else Reason.NO_PROFILE_MATCHES
            if unused
            else Reason.MATCHED,
            _sentences((*choices.ties, *unused, *matched)),
        )

    def policies(self, settings: EffectiveSettings) -> None:
        """What policies and entries made of the settings, and where they contradict each other."""
        self.profiles(settings.profiles)
        resolution = settings.resolution
        changes = [
            *map(str, resolution.changes),
            *_changes_of_profiles(settings),
            *_changes_of_queries(settings),
        ]
        if changes:
            self._reporter.say(
                ConditionType.LIMITED,
                True,
                Reason.LIMITS_APPLIED,
                _sentences(changes),
            )
        elif settings.policies.policies:
            self._reporter.say(
                ConditionType.LIMITED,
                False,
                Reason.WITHIN_LIMITS,
                "no limit or lock of the policies for this application changes a value",
            )
        else:
            self._reporter.conditions.drop(ConditionType.LIMITED)
        self.policy_conflicts = resolution.conflicts
        problems = (*resolution.conflicts, *resolution.ignored, *settings.policies.problems)
        if problems:
            self._reporter.say(
                ConditionType.POLICY_CONFLICT,
                True,
                Reason.POLICIES_CONTRADICT if resolution.conflicts else Reason.POLICY_IGNORED,
                _sentences(problems),
            )
        else:
            self._reporter.conditions.drop(ConditionType.POLICY_CONFLICT)

    # -- after the end -----------------------------------------------------------------------------------------------

    @property
    def is_finished(self) -> bool:
        """The application has ended and what it left is swept."""
        return self.finished_at is not None

    @property
    def finished_at(self) -> float | None:
        """Epoch seconds since when it is finished; None while it is not."""
        condition = self._reporter.conditions[ConditionType.FINISHED]
        if condition is None or condition.status != "True":
            return None
        return datetime.fromisoformat(condition.last_transition_time).timestamp()

    def finished(self, reason: Reason, message: str) -> None:
        """The end, and how it came."""
        already = self.is_finished
        self._reporter.say(ConditionType.FINISHED, True, reason, message)
        self._reporter.say(ConditionType.READY, False, reason, message)
        for transient in (
            ConditionType.STALLED,
            ConditionType.ALLOCATING,
            ConditionType.QUOTA_EXCEEDED,
            *STREAMING_CONDITIONS,
        ):
            self._reporter.conditions.drop(transient)
        self._reporter.state("Finished", message)
        self._reporter.set(executors=0, target=0, pending=0, profiles=[])
        if not already:
            self._reporter.set(finished_at=timestamp())

    def not_finished(self) -> None:
        """There is a driver again."""
        self._reporter.conditions.drop(ConditionType.FINISHED)

    def _say_reachable(self) -> None:
        self._reporter.say(
            ConditionType.DRIVER_REACHABLE, True, Reason.ANSWERS, "the driver's REST API answers"
        )


def _changes_of_queries(settings: EffectiveSettings) -> list[str]:
    """What policies made of the values of entries for single streaming queries."""
    return [
        str(change)
        for resolution in settings.queries.values()
        for change in resolution.changes
        if change.wished_by.entry
    ]


def _changes_of_profiles(settings: EffectiveSettings) -> Iterator[str]:
    """What limits and locks changed in single profiles, where it is not the same for all."""
    for profile_id, differing in settings.profiles.differing(settings.resolution).items():
        for each in differing:
            yield from (
                f"profile {profile_id}: {change}"
                for change in each.changes
                if change.by is not None
            )


def _sentences(each: Iterable[str]) -> str:
    """As many as a condition's message holds; the number of the others is told."""
    sentences = list(each)
    said = "; ".join(sentences)
    kept = len(sentences)
    while len(said) > LONGEST_MESSAGE and kept:
        kept -= 1
        said = "; ".join((*sentences[:kept], f"and {len(sentences) - kept} more"))
    return said


def _named(names: tuple[str, ...]) -> str:
    """The first of them, and how many more."""
    told = ", ".join(names[:MOST_KEYS_NAMED])
    more = len(names) - MOST_KEYS_NAMED
    return f"{told} and {more} more" if more > 0 else told
