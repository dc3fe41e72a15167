"""Our answers to scenarios: JSON lines in, JSON lines out, in the oracle's format.

    python -m tests.conformance.answer < scenarios.jsonl > answers.jsonl

A scenario's ``kind`` names the module that answers it: ``eam``, ``alloc`` or ``pod``.
"""

import importlib
import json
import sys
from typing import Any

KINDS = ("eam", "alloc", "pod")


def answer(scenario: dict[str, Any]) -> dict[str, Any]:
    """Our answer to one scenario of any kind."""
    kind = scenario["kind"]
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}: one of {', '.join(KINDS)}")
    return importlib.import_module(f"tests.conformance.{kind}_answer").answer(scenario)


def main() -> None:
    for line in sys.stdin:
        if line.strip():
            print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
