"""What goes wrong, and when: all of it follows from a seed.

A run has a window of faults. In the window there are *episodes* (for two seconds every write fails), a low background
rate of single faults, and *deeds* done to the operator and to the world (it is killed at its third creation, a driver
restarts). Which request of a kind meets which fault depends on its number within its kind and on the episode it falls
into, so that a run can be repeated as far as the operator's own timing allows.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random


class Kind(StrEnum):
    """Requests, as far as faults differ between them."""

    LIST = "list"
    WATCH = "watch"
    GET = "get"
    CREATE = "create"
    DELETE = "delete"
    STATUS = "status"
    LEASE = "lease"
    OTHER = "other"
    DRIVER = "driver"


class Fault(StrEnum):
    """What becomes of a request."""

    CONFLICT = "409"
    UNKNOWN = "404"
    GONE = "410"
    THROTTLED = "429 with Retry-After"
    FORBIDDEN = "403 without a rule"
    INITIALIZING = "429 storage is (re)initializing"
    FAILS = "500"
    UNAVAILABLE = "503"
    QUOTA = "403 exceeded quota"
    RESET = "connection reset, not carried out"
    LOST = "carried out, connection reset instead of an answer"
    LOST_LATE = "carried out, no answer for seconds, then a reset"
    HANGS = "not carried out, no answer for seconds, then a reset"
    LATE = "answered seconds late"
    CUT = "an answer that is cut off"
    # of watches
    SILENT = "a watch that says nothing for seconds, then breaks"
    ENDS = "a watch that ends at once"
    REPLAYS = "a watch that repeats old events"
    CUT_LINE = "a watch that ends within a line"
    GARBAGE_LINE = "a watch with a line that is no JSON"
    ERROR_410 = "an ERROR event 410 in a watch"
    ERROR_500 = "an ERROR event 500 in a watch"
    # of drivers
    UNAUTHORIZED = "401"
    REDIRECTS = "a redirect"
    GARBAGE = "something that is no JSON"
    WRONG_TYPE = "JSON called HTML"


ANYWHERE = (Fault.FAILS, Fault.UNAVAILABLE, Fault.THROTTLED, Fault.RESET, Fault.LATE, Fault.CUT)
WRITES = (Kind.CREATE, Kind.DELETE, Kind.STATUS)
POSSIBLE: Mapping[Kind, tuple[Fault, ...]] = {
    Kind.LIST: (*ANYWHERE, Fault.GONE),
    Kind.WATCH: (
        *(Fault.SILENT, Fault.ENDS, Fault.REPLAYS, Fault.CUT_LINE, Fault.GARBAGE_LINE),
        *(Fault.ERROR_410, Fault.ERROR_500, Fault.GONE, Fault.FAILS, Fault.THROTTLED, Fault.RESET),
    ),
    Kind.GET: ANYWHERE,
    Kind.CREATE: (*ANYWHERE, Fault.CONFLICT, Fault.QUOTA, Fault.LOST, Fault.LOST_LATE, Fault.HANGS),
    Kind.DELETE: (*ANYWHERE, Fault.CONFLICT, Fault.LOST, Fault.LOST_LATE),
    Kind.STATUS: (*ANYWHERE, Fault.CONFLICT, Fault.LOST, Fault.LOST_LATE),
    Kind.LEASE: (Fault.FAILS, Fault.CONFLICT, Fault.LOST, Fault.LATE),
    Kind.OTHER: ANYWHERE,
    Kind.DRIVER: (
        *(Fault.RESET, Fault.FAILS, Fault.LATE, Fault.CUT, Fault.HANGS),
        *(Fault.UNAUTHORIZED, Fault.REDIRECTS, Fault.GARBAGE, Fault.WRONG_TYPE),
    ),
}

API = (Kind.LIST, Kind.WATCH, Kind.GET, *WRITES, Kind.OTHER)
EPISODES: Mapping[str, tuple[tuple[Kind, ...], tuple[Fault, ...], float]] = {
    "the API server is away": (API, (Fault.RESET,), 1.0),
    "the API server fails": (API, (Fault.FAILS, Fault.UNAVAILABLE), 0.8),
    "the API server asks for patience": (API, (Fault.THROTTLED,), 0.8),
    "users and rules are not known yet": (API, (Fault.UNAUTHORIZED, Fault.FORBIDDEN), 0.8),
    "storage is initialized": (API, (Fault.INITIALIZING,), 0.8),
    "answers to writes are lost": (WRITES, (Fault.LOST, Fault.LOST_LATE), 0.7),
    "creations are lost": ((Kind.CREATE,), (Fault.LOST,), 1.0),
    "writes conflict": (WRITES, (Fault.CONFLICT,), 0.6),
    "the quota is full": ((Kind.CREATE,), (Fault.QUOTA,), 1.0),
    "everything is slow": (API, (Fault.LATE,), 0.9),
    "watches are silent": ((Kind.WATCH,), (Fault.SILENT,), 1.0),
    "watches repeat themselves": ((Kind.WATCH,), (Fault.REPLAYS, Fault.ENDS), 1.0),
    "watches break": (
        (Kind.WATCH,),
        (Fault.CUT_LINE, Fault.GARBAGE_LINE, Fault.ERROR_500, Fault.ENDS),
        1.0,
    ),
    "history is compacted": ((Kind.LIST, Kind.WATCH), (Fault.GONE, Fault.ERROR_410), 0.8),
    "drivers pause": ((Kind.DRIVER,), (Fault.HANGS,), 1.0),
    "drivers stumble": ((Kind.DRIVER,), POSSIBLE[Kind.DRIVER], 0.8),
    "drivers refuse": ((Kind.DRIVER,), (Fault.UNAUTHORIZED, Fault.REDIRECTS), 1.0),
}
"""Kinds that are met, with what, and how likely each."""

BREAKS_OPEN_WATCHES = frozenset(
    name for name, (kinds, _, _) in EPISODES.items() if Kind.WATCH in kinds
)
BACKGROUND_RATE = 0.04


class DeedKind(StrEnum):
    """What is done to the operator and to the world."""

    KILL_AT = "kill the operator at a request"
    KILL = "kill the operator"
    BOUNDS = "change the bounds"
    IDLE_TIMEOUT = "change the idle timeout"
    PAUSE = "pause the allocation for a while"
    QUOTA = "fill the quota for a while"
    GC_PAUSE = "pause a driver for half a minute"
    SET_CLOCK = "set the operator's clock"
    WORK = "submit work"
    RESTART_DRIVER = "restart a driver with another application"
    EVICT = "evict an executor"
    DELETE_POD = "delete an executor pod by hand"
    COMPACT = "compact etcd"
    RESTART_API = "kill and restart the API server"


KILLS = (DeedKind.KILL, DeedKind.KILL_AT)
OF_FAKE_DRIVERS = (
    *(DeedKind.KILL_AT,) * 4,
    *(DeedKind.BOUNDS, DeedKind.BOUNDS, DeedKind.WORK, DeedKind.WORK),
    *(DeedKind.KILL, DeedKind.RESTART_DRIVER, DeedKind.EVICT, DeedKind.DELETE_POD),
    *(DeedKind.QUOTA, DeedKind.SET_CLOCK),
)
OF_FAKE_DRIVERS_AND_LONG = (
    *(*OF_FAKE_DRIVERS, DeedKind.GC_PAUSE, DeedKind.GC_PAUSE),
    *(DeedKind.QUOTA, DeedKind.SET_CLOCK, DeedKind.SET_CLOCK),
)
OF_REAL_DRIVERS = (
    *(DeedKind.KILL_AT, DeedKind.KILL_AT, DeedKind.KILL, DeedKind.BOUNDS, DeedKind.BOUNDS),
    *(DeedKind.IDLE_TIMEOUT, DeedKind.PAUSE, DeedKind.EVICT),
    *(DeedKind.DELETE_POD, DeedKind.DELETE_POD),
)
"""What is done, and how often beside the others."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One deed.

    Attributes:
        at: seconds after the window of faults began.
        application: of which; a number that is taken modulo the applications.
        request: of a `DeedKind.KILL_AT`: the kind of request.
        after: of the same: after it was carried out, instead of before.
        number: of `DeedKind.BOUNDS` the new maximum, of `DeedKind.WORK` the tasks; of times, seconds; of
            `DeedKind.SET_CLOCK` hours, forward when odd and back when even.
    """

    at: float
    kind: DeedKind
    application: int = 0
    request: Kind = Kind.CREATE
    after: bool = False
    number: int = 0

    def __str__(self) -> str:
        words = [f"{self.at:5.1f} s  {self.kind}"]
        if self.kind is DeedKind.KILL_AT:
            words.append(f"({'after' if self.after else 'before'} a {self.request})")
        elif self.kind in (
            *(DeedKind.BOUNDS, DeedKind.WORK, DeedKind.IDLE_TIMEOUT, DeedKind.PAUSE),
            *(DeedKind.QUOTA, DeedKind.GC_PAUSE, DeedKind.SET_CLOCK),
            *(DeedKind.EVICT, DeedKind.DELETE_POD),
        ):
            words.append(f"({self.number}, application {self.application})")
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Episode:
    """A stretch of the window in which one thing is wrong."""

    name: str
    begins: float
    ends: float

    def __str__(self) -> str:
        return f"{self.begins:5.1f} s  until {self.ends:4.1f} s: {self.name}"


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one request.

    Attributes:
        seconds: how late, or how long silent.
    """

    fault: Fault
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How long and how bad a run is.

    Attributes:
        seconds: the window of faults.
        longest: of a silence or a lateness, in seconds.
        kills: most of them; each costs a start.
        disruptive: the API server itself may be restarted and etcd compacted.
        possible: what may be done.
    """

    seconds: float = 8.0
    longest: float = 3.0
    episodes: int = 4
    deeds: int = 5
    kills: int = 2
    disruptive: bool = False
    possible: tuple[DeedKind, ...] = OF_FAKE_DRIVERS


SHORT = Shape()
LONG = Shape(
    seconds=60.0,
    longest=10.0,
    episodes=9,
    deeds=18,
    kills=5,
    disruptive=True,
    possible=OF_FAKE_DRIVERS_AND_LONG,
)


@dataclass
class FaultSchedule:
    """All that goes wrong in one run."""

    seed: int
    shape: Shape = SHORT
    episodes: tuple[Episode, ...] = ()
    deeds: tuple[Deed, ...] = ()
    met: Counter[str] = field(default_factory=Counter)
    _numbers: Counter[Kind] = field(default_factory=Counter)

    @classmethod
    def from_seed(cls, seed: int, shape: Shape = SHORT) -> "FaultSchedule":
        """The schedule of this seed."""
        chance = Random(f"schedule {seed}")
        episodes = []
        for name in chance.sample(sorted(EPISODES), min(shape.episodes, len(EPISODES))):
            begins = chance.uniform(0, shape.seconds * 0.8)
            length = chance.uniform(shape.longest / 2, shape.longest * 1.3)
            episodes.append(Episode(name, begins, min(shape.seconds, begins + length)))
        kinds = [*shape.possible]
        if shape.disruptive:
            kinds += [DeedKind.COMPACT, DeedKind.RESTART_API]
        # each run kills the operator at least once
        deeds = [_deed(chance, DeedKind.KILL_AT, shape)]
        while len(deeds) < shape.deeds:
            kind = chance.choice(kinds)
            if kind not in KILLS or sum(each.kind in KILLS for each in deeds) < shape.kills:
                deeds.append(_deed(chance, kind, shape))
        return cls(
            seed,
            shape,
            tuple(sorted(episodes, key=lambda each: each.begins)),
            tuple(sorted(deeds, key=lambda each: each.at)),
        )

    def fate(self, kind: Kind, at: float) -> Fate | None:
        """What becomes of the next request of this kind, ``at`` seconds after the window began; None for nothing bad."""
        self._numbers[kind] += 1
        if not 0 <= at < self.shape.seconds:
            return None
        chance = Random(f"{self.seed} {kind} {self._numbers[kind]}")
        seconds = chance.uniform(0.2, 1.0) * self.shape.longest
        for episode in self.episodes:
            kinds, faults, rate = EPISODES[episode.name]
            if episode.begins <= at < episode.ends and kind in kinds and chance.random() < rate:
                possible = [each for each in faults if fits(each, kind)]
                if possible:
                    return self._meets(Fate(chance.choice(possible), seconds))
        if chance.random() < BACKGROUND_RATE:
            return self._meets(Fate(chance.choice(POSSIBLE[kind]), seconds))
        return None

    def _meets(self, fate: Fate) -> Fate:
        self.met[fate.fault.value] += 1
        return fate

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, faults for {self.shape.seconds:.0f} s"]
        lines += [f"  {each}" for each in sorted((*self.episodes, *self.deeds), key=_begins)]
        return "\n".join(lines)


def fits(fault: Fault, kind: Kind) -> bool:
    """Whether this can become of such a request."""
    everywhere = (Fault.INITIALIZING, Fault.LATE, Fault.UNAUTHORIZED, Fault.FORBIDDEN)
    return fault in POSSIBLE[kind] or fault in everywhere


def _begins(each: Episode | Deed) -> float:
    return each.begins if isinstance(each, Episode) else each.at


def _deed(chance: Random, kind: DeedKind, shape: Shape) -> Deed:
    number = chance.randint(3, 9)
    return Deed(
        at=chance.uniform(0.15, 0.85) * shape.seconds,
        kind=kind,
        application=chance.randrange(100),
        request=chance.choice((Kind.CREATE, Kind.CREATE, Kind.STATUS, Kind.DELETE)),
        after=chance.random() < 0.5,
        number=number,
    )
