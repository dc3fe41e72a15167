"""A real Kubernetes for the tests and the demo: `connect()` to a cluster, then use it.

    from tests import cluster

    ours = cluster.connect()            # the running default cluster, or a ClusterError
    ours = cluster.require()            # the same, brought up first if need be (needs root)
    ours.kubectl("get", "pods")         # its output; raises ClusterError when kubectl fails
    cluster.load_spark(ours)            # the Spark image, made if need be; its name
    ours.kubeconfig, ours.context       # for a client library

Nothing here reads ~/.kube/config or KUBECONFIG: a cluster is either one this package made, known
by the uid of its kube-system namespace, or one that was named by its context.
"""

from tests.cluster.access import Cluster, connect, connect_existing, require
from tests.cluster.layout import DEFAULT_NAME
from tests.cluster.loading import load_archive, load_operator, load_pause, load_spark
from tests.machine.errors import ClusterError

__all__ = [
    "DEFAULT_NAME",
    "Cluster",
    "ClusterError",
    "connect",
    "connect_existing",
    "load_archive",
    "load_operator",
    "load_pause",
    "load_spark",
    "require",
]
