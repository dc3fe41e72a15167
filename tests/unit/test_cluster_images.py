"""Image archives, the apt mirror and the Spark image's entrypoint."""

import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.images import rootfs
from tests.images.archive import ImageConfiguration, content_key, write_completely, write_image

ENTRYPOINT = Path(__file__).parents[1] / "images" / "spark" / "entrypoint.sh"


def test_an_archive_names_its_layers_by_their_digests(tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.addfile(tarfile.TarInfo("hello"))
    archive = tmp_path / "image.tar"

    write_image(
        archive,
        name="localhost/test/hello:1",
        layers=[layer],
        configuration=ImageConfiguration(entrypoint=("/hello",), environment={"A": "b"}, user="7"),
    )

    with tarfile.open(archive) as tar:
        files = {entry.name: tar.extractfile(entry) for entry in tar}
        contents = {name: file.read() for name, file in files.items() if file}
    (manifest,) = json.loads(contents["manifest.json"])
    config = json.loads(contents[manifest["Config"]])
    assert manifest["RepoTags"] == ["localhost/test/hello:1"]
    assert manifest["Config"] == hashlib.sha256(contents[manifest["Config"]]).hexdigest() + ".json"
    assert config["rootfs"]["diff_ids"] == [
        "sha256:" + hashlib.sha256(contents[name]).hexdigest() for name in manifest["Layers"]
    ]
    assert config["config"]["Entrypoint"] == ["/hello"]
    assert config["config"]["Env"] == ["A=b"]
    assert config["config"]["User"] == "7"


def test_an_interrupted_write_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    def interrupted(file: Path) -> None:
        file.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_completely(tmp_path / "archive.tar", interrupted)
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.text(max_size=5), max_size=5), st.lists(st.text(max_size=5), max_size=5))
def test_a_key_stands_for_exactly_one_list_of_parts(some: list[str], others: list[str]) -> None:
    assert (content_key(*some) == content_key(*others)) == (some == others)


DEB822 = """\
Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm
Components: main
"""


@pytest.mark.parametrize(
    ("file", "text"),
    [
        pytest.param("sources.list.d/debian.sources", DEB822, id="deb822"),
        pytest.param(
            "sources.list",
            "# deb http://no.example/debian bookworm main\n"
            "deb http://other.example/x trixie main\n"
            "deb [signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib\n",
            id="one line",
        ),
    ],
)
def test_the_mirror_is_the_one_apt_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    monkeypatch.setattr(rootfs, "APT", tmp_path)
    assert rootfs.mirror() == "http://mirror.example/debian"


@pytest.fixture
def spark_home(tmp_path: Path) -> Path:
    """A tree in which `tini`, `java` and `spark-submit` print their arguments, one a line."""
    for name in ("bin/tini", "jvm/bin/java", "home/bin/spark-submit"):
        program = tmp_path / name
        program.parent.mkdir(parents=True)
        body = 'shift 2; exec "$@"' if name.endswith("tini") else 'printf "%s\\n" "$0" "$@"'
        program.write_text(f"#!/bin/bash\n{body}\n")
        program.chmod(0o755)
    return tmp_path


def run_entrypoint(root: Path, *arguments: str, **variables: str) -> list[str]:
    result = subprocess.run(
        ["bash", str(ENTRYPOINT), *arguments],
        env={
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
            "SPARK_HOME": str(root / "home"),
            "JAVA_HOME": str(root / "jvm"),
            **variables,
        },
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.splitlines()


EXECUTOR = {
    "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@10.0.0.1:7078",
    "SPARK_EXECUTOR_ID": "7",
    "SPARK_EXECUTOR_CORES": "2",
    "SPARK_EXECUTOR_MEMORY": "512m",
    "SPARK_APPLICATION_ID": "spark-1",
    "SPARK_RESOURCE_PROFILE_ID": "3",
    "SPARK_EXECUTOR_POD_IP": "10.0.0.2",
    "SPARK_EXECUTOR_POD_NAME": "app-exec-7",
}


def test_an_executor_is_started_as_sparks_own_image_does(spark_home: Path) -> None:
    options = {f"SPARK_JAVA_OPT_{n}": f"-Dn={n} with space" for n in range(12)}
    command = run_entrypoint(spark_home, "executor", **EXECUTOR, **options)

    assert command[0] == f"{spark_home}/jvm/bin/java"
    assert command[1:13] == [f"-Dn={n} with space" for n in range(12)]
    assert command[13:15] == ["-Xms512m", "-Xmx512m"]
    assert command[17] == "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
    pairs = dict(zip(command[18::2], command[19::2], strict=True))
    assert pairs == {
        "--driver-url": "spark://CoarseGrainedScheduler@10.0.0.1:7078",
        "--executor-id": "7",
        "--cores": "2",
        "--app-id": "spark-1",
        "--hostname": "10.0.0.2",
        "--resourceProfileId": "3",
        "--podName": "app-exec-7",
    }


def test_the_class_path_has_sparks_order(spark_home: Path) -> None:
    command = run_entrypoint(
        spark_home,
        "executor",
        **EXECUTOR,
        SPARK_CONF_DIR="/conf",
        HADOOP_CONF_DIR="/hadoop",
        SPARK_CLASSPATH="/mine",
        SPARK_EXTRA_CLASSPATH="/extra",
        SPARK_DIST_CLASSPATH="/dist",
    )
    assert command[command.index("-cp") + 1].split(":") == [
        *("/conf", "/hadoop", "/mine", f"{spark_home}/home/jars/*"),
        *("/extra", str(spark_home), "/dist"),
    ]


@pytest.mark.parametrize("missing", sorted(set(EXECUTOR) - {"SPARK_RESOURCE_PROFILE_ID"}))
def test_an_executor_without_a_needed_variable_fails_naming_it(
    spark_home: Path, missing: str
) -> None:
    variables = {name: value for name, value in EXECUTOR.items() if name != missing}
    with pytest.raises(subprocess.CalledProcessError) as failure:
        run_entrypoint(spark_home, "executor", **variables)
    assert missing in failure.value.stderr


def test_a_driver_is_submitted_in_client_mode_at_its_own_address(spark_home: Path) -> None:
    command = run_entrypoint(
        spark_home, "driver", "--class", "Main", "a b.jar", SPARK_DRIVER_BIND_ADDRESS="10.0.0.1"
    )
    assert command == [
        f"{spark_home}/home/bin/spark-submit",
        *("--conf", "spark.driver.bindAddress=10.0.0.1"),
        *("--conf", "spark.executorEnv.SPARK_DRIVER_POD_IP=10.0.0.1"),
        *("--deploy-mode", "client", "--class", "Main", "a b.jar"),
    ]


def test_anything_else_is_run_as_it_stands(spark_home: Path) -> None:
    assert run_entrypoint(spark_home, "printf", "%s\n", "a b", "c") == ["a b", "c"]
