"""How far the simulation is from real runs: each log under its own settings, and under those of the other run.

*Self*: a log under the settings that it ran with; the area between the two curves of executors, as a share of the
recorded one. *Predicted*: one run's log under the other run's settings, against what the other run really took.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spark_allocation.controller.policy_files import PolicyFile
from spark_allocation.controller.what_if import (
    as_recorded,
    cluster_of,
    curve_difference,
    policy_for,
    recorded_outcome,
    simulated,
)
from spark_allocation.core.simulation.application import RecordedApplication
from spark_allocation.core.simulation.outcome import Outcome
from spark_allocation.sources.event_log.log_files import find_logs
from spark_allocation.sources.event_log.reading import read_log

WITHIN = 0.15
"""Makespan and executor-seconds of another policy: the median over all runs is to be no further off."""
CURVE_WITHIN = 0.10
PLAIN_CURVE_WITHIN = 0.05
"""For runs without cache, speculation or shuffle that is read again: of these the log tells everything."""


@dataclass(frozen=True, slots=True)
class RealRun:
    """A real run of a shape.

    Attributes:
        properties: the policy, as Spark properties that were set on top of the common ones.
        load: of the machine when it ended, as a share of its cores.
    """

    shape: str
    policy: str
    log: Path
    properties: Mapping[str, str]
    load: float = 0.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one run's log says of another policy, beside what that policy really took."""

    shape: str
    known_from: str
    policy: str
    makespan: tuple[float, float]
    executor_seconds: tuple[float, float]
    load: float = 0.0

    @property
    def makespan_error(self) -> float:
        """Of the real one, as a share."""
        return _error(*self.makespan)

    @property
    def executor_error(self) -> float:
        """Of the real ones, as a share."""
        return _error(*self.executor_seconds)


@dataclass(frozen=True, slots=True)
class Replay:
    """A log under the settings that it ran with."""

    shape: str
    policy: str
    plain: bool
    curve: float
    makespan_error: float


def replayed(run: RealRun) -> Replay:
    """Simulate a run as it was recorded."""
    application = _application(run)
    recorded = recorded_outcome(application)
    outcome = simulated(application, as_recorded(application), cluster_of(application))
    difference = curve_difference(outcome, recorded)
    return Replay(
        run.shape,
        run.policy,
        plain=is_plain(application),
        curve=1.0 if difference is None else difference,
        makespan_error=_error(outcome.makespan_ms, recorded.makespan_ms),
    )


def predicted(known: RealRun, other: RealRun) -> Prediction:
    """From one run to the settings of another one."""
    application = _application(known)
    policy = policy_for(application, PolicyFile(other.policy, (dict(other.properties),)))
    outcome = simulated(application, policy, cluster_of(application))
    real = recorded_outcome(_application(other))
    return Prediction(
        known.shape,
        known.policy,
        other.policy,
        makespan=(_seconds(outcome.makespan_ms), _seconds(real.makespan_ms)),
        executor_seconds=(_executor_seconds(outcome), _executor_seconds(real)),
        load=other.load,
    )


def is_plain(application: RecordedApplication) -> bool:
    """Without cache, speculation or shuffle that a later job reads again."""
    speculates = application.properties.get("spark.speculation", "false").lower() == "true"
    caches = any(stage.cached_rdds for stage in application.stages.values())
    return not (speculates or caches or any(job.reads for job in application.jobs))


def table(predictions: Sequence[Prediction], replays: Sequence[Replay]) -> str:
    """Both as Markdown, the worst first named below."""
    lines = [
        "| shape | log of | policy | makespan s: simulated / real | off | executor-seconds: simulated / real | off | load |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.shape} | {each.known_from} | {each.policy} | {each.makespan[0]:.1f} / {each.makespan[1]:.1f} | "
        f"{each.makespan_error:.0%} | {each.executor_seconds[0]:.0f} / {each.executor_seconds[1]:.0f} | "
        f"{each.executor_error:.0%} | {each.load:.1f} |"
        for each in predictions
    ]
    lines += ["", "| shape | policy | cache or shuffle read again | curve off | makespan off |", "|---|---|---|---|---|"]  # fmt: skip
    lines += [
        f"| {each.shape} | {each.policy} | {'no' if each.plain else 'yes'} | {each.curve:.1%} | {each.makespan_error:.0%} |"
        for each in replays
    ]
    return "\n".join(lines)


def verdict(predictions: Sequence[Prediction], replays: Sequence[Replay]) -> list[str]:
    """What is not as close as it should be."""
    missed = []
    if predictions:
        for what, errors in (
            ("makespan", [each.makespan_error for each in predictions]),
            ("executor-seconds", [each.executor_error for each in predictions]),
        ):
            median = statistics.median(errors)
            if median > WITHIN:
                missed.append(f"the median of {what} is {median:.0%} off, wanted {WITHIN:.0%}")
    for each in replays:
        most = PLAIN_CURVE_WITHIN if each.plain else CURVE_WITHIN
        if each.curve > most:
            missed.append(f"{each.shape} under {each.policy}: the curve is {each.curve:.1%} off, wanted {most:.0%}")  # fmt: skip
    return missed


def _application(run: RealRun) -> RecordedApplication:
    (files,) = find_logs(str(run.log))
    return read_log(files).application


def _error(simulation: float, real: float) -> float:
    return abs(simulation - real) / real if real else 0.0


def _seconds(milliseconds: int) -> float:
    return milliseconds / 1000


def _executor_seconds(outcome: Outcome) -> float:
    return outcome.executor_ms / 1000
