"""Kubernetes quantities as Spark's client library reads them.

Spark hands quantities on as text; only its own checks compare them. What the library refuses, Spark refuses.

Source: ``io.fabric8.kubernetes.api.model.Quantity`` (``parse``, ``getAmountInBytes``).
"""

import re
from decimal import Decimal

_UNIT_CHARACTERS = frozenset("EGKMPTeikmnu")
_AMOUNT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
_EXPONENT = re.compile(r"[+-]?[0-9]{1,9}")
_RULE = "must be a number with an optional unit (such as 500m or 2Gi)"
_MULTIPLIERS = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
    "P": Decimal("1e15"),
    "E": Decimal("1e18"),
    "Ki": Decimal(1 << 10),
    "Mi": Decimal(1 << 20),
    "Gi": Decimal(1 << 30),
    "Ti": Decimal(1 << 40),
    "Pi": Decimal(1 << 50),
    "Ei": Decimal(1 << 60),
}


def check_quantity(text: str) -> str:
    """Return the text when the client library takes it as a quantity.

    The library is lenient: ``abc`` passes (and the API server refuses it); the empty text and a unit such as in
    ``1e3k`` do not.

    Raises:
        ValueError: with the rule.
    """
    if not text:
        raise ValueError("must not be empty")
    unit = _split(text)[1]
    if any(character.isdigit() for character in unit) and unit[-1].isalpha():
        raise ValueError(_RULE)
    return text


def quantity_amount(text: str) -> Decimal:
    """The number that a quantity stands for.

    Raises:
        ValueError: with the rule.
    """
    amount, unit = _split(check_quantity(text))
    if not _AMOUNT.fullmatch(amount):
        raise ValueError(_RULE)
    number = Decimal(amount)
    if any(character.isdigit() for character in unit):
        if not _EXPONENT.fullmatch(unit[1:]):
            raise ValueError(_RULE)
        return number.scaleb(int(unit[1:]))
    if unit not in _MULTIPLIERS:
        raise ValueError(_RULE)
    return number * _MULTIPLIERS[unit]


def _split(text: str) -> tuple[str, str]:
    end = next((i for i, character in enumerate(text) if character in _UNIT_CHARACTERS), len(text))
    return text[:end], text[end:]
