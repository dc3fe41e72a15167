"""The order in which Scala's hash maps with integer keys are traversed.

Spark's allocator takes "the first n" of a hash map when only some of the pending pods are in excess. Which ones these
are is an accident of the Scala version's hash tables: 2.13 for Spark 4, 2.12 for Spark 3.5. To compare answer for
answer, the accident is computed here.

Source: ``scala.collection.mutable.HashMap`` of 2.13; ``mutable.HashTable``, ``immutable.Map1`` to ``Map4`` and
``immutable.HashMap`` of 2.12; ``scala.util.hashing.byteswap32``.
"""

from collections.abc import Collection, Iterable

_INT = 0xFFFFFFFF
_BYTESWAP_FACTOR = 0x9E3775CD


def _hash(key: int) -> int:
    """``key.##`` of a Long."""
    if -(2**31) <= key < 2**31:
        return key & _INT
    return (key ^ (key >> 32)) & _INT


def mutable_order_213(keys: Collection[int]) -> list[int]:
    """A ``mutable.HashMap`` of 2.13 that was filled from empty: buckets upwards, by hash within one."""
    length = 16
    while len(keys) >= length * 3 // 4:
        length *= 2

    def improved(key: int) -> int:
        return _hash(key) ^ (_hash(key) >> 16)

    return sorted(keys, key=lambda key: (improved(key) & (length - 1), improved(key)))


class MutableMap212:
    """A ``mutable.HashMap`` of 2.12 with keys only: chains grow at the head, traversal goes downwards."""

    def __init__(self, keys: Iterable[int] = ()) -> None:
        self._table: list[list[int]] = [[] for _ in range(16)]
        self._size = 0
        for key in keys:
            self.add(key)

    def add(self, key: int) -> None:
        chain = self._table[self._index(key)]
        if key in chain:
            return
        chain.insert(0, key)
        self._size += 1
        if self._size > len(self._table) * 750 // 1000:
            self._grow()

    def order(self) -> list[int]:
        return [key for chain in reversed(self._table) for key in chain]

    def _grow(self) -> None:
        old = self.order()
        self._table = [[] for _ in range(2 * len(self._table))]
        for key in old:
            self._table[self._index(key)].insert(0, key)

    def _index(self, key: int) -> int:
        ones = len(self._table) - 1
        mixed = (_hash(key) * _BYTESWAP_FACTOR) & _INT
        mixed = int.from_bytes(mixed.to_bytes(4, "little"), "big")
        mixed = (mixed * _BYTESWAP_FACTOR) & _INT
        seed = 4  # the number of ones in 15: the seed is that of the first table
        rotated = ((mixed >> seed) | (mixed << (32 - seed))) & _INT
        return (rotated >> (32 - ones.bit_length())) & ones


class ImmutableMap212:
    """An ``immutable.Map`` of 2.12 with keys only: in order of insertion up to four, a trie from the fifth on."""

    def __init__(self, keys: Iterable[int] = ()) -> None:
        self._keys: list[int] = []
        self._is_trie = False
        for key in keys:
            self._add(key)

    def updated(self, key: int) -> "ImmutableMap212":
        copy = ImmutableMap212()
        copy._keys = list(self._keys)
        copy._is_trie = self._is_trie
        copy._add(key)
        return copy

    def order(self) -> list[int]:
        return sorted(self._keys, key=_trie_path) if self._is_trie else list(self._keys)

    def _add(self, key: int) -> None:
        if key not in self._keys:
            self._keys.append(key)
            self._is_trie = self._is_trie or len(self._keys) > 4


def _trie_path(key: int) -> tuple[int, ...]:
    mixed = _hash(key)
    mixed = (mixed + (~(mixed << 9) & _INT)) & _INT
    mixed ^= mixed >> 14
    mixed = (mixed + (mixed << 4)) & _INT
    mixed ^= mixed >> 10
    return tuple((mixed >> shift) & 31 for shift in range(0, 35, 5))
