"""The command line: what it prints can be used, and how it ends says why."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from spark_allocation.cli import run as run_command
from spark_allocation.cli.app import app
from spark_allocation.controller.driver_configuration import parse_java_properties
from spark_allocation.core.passive_driver import offences
from spark_allocation.kube.leader_lease import LeaseLost


@pytest.fixture(autouse=True)
def logging_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sets logging up for a whole process: here it is that of the other tests."""
    monkeypatch.setattr(run_command, "configure_logging", lambda **_: None)


def invoke(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env=environment)


def test_help_names_every_command() -> None:
    listed = invoke("--help").output
    assert all(command in listed for command in ("run", "driver-conf", "crd"))


@pytest.mark.parametrize("command", ["run", "driver-conf", "crd"])
def test_each_command_explains_itself(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_shows_each_option_by_all_of_its_names_and_flags_without_a_value(command: str) -> None:
    shown = invoke(command, "--help", COLUMNS="80").output
    for option in COMMANDS[command].params:
        names = [*option.opts, *option.secondary_opts]
        if names[0].startswith("-"):
            assert all(re.search(rf"(?<!\S){name}(?![\w-])", shown) for name in names)
        if isinstance(option.default, str):
            assert str(option.default) in "".join(shown.split()), "wrapped, and not cut off"
    assert "<bool>" not in shown


def test_the_list_of_commands_says_whole_sentences() -> None:
    listed = invoke("--help", COLUMNS="80").output.partition("Commands:")[2].strip().splitlines()
    assert len(listed) == len(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("..") for line in listed)


@pytest.mark.parametrize("options", [[], ["--migrate"], ["--expected-cores", "40"]])
def test_driver_conf_is_a_properties_file_that_makes_a_driver_passive(options: list[str]) -> None:
    result = invoke("driver-conf", *options)
    assert offences(parse_java_properties(result.output)) == ()


def test_driver_conf_flags_say_the_same_as_the_file() -> None:
    options = ["--managed", "--migrate", "--expected-cores", "8"]
    file = parse_java_properties(invoke("driver-conf", *options).output)
    words = shlex.split(invoke("driver-conf", "--format", "flags", *options).output)
    assert words[0::2] == ["--conf"] * len(file)
    assert dict(word.split("=", 1) for word in words[1::2]) == file
    assert file["spark.default.parallelism"] == "8"
    assert file["spark.kubernetes.driver.label.sparkallocation.dev/managed"] == "true"


def test_the_fallback_lets_the_driver_allocate_for_itself() -> None:
    assert offences(parse_java_properties(invoke("driver-conf", "--fallback").output))


def test_crd_check_finds_what_is_out_of_date(tmp_path: Path) -> None:
    directory = ("--directory", str(tmp_path))
    assert invoke("crd", *directory, "--check").exit_code == 1
    assert invoke("crd", *directory).exit_code == 0
    assert invoke("crd", *directory, "--check").exit_code == 0
    file, *_ = sorted(tmp_path.iterdir())
    file.write_text(file.read_text() + "\n")
    assert invoke("crd", *directory, "--check").exit_code == 1


def test_crd_check_of_no_files_is_refused() -> None:
    result = invoke("crd", "--check")
    assert (result.exit_code, "--directory" in result.output) == (2, True)


def test_crd_names_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    below = tmp_path / "file" / "crds"
    result = invoke("crd", "--directory", str(below))
    assert isinstance(result.exception, SystemExit)
    assert (result.exit_code, str(below) in result.output) == (2, True)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="no yaml"),
        pytest.param("just a text", id="no kubeconfig"),
        pytest.param("apiVersion: v1\nkind: Config\n", id="without a context"),
        pytest.param(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: 7\n", id="wrong kinds"
        ),
        pytest.param(b"\xff\xfe\x00binary", id="binary"),
    ],
)
def test_without_usable_credentials_it_ends_with_2_and_a_sentence(
    tmp_path: Path, content: str | bytes
) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = invoke("run", "--kubeconfig", str(kubeconfig), "--health-port", "0")
    assert result.exit_code == 2, result.output
    assert str(kubeconfig) in result.output
    assert "Traceback" not in result.output


def test_outside_a_cluster_and_without_a_kubeconfig_it_ends_with_2() -> None:
    result = invoke("run", "--health-port", "0", KUBERNETES_SERVICE_HOST="")
    assert result.exit_code == 2
    assert "in the pod" in result.output


@pytest.mark.parametrize(
    ("option", "value"), [("--log-format", "xml"), ("--log-level", "loud"), ("--health-port", "-1")]
)
def test_a_wrong_option_ends_with_2_and_its_name(option: str, value: str) -> None:
    result = invoke("run", option, value)
    assert result.exit_code == 2
    assert f"{option}: " in result.output
    assert value in result.output


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("SPARK_ALLOCATION_NAMESPACES", "spark-jobs", """a JSON list is wanted, such as ["spark-jobs"] (it is 'spark-jobs')"""),
        ("SPARK_ALLOCATION_DRIVER_NETWORKS", "10.0.0.0/8", """a JSON list is wanted, such as ["10.0.0.0/8"] (it is '10.0.0.0/8')"""),
        ("SPARK_ALLOCATION_DRIVER_NETWORKS", '["10.0.0.1/8"]', "(it is '10.0.0.1/8')"),
        ("SPARK_ALLOCATION_POLL_SECONDS", "1s", "valid number"),
        ("SPARK_ALLOCATION_NAMESPACES", '[""]', "at least 1 character (it is '')"),
    ],
)  # fmt: skip
def test_a_wrong_variable_ends_with_2_its_name_and_its_value(
    variable: str, value: str, words: str
) -> None:
    result = invoke("run", **{variable: value})
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 2
    assert result.output.startswith(variable)
    assert words in result.output
    assert "function-plain" not in result.output


def test_a_namespace_without_a_name_is_refused() -> None:
    result = invoke("run", "--namespace", "")
    assert (result.exit_code, result.output.startswith("--namespace[0]: ")) == (2, True)


def test_a_lost_lease_ends_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lost(_: object) -> None:
        raise LeaseLost("the Lease a/b is lost: other holds it")

    monkeypatch.setattr(run_command, "run_process", lost)
    result = invoke("run")
    assert result.exit_code == 3
    assert "other holds it" in result.output
