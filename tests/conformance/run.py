"""Compares our core with real Spark on random scenarios.

    python -m tests.conformance.run --kind eam --count 1000 --spark 3.5.9 --spark 4.1.4 --seed 7

Scenario number ``i`` of a seed is always the same. A divergence is made small, printed and, with ``--save``, written to
``tests/conformance/scenarios/`` with Spark's answer. Exit code 1 when anything diverged. ``--record FILE`` instead appends
Spark's answers to the scenarios of a file.

A kind brings ``tests.conformance.generators.<kind>.generate(random, spark_version)`` and
``tests.conformance.<kind>_compare.compare(scenario, theirs, ours)``.
"""

import argparse
import contextlib
import importlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.conformance.answer import KINDS, answer
from tests.conformance.oracle_jvm import SPARK_VERSIONS, Oracle
from tests.conformance.outcome import Departed, Diverged, Outcome
from tests.conformance.shrink import shrink

SCENARIOS = Path(__file__).parent / "scenarios"

Json = dict[str, Any]


@dataclass
class Summary:
    """What a run over many scenarios came to."""

    kind: str
    spark_version: str
    seed: int
    scenarios: int = 0
    steps: int = 0
    same: int = 0
    ended_by_spark: int = 0
    departures: Counter[str] = field(default_factory=Counter)
    divergences: list[tuple[Json, Diverged]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, scenario: Json, outcome: Outcome) -> None:
        """Count one outcome."""
        self.scenarios += 1
        match outcome:
            case Diverged():
                self.divergences.append((scenario, outcome))
            case Departed():
                self.departures[outcome.name] += 1
                self.steps += outcome.step + 1
            case _:
                self.same += 1
                self.ended_by_spark += outcome.ended_by_spark
                self.steps += outcome.steps

    def row(self) -> str:
        """One line of the summary table."""
        departed = ", ".join(f"{name} {count}" for name, count in sorted(self.departures.items()))
        return (
            f"{self.kind:6}{self.spark_version:8}{self.seed:>6}{self.scenarios:>11}{self.steps:>10}"
            f"{self.same:>8}{self.ended_by_spark:>9}{len(self.divergences):>10}{self.seconds:>8.0f}s  {departed}"
        )


HEADER = (
    f"{'kind':6}{'spark':8}{'seed':>6}{'scenarios':>11}{'steps':>10}{'same':>8}{'(Spark':>9}{'diverged':>10}"
    f"{'time':>9}  departures\n{'':41}{'':8}{' refused)':>9}"
)


def scenarios(
    kind: str, count: int, spark_version: str, seed: int, first: int = 0
) -> Iterator[Json]:
    """``count`` scenarios; each from a random source of its own."""
    generate = importlib.import_module(f"tests.conformance.generators.{kind}").generate
    for number in range(first, first + count):
        scenario = generate(Random(f"{kind}/{seed}/{number}"), spark_version)
        yield {"id": f"{seed}/{number}", **scenario}


def compare_one(scenario: Json, oracle: Oracle) -> Outcome:
    """Ask both and compare."""
    return judge(scenario, oracle.ask(scenario), oracle.version)


def judge(scenario: Json, theirs: Json, spark_version: str) -> Outcome:
    """Compare Spark's answer with ours."""
    compare = importlib.import_module(f"tests.conformance.{scenario['kind']}_compare").compare
    told = {**scenario, "sparkVersion": spark_version}
    return compare(told, theirs, answer(told))


def run(
    kind: str, count: int, spark_version: str, seed: int, *, first: int = 0, stop_after: int = 5
) -> Summary:
    """Compare ``count`` scenarios with one Spark version."""
    summary = Summary(kind, spark_version, seed)
    begun = time.monotonic()
    with Oracle(spark_version) as oracle:
        given = scenarios(kind, count, spark_version, seed, first)
        for scenario, theirs in oracle.ask_ahead(given):
            outcome = judge(scenario, theirs, spark_version)
            if isinstance(outcome, Diverged):
                summary.add(*_smaller(scenario, outcome, oracle))
            else:
                summary.add(scenario, outcome)
            if len(summary.divergences) >= stop_after:
                break
    summary.seconds = time.monotonic() - begun
    return summary


def _smaller(scenario: Json, outcome: Diverged, oracle: Oracle) -> tuple[Json, Diverged]:
    small = shrink(scenario, lambda smaller: isinstance(compare_one(smaller, oracle), Diverged))
    again = compare_one(small, oracle)
    return (small, again) if isinstance(again, Diverged) else (scenario, outcome)


def record(scenario: Json, oracles: list[Oracle], path: Path) -> None:
    """Append a scenario with the answers of real Spark, for tests without a JVM; one answer when the versions agree."""
    answers = {}
    for oracle in oracles:
        answers[oracle.version] = oracle.ask(scenario)
        outcome = compare_one(scenario, oracle)
    first, *others = answers.values()
    entry: Json = {"scenario": scenario}
    if isinstance(outcome, Departed):
        entry["departure"] = outcome.name
    entry["answers"] = {"all": first} if all(other == first for other in others) else answers
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(entry, separators=(",", ":")) + "\n")


def _record_all(found: list[Json], versions: list[str], name: str) -> None:
    with contextlib.ExitStack() as stack:
        oracles = [stack.enter_context(Oracle(version)) for version in versions if found]
        for scenario in found:
            record(scenario, oracles, SCENARIOS / f"{name}.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare our core with real Spark.")
    parser.add_argument("--kind", choices=KINDS, default="eam")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first scenario")
    parser.add_argument("--spark", action="append", help="Spark version, may be repeated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--record", type=Path, help="record Spark's answers to these scenario lines"
    )
    parser.add_argument("--save", action="store_true", help="keep small diverging scenarios")
    arguments = parser.parse_args()
    versions = arguments.spark or list(SPARK_VERSIONS)
    if arguments.record:
        lines = arguments.record.read_text(encoding="utf-8").splitlines()
        _record_all([json.loads(line) for line in lines], versions, f"{arguments.kind}_recorded")
        return
    summaries = []
    for version in versions:
        summary = run(
            arguments.kind, arguments.count, version, arguments.seed, first=arguments.first
        )
        summaries.append(summary)
        for scenario, divergence in summary.divergences:
            print(f"DIVERGED {scenario['id']} on Spark {version}: {divergence}")
            print("  " + json.dumps(scenario))
        if arguments.save:
            found = [scenario for scenario, _ in summary.divergences]
            _record_all(found, versions, f"{arguments.kind}_divergences")
    print(HEADER)
    for summary in summaries:
        print(summary.row())
    sys.exit(any(summary.divergences for summary in summaries))


if __name__ == "__main__":
    main()
