"""Draws docs/images/way-of-the-data.svg, the picture of docs/concepts.md.

python -m tests.documents.picture
"""

from dataclasses import dataclass
from html import escape
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs" / "images" / "way-of-the-data.svg"
WIDTH, HEIGHT = 1200, 470
_FONT = "font-family='Helvetica, Arial, DejaVu Sans, sans-serif'"
_OUTSIDE, _PURE, _EDGE = "#e8eef7", "#fdf1e3", "#44546a"


@dataclass(frozen=True, slots=True)
class Box:
    """A box with a heading and lines below it; positions in pixels."""

    left: int
    top: int
    width: int
    height: int
    heading: str
    lines: tuple[str, ...] = ()
    colour: str = _OUTSIDE

    def at(self, across: float, down: float) -> tuple[float, float]:
        """A point of it: 0 is left or top, 1 is right or bottom."""
        return self.left + across * self.width, self.top + down * self.height

    def drawn(self) -> list[str]:
        """Its elements."""
        middle, _ = self.at(0.5, 0)
        first = self.top + self.height / 2 + 5 - 9 * len(self.lines)
        texts = [(first, 15, "bold", self.heading)]
        texts += [(first + 18 * number, 13, "normal", line) for number, line in enumerate(self.lines, 1)]  # fmt: skip
        return [
            f"<rect x='{self.left}' y='{self.top}' width='{self.width}' height='{self.height}' rx='8' fill='{self.colour}' stroke='{_EDGE}'/>",
            *(
                f"<text x='{middle:g}' y='{y:g}' font-size='{size}' font-weight='{weight}' text-anchor='middle'>{escape(text)}</text>"
                for y, size, weight, text in texts
            ),
        ]


PODS = Box(20, 60, 200, 70, "Executor pods", ("one LIST, then a WATCH",))
DRIVER = Box(20, 170, 200, 70, "Driver", ("REST API, asked each second",))
OBJECTS = Box(
    20, 280, 200, 88, "SparkAllocation", ("policies, and what the", "driver is configured with")
)
STORE = Box(285, 60, 190, 70, "Snapshots store", ("which pods there are",), _PURE)
WORKLOAD = Box(285, 170, 190, 70, "Workload", ("what the tasks need",), _PURE)
SETTINGS = Box(285, 289, 190, 70, "Effective settings", ("who set what; limits, locks",), _PURE)
MONITOR = Box(525, 60, 195, 70, "Executor monitor", ("who is idle, who is held",), _PURE)
MANAGER = Box(525, 170, 195, 70, "Allocation manager", ("target per profile",), _PURE)
BUDGETS = Box(525, 289, 195, 70, "Budgets", ("what all may have together",), _PURE)
ALLOCATOR = Box(
    770, 161, 180, 88, "Pods allocator", ("a plan per round: whom", "to create, to drain"), _PURE
)
ACTIONS = Box(1015, 161, 165, 88, "API server", ("create pods; delete", "them with a grace"))
DECISIONS = Box(285, 410, 895, 44, "Every decision with its reason: status, Events, metrics, log")

BOXES = (PODS, DRIVER, OBJECTS, STORE, WORKLOAD, SETTINGS, MONITOR, MANAGER, BUDGETS, ALLOCATOR, ACTIONS, DECISIONS)  # fmt: skip
ARROWS = (
    (PODS.at(1, 0.5), STORE.at(0, 0.5)),
    (DRIVER.at(1, 0.5), WORKLOAD.at(0, 0.5)),
    (OBJECTS.at(1, 0.5), SETTINGS.at(0, 0.5)),
    (STORE.at(1, 0.5), MONITOR.at(0, 0.5)),
    (WORKLOAD.at(1, 0.3), MONITOR.at(0, 0.8)),
    (WORKLOAD.at(1, 0.6), MANAGER.at(0, 0.6)),
    (SETTINGS.at(1, 0.3), MANAGER.at(0, 0.9)),
    (SETTINGS.at(1, 0.6), BUDGETS.at(0, 0.6)),
    (MONITOR.at(0.5, 1), MANAGER.at(0.5, 0)),
    (MANAGER.at(0.4, 1), BUDGETS.at(0.4, 0)),
    (BUDGETS.at(0.6, 0), MANAGER.at(0.6, 1)),
    (MANAGER.at(1, 0.5), ALLOCATOR.at(0, 0.5)),
    (MONITOR.at(1, 0.5), ALLOCATOR.at(0.3, 0)),
    (ALLOCATOR.at(1, 0.5), ACTIONS.at(0, 0.5)),
    (SETTINGS.at(0.5, 1), (380, 410)),
    (BUDGETS.at(0.5, 1), (622.5, 410)),
    (ALLOCATOR.at(0.5, 1), (860, 410)),
)


def picture() -> str:
    """The SVG document."""
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' {_FONT} fill='#1f2a3a' role='img' aria-labelledby='title'>",
        "<title id='title'>From pods, drivers and settings, through a pure core, to pods that are created and drained</title>",
        f"<defs><marker id='tip' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='7' markerHeight='7' orient='auto'><path d='M0 0L10 5L0 10z' fill='{_EDGE}'/></marker></defs>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>",
        "<rect x='260' y='20' width='715' height='372' rx='12' fill='none' stroke='#c9a26a' stroke-dasharray='6 5'/>",
        "<text x='285' y='44' font-size='13' font-style='italic'>what is decided: pure, no input or output, no clock</text>",
        "<text x='1015' y='44' font-size='13' font-style='italic'>what is done</text>",
        "<text x='20' y='44' font-size='13' font-style='italic'>what is watched</text>",
    ]
    lines += [
        f"<line x1='{x1:g}' y1='{y1:g}' x2='{x2:g}' y2='{y2:g}' stroke='{_EDGE}' stroke-width='1.5' marker-end='url(#tip)'/>"
        for (x1, y1), (x2, y2) in ARROWS
    ]
    for box in BOXES:
        lines += box.drawn()
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(picture())
