"""What the operator should not cost more than: every aim of docs/performance.md, and how a figure that keeps it is marked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Aim:
    """A bound of a figure.

    Attributes:
        bound: in the figure's unit; a figure that equals it keeps it.
        least: the figure should not be below it; otherwise it should not be above it.
    """

    bound: float
    least: bool = False

    def keeps(self, figure: float) -> bool:
        """Whether the figure, unrounded, keeps the aim."""
        return figure >= self.bound if self.least else figure <= self.bound

    def marked(self, figure: float, words: str) -> str:
        """What a page says of the figure: bold, and told if it misses the aim."""
        return f"**{words}**" if self.keeps(figure) else f"**missed: {words}**"


APPLICATIONS = 1_000
"""The aims of many applications are for so many of them."""
CPU_CORES = Aim(0.6)
MEMORY_MIB = Aim(350)
REACTION_ACTIVE_SECONDS = Aim(2)
"""From a job of an application at work to its first new executor, 99 %."""
REACTION_RESTING_SECONDS = Aim(6)
"""The same for an application at rest, which is asked less often."""
LISTS = Aim(0)
STATUSES_PER_SECOND = Aim(50)
GROWTH = Aim(1.1)
"""The exponent with which a cost grows with the number of applications."""

PICTURE_CPU_SECONDS = Aim(3)
"""From the start of the process to its picture of 50,000 pods."""
PICTURE_PODS = 50_000
FAILOVER_SECONDS = Aim(20)
"""From a leader's death to the first driver that is served by who stood by."""
PODS_MADE_AGAIN = Aim(0)

CREATION_CPU_MS = Aim(0.3)
CREATIONS_PER_SECOND = Aim(300, least=True)

FIRST_POD_RATIO = Aim(1.1)
"""Of Spark's own time, as those below."""
HUNDRED_PODS_RATIO = Aim(0.45)
HUNDRED_PODS_IMMEDIATE_RATIO = Aim(0.2)
