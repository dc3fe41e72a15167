"""Drivers to compare with: the same pods, but Spark's own allocator makes and ends their executors.

They get other rights and another file of properties; everything else is as for the operator.
"""

from pathlib import Path

from tests.cluster import Cluster
from tests.demo import manifests
from tests.demo.api import Object
from tests.e2e.workspace import PROPERTIES

from spark_allocation.core.passive_driver import FALLBACK_SETTINGS

_PROPERTIES_NAME = "self-allocating-driver.properties"
_RIGHTS = [
    {
        "apiGroups": [""],
        "resources": ["pods", "configmaps", "services", "persistentvolumeclaims"],
        "verbs": [
            "get",
            "list",
            "watch",
            "create",
            "update",
            "patch",
            "delete",
            "deletecollection",
        ],
    }
]


def put_account(cluster: Cluster, namespace: str, *, allocates: bool = True) -> None:
    """The drivers' service account in a namespace.

    Args:
        allocates: it may do what Spark's allocator does; else what a passive driver does.
    """
    objects = manifests.namespace_objects(namespace)
    for each in objects:
        if allocates and each["kind"] == "Role":
            each["rules"] = _RIGHTS
    cluster.kubectl("apply", "-f", "-", stdin=manifests.to_yaml(objects))


def properties_file(folder: Path) -> Path:
    """Write their properties, as one of the job's files."""
    file = folder / _PROPERTIES_NAME
    file.write_text("".join(f"{each.key}={each.value}\n" for each in FALLBACK_SETTINGS))
    return file


def let_it_allocate(pod: Object) -> None:
    """Start this driver with those properties instead of a passive driver's."""
    (container,) = pod["spec"]["containers"]
    container["args"] = [
        each.replace(PROPERTIES.name, _PROPERTIES_NAME) for each in container["args"]
    ]
