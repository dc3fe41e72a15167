"""Names that our kinds, labels and annotations share."""

GROUP = "sparkallocation.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "SparkAllocation"
PLURAL = "sparkallocations"
SHORT_NAME = "salloc"

FINALIZER = f"{GROUP}/executors"
"""On each SparkAllocation, while the installation without a name serves it."""


def finalizer_of(installation: str) -> str:
    """The finalizer of an installation; "" for the one without a name."""
    return f"{FINALIZER}-{installation}" if installation else FINALIZER


def is_finalizer(name: str) -> bool:
    """Whether it is one of the operator's, whichever installation put it there."""
    return name == FINALIZER or name.startswith(f"{FINALIZER}-")


ALLOCATION_UID_LABEL = f"{GROUP}/allocation-uid"
"""On each executor pod: the uid of the SparkAllocation that made it. With the owner it says the pod is ours."""

INCARNATION_ANNOTATION = f"{GROUP}/incarnation"
"""On each executor pod: which life of which driver container the pod belongs to."""

NEXT_EXECUTOR_ID_ANNOTATION = f"{GROUP}/next-executor-id"
"""On each executor pod: the end of the id block it was taken from; a second witness beside the status."""

MANAGED_LABEL = f"{GROUP}/managed"
"""On a driver pod, with the value "true": the operator makes the SparkAllocation itself."""

MADE_BY_LABEL = f"{GROUP}/made-by"
"""On a SparkAllocation that the operator made for a labelled driver pod."""

FIELD_ANNOTATION_PREFIX = f"spec.{GROUP}/"
"""On a labelled driver pod: ``spec.sparkallocation.dev/dynamicAllocation.maxExecutors: "20"`` sets that field."""

POLICY_KIND = "SparkAllocationPolicy"
POLICY_PLURAL = "sparkallocationpolicies"
POLICY_SHORT_NAME = "sapolicy"

CLUSTER_POLICY_KIND = "ClusterSparkAllocationPolicy"
CLUSTER_POLICY_PLURAL = "clustersparkallocationpolicies"
CLUSTER_POLICY_SHORT_NAME = "csapolicy"

USER_LABEL = f"{GROUP}/user"
"""On a driver pod: whose defaults of policies hold, instead of the Spark user that the driver names."""
