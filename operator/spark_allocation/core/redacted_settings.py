"""Masked values in the driver's report, and whether they matter for an executor pod.

The driver's ``/environment`` masks a value when the key *or the value* looks like a secret
(``spark.redaction.regex``): all secret mounts, and the whole of ``spark.executor.extraJavaOptions`` when one word in it
matches. A pod built from masks would start and then fail in strange ways, so the caller asks first.

Source: ``org.apache.spark.util.Utils.redact``.
"""

import re

from spark_allocation.core.executor_java_options import is_executor_startup_conf
from spark_allocation.core.executor_pod_settings import POD_SETTINGS
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion

REDACTED = "*********(redacted)"
_SECRET = re.compile("(?i)secret|password|token|access[.]?key")
_WITHOUT_EFFECT = frozenset({"spark.authenticate.secret"})
_NEWEST = SparkVersion("", (99, 0, 0))


def looks_secret(text: str) -> bool:
    """Whether Spark's default pattern would mask this (``spark.redaction.regex``)."""
    return _SECRET.search(text) is not None


def required_keys_redacted(conf: SparkConf, version: SparkVersion | None = None) -> tuple[str, ...]:
    """The keys whose value is masked and would change the executor pod, sorted.

    Args:
        conf: the driver's report.
        version: the driver's Spark version; None counts what matters in any version.
    """
    wanted = version or _NEWEST
    return tuple(
        key for key in sorted(conf) if conf[key] == REDACTED and _changes_the_pod(key, wanted)
    )


def _changes_the_pod(key: str, version: SparkVersion) -> bool:
    if key in _WITHOUT_EFFECT:
        return False
    if is_executor_startup_conf(key, version):
        return True
    return any(
        key.startswith(setting.key) if setting.is_family else key == setting.key
        for setting in POD_SETTINGS
        if setting.key not in _STARTUP_FAMILIES
        and (not setting.since or version.at_least(*map(int, setting.since.split("."))))
    )


_STARTUP_FAMILIES = frozenset(
    {"spark.auth", "spark.rpc", "spark.network", "spark.ssl", "spark.port."}
)
