"""The examples have the shape that API servers take, and the command among them starts a passive driver."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart import schemas

from spark_allocation.core.passive_driver import offences

EXAMPLES = Path(__file__).parents[2] / "examples"
OURS = "sparkallocation.dev/v1alpha1"
OF_OTHER_OPERATORS = {"kubeflow-spark-application.yaml", "apache-spark-application.yaml"}
MANIFESTS = sorted(file.name for file in EXAMPLES.glob("*.yaml"))


def documents(name: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((EXAMPLES / name).read_text()) if each]


@pytest.mark.parametrize("name", [each for each in MANIFESTS if each not in OF_OTHER_OPERATORS])
@pytest.mark.parametrize("version", [schemas.versions()[0], schemas.versions()[-1]])
def test_an_example_has_the_shape_that_an_api_server_takes(name: str, version: str) -> None:
    known = schemas.schemas(version)
    for each in documents(name):
        found = (
            schemas.problems_of_our_kind(each)
            if each["apiVersion"] == OURS
            else known.problems(each)
        )
        assert not found


def test_a_field_of_ours_that_is_none_would_be_seen() -> None:
    (document,) = documents("spark-allocation.yaml")
    document["spec"]["dynamicAllocation"]["maxExecutor"] = 1
    document["spec"]["mode"] = "Dream"
    assert len(schemas.problems_of_our_kind(document)) == 2


def test_every_example_is_in_the_list_and_nothing_else() -> None:
    """What folders hold belongs to one of the examples, which says so."""
    listed = set(re.findall(r"\]\((?!\.\./)([^)]+)\)", (EXAMPLES / "README.md").read_text()))
    there = {file.name for file in EXAMPLES.iterdir() if file.is_file()} - {"README.md"}
    assert {each for each in listed if "/" not in each} == there
    assert all((EXAMPLES / each).exists() for each in listed)


def test_the_command_starts_a_driver_that_leaves_allocation_to_the_operator(tmp_path: Path) -> None:
    # given a spark-submit that only tells what it was given
    (submit := tmp_path / "spark-submit").write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@"\nwhile [ "$1" != --properties-file ]; do shift; done; echo ---; cat "$2"\n'
    )
    submit.chmod(0o755)
    path = os.pathsep.join((str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]))
    # when the example is run
    told = subprocess.run(
        [str(EXAMPLES / "spark-submit-cluster.sh")],
        env={**os.environ, "PATH": path, "API_SERVER": "https://kubernetes.example.com"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    given, _, file = told.partition("---\n")
    arguments = given.splitlines()
    conf = dict(line.split("=", 1) for line in file.splitlines() if line and line[0] != "#")
    conf |= dict(
        each.split("=", 1) for before, each in itertools.pairwise(arguments) if before == "--conf"
    )
    # then it is in cluster mode, passive and labelled, and its bounds are annotations
    assert arguments[arguments.index("--deploy-mode") + 1] == "cluster"
    assert not offences(conf)
    assert conf["spark.kubernetes.driver.label.sparkallocation.dev/managed"] == "true"
    bound = (
        "spark.kubernetes.driver.annotation.spec.sparkallocation.dev/dynamicAllocation.maxExecutors"
    )
    assert conf[bound] == "20"
