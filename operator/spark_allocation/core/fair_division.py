"""Divides what there is among those who want it: weighted max-min fair, in whole executors.

Theory of operation
-------------------
Executors are given one after the other. The next one always goes to the application with the smallest *share* after
getting it, where a share is the largest fraction of any capacity that the application has, divided by its weight
(dominant resource fairness; with one capacity it is plain max-min). Within an application the profile with the fewest
executors is next. A profile whose next executor does not fit any more is left out, and the others go on: nothing is
left over that somebody could use.

The floors come first, then what claims may keep, then the rest: each of the three is divided in the same way before
anything of the next is. So with less than the sum of floors every application still gets its fair part of it.

Of applications with equal shares the one that already holds the executor keeps it, then the one that has waited longer
is served, then the smaller name. The outcome depends on nothing else, not on the order of the claims.

Giving one by one costs a heap operation an executor. So everybody is first raised to a common *level* of share that
fits as a whole; up to there the order does not matter, and only the rest is given one by one. What an application has
at a level follows from its `_Line` or `_Ramp`; a good level is found by false position, and any level that fits is right.

What holds, and is tested: no capacity is exceeded; nobody gets more than wanted; no executor that fits is withheld; who
wants more never gets less; with one capacity and executors of one size, a larger capacity gives nobody less. (With
executors of different sizes that cannot hold: a capacity of 5 may serve one large executor where 4 served two small.)
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

ClaimKey = tuple[str, int]
"""Application and profile."""

_TRIES = 12
_WORTH_A_TRY = 0.02
"""A better level that uses no more of the capacities than this is good enough: the rest is given one by one."""
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Claim:
    """What one profile of one application wants.

    Attributes:
        application: its name; claims of one application share its weight.
        wanted: executors.
        cost: of one executor, in the units of the capacities, in their order; numbers not below 0.
        floor: executors that are given before anything beyond floors is; at most `wanted` counts.
        kept: executors that are given after all floors and before anybody gets more; at most `wanted` counts.
        held: executors that it has: they decide between equals.
        weight: of the application, above 0; the greatest of its claims holds.
        waiting_since: of equals, the smaller is served first; any clock.
    """

    application: str
    profile: int
    wanted: int
    cost: tuple[int, ...]
    floor: int = 0
    kept: int = 0
    held: int = 0
    weight: int = 1
    waiting_since: int = 0

    @property
    def key(self) -> ClaimKey:
        """Whose claim it is."""
        return self.application, self.profile


def divide(capacities: Sequence[int | None], claims: Iterable[Claim]) -> dict[ClaimKey, int]:
    """Divide.

    Args:
        capacities: what there is of each kind; None for as much as anybody wants.
        claims: one for each application and profile.

    Returns:
        Executors for each claim.
    """
    division = _Division(capacities, claims)
    division.raise_to([min(claim.floor, claim.wanted) for claim in division.claims])
    division.raise_to(
        [min(max(claim.floor, claim.kept), claim.wanted) for claim in division.claims]
    )
    division.raise_to([claim.wanted for claim in division.claims])
    return division.granted()


@dataclass(slots=True)
class _Application:
    """The claims of one application, as places in the lists of the division."""

    name: str
    members: list[int]
    weight: int
    waiting_since: int
    used: list[int]


class _Line(NamedTuple):
    """An application of one profile: each executor is as much share as the one before."""

    application: _Application
    one: float
    given: int
    target: int
    cost: tuple[int, ...]
    highest: float


@dataclass(frozen=True, slots=True)
class _Stretch:
    """From ``start`` to ``end`` executors in each profile, the same profiles grow."""

    start: int
    end: int
    used: tuple[int, ...]
    slope: tuple[int, ...]
    growing: list[tuple[int, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class _Ramp:
    """An application of several profiles, whose profile with the fewest executors grows first.

    Attributes:
        ends: what each growing profile has and wants.
        whole: what a share of 1 is, of each kind.
        full: what it uses when it has all it wants.
    """

    application: _Application
    ends: dict[int, tuple[int, int]]
    whole: list[int]
    stretches: list[_Stretch]
    full: tuple[int, ...]
    highest: float

    def at(self, level: float) -> tuple[dict[int, int], list[int]]:
        """Every executor that leaves the share at most ``level``: for each profile, and what they use of each kind."""
        base = self.stretches[0].used
        for stretch in self.stretches:
            rounds = stretch.end - stretch.start
            for has, slope, whole in zip(stretch.used, stretch.slope, self.whole, strict=True):
                if _above(has, whole, level):
                    rounds = 0
                elif slope:
                    rounds = min(rounds, int((level * whole - has) / slope))
            while rounds and self._share_after(stretch, rounds) > level:
                rounds -= 1
            if rounds < stretch.end - stretch.start:
                return self._within(stretch, rounds, level, base)
        return {place: target for place, (_, target) in self.ends.items()}, [
            has - before for has, before in zip(self.full, base, strict=True)
        ]

    def _share_after(self, stretch: _Stretch, rounds: int) -> float:
        return max(
            (
                (has + slope * rounds) / whole if whole else _NEVER
                for has, slope, whole in zip(stretch.used, stretch.slope, self.whole, strict=True)
                if has + slope * rounds
            ),
            default=0.0,
        )

    def _within(
        self, stretch: _Stretch, rounds: int, level: float, base: Sequence[int]
    ) -> tuple[dict[int, int], list[int]]:
        reached = stretch.start + rounds
        counts = {
            place: min(max(given, reached), target) for place, (given, target) in self.ends.items()
        }
        used = [
            has + slope * rounds for has, slope in zip(stretch.used, stretch.slope, strict=True)
        ]
        for place, cost in stretch.growing:
            more = [has + each for has, each in zip(used, cost, strict=True)]
            if any(
                _above(each, whole, level) for each, whole in zip(more, self.whole, strict=True)
            ):
                break
            used = more
            counts[place] += 1
        return counts, [has - before for has, before in zip(used, base, strict=True)]


def _above(used: int, whole: int, level: float) -> bool:
    return used > 0 and (whole == 0 or used / whole > level)


def _most(application: _Application) -> float:
    return 1 / application.weight


class _Division:
    def __init__(self, capacities: Sequence[int | None], claims: Iterable[Claim]) -> None:
        bounded = [place for place, capacity in enumerate(capacities) if capacity is not None]
        self._left = [capacity for capacity in capacities if capacity is not None]
        self._capacity = tuple(self._left)
        self.claims = sorted(claims, key=lambda claim: claim.key)
        self._cost = [tuple(claim.cost[place] for place in bounded) for claim in self.claims]
        self._given = [0] * len(self.claims)
        self._applications: list[_Application] = []
        for place, claim in enumerate(self.claims):
            if not self._applications or self._applications[-1].name != claim.application:
                self._applications.append(
                    _Application(
                        claim.application, [], claim.weight, claim.waiting_since, [0] * len(bounded)
                    )
                )
            application = self._applications[-1]
            application.members.append(place)
            application.weight = max(application.weight, claim.weight)
            application.waiting_since = min(application.waiting_since, claim.waiting_since)

    def granted(self) -> dict[ClaimKey, int]:
        return {claim.key: given for claim, given in zip(self.claims, self._given, strict=True)}

    def raise_to(self, targets: Sequence[int]) -> None:
        """Go on giving until each claim has its target, or nothing more fits."""
        if self._give_all(targets):
            return
        growing = [
            application
            for application in self._applications
            if any(self._given[place] < targets[place] for place in application.members)
        ]
        self._raise_together(growing, targets)
        self._give_one_by_one(growing, targets)

    def _give_all(self, targets: Sequence[int]) -> bool:
        needed = [0] * len(self._capacity)
        for place, target in enumerate(targets):
            more = target - self._given[place]
            if more > 0:
                for kind, cost in enumerate(self._cost[place]):
                    needed[kind] += more * cost
        if any(need > left for need, left in zip(needed, self._left, strict=True)):
            return False
        for application in self._applications:
            self._give(application, [(place, targets[place]) for place in application.members])
        return True

    # -- together ----------------------------------------------------------------------------------------------------

    def _raise_together(self, growing: Sequence[_Application], targets: Sequence[int]) -> None:
        """Give what everybody gets at a level of share that fits as a whole."""
        alone = [self._line(each, targets) for each in growing if len(each.members) == 1]
        several = [self._ramp(each, targets) for each in growing if len(each.members) > 1]
        low, at_low = 0.0, -1.0
        highest = [line.highest for line in alone] + [ramp.highest for ramp in several]
        high, at_high = max(highest, default=0.0), 1.0
        best = 0.0
        for attempt in range(_TRIES):
            fraction = at_low / (at_low - at_high) if attempt % 3 < 2 else 0.5
            level = low + (high - low) * fraction
            counts = [
                min(max(int(level / one), given), target) if one else target
                for _, one, given, target, _, _ in alone
            ]
            grown = [ramp.at(level) for ramp in several]
            fullness = self._fullness(alone, counts, grown)
            if fullness <= 1:
                gained, low, at_low = fullness - 1 - at_low, level, fullness - 1
                best = level
                if gained < _WORTH_A_TRY and attempt > 1:
                    break
            else:
                high, at_high = level, fullness - 1
        if best:
            self._give_at(best, alone, several)

    def _give_at(self, level: float, alone: "Sequence[_Line]", several: "Sequence[_Ramp]") -> None:
        """Give exactly the executors that leave every share at most at the level, if all of them fit."""
        counts = [self._exact_count(line, level) for line in alone]
        grown = [ramp.at(level) for ramp in several]
        if self._fullness(alone, counts, grown) > 1:
            return  # a rounding error too much: they are given one by one
        for line, count in zip(alone, counts, strict=True):
            self._give(line.application, [(line.application.members[0], count)])
        for ramp, (given_by_place, _) in zip(several, grown, strict=True):
            self._give(ramp.application, given_by_place.items())

    def _exact_count(self, line: "_Line", level: float) -> int:
        if not line.one:
            return line.target
        count = min(max(int(level / line.one), line.given), line.target)
        weight = line.application.weight
        while (
            count > line.given and self._share([count * each for each in line.cost], weight) > level
        ):
            count -= 1
        while (
            count < line.target
            and self._share([(count + 1) * each for each in line.cost], weight) <= level
        ):
            count += 1
        return count

    def _line(self, application: _Application, targets: Sequence[int]) -> "_Line":
        place = application.members[0]
        cost = self._cost[place]
        one = self._share(cost, application.weight)
        target = targets[place]
        return _Line(
            application,
            one,
            self._given[place],
            target,
            cost,
            min(one * target, _most(application)),
        )

    def _ramp(self, application: _Application, targets: Sequence[int]) -> "_Ramp":
        members = [
            (place, self._given[place], targets[place], self._cost[place])
            for place in application.members
            if targets[place] > self._given[place]
        ]
        turns = sorted({turn for _, given, target, _ in members for turn in (given, target)})
        used = tuple(application.used)
        stretches: list[_Stretch] = []
        for start, end in pairwise(turns):
            growing = [
                (place, cost) for place, given, target, cost in members if given <= start < target
            ]
            slope = tuple(
                sum(cost[kind] for _, cost in growing) for kind in range(len(self._capacity))
            )
            stretches.append(_Stretch(start, end, used, slope, growing))
            used = tuple(has + more * (end - start) for has, more in zip(used, slope, strict=True))
        return _Ramp(
            application,
            {place: (given, target) for place, given, target, _ in members},
            [capacity * application.weight for capacity in self._capacity],
            stretches,
            used,
            min(self._share(used, application.weight), _most(application)),
        )

    def _fullness(
        self,
        alone: "Sequence[_Line]",
        counts: Sequence[int],
        grown: Sequence[tuple[dict[int, int], Sequence[int]]],
    ) -> float:
        """The fullest capacity, as a fraction of what is left; at most 1 fits."""
        needed = [sum(more) for more in zip(*(used for _, used in grown), strict=True)] or [
            0
        ] * len(self._capacity)
        for kind in range(len(self._capacity)):
            needed[kind] += sum(
                [
                    (count - line.given) * line.cost[kind]
                    for line, count in zip(alone, counts, strict=True)
                ]
            )
        return max(
            (
                need / left if left else (_NEVER if need else 0.0)
                for need, left in zip(needed, self._left, strict=True)
            ),
            default=0.0,
        )

    def _share(self, used: Sequence[int], weight: int) -> float:
        share = 0.0
        for each, capacity in zip(used, self._capacity, strict=True):
            if each:
                # one division, correctly rounded: shares that are equal are equal as numbers too
                share = max(share, each / (capacity * weight) if capacity else _NEVER)
        return share

    # -- one by one --------------------------------------------------------------------------------------------------

    def _give_one_by_one(self, growing: Sequence[_Application], targets: Sequence[int]) -> None:
        queue: list[tuple[float, bool, int, str, int, int]] = []
        left_out: set[int] = set()

        def enqueue(index: int) -> None:
            application = growing[index]
            chosen = -1
            for place in application.members:
                given = self._given[place]
                if given >= targets[place] or place in left_out:
                    continue
                if chosen < 0 or given < self._given[chosen]:
                    chosen = place
            if chosen < 0:
                return
            share = self._share(
                [
                    used + cost
                    for used, cost in zip(application.used, self._cost[chosen], strict=True)
                ],
                application.weight,
            )
            new = self._given[chosen] >= self.claims[chosen].held
            entry = (share, new, application.waiting_since, application.name, index, chosen)
            heapq.heappush(queue, entry)

        for index in range(len(growing)):
            enqueue(index)
        while queue:
            *_, index, place = heapq.heappop(queue)
            if all(cost <= left for cost, left in zip(self._cost[place], self._left, strict=True)):
                self._give(growing[index], [(place, self._given[place] + 1)])
            else:
                left_out.add(place)
            enqueue(index)

    def _give(self, application: _Application, counts: Iterable[tuple[int, int]]) -> None:
        for place, count in counts:
            more = count - self._given[place]
            if more <= 0:
                continue
            self._given[place] = count
            for kind, cost in enumerate(self._cost[place]):
                application.used[kind] += more * cost
                self._left[kind] -= more * cost


def total(
    claims: Iterable[Claim], executors: Mapping[ClaimKey, int], kinds: int
) -> tuple[int, ...]:
    """What so many executors of each claim cost together, of each kind of capacity."""
    used = [0] * kinds
    for claim in claims:
        count = executors.get(claim.key, 0)
        for kind in range(kinds):
            used[kind] += count * claim.cost[kind]
    return tuple(used)
