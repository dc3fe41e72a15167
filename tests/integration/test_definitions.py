"""The CRDs on a real API server: applied as people apply them, and taught by `kubectl explain`."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster import Cluster
from tests.integration.operator_world import CRDS

pytestmark = pytest.mark.cluster
KINDS = ("sparkallocations", "sparkallocationpolicies", "clustersparkallocationpolicies")
GROUP = "sparkallocation.dev"
LARGEST_BYTES = 200_000
FIELD = r"^  (\S+)\t<.*\n(?:  enum: .*\n)?((?:    .*\n)*)"
"""A field as `kubectl explain` prints it, and the words below it."""


@pytest.fixture(scope="module")
def applied(cluster: Cluster) -> Cluster:
    cluster.kubectl("apply", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))
    return cluster


def definitions(cluster: Cluster) -> dict[str, Any]:
    names = [f"{kind}.{GROUP}" for kind in KINDS]
    found = json.loads(cluster.kubectl("get", "customresourcedefinitions", *names, "-o", "json"))
    return {each["metadata"]["name"]: each for each in found["items"]}


def test_applied_again_they_stay_as_they_are(applied: Cluster) -> None:
    before = definitions(applied)
    said = applied.kubectl("apply", "-f", str(CRDS)).splitlines()
    assert [line.rsplit(" ", 1)[1] for line in said] == ["unchanged"] * len(KINDS)
    after = definitions(applied)
    for name, each in before.items():
        assert each["metadata"]["resourceVersion"] == after[name]["metadata"]["resourceVersion"]
        # what plain apply keeps beside the object has to fit into an annotation
        kept = each["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
        assert len(kept) < LARGEST_BYTES


def test_they_are_structural_and_established(applied: Cluster) -> None:
    for name, each in definitions(applied).items():
        told = {item["type"]: item["status"] for item in each["status"]["conditions"]}
        assert (told["Established"], told["NamesAccepted"]) == ("True", "True"), name
        assert told.get("NonStructuralSchema", "False") == "False", name


def test_short_names_and_categories(applied: Cluster) -> None:
    listed = applied.kubectl("api-resources", f"--api-group={GROUP}", "-o", "wide").splitlines()
    rows = {line.split()[0]: line for line in listed[1:]}
    for kind, short in zip(KINDS, ("salloc", "sapolicy", "csapolicy"), strict=True):
        assert rows[kind].split()[1] == short
        assert "spark" in rows[kind].split()[-1]


def fields(tree: str, root: str) -> Iterator[tuple[str, bool]]:
    """Path and whether it has fields of its own, of each line of `kubectl explain --recursive`."""
    path: list[str] = []
    for line in tree.partition("FIELDS:\n")[2].splitlines():
        match = re.fullmatch(r"( +)(\S+)\t<(.+?)>.*", line)
        if match is not None:
            indent, name, kind = match.groups()
            path[len(indent) // 2 - 1 :] = [name]
            yield ".".join((root, *path)), kind in ("Object", "[]Object")


@pytest.mark.parametrize("root", ["salloc.spec", "salloc.status"])
def test_explain_says_something_of_every_field(applied: Cluster, root: str) -> None:
    known = list(fields(applied.kubectl("explain", root, "--recursive"), root))
    assert len(known) > 40
    silent = []
    for path in [root, *(path for path, is_object in known if is_object)]:
        told = applied.kubectl("explain", path)
        if "<no description>" in told or "<empty>" in told:
            silent.append(path)
        # each field of this object stands there with at least a word below it
        for field, words in re.findall(FIELD, told, re.MULTILINE):
            if not words.strip():
                silent.append(f"{path}.{field}")
    assert silent == []
