"""The driver's Spark version, as far as behaviour depends on it."""

import re
from dataclasses import dataclass

_LEADING_NUMBERS = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class SparkVersion:
    """A Spark version: its text (a label value and a part of image names) and its numbers.

    Attributes:
        text: as the driver reports it, such as ``3.5.1-amzn-0``.
        numbers: major, minor, patch; a missing patch is 0.
    """

    text: str
    numbers: tuple[int, int, int]

    @classmethod
    def parse(cls, text: str) -> "SparkVersion":
        """Read a version as the driver's REST API reports it.

        Raises:
            ValueError: when the text does not begin with ``major.minor``.
        """
        match = _LEADING_NUMBERS.match(text)
        if match is None:
            raise ValueError(f"not a Spark version: {text!r}")
        major, minor, patch = match.groups(default="0")
        return cls(text, (int(major), int(minor), int(patch)))

    def at_least(self, major: int, minor: int) -> bool:
        """Whether this is ``major.minor`` or newer."""
        return self.numbers[:2] >= (major, minor)
