"""Spark's configuration values, read as Spark reads them.

Theory of operation
-------------------
Spark's configuration is a map of strings. What a string means is decided by the key's ``ConfigEntry``: the same
``"10"`` is ten seconds for ``spark.dynamicAllocation.executorIdleTimeout``, ten milliseconds for
``spark.dynamicAllocation.shuffleTracking.timeout`` and ten mebibytes for ``spark.executor.memory``.
`SparkConf` holds the strings; a reader names the unit, as Spark's entry does, and gets a number or an
`InvalidSetting` that names the key, the value and the rule. Numbers are 64-bit in Spark: what overflows there is
refused or saturated here in the same way.

Source: ``org.apache.spark.network.util.JavaUtils`` (``timeStringAs``, ``byteStringAs``), ``ByteUnit.convertFrom``,
``org.apache.spark.internal.config.ConfigHelpers``.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

INT_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1
LONG_MIN = -(2**63)

NANOSECOND = 1
MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000

_TIME_SUFFIXES: Mapping[str, int] = {
    "us": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": 60 * SECOND,
    "min": 60 * SECOND,
    "h": 3600 * SECOND,
    "d": 86400 * SECOND,
}
BYTE = 1
KIB = 1 << 10
MIB = 1 << 20
_SIZE_SUFFIXES: Mapping[str, int] = {
    "b": BYTE,
    "k": KIB,
    "kb": KIB,
    "m": MIB,
    "mb": MIB,
    "g": 1 << 30,
    "gb": 1 << 30,
    "t": 1 << 40,
    "tb": 1 << 40,
    "p": 1 << 50,
    "pb": 1 << 50,
}
_TRIMMED = "".join(map(chr, range(ord(" ") + 1)))
_TIME = re.compile(r"(-?[0-9]+)([a-z]+)?")
_SIZE = re.compile(r"([0-9]+)([a-z]+)?")
_FRACTIONAL_SIZE = re.compile(r"([0-9]+\.[0-9]+)([a-z]+)?")
_INTEGER = re.compile(r"[+-]?\d+")
_DOUBLE = re.compile(
    r"[+-]?(?:NaN|Infinity|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fFdD]?)"
)
_HEXADECIMAL_DOUBLE = re.compile(
    r"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+[fFdD]?"
)

T = TypeVar("T")


class InvalidSetting(ValueError):  # noqa: N818  (it is what the user reads)
    """A configuration value that Spark would refuse.

    Attributes:
        key: the configuration key.
        value: the value as written.
        rule: what a value must satisfy, as a phrase.
    """

    def __init__(self, key: str, value: str, rule: str) -> None:
        super().__init__(f"{key}={value!r}: {rule}")
        self.key = key
        self.value = value
        self.rule = rule


def trimmed(text: str) -> str:
    """The text without spaces and control characters at its ends (``String.trim``); other white space stays."""
    return text.strip(_TRIMMED)


def parse_time(text: str, unit: int) -> int:
    """Parse a duration as ``JavaUtils.timeStringAs``: whole numbers, an optional suffix, truncated to ``unit``.

    Args:
        text: such as ``"60s"``, ``"5min"``, ``"10"`` (then in ``unit``).
        unit: nanoseconds in one unit of the result (``SECOND``, ``MILLISECOND``, …).

    Returns:
        The duration in ``unit``; saturated at the 64-bit limits as ``TimeUnit.convert`` does.

    Raises:
        ValueError: with the rule, when Spark would throw NumberFormatException.
    """
    lowered = trimmed(text).lower()
    match = _TIME.fullmatch(lowered)
    if match is None:
        raise ValueError(
            "time must be a whole number with an optional unit: us, ms, s, m or min, h, d (such as 60s)"
        )
    number = int(match.group(1))
    if not LONG_MIN <= number <= LONG_MAX:
        raise ValueError("time does not fit into 64 bits")
    suffix = match.group(2)
    if suffix is not None and suffix not in _TIME_SUFFIXES:
        raise ValueError(f"unknown time unit {suffix!r}: use us, ms, s, m or min, h, d")
    nanoseconds_each = _TIME_SUFFIXES[suffix] if suffix is not None else unit
    return _saturated(_truncated_division(number * nanoseconds_each, unit))


def parse_size(text: str, unit: int) -> int:
    """Parse a size as ``JavaUtils.byteStringAs``: powers of 1024, whole numbers only, truncated to ``unit``.

    Args:
        text: such as ``"4g"``, ``"512m"``, ``"10"`` (then in ``unit``).
        unit: bytes in one unit of the result (``BYTE``, ``MIB``).

    Raises:
        ValueError: with the rule, when Spark would throw NumberFormatException or IllegalArgumentException.
    """
    lowered = trimmed(text).lower()
    match = _SIZE.fullmatch(lowered)
    if match is None:
        if _FRACTIONAL_SIZE.fullmatch(lowered):
            raise ValueError("fractional sizes are not supported: write 1536m, not 1.5g")
        raise ValueError(
            "size must be a whole number with an optional unit: b, k, m, g, t, p (such as 4g)"
        )
    number = int(match.group(1))
    if number > LONG_MAX:
        raise ValueError("size does not fit into 64 bits")
    suffix = match.group(2)
    if suffix is not None and suffix not in _SIZE_SUFFIXES:
        raise ValueError(f"unknown size unit {suffix!r}: use b, k, m, g, t, p")
    bytes_each = _SIZE_SUFFIXES[suffix] if suffix is not None else unit
    if bytes_each < unit:
        return number // (unit // bytes_each)
    ratio = bytes_each // unit
    if number > LONG_MAX // ratio:
        raise ValueError("size does not fit into 64 bits")
    return number * ratio


class SparkConf(Mapping[str, str]):
    """An immutable view of Spark properties with typed reading.

    Readers return the default when the key is absent and raise `InvalidSetting` when Spark would refuse the value.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})

    def __getitem__(self, key: str) -> str:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def with_values(self, values: Mapping[str, str]) -> "SparkConf":
        """A copy in which ``values`` win."""
        return SparkConf({**self._values, **values})

    def integer(self, key: str, default: int) -> int:
        """A 32-bit integer (``intConf``)."""
        return self._read(key, default, _integer)

    def optional_integer(self, key: str) -> int | None:
        """A 32-bit integer, or None when absent (``intConf.createOptional``)."""
        return self._read(key, None, _integer)

    def boolean(self, key: str, default: bool) -> bool:
        """A boolean (``booleanConf``): true or false in any case."""
        return self._read(key, default, _boolean)

    def double(self, key: str, default: float) -> float:
        """A floating-point number (``doubleConf``)."""
        return self._read(key, default, _double)

    def time(self, key: str, default: int, unit: int) -> int:
        """A duration in ``unit`` nanoseconds each (``timeConf``)."""
        return self._read(key, default, lambda text: parse_time(text, unit))

    def size(self, key: str, default: int, unit: int) -> int:
        """A size in ``unit`` bytes each (``bytesConf``)."""
        return self._read(key, default, lambda text: parse_size(text, unit))

    def optional_size(self, key: str, unit: int) -> int | None:
        """A size in ``unit`` bytes each, or None when absent."""
        return self._read(key, None, lambda text: parse_size(text, unit))

    def with_prefix(self, prefix: str) -> dict[str, str]:
        """The entries whose key starts with ``prefix``, without it (``SparkConf.getAllWithPrefix``)."""
        return {
            key[len(prefix) :]: value
            for key, value in self._values.items()
            if key.startswith(prefix)
        }

    def _read(self, key: str, default: T, parse: Callable[[str], T]) -> T:
        text = self._values.get(key)
        if text is None:
            return default
        try:
            return parse(text)
        except ValueError as error:
            raise InvalidSetting(key, text, str(error)) from error


def _integer(text: str) -> int:
    stripped = trimmed(text)
    # the JVM takes the decimal digits of every script, character by character of sixteen bits
    if not _INTEGER.fullmatch(stripped) or max(stripped) > "\uffff":
        raise ValueError("must be a whole number")
    number = int(stripped)
    if not -INT_MAX - 1 <= number <= INT_MAX:
        raise ValueError("must fit into 32 bits")
    return number


def _boolean(text: str) -> bool:
    match trimmed(text).lower():
        case "true":
            return True
        case "false":
            return False
        case _:
            raise ValueError("must be true or false")


def _double(text: str) -> float:
    """What ``java.lang.Double.parseDouble`` takes: not ``nan`` or ``1_0``, but ``NaN``, ``1d`` and ``0x1p-1``."""
    stripped = trimmed(text)
    if _DOUBLE.fullmatch(stripped):
        return float(stripped.rstrip("fFdD"))
    if _HEXADECIMAL_DOUBLE.fullmatch(stripped):
        return float.fromhex(stripped.rstrip("fFdD"))
    raise ValueError("must be a number")


def _truncated_division(number: int, divisor: int) -> int:
    quotient = abs(number) // divisor
    return quotient if number >= 0 else -quotient


def _saturated(number: int) -> int:
    return max(LONG_MIN, min(LONG_MAX, number))
