"""What of an event log could not be used as it is.

Nothing is given up for a line that cannot be read: what was passed over, guessed or put right is counted, and whoever asked
for the log says so.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class LogNotes:
    """What of a log could not be used as it is.

    Attributes:
        lines: of the log.
        damaged: lines that are cut or no JSON of the kind they begin as.
        unknown: events that no version of Spark writes, by name.
        clock_set_back: how often.
        estimated: tasks with a guessed duration.
        orphans: ends of tasks whose stage is not in the log.
        unfinished_jobs: that had not ended when the log did.
        cut: why packed parts gave less than they should.
        refused_profiles: resource profiles that Spark would not take.
    """

    lines: int = 0
    damaged: int = 0
    unknown: dict[str, int] = field(default_factory=dict)
    clock_set_back: int = 0
    estimated: int = 0
    orphans: int = 0
    unfinished_jobs: int = 0
    cut: list[str] = field(default_factory=list)
    refused_profiles: list[str] = field(default_factory=list)
    in_progress: bool = False
    compacted: bool = False
    missing_parts: tuple[int, ...] = ()

    def sentences(self) -> list[str]:
        """All of it for people; empty for a whole log."""
        found = []
        if self.in_progress:
            found.append(
                "the application had not ended when the log was read; what it did until then is used"
            )
        if self.compacted:
            found.append("the history server has compacted the log: events of its first part are gone")  # fmt: skip
        if self.missing_parts:
            numbers = ", ".join(map(str, self.missing_parts))
            found.append(f"parts of the rolled log are missing: events_{numbers}_…")
        found += [f"a packed part is cut: {why}; what came before is used" for why in self.cut]
        if self.damaged:
            found.append(f"{self.damaged} of {_number(self.lines, 'line')} {_are(self.damaged)} cut or no JSON and left out")  # fmt: skip
        if self.unknown:
            kinds = ", ".join(sorted(self.unknown)[:5])
            number = sum(self.unknown.values())
            found.append(f"{_number(number, 'line')} of kinds that are not known {_are(number)} left out: {kinds}")  # fmt: skip
        if self.clock_set_back:
            found.append(f"the driver's clock was set back {_number(self.clock_set_back, 'time')}; later times were moved forward")  # fmt: skip
        if self.estimated:
            found.append(f"{_number(self.estimated, 'task')} without an end in the log {_are(self.estimated)} taken to be as long as the median of the stage")  # fmt: skip
        if self.orphans:
            found.append(f"{_number(self.orphans, 'ended task')} of stages that are not in the log {_are(self.orphans)} left out")  # fmt: skip
        if self.unfinished_jobs:
            found.append(f"no end in the log: {_number(self.unfinished_jobs, 'job')}")
        found += [f"resource profile left out: {each}" for each in self.refused_profiles]
        return found


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
