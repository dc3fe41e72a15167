"""Traces of the operator: are the same decisions made again, and what would other policies have made of the same demand?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

from spark_allocation.controller.policy_files import PolicyFile
from spark_allocation.controller.what_if import (
    AS_RECORDED,
    cluster_of,
    curve_difference,
    policy_for,
)
from spark_allocation.controller.what_if_study import SupposedCluster
from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.resource_profiles import InvalidProfile
from spark_allocation.core.simulation.application import RecordedApplication
from spark_allocation.core.simulation.cluster import ClusterModel
from spark_allocation.core.simulation.demand_run import DemandRun
from spark_allocation.core.simulation.outcome import NamedOutcome, Outcome
from spark_allocation.core.spark_conf import InvalidSetting
from spark_allocation.core.trace.demand import Demand, DemandReading
from spark_allocation.core.trace.inputs import LifeBegun
from spark_allocation.core.trace.replay import NoBeginning, Replay, ReplayedStep
from spark_allocation.traces.files import DamagedTrace, Place, Trace, entries

DISTRIBUTION = "spark-allocation-operator"


@dataclass(slots=True)
class Sameness:
    """How a replay compares with what was recorded.

    Attributes:
        steps: all of them.
        exact: those that have to be equal.
        different: those of them that are not.
        first: where the first of these stands, and in what it differs; "" when there is none.
    """

    steps: int = 0
    exact: int = 0
    different: int = 0
    first: str = ""

    def take(self, place: Place, step: ReplayedStep) -> None:
        """One more."""
        self.steps += 1
        self.exact += step.exact
        if step.exact and step.differences:
            self.different += 1
            self.first = self.first or f"{place} ({', '.join(step.differences)})"


@dataclass(frozen=True, slots=True)
class TraceStudy:
    """One life of a driver.

    Attributes:
        trace: namespace and name of the SparkAllocation.
        operator: version that wrote it.
        sameness: of the decisions.
        recorded: the run as the trace has it.
        outcomes: what its settings, then the policies, make of the same demand.
        curve_difference: see `LogStudy`.
        problem: why nothing could be said; everything else is then empty.
    """

    trace: str
    application_id: str = ""
    spark_version: str = ""
    operator: str = ""
    sameness: Sameness | None = None
    notes: tuple[str, ...] = ()
    recorded: Outcome | None = None
    outcomes: tuple[NamedOutcome, ...] = ()
    curve_difference: float | None = None
    problem: str = ""

    @property
    def decides_otherwise(self) -> bool:
        """The same version decides otherwise than it did, which must not be."""
        return (
            self.sameness is not None
            and self.sameness.different > 0
            and self.operator == version(DISTRIBUTION)
        )


def trace_studies(
    traces: Sequence[Trace],
    policies: Sequence[PolicyFile],
    supposed: SupposedCluster,
    progress: Callable[[int], None] = lambda _bytes: None,
) -> list[TraceStudy]:
    """Each life in these traces.

    Raises:
        RefusedPolicy: for a policy that the operator would refuse, or that is none of its.
    """
    found = []
    for trace in traces:
        try:
            found += _studies(trace, policies, supposed)
        except (DamagedTrace, OSError) as error:
            found.append(TraceStudy(trace.name, problem=str(error)))
        progress(trace.size)
    return found


def _studies(
    trace: Trace, policies: Sequence[PolicyFile], supposed: SupposedCluster
) -> list[TraceStudy]:
    replay, reading, sameness = Replay(), None, Sameness()
    found = []
    for place, entry in entries(trace):
        try:
            if isinstance(entry, LifeBegun) and (
                reading is None or entry.incarnation != reading.life.incarnation
            ):
                if reading is not None:
                    found.append(_study(trace, reading.finish(), sameness, policies, supposed))
                reading, sameness = DemandReading(entry), Sameness()
            elif reading is not None:
                reading.take(entry)
            step = replay.take(entry)
        except (InvalidSetting, InvalidProfile, NoBeginning) as error:
            raise DamagedTrace(f"{place}: {error}; leave this file out") from None
        if step is not None:
            sameness.take(place, step)
    if reading is None:
        return [TraceStudy(trace.name, problem=f"{trace.parts[0].path}: no driver was served while it was written")]  # fmt: skip
    return [*found, _study(trace, reading.finish(), sameness, policies, supposed)]


def _study(
    trace: Trace,
    demand: Demand,
    sameness: Sameness,
    policies: Sequence[PolicyFile],
    supposed: SupposedCluster,
) -> TraceStudy:
    notes = list(_notes(trace, demand, sameness))
    cluster = _cluster(demand, supposed)
    outcomes: list[NamedOutcome] = []
    difference = None
    of_tasks = [(at, _without_streams(each)) for at, each in demand.settings]
    if demand.streams and any(each.streaming is not None for _, each in demand.settings):
        notes.append(
            "its streams decide by how long batches take, which other executors would change: not simulated"
        )
    elif demand.moments:
        outcome = DemandRun(demand, of_tasks, cluster).run()
        difference = curve_difference(outcome, demand.recorded)
        outcomes.append(NamedOutcome(AS_RECORDED, outcome))
    for file in policies:
        settings, shown = _settings_of(file, demand)
        if settings.streaming is not None:
            raise file.refused("spec.streaming cannot be tried with a trace: other executors would change how long batches take")  # fmt: skip
        if demand.moments:
            outcome = DemandRun(demand, [(0, settings)], cluster).run()
            outcomes.append(NamedOutcome(file.name, outcome, shown))
    return TraceStudy(
        trace=trace.name,
        application_id=demand.life.application_id,
        spark_version=demand.life.spark_version,
        operator=trace.parts[-1].heading.operator,
        sameness=sameness,
        notes=tuple(notes),
        recorded=demand.recorded,
        outcomes=tuple(outcomes),
        curve_difference=difference,
    )


def _notes(trace: Trace, demand: Demand, sameness: Sameness) -> list[str]:
    written_by, own = trace.parts[-1].heading.operator, version(DISTRIBUTION)
    notes = []
    if sameness.different:
        other = f", by version {written_by} then and {own} now" if written_by != own else ""
        notes.append(
            f"of {sameness.exact} steps {sameness.different} are decided otherwise{other}; the first at {sameness.first}"
        )
    elif sameness.exact:
        notes.append(f"all {sameness.exact} steps are decided as they were")
    if sameness.steps > sameness.exact:
        notes.append(
            f"{sameness.steps - sameness.exact} steps cannot be compared: what was before them is not there any more"
        )
    if demand.gaps:
        notes.append(f"something is missing in {demand.gaps} places")
    if demand.budgets:
        notes.append("budgets granted executors then; the simulated rows know no budget")
    return notes


def _cluster(demand: Demand, supposed: SupposedCluster) -> ClusterModel:
    asked_for = supposed.start_delay_ms
    delays = demand.start_delays_ms if asked_for is None else (asked_for,)
    model = cluster_of(
        _application(demand),
        start_delay_ms=asked_for,
        pods_per_minute=supposed.pods_per_minute,
        seed=supposed.seed,
    )
    return replace(model, start_delays_ms=delays or model.start_delays_ms)


def _application(demand: Demand) -> RecordedApplication:
    """What policies are resolved against."""
    life = demand.life
    return RecordedApplication(
        application_id=life.application_id,
        name=life.application_id,
        spark_version=life.spark_version,
        properties=life.properties,
        profiles=demand.profiles,
        jobs=(),
        stages={},
    )


def _settings_of(file: PolicyFile, demand: Demand) -> tuple[AllocationSettings, dict[str, str]]:
    """A policy's settings, with what depends on the driver as it was: where shuffle data is, and how executors leave."""
    policy = policy_for(_application(demand), file)
    settings = policy.by_operator
    if settings is None:
        raise file.refused("a trace is replayed under SparkAllocations; Spark properties need an event log of the application")  # fmt: skip
    then = demand.life.settings
    drains = then.dynamic.decommission_enabled and settings.dynamic.decommission_enabled
    settings = replace(
        settings,
        shuffle=replace(then.shuffle, hold=settings.shuffle.hold),
        dynamic=replace(settings.dynamic, decommission_enabled=drains),
    )
    return settings, dict(policy.settings)


def _without_streams(settings: AllocationSettings) -> AllocationSettings:
    return replace(settings, streaming=None)
