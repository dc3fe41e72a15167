"""The format of a trace: JSON lines, each saying what it is and what has changed since the line before.

Theory of operation
-------------------
A trace consists of *parts*, files that can be read by themselves. The first line of a part says whose trace it is. Then
come entries of `core.trace`, one a line: ``{"is": "report", …}`` with the fields of the value, those left out that have
their default. Most of it repeats what was said a second ago, so pods, executors and what was decided are told as changes
to what the same part has told before: those that are new or different, the ids of those that are gone, and the order only
where it is not the obvious one. `Writing` makes lines and `Reading` takes them; both keep the same memory, which begins
empty with each part.

What is not to be seen by others never gets here or is taken out here: of pods their names, nodes (`node_marks`), words of
the kubelet and resource versions; of executors why the driver gave them up; of profiles scripts and vendors; of settings
sentences. Annotations, environment variables, addresses and the driver's properties (but for `recorded_properties`) are
nothing that the core knows.

A reader takes lines of kinds that it does not know for nothing, so that later versions may say more; another ``format``
is another language.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

import msgspec

from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.budgets import Grant
from spark_allocation.core.driver_report import DriverReport, ExecutorReport
from spark_allocation.core.executor_pods import ContainerEnd, ExecutorId, ExecutorPod
from spark_allocation.core.resource_profiles import (
    ExecutorResourceRequest,
    ProfileId,
    ResourceProfile,
)
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.streaming_report import NO_STREAMS
from spark_allocation.core.trace.decided import Decided, decided
from spark_allocation.core.trace.inputs import (
    ClaimMade,
    ClaimsFound,
    CreationRefused,
    CreationStarted,
    CreationUnclear,
    DrainNotBegun,
    DrainRefused,
    Input,
    LifeBegun,
    NotWithdrawn,
    PodCreated,
    PodNotCreated,
    ProfilesLearned,
    ReportTaken,
    SettingsChanged,
    StepAsked,
    StreamsSeen,
)
from spark_allocation.core.trace.replay import Entry, Gap, StepTaken
from spark_allocation.traces.looks import StreamPoint
from spark_allocation.traces.node_marks import NodeMarks
from spark_allocation.traces.packing import fields_of, packed, unpacked

FORMAT = 1
TRACE = "spark-allocation trace"
"""What the first line of each part is."""

_PLAIN: Mapping[str, type[Any]] = {
    "profiles": ProfilesLearned,
    "settings": SettingsChanged,
    "streams": StreamsSeen,
    "asked": CreationStarted,
    "created": PodCreated,
    "notCreated": PodNotCreated,
    "refused": CreationRefused,
    "unclear": CreationUnclear,
    "notWithdrawn": NotWithdrawn,
    "drainNotBegun": DrainNotBegun,
    "drainRefused": DrainRefused,
    "claimsFound": ClaimsFound,
    "claimMade": ClaimMade,
    "gap": Gap,
    "look": StreamPoint,
}
"""Entries that are written as they are."""
_WORD_OF: Mapping[type[Any], str] = {kind: word for word, kind in _PLAIN.items()}
_OF_A_REPORT_LINE = frozenset({"ns", "ms", "dead", "alive", "aliveGone", "aliveOrder"})
_KUBERNETES_WORD = re.compile(r"[A-Za-z][A-Za-z0-9./-]{0,62}")

Line = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Heading:
    """The first line of a part.

    Attributes:
        uid: of the SparkAllocation.
        recording: epoch milliseconds at which the process began to record; parts of one recording follow each other.
        part: from 1.
    """

    namespace: str
    name: str
    uid: str
    recording: int
    part: int
    operator: str = ""

    @property
    def line(self) -> Line:
        """As it is written."""
        return {"is": TRACE, "format": FORMAT, **fields_of(self)}


class NotReadable(ValueError):  # noqa: N818  (what the user reads)
    """A line that cannot be understood; the message says why."""


def heading_of(line: Line) -> Heading:
    """The heading that a part begins with.

    Raises:
        NotReadable: it is none, or of a later format.
    """
    if line.get("is") != TRACE:
        raise NotReadable("it does not begin as a trace does")
    if line.get("format") != FORMAT:
        raise NotReadable(
            f"its format is {line.get('format')!r}, and this version reads {FORMAT}: use the "
            "spark-allocation of the operator that wrote it"
        )
    return _unpacked({key: each for key, each in line.items() if key not in ("is", "format")}, Heading)  # fmt: skip


class Writing:
    """Makes the lines of one recording; `begin_part` before the first line of each part."""

    def __init__(self) -> None:
        self._nodes = NodeMarks()
        self._life: LifeBegun | None = None
        self._settings: AllocationSettings | None = None
        self._memory = _Memory()
        self._reduced: dict[ExecutorId, tuple[ExecutorPod, ExecutorPod]] = {}

    def begin_part(self, now_ns: int, now_ms: int) -> list[Line]:
        """Forget what was told; the life that goes on, told anew."""
        told, self._memory = self._memory, _Memory()
        if self._life is None:
            return []
        self._life = replace(
            self._life,
            now_ns=now_ns,
            now_ms=now_ms,
            targets={each.profile_id: each.target for each in told.decided.profiles},
            in_the_middle=True,
        )
        return [{"is": "life", **fields_of(self._life)}]

    def begun(self, life: LifeBegun) -> Line:
        """A life begins."""
        self._memory = _Memory()
        self._reduced.clear()
        self._life = replace(
            life,
            settings=_without_words(life.settings),
            profiles=tuple(map(_plain_profile, life.profiles)),
        )
        return {"is": "life", **fields_of(self._life)}

    def told(self, entry: Input | ProfilesLearned | Gap | StreamPoint) -> Line:
        """A value has reached the core, or something is missing."""
        if isinstance(entry, ReportTaken):
            return self._report(entry)
        if isinstance(entry, ProfilesLearned):
            entry = ProfilesLearned(tuple(map(_plain_profile, entry.profiles)))
            if self._life is not None:
                profiles = (*self._life.profiles, *entry.profiles)
                self._life = replace(self._life, profiles=profiles)
        elif isinstance(entry, SettingsChanged):
            entry = replace(entry, settings=_without_words(entry.settings))
            if self._life is not None:
                self._life = replace(self._life, settings=entry.settings)
        return {"is": _WORD_OF[type(entry)], **fields_of(entry)}

    def stepped(self, asked: StepAsked, step: Step) -> Line:
        """A step was taken."""
        memory = self._memory
        line: Line = {"is": "step", "ns": asked.now_ns, "ms": asked.now_ms}
        if not asked.report_is_fresh:
            line["stale"] = True
        if not asked.acts:
            line["acts"] = False
        if asked.snapshot.full_sync_at != memory.full_sync_at:
            line["listed"] = memory.full_sync_at = asked.snapshot.full_sync_at
        pods = [self._plain_pod(pod) for pod in asked.snapshot.pods.values()]
        line.update(memory.pods.changes("pods", [(pod.executor_id, pod) for pod in pods]))
        if asked.vanished:
            line["vanished"] = [packed(self._plain_pod(pod)) for pod in asked.vanished]
            for pod in asked.vanished:
                self._reduced.pop(pod.executor_id, None)
        going = self._nodes.marks(asked.going_nodes)
        if going != memory.going_nodes:
            line["goingNodes"] = memory.going_nodes = going
        grants = None if asked.grants is None else dict(asked.grants)
        if grants != memory.grants:
            line["grants"] = packed(grants)
            memory.grants = grants
        came = replace(decided(step), avoid_nodes=tuple(self._nodes.marks(step.avoid_nodes)))
        news = memory.decisions(came)
        if news:
            line["decided"] = news
        return line

    def _report(self, entry: ReportTaken) -> Line:
        report, memory = entry.report, self._memory
        # executors apart, and what decides about streams is told by itself
        told = replace(report, executors=(), dead_executors=None, streaming=NO_STREAMS)
        line: Line = {"is": "report", "ns": entry.now_ns, "ms": entry.now_ms, **fields_of(told)}
        del line["executors"]
        line.update(memory.executors.changes("alive", _by_id(report.executors)))
        if report.dead_executors is not None:
            line["dead"] = memory.dead.changes("dead", _by_id(report.dead_executors))
        return line

    def _plain_pod(self, pod: ExecutorPod) -> ExecutorPod:
        known = self._reduced.get(pod.executor_id)
        if known is not None and known[0] is pod:
            return known[1]
        plain = replace(
            pod,
            name="",
            namespace="",
            resource_version="",
            message="",
            node=self._nodes.mark(pod.node),
            reason=_word(pod.reason),
            ends=tuple(map(_plain_end, pod.ends)),
            init_ends=tuple(map(_plain_end, pod.init_ends)),
        )
        self._reduced[pod.executor_id] = (pod, plain)
        return plain


class Reading:
    """Takes the lines of one part, after its heading."""

    def __init__(self) -> None:
        self._memory = _Memory()

    def entry(self, line: Line) -> Entry | StreamPoint | None:
        """What a line says; None for what this version does not know.

        Raises:
            NotReadable: it is damaged.
        """
        word = line.get("is")
        rest = {key: each for key, each in line.items() if key != "is"}
        try:
            match word:
                case "life":
                    self._memory = _Memory()
                    return _unpacked(rest, LifeBegun)
                case "report":
                    return self._report(rest)
                case "step":
                    return self._step(rest)
                case str() if word in _PLAIN:
                    return cast("Entry", _unpacked(rest, _PLAIN[word]))
                case _:
                    return None
        except (KeyError, TypeError, AttributeError) as error:
            raise NotReadable(f"{word}: {error}") from None

    def _report(self, line: Line) -> ReportTaken:
        memory = self._memory
        dead = line.get("dead")
        told = {key: each for key, each in line.items() if key not in _OF_A_REPORT_LINE}
        report = _unpacked({**told, "executors": []}, DriverReport)
        executors = memory.executors.after(line, "alive", ExecutorReport)
        report = replace(report, executors=tuple(executors))
        if dead is not None:
            dead_executors = memory.dead.after(dead, "dead", ExecutorReport)
            report = replace(report, dead_executors=tuple(dead_executors))
        return ReportTaken(report, int(line["ns"]), int(line["ms"]))

    def _step(self, line: Line) -> StepTaken:
        memory = self._memory
        memory.full_sync_at = int(line.get("listed", memory.full_sync_at))
        pods = memory.pods.after(line, "pods", ExecutorPod)
        if "goingNodes" in line:
            memory.going_nodes = _unpacked(line["goingNodes"], list[str])
        if "grants" in line:
            memory.grants = _unpacked({"grants": line["grants"]}, _Granted).grants
        asked = StepAsked(
            ExecutorPodsSnapshot.replaced(pods, at=memory.full_sync_at),
            now_ns=int(line["ns"]),
            now_ms=int(line["ms"]),
            report_is_fresh=not line.get("stale", False),
            vanished=_unpacked(line.get("vanished", []), tuple[ExecutorPod, ...]),
            going_nodes=frozenset(memory.going_nodes),
            grants=memory.grants,
            acts=bool(line.get("acts", True)),
        )
        return StepTaken(asked, memory.decisions_after(line.get("decided", {})))


@dataclass(frozen=True, slots=True)
class _Granted:
    grants: dict[ProfileId, Grant] | None


class _Changes(Generic[T]):
    """Things with ids, told as changes to those that were told last."""

    def __init__(self) -> None:
        self._last: dict[ExecutorId, T] = {}

    def changes(self, name: str, now: Sequence[tuple[ExecutorId, T]]) -> Line:
        """What there is now, as the fields of a line."""
        last, self._last = self._last, dict(now)
        told: Line = {}
        news = [each for key, each in now if last.get(key) is not each and last.get(key) != each]
        if news:
            told[name] = packed(news)
        gone = [key for key in last if key not in self._last]
        if gone:
            told[f"{name}Gone"] = gone
        obvious = [key for key in last if key in self._last]
        obvious += [key for key in self._last if key not in last]
        order = list(self._last)
        if order != obvious:
            told[f"{name}Order"] = order
        return told

    def after(self, line: Line, name: str, kind: type[T]) -> list[T]:
        """What there is after such a line."""
        there = dict(self._last)
        for key in line.get(f"{name}Gone", ()):
            there.pop(key, None)
        for each in _unpacked(line.get(name, []), list[kind]):  # type: ignore[valid-type]
            there[_id_of(each)] = each
        if f"{name}Order" in line:
            there = {key: there[key] for key in line[f"{name}Order"]}
        self._last = there
        return list(there.values())


class _Memory:
    """What a part has told so far."""

    def __init__(self) -> None:
        self.pods: _Changes[ExecutorPod] = _Changes()
        self.executors: _Changes[ExecutorReport] = _Changes()
        self.dead: _Changes[ExecutorReport] = _Changes()
        self.full_sync_at = 0
        self.going_nodes: list[str] = []
        self.grants: Mapping[ProfileId, Grant] | None = None
        self.decided = Decided()
        self._decided_fields: Line = {}

    def decisions(self, came: Decided) -> Line:
        """What is decided otherwise than last; a field that is back at its default is None."""
        self.decided = came
        now = fields_of(came)
        last, self._decided_fields = self._decided_fields, now
        news = {key: each for key, each in now.items() if last.get(key) != each}
        return {**news, **{key: None for key in last if key not in now}}

    def decisions_after(self, news: Line) -> Decided:
        """What was decided after such news."""
        if not isinstance(news, dict):
            raise TypeError("decided is no object")
        told = {**self._decided_fields, **news}
        self._decided_fields = {key: each for key, each in told.items() if each is not None}
        if news:
            self.decided = _unpacked(self._decided_fields, Decided)
        return self.decided


def _by_id(executors: Sequence[ExecutorReport]) -> list[tuple[ExecutorId, ExecutorReport]]:
    return [
        (each.id, replace(each, remove_reason="") if each.remove_reason else each)
        for each in executors
    ]


def _id_of(each: Any) -> ExecutorId:
    found: ExecutorId = each.executor_id if isinstance(each, ExecutorPod) else each.id
    return found


def _unpacked(value: Any, kind: type[T]) -> T:
    try:
        return unpacked(value, kind)
    except msgspec.ValidationError as error:
        raise NotReadable(str(error)) from None


# -- what stays out of a trace -----------------------------------------------------------------------------------------


def _word(text: str) -> str:
    """The kubelet's or the scheduler's word for a state, if it is one word."""
    return text if _KUBERNETES_WORD.fullmatch(text) else "Unspeakable" if text else ""


def _plain_end(end: ContainerEnd) -> ContainerEnd:
    return replace(end, reason=_word(end.reason), message="")


def _plain_profile(profile: ResourceProfile) -> ResourceProfile:
    return replace(
        profile,
        executor_resources={
            name: ExecutorResourceRequest(each.resource_name, each.amount)
            for name, each in profile.executor_resources.items()
        },
    )


def _without_words(settings: AllocationSettings) -> AllocationSettings:
    return replace(settings, shuffle=replace(settings.shuffle, migration_obstacle=""))
