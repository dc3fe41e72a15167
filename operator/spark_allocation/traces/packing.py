"""Values of the core as JSON objects, and back: fields that have their default are left out."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
_NONE = object()
_DEFAULTS: dict[type, tuple[tuple[str, Any], ...]] = {}


def packed(value: Any) -> Any:
    """A value that `json` can write."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return value
    if isinstance(value, tuple | list):
        return [packed(each) for each in value]
    if isinstance(value, AbstractSet):
        return sorted(packed(each) for each in value)
    if isinstance(value, Mapping):
        return {str(key): packed(each) for key, each in value.items()}
    if is_dataclass(value):
        return fields_of(value)
    raise TypeError(f"{type(value).__name__} is nothing that a trace holds")


def fields_of(value: Any) -> dict[str, Any]:
    """A dataclass without what has its default."""
    found = {}
    for name, default in _defaults(type(value)):
        of_field = getattr(value, name)
        if of_field is not default and of_field != default:
            found[name] = packed(of_field)
    return found


def unpacked(value: Any, kind: type[T]) -> T:
    """The value that was packed.

    Raises:
        msgspec.ValidationError: it is none of this kind, or out of its range; the message names the field.
    """
    return msgspec.convert(value, kind, str_keys=True)


def _defaults(kind: type) -> tuple[tuple[str, Any], ...]:
    found = _DEFAULTS.get(kind)
    if found is None:
        found = tuple((each.name, _default(each)) for each in fields(kind) if each.init)
        _DEFAULTS[kind] = found
    return found


def _default(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    if field.default_factory is not MISSING:
        return field.default_factory()
    return _NONE
