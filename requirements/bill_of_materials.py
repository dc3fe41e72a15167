"""Writes what is installed beside this interpreter as a CycloneDX 1.5 document; standard library only.

python requirements/bill_of_materials.py FILE

Run in the image's build, by the interpreter of the image. It names Python distributions; what the base image holds is
told by the base image.
"""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

PRODUCT = "spark-allocation-operator"


def bill_of_materials(made_at: datetime) -> dict[str, Any]:
    """The document."""
    found = sorted(distributions(), key=lambda each: each.metadata["Name"].lower())
    components = {component["bom-ref"]: component for component in map(_component, found)}
    product = components.pop(
        next(ref for ref, each in components.items() if each["name"] == PRODUCT)
    )
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": made_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {**product, "type": "application"},
            "properties": [
                {"name": "python", "value": platform.python_version()},
                {"name": "machine", "value": platform.machine()},
            ],
        },
        "components": list(components.values()),
        "dependencies": [{"ref": product["bom-ref"], "dependsOn": list(components)}],
    }


def _component(distribution: Distribution) -> dict[str, Any]:
    metadata = distribution.metadata
    name, version = metadata["Name"], distribution.version
    url = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    licence = metadata.get("License-Expression")
    return {
        "type": "library",
        "bom-ref": url,
        "name": name,
        "version": version,
        "purl": url,
        **({"licenses": [{"expression": licence}]} if licence else {}),
    }


def main() -> None:
    """Write it, with SOURCE_DATE_EPOCH as its time where that is set: the same input gives the same file."""
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", datetime.now(tz=UTC).timestamp()))
    document = bill_of_materials(datetime.fromtimestamp(epoch, tz=UTC))
    file = Path(sys.argv[1])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
