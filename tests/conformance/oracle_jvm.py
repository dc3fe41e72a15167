"""Builds and runs the oracle: real Spark classes that answer scenarios (see oracle/README.md).

    python -m tests.conformance.oracle_jvm build 3.5.9 4.0.1 4.1.4
    python -m tests.conformance.oracle_jvm answer 4.1.4 < scenarios.jsonl > answers.jsonl

pyspark (430 MB a version) and the compiled harness lie in the user's cache folder, never in the source tree:
``$XDG_CACHE_HOME/spark-allocation-operator/oracle`` or ``~/.cache/…``.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from tests.machine.cache import cache_folder
from tests.machine.locking import alone

SOURCES = Path(__file__).parent / "oracle"
SPARK_VERSIONS = ("3.5.9", "4.0.1", "4.1.4")
DEFAULT_VERSION = "4.0.1"

_ADD_OPENS = (
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
)


class OracleUnavailable(Exception):
    """The oracle cannot be built or run here."""


def java() -> str:
    """The JVM to run: that of JAVA_HOME, or the one on the path."""
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if found is None:
        raise OracleUnavailable("no Java: install a JDK 17 or set JAVA_HOME")
    return found


def class_path(version: str) -> str:
    """Build what is missing for one Spark version; returns the class path of the harness."""
    folder = cache_folder() / "oracle" / version
    with alone(folder / "lock"):
        jars = _spark_jars(folder / "venv", version)
        classes = folder / f"classes-{_fingerprint()}"
        if not classes.exists():
            _compile(jars, classes)
    return f"{classes}:{jars}/*"


def python_with_pyspark(version: str) -> Path:
    """A Python that has pyspark of this version, installed if need be."""
    folder = cache_folder() / "oracle" / version
    with alone(folder / "lock"):
        _spark_jars(folder / "venv", version)
    return folder / "venv" / "bin" / "python"


def spark_home(version: str) -> Path:
    """The folder of Spark of this version, as pip installs it: with bin, jars and python."""
    folder = cache_folder() / "oracle" / version
    with alone(folder / "lock"):
        return _spark_jars(folder / "venv", version).parent


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for source in sorted([*SOURCES.glob("src/*.scala"), *SOURCES.glob("conf/*")]):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _spark_jars(venv: Path, version: str) -> Path:
    found = list(venv.glob("lib/python3.*/site-packages/pyspark/jars"))
    if not found:
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        install = [str(venv / "bin" / "python"), "-m", "pip", "install", "-q"]
        subprocess.run([*install, f"pyspark=={version}"], check=True)
        found = list(venv.glob("lib/python3.*/site-packages/pyspark/jars"))
    if not found:
        raise OracleUnavailable(f"pyspark {version} was installed without jars below {venv}")
    return found[0]


def _compile(jars: Path, classes: Path) -> None:
    """Compile with the Scala compiler that pyspark ships; about 16 s."""
    unfinished = classes.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    compiler = [java(), "-Xmx1500m", "-Xss4m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    compiler += ["-cp", f"{jars}/*", "scala.tools.nsc.Main", "-nowarn", "-d", str(unfinished)]
    compiler += ["-cp", ":".join(str(jar) for jar in sorted(jars.glob("*.jar")))]
    sources = [str(source) for source in sorted(SOURCES.glob("src/*.scala"))]
    if subprocess.run([*compiler, *sources], check=False).returncode != 0:
        shutil.rmtree(unfinished)
        raise OracleUnavailable(f"the harness does not compile against {jars.parent}")
    shutil.copy(SOURCES / "conf" / "log4j2.properties", unfinished)
    unfinished.rename(classes)


def _command(version: str, scratch: str) -> list[str]:
    """Run the harness; what Spark's classes leave lying about goes into `scratch`."""
    options = ["-Xmx1g", "-Xss4m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
    options += [f"-Djava.io.tmpdir={scratch}"]
    options += ["-Dsun.net.httpserver.nodelay=true", "-Dio.netty.tryReflectionSetAccessible=true"]
    return [
        java(),
        *options,
        *_ADD_OPENS,
        "-cp",
        class_path(version),
        "org.apache.spark.oracle.Main",
    ]


class Oracle:
    """One JVM with Spark's classes: one JSON value in, one out."""

    def __init__(self, version: str = DEFAULT_VERSION) -> None:
        self.version = version
        self._one_at_a_time = threading.Lock()
        self._scratch = tempfile.TemporaryDirectory(prefix="spark-oracle-")
        self._process = subprocess.Popen(
            _command(version, self._scratch.name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one scenario, or to one step of an open one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._one_at_a_time:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise OracleUnavailable(f"the oracle ended early: exit code {self._process.poll()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask_ahead(
        self, requests: Iterable[dict[str, Any]]
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Requests with their answers, in order; the JVM works while the caller does."""
        with ThreadPoolExecutor(1) as worker:
            ahead: deque[tuple[dict[str, Any], Future[dict[str, Any]]]] = deque()
            for request in requests:
                ahead.append((request, worker.submit(self.ask, request)))
                if len(ahead) > 4:
                    done, answer = ahead.popleft()
                    yield done, answer.result()
            for done, answer in ahead:
                yield done, answer.result()

    def open(self, kind: str, scenario: dict[str, Any]) -> dict[str, Any]:
        """Begin a scenario step by step; continue with `ask` and one operation at a time."""
        return self.ask({**scenario, "kind": "open", "of": kind})

    def close(self) -> None:
        """End the JVM."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
        self._scratch.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def batch(
    scenarios: Iterable[dict[str, Any]], version: str = DEFAULT_VERSION
) -> list[dict[str, Any]]:
    """The answers to many scenarios from one fresh JVM, in order."""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as lines,
        tempfile.TemporaryDirectory(prefix="spark-oracle-") as scratch,
    ):
        count = 0
        for scenario in scenarios:
            lines.write(json.dumps(scenario) + "\n")
            count += 1
        lines.seek(0)
        done = subprocess.run(
            _command(version, scratch), stdin=lines, stdout=subprocess.PIPE, check=True, text=True
        )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != count:
        raise OracleUnavailable(f"{len(answers)} answers to {count} scenarios")
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description="Build or run the oracle.")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="install pyspark and compile the harness")
    build.add_argument("versions", nargs="*", default=list(SPARK_VERSIONS))
    answer = commands.add_parser("answer", help="scenario lines on stdin, answers on stdout")
    answer.add_argument("version", nargs="?", default=DEFAULT_VERSION)
    arguments = parser.parse_args()
    if arguments.command == "build":
        for version in arguments.versions:
            print(version, class_path(version))
    else:
        with tempfile.TemporaryDirectory(prefix="spark-oracle-") as scratch:
            command = _command(arguments.version, scratch)
            sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
