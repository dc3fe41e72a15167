"""The settings of the pods allocator, read from Spark's configuration as each Spark version reads them.

Theory of operation
-------------------
`PodsAllocatorConf.from_spark_conf` gives Spark's behaviour and refuses what Spark refuses. Four fields have no
Spark key; they are off in what it returns and are switched on by the caller that allocates for real:

- ``batch_size=None``: ask for everything that is missing at once. Spark creates pods one after the other on one
  thread, so it needs small batches; a concurrent creator does not.
- ``wait_for_previous_batch=False``: do not wait until each pod of the last batch was seen. Pods asked for and not
  seen yet are counted, so waiting adds time and no safety.
- ``round_at_once=True``: make a round as soon as a target changes, without waiting for the pause since the last one.
- ``repair_known_faults=True``: do not repeat three faults of Spark's allocator, listed at the field.

Source: ``deploy.k8s.Config``, ``ExecutorPodsAllocator``, ``KubernetesClusterSchedulerBackend``.
"""

from dataclasses import dataclass

from spark_allocation.core.jvm_numbers import wrap_long
from spark_allocation.core.spark_conf import INT_MAX, MILLISECOND, SECOND, InvalidSetting, SparkConf
from spark_allocation.core.spark_version import SparkVersion

BATCH_SIZE = "spark.kubernetes.allocation.batch.size"
BATCH_DELAY = "spark.kubernetes.allocation.batch.delay"
EXECUTOR_TIMEOUT = "spark.kubernetes.allocation.executor.timeout"
MAX_PENDING_PODS = "spark.kubernetes.allocation.maxPendingPods"
MAX_PENDING_PODS_PER_PROFILE = "spark.kubernetes.allocation.maxPendingPodsPerRp"
ALLOCATION_MAXIMUM = "spark.kubernetes.allocation.maximum"
EXECUTOR_IDLE_TIMEOUT = "spark.dynamicAllocation.executorIdleTimeout"
DELETE_ON_TERMINATION = "spark.kubernetes.executor.deleteOnTermination"
OWN_CLAIMS = "spark.kubernetes.driver.ownPersistentVolumeClaim"
REUSE_CLAIMS = "spark.kubernetes.driver.reusePersistentVolumeClaim"
WAIT_TO_REUSE_CLAIMS = "spark.kubernetes.driver.waitToReusePersistentVolumeClaim"
MAX_EXECUTORS = "spark.dynamicAllocation.maxExecutors"
EXECUTOR_INSTANCES = "spark.executor.instances"
DEFAULT_EXECUTOR_INSTANCES = 2


@dataclass(frozen=True, slots=True)
class ClaimsConf:
    """How persistent volume claims that executors leave behind are used again (SPARK-35416, SPARK-41410).

    Attributes:
        own: claims belong to the driver pod and so outlive the executor.
        reuse: a new executor takes a free claim of the same storage class and size instead of a new one.
        wait: once ``maximum`` claims were made, new executors wait for a free one.
        maximum: as many claims as there may be executors.
        minimum_age_ms: a claim younger than this may belong to a pod that no snapshot shows yet.
    """

    own: bool = True
    reuse: bool = True
    wait: bool = False
    maximum: int = INT_MAX
    minimum_age_ms: int = 600_000

    @property
    def waits_for_reuse(self) -> bool:
        """``ExecutorPodsAllocator.podAllocOnPVC``."""
        return self.own and self.reuse and self.wait


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsAllocatorConf:
    """Settings of `spark_allocation.core.pods_allocator.ExecutorPodsAllocator`; times in milliseconds.

    Attributes:
        batch_size: pods asked for in one round and profile, at least one; None: everything that is missing.
        batch_delay_ms: pause between two rounds.
        creation_timeout_ms: a pod that was created and seen by nobody for longer is given up.
        idle_timeout_ms: a pod that is not running and in excess is withdrawn when older than this.
        max_pending_pods: pods of all profiles together that may be not running.
        max_pending_pods_per_profile: the same for each profile.
        allocation_maximum: executor ids reach at most one less than this.
        delete_on_termination: pods that were given up are also deleted.
        claims: see `ClaimsConf`.
        wait_for_previous_batch: ask for more only when each pod of the last batch was seen or has registered.
        round_at_once: a changed target is acted on at once, also while pods of former rounds are outstanding.
        repair_known_faults: (1) group pods by their profile also when only one profile is expected: Spark then takes
            every pod for one of profile 0, and starts executors without end when the one is another; (2) forget a
            pod that a full list, asked for after its creation, does not show: Spark counts an executor that registered
            and died unseen for ever (SPARK-52589). The list must be consistent, not one of ``resourceVersion=0``; (3) take the claims
            of the pods that are there for used, and no others: Spark offers those of running pods again in a round
            without a new snapshot, and in the round in which a pod goes its replacement does not get its claim.
    """

    batch_size: int | None
    batch_delay_ms: int = 1_000
    creation_timeout_ms: int = 600_000
    idle_timeout_ms: int = 60_000
    max_pending_pods: int = INT_MAX
    max_pending_pods_per_profile: int = INT_MAX
    allocation_maximum: int = INT_MAX
    delete_on_termination: bool = True
    claims: ClaimsConf = ClaimsConf()
    wait_for_previous_batch: bool = True
    round_at_once: bool = False
    repair_known_faults: bool = False

    @classmethod
    def from_spark_conf(cls, conf: SparkConf, version: SparkVersion) -> "PodsAllocatorConf":
        """Read the settings as the allocator of that Spark version does.

        Raises:
            InvalidSetting: for what that version refuses.
        """
        delay = conf.time(BATCH_DELAY, 1_000, MILLISECOND)
        if version.at_least(4, 0):
            _require(conf, BATCH_DELAY, delay > 100, "must be greater than 0.1s")
        else:
            _require(conf, BATCH_DELAY, delay > 0, "must be a positive time value")
        timeout = conf.time(EXECUTOR_TIMEOUT, 600_000, MILLISECOND)
        _require(conf, EXECUTOR_TIMEOUT, timeout > 0, "must be a positive time value")
        idle_timeout = conf.time(EXECUTOR_IDLE_TIMEOUT, 60, SECOND)
        _require(conf, EXECUTOR_IDLE_TIMEOUT, idle_timeout >= 0, "must be >= 0")
        # both products are 64-bit in Spark and wrap around
        creation_timeout = max(wrap_long(5 * delay), timeout)
        max_pending, max_pending_per_profile, maximum = _pending_limits(conf, version)
        return cls(
            batch_size=_positive(conf, BATCH_SIZE, default_batch_size(version)),
            batch_delay_ms=delay,
            creation_timeout_ms=creation_timeout,
            idle_timeout_ms=wrap_long(idle_timeout * 1_000),
            max_pending_pods=max_pending,
            max_pending_pods_per_profile=max_pending_per_profile,
            allocation_maximum=maximum,
            delete_on_termination=conf.boolean(DELETE_ON_TERMINATION, True),
            claims=_claims(conf, creation_timeout),
        )


def default_batch_size(version: SparkVersion) -> int:
    """``spark.kubernetes.allocation.batch.size`` where nobody sets it."""
    if version.at_least(4, 2):
        return 20
    return 10 if version.at_least(4, 0) else 5


def _pending_limits(conf: SparkConf, version: SparkVersion) -> tuple[int, int, int]:
    max_pending = _positive(conf, MAX_PENDING_PODS, INT_MAX)
    if not version.at_least(4, 1):
        return max_pending, INT_MAX, INT_MAX
    per_profile = _positive(conf, MAX_PENDING_PODS_PER_PROFILE, INT_MAX)
    _require(
        conf,
        MAX_PENDING_PODS_PER_PROFILE,
        per_profile == INT_MAX or per_profile <= max_pending,
        f"must not exceed {MAX_PENDING_PODS} ({max_pending})",
    )
    return max_pending, per_profile, _positive(conf, ALLOCATION_MAXIMUM, INT_MAX)


def _claims(conf: SparkConf, creation_timeout: int) -> ClaimsConf:
    if conf.boolean("spark.dynamicAllocation.enabled", False):
        maximum = conf.integer(MAX_EXECUTORS, INT_MAX)
    else:
        maximum = conf.integer(EXECUTOR_INSTANCES, DEFAULT_EXECUTOR_INSTANCES)
    return ClaimsConf(
        own=conf.boolean(OWN_CLAIMS, True),
        reuse=conf.boolean(REUSE_CLAIMS, True),
        wait=conf.boolean(WAIT_TO_REUSE_CLAIMS, False),
        maximum=maximum,
        minimum_age_ms=creation_timeout,
    )


def _positive(conf: SparkConf, key: str, default: int) -> int:
    value = conf.integer(key, default)
    _require(conf, key, value > 0, "must be a positive integer")
    return value


def _require(conf: SparkConf, key: str, holds: bool, rule: str) -> None:
    if not holds:
        raise InvalidSetting(key, conf.get(key, ""), rule)
