"""YAML that somebody else wrote: read as JSON would say it, within bounds, or refused with half a sentence."""

import json
from typing import Any

import pytest

from spark_allocation.controller.bounded_yaml import load_bounded_yaml


def read(text: str) -> Any:
    return load_bounded_yaml(text, longest=1000, most_values=50)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20", 20),
        ("30s", "30s"),
        ("{a: [1, 2.5, true, null], b: text}", {"a": [1, 2.5, True, None], "b": "text"}),
        ("2026-01-01", "2026-01-01"),
        ("{since: 2026-01-01T00:00:00Z}", {"since": "2026-01-01T00:00:00Z"}),
        ("=", "="),
        ("{a: &x {b: 1}, c: {<<: *x, d: 2}}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ("", None),
    ],
)
def test_what_json_can_say(text: str, value: Any) -> None:
    assert read(text) == value
    json.dumps(read(text), allow_nan=False)


@pytest.mark.parametrize(
    "text",
    ["!!set {a, b}", "!!binary aGk=", "!!python/object/apply:os.system [id]", "!!timestamp [1]", "!!omap [a: 1]", ".inf", ".nan",
     "-.INF", "1.0e+400", "!!float .inf", "!!bool maybe", "!!int ''", "!!int x", "!!float ''", "9" * 900 + "." , "&a [*a]",
     "{[1]: 2}", "a: b\n---\nc: d", "- !!merge a", "[" * 400, "x" * 2000, "a: [1, 2", "'\\ud800", '"\\ud800"', "\x00"],
)  # fmt: skip
def test_what_it_cannot_say_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(text)


def test_aliases_count_as_often_as_they_are_used() -> None:
    bomb = "a: &a [1,1,1,1]\nb: &b [*a,*a,*a,*a]\nc: [*b,*b,*b,*b]"
    with pytest.raises(ValueError, match="stands for more than 50 values"):
        read(bomb)
