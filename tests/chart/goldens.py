"""Writes tests/chart/golden/: what the chart makes when everything is switched on. deploy/ is the golden of the defaults.

python -m tests.chart.goldens
"""

from pathlib import Path

from tests.chart.helm import Helm, helm
from tests.chart.matrix import EVERYTHING

GOLDEN = Path(__file__).parent / "golden" / "everything.yaml"


def golden(program: Helm) -> str:
    """The manifests, hooks among them, but not the long texts that are copies."""
    without = {**EVERYTHING, "admission": {"enabled": False}, "metrics": {**EVERYTHING["metrics"]}}
    without["metrics"] = {
        **EVERYTHING["metrics"],
        "dashboard": {"enabled": False},
        "prometheusRule": {"enabled": False},
    }
    return program.template(without)


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(golden(helm()))
