"""The rights that the operator needs: what deploy/10-rbac.yaml grants, as values that `doctor` asks for one by one."""

from spark_allocation.api.group import CLUSTER_POLICY_PLURAL, GROUP, PLURAL, POLICY_PLURAL
from spark_allocation.kube.cluster_reading import Right


def _rights(group: str, resource: str, *verbs: str) -> tuple[Right, ...]:
    return tuple(Right(group, resource, verb) for verb in verbs)


IN_EACH_NAMESPACE: tuple[Right, ...] = (
    *_rights(GROUP, PLURAL, "get", "list", "watch", "create", "delete", "patch"),
    *_rights(GROUP, f"{PLURAL}/status", "patch"),
    *_rights(GROUP, POLICY_PLURAL, "list", "watch"),
    *_rights(GROUP, f"{POLICY_PLURAL}/status", "patch"),
    *_rights("", "pods", "get", "list", "watch", "create", "delete"),
    *_rights("", "configmaps", "get", "list", "delete"),
    *_rights("", "persistentvolumeclaims", "get", "list", "create", "delete"),
    *_rights("", "events", "create"),
)
"""In every namespace that is served."""

FOR_NODES: tuple[Right, ...] = _rights("", "nodes", "list", "watch")
"""Which may be left out (``watch.nodes`` of the chart): then no executor is replaced before its node goes."""

IN_ALL_NAMESPACES: tuple[Right, ...] = (
    *_rights(GROUP, CLUSTER_POLICY_PLURAL, "list", "watch"),
    *_rights(GROUP, f"{CLUSTER_POLICY_PLURAL}/status", "patch"),
    *FOR_NODES,
)
"""Cluster-wide; an install of Roles alone goes without."""

IN_ITS_OWN_NAMESPACE: tuple[Right, ...] = _rights(
    "coordination.k8s.io", "leases", "get", "create", "patch"
)
"""Where the operator runs."""
