"""Which jobs are run: their steps and bounds follow from a seed, and what they have to answer from the steps alone."""

from dataclasses import dataclass
from random import Random
from typing import Any

KEYS = 13
ROWS = 300
"""As in jobs/steps.py, whose answers are known here without Spark."""

Step = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """One run's job.

    Attributes:
        name: of its driver pod.
        migrate: whether executors hand on what they hold when they leave.
        steps: see jobs/steps.py.
        minimum, maximum: executors, as the job begins.
        idle_seconds: after which an executor without tasks may go, as the job begins.
    """

    name: str
    migrate: bool
    steps: tuple[Step, ...]
    minimum: int
    maximum: int
    idle_seconds: int

    @classmethod
    def from_seed(cls, seed: int, number: int, *, short: bool = False) -> "Job":
        """The job of this number in the round of this seed.

        Args:
            short: with less work and fewer pauses.
        """
        chance = Random(f"soak {seed} {number}")
        idle = chance.randint(2, 5)

        def work(what: str) -> Step:
            return {
                "do": what,
                "parts": chance.randint(4, 6) if short else chance.randint(8, 16),
                "reducers": chance.randint(2, 5),
                "seconds": round(chance.uniform(0.2, 0.7), 2),
                # one that others wait for, idle
                "longest": round(chance.uniform(0.5, 2.5 if short else 5.0), 2),
            }

        def pause() -> Step:
            # about as long as an idle executor is kept: work comes back just when one is going
            return {"do": "pause", "seconds": round(idle + chance.uniform(-0.5, 4.0), 2)}

        again = [{"do": "groups"}, {"do": "cached"}]
        if short:
            steps = [work("keep"), pause(), *again]
        else:
            middle = [[work("plain")], [work("shuffle")], again]
            chance.shuffle(middle)
            steps = [work("plain"), pause(), work("keep")]
            for each in middle[:2]:
                steps += [pause(), *each]
            steps += again
        return cls(
            name=f"job-{number}",
            migrate=chance.random() < 0.5,
            steps=tuple(steps),
            minimum=chance.choice((0, 0, 1)),
            maximum=chance.randint(2, 3),
            idle_seconds=idle,
        )

    @property
    def kept_parts(self) -> int:
        """How many parts the kept data set has."""
        return sum(step["parts"] for step in self.steps if step["do"] == "keep")

    def answers(self) -> list[list[int]]:
        """What each step but the pauses has to compute."""
        found: list[list[int]] = []
        kept: Step = {}
        for step in self.steps:
            match step["do"]:
                case "pause":
                    continue
                case "plain":
                    found.append([_total(step)])
                case "keep":
                    kept = step
                    found.append(_sums(step))
                case "groups":
                    found.append(_sums(kept))
                case "cached":
                    found.append([_total(kept)])
                case "shuffle":
                    found.append(_sums(step))
        return found


def _total(step: Step) -> int:
    count = step["parts"] * ROWS
    return count * (count - 1) // 2


def _sums(step: Step) -> list[int]:
    """The numbers below so many, summed by their remainders."""
    count = step["parts"] * ROWS
    terms = [(count - first + KEYS - 1) // KEYS for first in range(KEYS)]
    return [
        number * first + KEYS * number * (number - 1) // 2 for first, number in enumerate(terms)
    ]
