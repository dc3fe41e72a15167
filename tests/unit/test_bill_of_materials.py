"""The bill of materials that is made in the image's build: every locked dependency with its version, and nothing by chance."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return made(tmp_path_factory.mktemp("first") / "deep" / "bill.json")


def made(file: Path) -> dict[str, Any]:
    subprocess.run(
        [sys.executable, ROOT / "requirements/bill_of_materials.py", file],
        env={**os.environ, "SOURCE_DATE_EPOCH": "86400"},
        check=True,
    )
    return dict(json.loads(file.read_text()))


def test_it_names_what_is_locked(document: dict[str, Any]) -> None:
    there = {each["purl"] for each in document["components"]}
    locked = re.findall(r"^([\w.-]+)==([^ ;]+)( ;.*)?", (ROOT / "requirements/runtime.txt").read_text(), re.MULTILINE)  # fmt: skip
    everywhere = [(name, version) for name, version, only in locked if not only.strip(" \\")]
    assert len(everywhere) > 20
    for name, version in everywhere:
        assert f"pkg:pypi/{name}@{version}" in there


def test_the_product_is_what_it_is_about(document: dict[str, Any]) -> None:
    product = document["metadata"]["component"]
    assert (product["name"], product["type"]) == ("spark-allocation-operator", "application")
    assert product["bom-ref"] not in {each["bom-ref"] for each in document["components"]}
    (dependency,) = document["dependencies"]
    assert set(dependency["dependsOn"]) == {each["bom-ref"] for each in document["components"]}


def test_the_same_input_gives_the_same_document(document: dict[str, Any], tmp_path: Path) -> None:
    assert document["metadata"]["timestamp"] == "1970-01-02T00:00:00Z"
    assert made(tmp_path / "again.json") == document
