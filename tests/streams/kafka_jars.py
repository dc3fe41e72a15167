"""Kafka's broker, and Spark's source for Kafka, as jars that Maven fetches into the user's cache folder.

    python -m tests.streams.kafka_jars               # fetch what the tests use
    python -m tests.streams.kafka_jars lock          # write kafka/jars.sha256 anew, after a change of versions

The versions stand in the files of kafka/, and what each jar has to hold in kafka/jars.sha256: another content, another jar or
a missing one is refused. Maven asks whatever repository it is configured for.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.images.archive import content_key
from tests.machine.cache import cache_folder
from tests.machine.errors import ClusterError
from tests.machine.locking import alone
from tests.machine.reporting import Reporter

_HERE = Path(__file__).parent / "kafka"
LOCK = _HERE / "jars.sha256"
SOURCES = {
    "3.5.9": ("3.5.7", "3.5.7"),
    "4.0.1": ("4.0.1", "4.0.0"),
    "4.1.4": ("4.1.3", "4.1.0-preview1"),
}
"""Spark's version → those of its Kafka source and of the token provider, which the source wants even where no token is used: the
nearest ones of its minor version that were to be had when they were locked."""
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


@dataclass(frozen=True, slots=True)
class JarSet:
    """Jars that are used together.

    Attributes:
        name: of their folder in the cache, and before each of their lines in the lock.
        project: the file of kafka/ that Maven reads.
        properties: that it leaves open.
    """

    name: str
    project: str
    properties: tuple[str, ...] = ()

    def folder(self, locked: dict[str, str]) -> Path:
        """Where they lie; another one for other contents."""
        key = content_key(*(f"{jar}={digest}" for jar, digest in sorted(locked.items())))
        return cache_folder() / "kafka" / f"{self.name}-{key}"


BROKER = JarSet("broker", "broker.xml")


def source_of(spark_version: str) -> JarSet:
    """Those that Spark of a version needs to read Kafka, beside its own."""
    scala = "2.12" if spark_version.startswith("3.") else "2.13"
    version, token = SOURCES.get(spark_version, (spark_version, spark_version))
    return JarSet(
        f"spark-{spark_version}",
        "source.xml",
        (f"-Dspark.version={version}", f"-Dtoken.version={token}", f"-Dscala.version={scala}"),
    )


def broker_jars(reporter: Reporter) -> list[Path]:
    """What a broker runs from.

    Raises:
        ClusterError: they cannot be had, or are not what the lock says.
    """
    return ensure(BROKER, reporter)


def source_jars(spark_version: str, reporter: Reporter) -> list[Path]:
    """For `spark.jars`.

    Raises:
        ClusterError: as `broker_jars`, or nothing is locked for this version.
    """
    return ensure(source_of(spark_version), reporter)


def ensure(wanted: JarSet, reporter: Reporter) -> list[Path]:
    """Jars of one folder, fetched if they are not there.

    Raises:
        ClusterError: they cannot be had, are not what the lock says, or it does not know them.
    """
    locked = locked_of(wanted.name, LOCK.read_text())
    if not locked:
        raise ClusterError(
            f"{LOCK.name} has no jars of {wanted.name}; versions that are there: "
            f"{', '.join(SOURCES)}. Add one to SOURCES in {Path(__file__).name} and run "
            "`python -m tests.streams.kafka_jars lock`."
        )
    folder = wanted.folder(locked)
    with alone(cache_folder() / "kafka" / ".lock"):
        if not folder.exists():
            with _fetched(wanted, reporter) as fetched:
                check(wanted.name, fetched, locked)
                fetched.rename(folder)
    return sorted(folder.iterdir())


def locked_of(name: str, lock: str) -> dict[str, str]:
    """SHA-256 by file name, of one set of jars."""
    found = {}
    for line in lock.splitlines():
        digest, _, path = line.partition("  ")
        folder, _, jar = path.partition("/")
        if folder == name:
            found[jar] = digest
    return found


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 by file name."""
    return {
        each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.glob("*.jar")
    }


def check(name: str, folder: Path, locked: dict[str, str]) -> None:
    """Compare jars with the lock.

    Raises:
        ClusterError: they differ; names those that do.
    """
    found = digests(folder)
    others = sorted(jar for jar in found.keys() | locked if found.get(jar) != locked.get(jar))
    if others:
        raise ClusterError(
            f"What Maven fetched for {name} is not what {LOCK.name} says: {', '.join(others)}. "
            "If versions were changed: `python -m tests.streams.kafka_jars lock`, and look at the difference."
        )


@contextmanager
def _fetched(wanted: JarSet, reporter: Reporter) -> Iterator[Path]:
    """A folder with the jars, beside the one in which they are to stay."""
    maven = shutil.which("mvn")
    if maven is None:
        raise ClusterError("Kafka is fetched with Maven and no `mvn` was found: install maven.")
    root = cache_folder() / "kafka"
    with tempfile.TemporaryDirectory(dir=root, prefix=f".{wanted.name}-") as scratch:
        project, jars = Path(scratch) / "pom.xml", Path(scratch) / "jars"
        shutil.copy(_HERE / wanted.project, project)
        with reporter.step(f"fetching jars of Kafka with Maven ({wanted.name})"):
            result = subprocess.run(
                [
                    *(maven, "--batch-mode", "--no-transfer-progress", "--strict-checksums"),
                    *(f"--file={project}", _COPY, f"-DoutputDirectory={jars}"),
                    *("-DincludeScope=runtime", *wanted.properties),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
        if result.returncode != 0:
            raise ClusterError(
                f"Maven cannot fetch {wanted.name}; it said:\n{result.stdout[-2000:]}"
            )
        jars.chmod(0o755)
        yield jars


def write_lock(reporter: Reporter) -> None:
    """Fetch everything and note what it is."""
    lines = []
    with alone(cache_folder() / "kafka" / ".lock"):
        for wanted in (BROKER, *map(source_of, SOURCES)):
            with _fetched(wanted, reporter) as fetched:
                lines += [
                    f"{digest}  {wanted.name}/{jar}"
                    for jar, digest in sorted(digests(fetched).items())
                ]
    LOCK.write_text("\n".join(lines) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=("fetch", "lock"), default="fetch")
    options = parser.parse_args()
    reporter = Reporter()
    try:
        if options.what == "lock":
            write_lock(reporter)
            return 0
        for wanted in (BROKER, *map(source_of, SOURCES)):
            print(ensure(wanted, reporter)[0].parent)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
