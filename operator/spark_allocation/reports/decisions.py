"""The last decisions of one allocation, in sentences: a ring of ten, in which the same decision stands once.

A workload that comes and goes makes the same decisions over and over. Said again they only move to the front and are
counted, so that the ring goes back further than the last minute.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from spark_allocation.api.api_model import lean
from spark_allocation.api.v1alpha1 import DecisionStatus
from spark_allocation.core.allocation_decisions import ProfileDecision, TargetReason
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.executor_pods import ExecutorPod
from spark_allocation.reports.status import timestamp

DECISIONS_KEPT = 10
MOST_EXECUTORS_NAMED = 20

_WHY: Mapping[str, str] = {
    TargetReason.INITIALIZING: "the initial executors are kept until the first stage",
    TargetReason.BACKLOG: "tasks are backlogged",
    TargetReason.CAPPED_BY_MAX: "maxExecutors allows no more",
    TargetReason.NOT_NEEDED: "fewer tasks need fewer executors",
    TargetReason.FLOOR_MIN: "minExecutors keeps these",
    TargetReason.BOUNDS_CHANGED: "the bounds were changed",
    TargetReason.STREAMING: "streams ask for so many",
}

_IDLE, _NODE, _MAXIMUM, _BUDGET = "IdleTimeout", "NodeGoing", "AboveMaximum", "Budget"
WHY_EXECUTORS_LEAVE: Mapping[str, str] = {
    _IDLE: "removed due to idle timeout",
    _NODE: "leave because their nodes are about to go",
    _MAXIMUM: "leave because maxExecutors allows fewer",
    _BUDGET: "leave because a budget grants fewer",
}
"""The reasons of decisions that name executors, as their sentences end."""


class Decisions:
    """The ring.

    Args:
        stored: ``status.decisions`` as read, so that a restart goes on with it.
    """

    def __init__(self, stored: Iterable[Mapping[str, Any]] = ()) -> None:
        self._newest_first = [lean(DecisionStatus.model_validate(each)) for each in stored]
        del self._newest_first[DECISIONS_KEPT:]

    @property
    def newest_first(self) -> list[DecisionStatus]:
        """At most `DECISIONS_KEPT`."""
        return list(self._newest_first)

    def take(self, step: Step, *, advice: bool = False) -> None:
        """Note what a step decided.

        Args:
            advice: it is not carried out.
        """
        for decision in _decided(step, advice=advice):
            self._note(decision)

    def _note(self, decision: DecisionStatus) -> None:
        for place, known in enumerate(self._newest_first):
            if _gist(known) == _gist(decision):
                del self._newest_first[place]
                decision = decision.model_copy(update={"count": known.count + 1})
                break
        self._newest_first.insert(0, lean(decision))
        del self._newest_first[DECISIONS_KEPT:]


def _gist(decision: DecisionStatus) -> tuple[int, int, str, str]:
    return decision.profile, decision.target, decision.reason, decision.message


def _decided(step: Step, *, advice: bool) -> Iterator[DecisionStatus]:
    for decision in step.decisions.values():
        if decision.delta != 0:
            yield DecisionStatus(
                time=timestamp(),
                profile=decision.profile_id,
                target=decision.target,
                reason=decision.reason,
                message=_sentence(decision, advice=advice),
            )
    yield from _drained(step, step.drains, _IDLE)
    yield from _drained(step, step.evacuations, _NODE)
    yield from _drained(step, step.above_maximum, _MAXIMUM)
    yield from _drained(step, step.surplus, _BUDGET)


def _drained(step: Step, pods: tuple[ExecutorPod, ...], reason: str) -> Iterator[DecisionStatus]:
    targets = {profile.profile_id: profile.target for profile in step.profiles}
    for profile_id in sorted({pod.profile_id for pod in pods}):
        names = sorted(pod.executor_id for pod in pods if pod.profile_id == profile_id)
        yield DecisionStatus(
            time=timestamp(),
            profile=profile_id,
            target=targets.get(profile_id, 0),
            reason=reason,
            message=f"Executors {', '.join(map(str, names[:MOST_EXECUTORS_NAMED]))} {WHY_EXECUTORS_LEAVE[reason]}",
        )


def _sentence(decision: ProfileDecision, *, advice: bool) -> str:
    why = _WHY.get(decision.reason, decision.reason)
    need = "" if decision.need is None else f" (tasks need {decision.need})"
    if decision.delta > 0:
        verb = "Would request" if advice else "Requesting"
        return f"{verb} {decision.delta} new executors because {why}, new desired total is {decision.target}{need}"
    verb = "Would lower" if advice else "Lowering"
    return (
        f"{verb} the total from {decision.previous_target} to {decision.target} because {why}{need}"
    )
