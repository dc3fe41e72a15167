"""What is wrong with an object, in words for whoever wrote it."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from spark_allocation.api.field_types import DURATION_PATTERN, SIZE_PATTERN

PROBLEMS_TOLD = 5
_LONGEST_VALUE = 60
_UNKNOWN = "extra_forbidden"
"""pydantic's word for a field that the model does not have."""
_RULES = {
    DURATION_PATTERN: "must be a whole number with an optional unit: us, ms, s, m or min, h, d (such as 60s)",
    SIZE_PATTERN: "must be a whole number with an optional unit: b, k, m, g, t, p (such as 4g)",
}


def refusal(model: type[BaseModel], error: ValidationError, *, of_file: bool) -> str:
    """The first few problems of a spec, each with its field.

    Args:
        model: that the spec was held against.
        of_file: the words are for the one who wrote the file: they tell values too, and what an unknown field may have
            been meant to be. Otherwise they go into conditions and logs, where a value may be a secret.
    """
    found = []
    for problem in error.errors(include_url=False)[:PROBLEMS_TOLD]:
        place = ".".join(("spec", *map(str, problem["loc"])))
        if of_file and problem["type"] == _UNKNOWN:
            found.append(f"{place}: there is no such field{_meant(model, str(problem['loc'][-1]))}")
        else:
            value = _shown(problem["input"]) if of_file else ""
            found.append(f"{place}: {_rule(problem)}{value}")
    return "; ".join(found)


def _rule(problem: Mapping[str, Any]) -> str:
    """What a value has to be: in words where pydantic has a pattern for it, and without its own beginning of our sentences."""
    words = _RULES.get(problem.get("ctx", {}).get("pattern", ""))
    return words or str(problem["msg"]).removeprefix("Value error, ")


def _shown(value: Any) -> str:
    if not isinstance(value, str | int | float):
        return ""
    text = repr(value)
    return f" (it is {text})" if len(text) <= _LONGEST_VALUE else ""


def _meant(model: type[BaseModel], name: str) -> str:
    near = get_close_matches(name, sorted(set(_fields_of(model.model_json_schema()))), n=1)
    return f"; is {near[0]} meant?" if near else ""


def _fields_of(schema: Any) -> Iterator[str]:
    """The names of all fields in a JSON schema."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for each in schema.values():
            yield from _fields_of(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _fields_of(each)
