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
fits as a whole; up to there the order does not matter, and only the rest is given one by one. Where the level is, is
estimated as if executors were a liquid: from its share now to its share when served in full each application takes
evenly, so sorting these shares once says how high what is left will stand. What whole executors come to at that level is
then counted exactly, and any level at which they fit is right: a bad estimate costs time alone.

What holds, and is tested: no capacity is exceeded; nobody gets more than wanted; no executor that fits is withheld; who
wants more never gets less; with one capacity and executors of one size, a larger capacity gives nobody less. (With
executors of different sizes that cannot hold: a capacity of 5 may serve one large executor where 4 served two small.)
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import compress, pairwise
from math import floor, nextafter
from operator import add, attrgetter, itemgetter, mul, sub

ClaimKey = tuple[str, int]
"""Application and profile."""

_TRIES = 6
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
    ordered = sorted(claims, key=attrgetter("application", "profile"))
    claimants = Claimants(
        [claim.key for claim in ordered],
        costs=[[claim.cost[kind] for claim in ordered] for kind in range(len(capacities))],
        held=[claim.held for claim in ordered],
        weights=[claim.weight for claim in ordered],
        waiting_since=[claim.waiting_since for claim in ordered],
    )
    counts = divide_among(
        claimants,
        capacities,
        [min(claim.floor, claim.wanted) for claim in ordered],
        [min(max(claim.floor, claim.kept), claim.wanted) for claim in ordered],
        [claim.wanted for claim in ordered],
    )
    return dict(zip(claimants.keys, counts, strict=True))


@dataclass(frozen=True, slots=True)
class _Application:
    """The claims of one application, as places in the columns: from ``start`` to before ``end``."""

    name: str
    start: int
    end: int
    weight: int
    waiting_since: int


class Claimants:
    """Who takes part in divisions, in columns: what does not change from one to the next is looked at once.

    Attributes:
        keys: of all claims, in their order; everything else is in that order too.
        costs: by kind of capacity: of one executor of each claim.
        held: executors that each has.
        applications: in the order of their names.
    """

    __slots__ = ("applications", "costs", "held", "keys")

    def __init__(
        self,
        keys: Sequence[ClaimKey],
        *,
        costs: Sequence[Sequence[int]],
        held: Sequence[int],
        weights: Sequence[int],
        waiting_since: Sequence[int],
    ) -> None:
        """
        Args:
            keys: in ascending order, each one once.
            costs: see `Claim.cost`, turned on its side.
            held: see `Claim.held`.
            weights: see `Claim.weight`.
            waiting_since: see `Claim.waiting_since`.
        """
        self.keys = keys
        self.costs = costs
        self.held = held
        self.applications: list[_Application] = []
        start = 0
        for end in range(1, len(keys) + 1):
            name = keys[start][0]
            if end < len(keys) and keys[end][0] == name:
                continue
            self.applications.append(
                _Application(
                    name, start, end, max(weights[start:end]), min(waiting_since[start:end])
                )
            )
            start = end


def divide_among(
    claimants: Claimants, capacities: Sequence[int | None], *targets: Sequence[int]
) -> list[int]:
    """Divide in several rounds: nobody gets anything of a round before everybody has what is to be had of the one before.

    Args:
        capacities: what there is of each kind; None for as much as anybody wants.
        targets: for each round, up to how many executors each claim is given; fewer than it has by then change nothing.

    Returns:
        Executors for each claim.
    """
    division = _Division(claimants, capacities)
    for each in targets:
        division.raise_to(each)
    return division.given


@dataclass(slots=True)
class _Growing:
    """An application that does not have all it is to be given.

    Attributes:
        open: claims that want more, as places in the columns.
        used: of each capacity.
        more: what it would use beyond that with all it is to be given.
        whole: what a share of 1 is, of each capacity.
    """

    application: _Application
    open: list[int]
    used: list[int]
    more: list[int]
    whole: list[int]

    def share(self, used: Iterable[int]) -> float:
        """So much, as a share."""
        share = 0.0
        for each, whole in zip(used, self.whole, strict=True):
            if each:
                # one division, correctly rounded: shares that are equal are equal as numbers too
                one = each / whole if whole else _NEVER
                share = max(share, one)
        return share


class _Division:
    def __init__(self, claimants: Claimants, capacities: Sequence[int | None]) -> None:
        self._applications = claimants.applications
        self._held = claimants.held
        self._capacity = [capacity for capacity in capacities if capacity is not None]
        self._costs = [
            column
            for column, capacity in zip(claimants.costs, capacities, strict=True)
            if capacity is not None
        ]
        self._left = list(self._capacity)
        self._whole: dict[int, list[int]] = {}
        self.given = [0] * len(claimants.keys)

    def raise_to(self, targets: Sequence[int]) -> None:
        """Go on giving until each claim has its target, or nothing more fits."""
        more = [
            target - given if target > given else 0
            for target, given in zip(targets, self.given, strict=True)
        ]
        needed = [sum(map(mul, more, column)) for column in self._costs]
        if _fit(needed, self._left):
            self._take(list(map(max, self.given, targets)), needed)
            return
        smallest = [min(compress(column, more)) for column in self._costs]
        if not _fit(smallest, self._left):
            return  # of some capacity there is not enough left for anybody
        growing = self._growing(targets, more)
        self._raise_together(growing, targets)
        self._give_one_by_one(growing, targets, smallest)

    def _take(self, counts: list[int], needed: Sequence[int]) -> None:
        self.given = counts
        self._left = [left - each for left, each in zip(self._left, needed, strict=True)]

    def _growing(self, targets: Sequence[int], more: Sequence[int]) -> list[_Growing]:
        found: list[_Growing] = []
        given = self.given
        used_now = [list(map(mul, given, column)) for column in self._costs]
        used_more = [list(map(mul, more, column)) for column in self._costs]
        for application in self._applications:
            start, end, weight = application.start, application.end, application.weight
            open_ones = [place for place in range(start, end) if given[place] < targets[place]]
            if not open_ones:
                continue
            whole = self._whole.get(weight)
            if whole is None:
                whole = self._whole[weight] = [capacity * weight for capacity in self._capacity]
            found.append(
                _Growing(
                    application,
                    open_ones,
                    [sum(column[start:end]) for column in used_now],
                    [sum(column[start:end]) for column in used_more],
                    whole,
                )
            )
        return found

    # -- together ----------------------------------------------------------------------------------------------------

    def _raise_together(self, growing: Sequence[_Growing], targets: Sequence[int]) -> None:
        """Give what everybody gets at a level of share that fits as a whole."""
        low, high = 0.0, _NEVER
        level = self._liquid_level(growing)
        best: tuple[list[int], list[int]] | None = None
        for _ in range(_TRIES):
            level = min(level, 1.0)  # nobody has more than everything
            counts = self._counts_at(level, growing, targets)
            more = list(map(sub, counts, self.given))
            needed = [sum(map(mul, more, column)) for column in self._costs]
            fullness = max(
                each / left if left else (_NEVER if each else 0.0)
                for each, left in zip(needed, self._left, strict=True)
            )
            if not _fit(needed, self._left):
                high = level
                level = max(low + (level - low) / fullness, (3 * low + level) / 4)
                level = min(level, low + (high - low) * 0.95)
            else:
                best = counts, needed
                low = level
                if not fullness or self._is_close(needed, growing):
                    break
                level = level / fullness if high == _NEVER else (low + high) / 2
        if best is None:
            return
        self._take(*best)
        used = [list(map(mul, self.given, column)) for column in self._costs]
        for each in growing:
            start, end = each.application.start, each.application.end
            each.used = [sum(column[start:end]) for column in used]

    def _liquid_level(self, growing: Sequence[_Growing]) -> float:
        """How high what is left stands when everybody takes evenly from its share now up to that of all it wants."""
        turns: list[tuple[float, list[float]]] = []
        for each in growing:
            start = each.share(each.used)
            end = each.share(map(add, each.used, each.more))
            if start < end < _NEVER:
                rise = end - start
                rates = [amount / rise for amount in each.more]
                turns.append((start, rates))
                turns.append((end, [-rate for rate in rates]))
        turns.sort(key=itemgetter(0))
        left: list[float] = list(self._left)
        rates = [0.0] * len(left)
        level = 0.0
        for at, changes in turns:
            rise = at - level
            for amount, rate in zip(left, rates, strict=True):
                if rate > 0 and rate * rise > amount:
                    rise = max(0.0, amount / rate)
            if rise < at - level:
                return level + rise
            left = [amount - rate * rise for amount, rate in zip(left, rates, strict=True)]
            rates = list(map(add, rates, changes))
            level = at
        return level

    def _is_close(self, needed: Sequence[int], growing: Sequence[_Growing]) -> bool:
        """Of some capacity, what is left after this is less than one more executor for each."""
        return any(
            left - each <= sum([column[one.open[0]] for one in growing])
            for each, left, column in zip(needed, self._left, self._costs, strict=True)
        )

    def _counts_at(
        self, level: float, growing: Sequence[_Growing], targets: Sequence[int]
    ) -> list[int]:
        """Every executor that leaves the share of its application at most at the level; what is given already stays."""
        counts = list(self.given)
        most = {
            weight: [_most_at(level, each) for each in whole]
            for weight, whole in self._whole.items()
        }
        for each in growing:
            self._fill(each, most[each.application.weight], targets, counts)
        return counts

    def _fill(
        self, growing: _Growing, most: Sequence[int], targets: Sequence[int], counts: list[int]
    ) -> None:
        """Use at most so much of each capacity; the profile with the fewest executors grows first."""
        given, costs, used = self.given, self._costs, growing.used
        if not _fit(used, most):
            return
        turns = sorted({turn for place in growing.open for turn in (given[place], targets[place])})
        for start, end in pairwise(turns):
            # from start to end executors in each profile, the same profiles grow
            members = [place for place in growing.open if given[place] <= start < targets[place]]
            slopes = [sum([column[place] for place in members]) for column in costs]
            rounds = end - start
            for slope, has, limit in zip(slopes, used, most, strict=True):
                if slope * rounds > limit - has:
                    rounds = (limit - has) // slope
            for place in members:
                counts[place] = start + rounds
            used = [has + slope * rounds for has, slope in zip(used, slopes, strict=True)]
            if rounds < end - start:
                for place in members:
                    used = [has + column[place] for has, column in zip(used, costs, strict=True)]
                    if not _fit(used, most):
                        break
                    counts[place] += 1
                return

    # -- one by one --------------------------------------------------------------------------------------------------

    def _give_one_by_one(
        self, growing: Sequence[_Growing], targets: Sequence[int], smallest: Sequence[int]
    ) -> None:
        """Give to whoever has the least, as long as there is as much left as the smallest executor takes."""
        given, left, costs = self.given, self._left, self._costs

        def next_of(index: int) -> tuple[float, bool, int, str, int, int] | None:
            each = growing[index]
            chosen = -1
            for place in each.open:
                if given[place] < targets[place] and (chosen < 0 or given[place] < given[chosen]):
                    chosen = place
            if chosen < 0:
                return None
            share = each.share(
                [used + column[chosen] for used, column in zip(each.used, costs, strict=True)]
            )
            application = each.application
            new = given[chosen] >= self._held[chosen]
            return share, new, application.waiting_since, application.name, index, chosen

        queue = [entry for index in range(len(growing)) if (entry := next_of(index)) is not None]
        heapq.heapify(queue)
        while queue and _fit(smallest, left):
            *_, index, place = queue[0]
            each = growing[index]
            cost = [column[place] for column in costs]
            if _fit(cost, left):
                given[place] += 1
                for kind, amount in enumerate(cost):
                    each.used[kind] += amount
                    left[kind] -= amount
            else:
                each.open.remove(place)
            entry = next_of(index)
            if entry is None:
                heapq.heappop(queue)
            else:
                heapq.heapreplace(queue, entry)


def _most_at(level: float, whole: int) -> int:
    """The most that is a share of at most this level, exactly as `_Growing.share` rounds."""
    if not whole:
        return 0
    # whatever is nearer to the level than to the next number above it is rounded to the level
    between = (Fraction(level) + Fraction(nextafter(level, _NEVER))) / 2
    most = floor(between * whole)
    return most if most / whole <= level else most - 1


def _fit(needed: Iterable[int], left: Iterable[int]) -> bool:
    for each, there in zip(needed, left, strict=True):  # noqa: SIM110  (a generator takes three times as long)
        if each > there:
            return False
    return True
