"""The names of settings inside Spark's jars: the texts in the constant pools of the classes that declare them.

python -m tests.documents.keys_of_spark     writes spark_kubernetes_keys.txt and spark_keys.txt from the jars of the comparison
"""

import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.oracle_jvm import SPARK_VERSIONS, class_path

KUBERNETES_KEYS = Path(__file__).parent / "spark_kubernetes_keys.txt"
SPARK_KEYS = Path(__file__).parent / "spark_keys.txt"
"""What documentation and examples may speak of: the settings of Spark's core, Kubernetes module and SQL, of any version."""
KUBERNETES_CONFIG = "org/apache/spark/deploy/k8s/Config$"
_CORE = ("org/apache/spark/internal/config/", "org/apache/spark/SparkConf$")
_SQL = tuple(f"org/apache/spark/sql/internal/{name}$" for name in ("SQLConf", "StaticSQLConf"))
_KEY = re.compile(r"spark\.[A-Za-z0-9._-]+")
_UTF8 = 1
_SIZES = {
    3: 4,
    4: 4,
    5: 8,
    6: 8,
    7: 2,
    8: 2,
    9: 4,
    10: 4,
    11: 4,
    12: 4,
    15: 3,
    16: 2,
    17: 4,
    18: 4,
    19: 2,
    20: 2,
}
_TWO_SLOTS = (5, 6)


def kubernetes_keys(version: str) -> set[str]:
    """The settings that Spark's Kubernetes module declares; families end in a dot."""
    return set(_keys(version, "spark-kubernetes_*.jar", (KUBERNETES_CONFIG,)))


def all_keys(version: str) -> set[str]:
    """Those, and the settings of Spark's core, also by their older names."""
    return kubernetes_keys(version) | set(_keys(version, "spark-core_*.jar", _CORE))


def documented_keys() -> set[str]:
    """All of these, of every version of the comparison."""
    found: set[str] = set()
    for version in SPARK_VERSIONS:
        found |= all_keys(version) | set(_keys(version, "spark-catalyst_*.jar", _SQL))
    return found


def _keys(version: str, jar: str, classes: tuple[str, ...]) -> Iterator[str]:
    folder = Path(class_path(version).split(":")[-1]).parent
    (found,) = folder.glob(jar)
    with zipfile.ZipFile(found) as archive:
        for name in archive.namelist():
            if name.startswith(classes) and name.endswith(".class"):
                yield from (text for text in _texts(archive.read(name)) if _KEY.fullmatch(text))


def _texts(code: bytes) -> Iterator[str]:
    """The UTF-8 entries of a class file's constant pool (Java Virtual Machine Specification, 4.4)."""
    (count,) = struct.unpack_from(">H", code, 8)
    at, index = 10, 1
    while index < count:
        tag = code[at]
        if tag == _UTF8:
            (length,) = struct.unpack_from(">H", code, at + 1)
            yield code[at + 3 : at + 3 + length].decode("utf-8", "replace")
            at += 3 + length
        else:
            at += 1 + _SIZES[tag]
        index += 2 if tag in _TWO_SLOTS else 1


if __name__ == "__main__":
    known = set().union(*map(kubernetes_keys, SPARK_VERSIONS))
    for file, keys in ((KUBERNETES_KEYS, known), (SPARK_KEYS, documented_keys())):
        file.write_text("".join(f"{key}\n" for key in sorted(keys)))
