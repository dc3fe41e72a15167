"""What an executor may have: by default nothing that its driver pod does not have.

Theory of operation
-------------------
The operator creates pods with its own rights, from settings and a template that a user wrote. Without a limit, whoever
may write a SparkAllocation could have any pod of the namespace: one with another team's Secret, another service account,
the node's file system. The limit is the driver pod. It exists, so somebody who may create pods created it, and admission
has let it pass; what it has, its executors may have. Everything else is refused with the field's path and a sentence,
unless the cluster's policy widens the limit (`PodAllowList`).

The *finished* pod is checked, so it does not matter whether a field came from the template, from a setting such as
``spark.kubernetes.executor.secrets.*``, or from a default. Fields are on lists: harmless ones pass, known ones are
compared with the driver's, and a field that is on neither list passes only when the driver has the same value, so that a
field of a future Kubernetes is refused rather than overlooked.

What an executor leaves unsaid is the namespace's default (service account ``default``, the image's user), for it as for
every pod of the namespace; Pod Security admission judges executors like every other pod.

Not judged here: what code runs inside the executor's JVM. The driver decides that anyway, for its executors run its tasks
under this service account; who may set Java options, environment, hooks and probes is a question for admission. Only the
container's command and arguments are: with them it would be no executor at all.
"""

from collections.abc import Iterable
from itertools import chain

from spark_allocation.core.pod_limits.allow_list import NOTHING_MORE, OffendingField, PodAllowList
from spark_allocation.core.pod_limits.comparison import Json, PodComparison
from spark_allocation.core.pod_limits.containers import container_limits
from spark_allocation.core.pod_limits.pod_fields import metadata_limits, spec_limits
from spark_allocation.core.pod_limits.volumes import claim_limits, volume_limits

__all__ = ["NOTHING_MORE", "OffendingField", "PodAllowList", "offending_fields"]


def offending_fields(
    executor_pod: Json,
    driver_pod: Json,
    allowed: PodAllowList = NOTHING_MORE,
    *,
    own_config_maps: Iterable[str] = (),
    own_claims: Iterable[Json] = (),
    template: Json | None = None,
) -> tuple[OffendingField, ...]:
    """The fields of an executor pod that neither its driver pod nor the allow-list justify.

    Args:
        executor_pod: as built; its last container is the executor.
        driver_pod: as the API server has it.
        allowed: what the cluster's policy adds.
        own_config_maps: ConfigMaps that the driver made for its executors without mounting them itself.
        own_claims: claims that are made along with the pod, as documents. They are judged too; whoever makes them sees
            to it that they are not there yet.
        template: the user's template, for what the builder would drop silently: owners of its own.
    """
    both = PodComparison(
        executor_pod, driver_pod, allowed, frozenset(own_config_maps), tuple(own_claims)
    )
    return tuple(
        chain(
            metadata_limits(both, template),
            spec_limits(both),
            volume_limits(both),
            claim_limits(both),
            container_limits(both),
        )
    )
