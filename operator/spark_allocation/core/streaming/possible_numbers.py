"""Which of the numbers that a driver tells can be: any other is as if nobody had told it."""

LARGEST_NUMBER = 1e15
"""Of rows, and of rows a second: more is no number that can be."""


def number(value: float | None) -> float | None:
    """None unless it is a number that can be."""
    return value if value is not None and 0 <= value <= LARGEST_NUMBER else None


def count(value: int | None) -> int | None:
    """None unless there is one at least."""
    return value if value is not None and value >= 1 else None
