"""``${…}`` inside configuration values.

Spark replaces references when it reads a setting through its config entry, not when it hands a value on as it stands:
labels, annotations, environment, volumes and ``-D`` options keep theirs. ``${spark.x}`` is another setting;
``${env:X}`` and ``${system:x}`` are the driver's environment variables and Java properties, which cannot be seen from
outside, so a setting that needs one is refused rather than guessed. The same goes for a reference to a setting that is
not set: Spark would take its default.

Source: ``org.apache.spark.internal.config.ConfigReader.substitute``, ``SparkConfigProvider``.
"""

import re
from collections.abc import Iterable

from spark_allocation.core.pod_refusals import RefusalReason, refuse
from spark_allocation.core.spark_conf import SparkConf

_REFERENCE = re.compile(r"\$\{(?:(\w+?):)?(\S+?)\}")


def with_references_replaced(conf: SparkConf, keys: Iterable[str]) -> SparkConf:
    """A copy in which the values of ``keys`` have their references replaced.

    Raises:
        PodNotBuildableError: for a reference whose value cannot be known from the configuration.
    """
    replaced = {
        key: _replace(conf, key, conf[key], ()) for key in keys if key in conf and "${" in conf[key]
    }
    return conf.with_values(replaced) if replaced else conf


def _replace(conf: SparkConf, key: str, value: str, seen: tuple[str, ...]) -> str:
    def referenced(match: re.Match[str]) -> str:
        provider, name = match.group(1), match.group(2)
        if provider is None and not name.startswith("spark."):
            return match.group(0)
        if provider not in (None, "env", "system"):
            return match.group(0)
        if name in seen:
            refuse(
                RefusalReason.INVALID_VALUE,
                key,
                value,
                f"refers to itself through {match.group(0)}",
            )
        if provider is not None or name not in conf:
            refuse(
                RefusalReason.UNRESOLVED_REFERENCE,
                key,
                value,
                f"{match.group(0)} is known inside the driver only: write its value",
            )
        return _replace(conf, key, conf[name], (*seen, name))

    return _REFERENCE.sub(referenced, value)
