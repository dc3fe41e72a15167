"""Nodes in a trace: marks in place of names, which often are addresses.

Which executors leave first depends on which share a node, and among equal nodes on the order of their names. So a mark
stands for one node for as long as the recording lasts, and marks sort as the names do: a new one is made between those of
its neighbours. Marks are fractions written in letters, none of which ends in ``a``, so that there is always one between
two of them.
"""

from bisect import bisect_left
from collections.abc import Iterable

_LETTERS = 26
_FIRST = ord("a")


class NodeMarks:
    """The marks of one trace."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._marks: dict[str, str] = {}

    def mark(self, node: str) -> str:
        """For one node; "" for none."""
        if not node:
            return ""
        known = self._marks.get(node)
        if known is not None:
            return known
        place = bisect_left(self._names, node)
        before = self._marks[self._names[place - 1]] if place else ""
        after = self._marks[self._names[place]] if place < len(self._names) else ""
        self._names.insert(place, node)
        made = self._marks[node] = between(before, after)
        return made

    def marks(self, nodes: Iterable[str]) -> list[str]:
        """For several, sorted."""
        return [self.mark(node) for node in sorted(nodes)]


def between(low: str, high: str) -> str:
    """A fraction above ``low`` and below ``high``; "" is 0 as the first and 1 as the second."""
    made = ""
    place = 0
    while True:
        least = ord(low[place]) - _FIRST if place < len(low) else 0
        most = ord(high[place]) - _FIRST if place < len(high) else _LETTERS
        if most - least > 1:
            return made + chr(_FIRST + (least + most) // 2)
        made += chr(_FIRST + least)
        if most > least:
            high = ""
        place += 1
