"""Which life of which driver: the key under which pods, ids and targets belong together.

A driver resubmitted under the same name, a container restarted inside its pod and a second SparkContext in the same
process are other lives: nothing of the former one may count for them. A life is told from another by the driver pod's
uid, the application id and the moment at which the application started. Restart counts are no part of it: a restarted
driver has another start time anyway, and a sidecar that restarts beside a living driver must change nothing.

Running executors carry the incarnation. Another way to compute it would make strangers of them all, so it never changes.
"""

import hashlib
import re

from spark_allocation.core.driver_report import Application, DriverPod

_LONGEST_PREFIX = 200
"""Spark allows 237 characters; this leaves room for the incarnation."""


def incarnation_of(driver: DriverPod, application: Application) -> str:
    """Eight hexadecimal digits that differ between any two lives."""
    key = f"{driver.uid}/{application.id}/{application.started_at_ms}"
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def pod_name_prefix(wanted: str | None, application_name: str, incarnation: str) -> str:
    """The prefix of executor pod names: the configured one or the application's name, and the incarnation.

    Spark: ``KubernetesConf.getResourceNamePrefix``, with the incarnation in place of a random id.
    """
    base = wanted or _as_dns_name(application_name)
    return f"{base[:_LONGEST_PREFIX].rstrip('-.')}-{incarnation}"


def _as_dns_name(name: str) -> str:
    lowered = re.sub(r"[^a-z0-9-]", "-", name.strip().lower())
    collapsed = re.sub(r"-+", "-", lowered).strip("-")
    without_digit = re.sub(r"^[0-9]", "x", collapsed)
    return without_digit or "spark"
