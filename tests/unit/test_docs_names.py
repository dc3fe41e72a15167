"""What documentation and examples name is there: Spark's settings, fields, commands with options, variables, values of the chart, files.

Links are looked at in test_docs_links.py, conditions and reasons in test_docs_conditions.py.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from tests.documents import links, metrics_reference
from tests.documents.chart_files import CHART
from tests.documents.code_of_pages import blocks, spans
from tests.documents.keys_of_spark import SPARK_KEYS

from spark_allocation.api.group import API_VERSION, FIELD_ANNOTATION_PREFIX, MANAGED_LABEL
from spark_allocation.api.policies import StoredPolicy, read_policy
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.cli.app import app
from spark_allocation.controller.managed_drivers import managed_allocation
from spark_allocation.controller.process_settings import ProcessSettings
from spark_allocation.controller.spec_reading import read_spec
from spark_allocation.core.driver_report import DriverPod

ROOT = Path(__file__).parents[2]
PAGES = [page.relative_to(ROOT).as_posix() for page in links.pages()]
EXAMPLES = sorted(
    file.relative_to(ROOT).as_posix()
    for file in (ROOT / "examples").rglob("*")
    if file.suffix in {".yaml", ".properties", ".sh"}
)
TEXTS = [*PAGES, *EXAMPLES, "charts/spark-allocation-operator/templates/NOTES.txt"]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


# -- settings of Spark ------------------------------------------------------------------------------------------------

KEYS = set(SPARK_KEYS.read_text().split())
MADE_OF_PIECES = {
    "spark.app.name",
    "spark.executorEnv.",
    "spark.kubernetes.authenticate.driver.serviceAccountName",
    "spark.kubernetes.authenticate.executor.serviceAccountName",
    "spark.local.dir",
    "spark.scheduler.listenerbus.eventqueue.",
    "spark.ssl.ui.enabled",
    "spark.task.resource.gpu.amount",
}
"""Names that Spark puts together, or has in classes that are not looked at."""
FAMILIES = tuple(key for key in KEYS | MADE_OF_PIECES if key.endswith("."))
NO_SETTINGS = {"spark.apache.org", "spark.conf.set", "spark.properties", "spark.readStream", "spark.x"}  # fmt: skip
GENERATED = "docs/reference/executor-pod-configuration.md"
"""Its names are given to Spark's own classes (tests/conformance/test_pod_settings.py)."""


def settings_in(text: str) -> set[str]:
    """What looks like a setting of Spark, and not like a method; a family ends in a dot."""
    found = re.finditer(r"(?<![\w./-])spark\.[A-Za-z]\w*(?:\.[\w-]+)*(?:\.(?=[*…<]))?", text)
    return {each[0] for each in found if text[each.end() : each.end() + 1] != "("} - NO_SETTINGS


def is_setting(name: str) -> bool:
    if name in KEYS | MADE_OF_PIECES or name.startswith(FAMILIES):
        return True
    return name.endswith(".") and any(each.startswith(name) for each in KEYS | MADE_OF_PIECES)


@pytest.mark.parametrize("name", [each for each in TEXTS if each != GENERATED])
def test_a_setting_is_one_that_spark_has(name: str) -> None:
    unknown = {each for each in settings_in(text_of(name)) if not is_setting(each)}
    assert {each for each in unknown if not is_setting(f"{each}.")} == set()


def test_a_misspelt_setting_would_be_seen() -> None:
    assert len(KEYS) > 1000
    (found,) = settings_in("spark.dynamicAllocation.maxExecutor=3 and not org.apache.spark.x")
    assert not is_setting(found)
    assert is_setting("spark.kubernetes.driver.label.sparkallocation.dev")


# -- objects and fields -----------------------------------------------------------------------------------------------


def written_objects(name: str) -> Iterator[Mapping[str, Any]]:
    """The YAML documents of an example, or of a page's blocks."""
    if name.endswith(".yaml"):
        texts = [text_of(name)]
    else:
        texts = [text for language, text in blocks(ROOT / name) if language == "yaml"]
        here_documents = re.compile(r"<<(\w+)\n(.*?)\n *\1\n", re.DOTALL)
        texts += [found[2] for _, text in blocks(ROOT / name) for found in here_documents.finditer(text)]  # fmt: skip
    for text in texts:
        for document in yaml.safe_load_all(text):
            if isinstance(document, dict):
                yield document


def problem_of(document: Mapping[str, Any]) -> object:
    """Why the models refuse an object or a part of a SparkAllocation; None when they take it, or when it is another's."""
    kind = document.get("kind", "SparkAllocation")
    if document.get("apiVersion", API_VERSION) != API_VERSION:
        return None
    if kind != "SparkAllocation":
        policy = read_policy(document, strict=True)
        return None if isinstance(policy, StoredPolicy) else policy
    parts = {
        key: document[key] for key in document if key not in {"apiVersion", "kind", "metadata"}
    }
    spec = parts.get("spec", parts)
    if "kind" not in document:  # perhaps a part of one, to be put into an object
        if not spec or not spec.keys() <= FIELDS:
            return None
        spec = {"driver": {"podName": "driver"}, **spec}
    read = read_spec({**document, "spec": spec}, strict=True)
    return None if isinstance(read, SparkAllocationSpec) else read


FIELDS = {field.alias or name for name, field in SparkAllocationSpec.model_fields.items()}


@pytest.mark.parametrize("name", [*PAGES, *(each for each in EXAMPLES if each.endswith(".yaml"))])
def test_the_models_take_what_is_written_for_them(name: str) -> None:
    found = [problem for each in written_objects(name) if (problem := problem_of(each))]
    assert not found


def test_objects_are_found_and_mistakes_seen() -> None:
    assert sum(1 for name in PAGES for _ in written_objects(name)) > 8
    assert problem_of({"spec": {"driver": {"podName": "a"}, "dynamicAllocation": {"maxExecutor": 1}}})  # fmt: skip
    assert problem_of({"streaming": {"target": "10s"}})
    assert problem_of(
        {"apiVersion": API_VERSION, "kind": "SparkAllocation", "spec": {"drivers": {}}}
    )
    assert problem_of({"apiVersion": API_VERSION, "kind": "SparkAllocationPolicy", "metadata": {"name": "a"}, "spec": {"allow": {}}})  # fmt: skip


def annotations_in(text: str) -> dict[str, str]:
    found = re.findall(rf"{re.escape(FIELD_ANNOTATION_PREFIX)}([\w.]+)(?:: |=)\"?([^\s\"`]+)", text)
    return {FIELD_ANNOTATION_PREFIX + field: value for field, value in found}


@pytest.mark.parametrize("name", [each for each in TEXTS if annotations_in(text_of(each))])
def test_annotations_are_fields_of_a_sparkallocation(name: str) -> None:
    pod = DriverPod(
        namespace="jobs",
        name="driver",
        uid="pod-1",
        phase="Running",
        deleting=False,
        ip="10.0.0.1",
        restart_count=0,
        created_at=0.0,
        labels={MANAGED_LABEL: "true"},
        annotations=annotations_in(text_of(name)),
    )
    body = managed_allocation(pod)
    assert isinstance(body, dict), body
    assert isinstance(read_spec(body, strict=True), SparkAllocationSpec)


# -- commands, variables, values, metrics, files ----------------------------------------------------------------------


def code(name: str) -> Iterator[str]:
    yield from spans(ROOT / name)
    yield from (text.replace("\\\n", " ") for _, text in blocks(ROOT / name))


def commands_in(text: str) -> Iterator[tuple[str, set[str]]]:
    """(command of ours, its options)."""
    for name, rest in re.findall(r"(?:spark-allocation|kubectl salloc) ([a-z-]+)([^\n|>#;)`]*)", text):  # fmt: skip
        yield name, set(re.findall(r"(?<=\s)(--?[a-zA-Z][a-z-]*)", rest))


def has_options(command: str, options: set[str]) -> bool:
    known = {option for each in COMMANDS[command].params for option in each.opts}
    return options <= known | {"--help"}


@pytest.mark.parametrize("name", PAGES)
def test_a_command_has_the_options_that_are_shown(name: str) -> None:
    for text in code(name):
        for command, options in commands_in(text):
            assert command in COMMANDS, text
            assert has_options(command, options), f"{command} {options}"


@pytest.mark.parametrize("name", [each for each in TEXTS if each not in PAGES])
def test_so_has_one_in_a_comment(name: str) -> None:
    for command, options in commands_in(text_of(name)):
        assert command not in COMMANDS or has_options(command, options), f"{command} {options}"


@pytest.mark.parametrize("name", PAGES)
def test_variables_are_settings_of_the_process(name: str) -> None:
    known = {f"SPARK_ALLOCATION_{field.upper()}" for field in ProcessSettings.model_fields}
    assert {each for each in re.findall(r"\bSPARK_ALLOCATION_[A-Z_]+", text_of(name)) if each != "SPARK_ALLOCATION_"} <= known  # fmt: skip


VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())


def unknown_values(given: Any, known: Any, path: str = "") -> Iterator[str]:
    """Paths that the chart's values do not have; below an empty list or map everything may stand."""
    if isinstance(given, dict) and isinstance(known, dict) and known:
        for key, value in given.items():
            if key in known:
                yield from unknown_values(value, known[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"


def given_values(name: str) -> Iterator[dict[str, Any]]:
    """Values of the chart: blocks that begin with one of them, and what ``--set`` names."""
    for language, text in blocks(ROOT / name):
        if language in {"", "yaml"} and text.split(":")[0] in VALUES:
            yield yaml.safe_load(text)
    for text in code(name):
        for path in re.findall(r"--set '?([\w.]+)=", text):
            given: Any = ""
            for key in reversed(path.split(".")):
                given = {key: given}
            yield given


@pytest.mark.parametrize("name", PAGES)
def test_values_are_those_of_the_chart(name: str) -> None:
    assert [each for given in given_values(name) for each in unknown_values(given, VALUES)] == []


def test_values_are_found() -> None:
    found = [key for name in PAGES for given in given_values(name) for key in given]
    assert {"image", "metrics", "networkPolicy", "watch", "managedBy", "flowSchema"} <= set(found)
    assert list(unknown_values({"metrics": {"podMonitors": {}}}, VALUES)) == [
        ".metrics.podMonitors"
    ]


METRICS = {*metrics_reference.series(metrics_reference.metrics())} | {
    metric.name for metric in metrics_reference.metrics()
}


@pytest.mark.parametrize("name", PAGES)
def test_metrics_are_served(name: str) -> None:
    named = re.findall(r"\bspark_allocation_([a-z_]+)(…)?", text_of(name))
    for rest, more in named:
        metric = f"spark_allocation_{rest}"
        assert metric in METRICS or (more and any(each.startswith(metric) for each in METRICS))


TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", PAGES)
def test_targets_and_files_are_there(name: str) -> None:
    for text in code(name):
        assert set(re.findall(r"\bmake ([a-z][a-z-]+)", text)) <= TARGETS
    folders = "tests|operator|deploy|examples|crds|charts|requirements"
    for path in re.findall(rf"(?<![\w/.-])(?:{folders})/[\w./-]*\w", text_of(name)):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", [".github/workflows/tests.yaml", ".ci/run"])
def test_ci_makes_what_there_is(name: str) -> None:
    made = re.findall(r"\bmake ([a-z][a-z-]+)", text_of(name))
    assert made
    assert set(made) <= TARGETS
