"""What decides how many executors an application has, and how they come and go: all of it that may change while it runs."""

from dataclasses import dataclass, field

from spark_allocation.core.drains import DrainConf
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.failure_tracker import FailureLimitConf
from spark_allocation.core.idle_sight import IdleSightConf
from spark_allocation.core.lifecycle_manager import (
    LifecycleConf,
)
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.shuffle_holders import ShuffleHoldConf
from spark_allocation.core.streaming.settings import StreamingSettings


@dataclass(frozen=True, slots=True)
class AllocationSettings:
    """What decides how many executors there are and how they come and go.

    Attributes:
        shuffle: what becomes of shuffle data, and so who is held for it.
        max_concurrent_drains: executors that may be leaving at once, at least one; None for no limit.
        streaming: how streams are served; None: like any other tasks, as in Spark.
        idle_sight: how late the driver tells what its executors do.
    """

    dynamic: DynamicAllocationConf
    pods: PodsAllocatorConf
    lifecycle: LifecycleConf = field(default_factory=LifecycleConf)
    shuffle: ShuffleHoldConf = field(default_factory=ShuffleHoldConf)
    failures: FailureLimitConf = field(default_factory=FailureLimitConf)
    max_concurrent_drains: int | None = None
    streaming: StreamingSettings | None = None
    idle_sight: IdleSightConf = field(default_factory=IdleSightConf)

    @property
    def drains(self) -> DrainConf:
        """How executors leave."""
        return DrainConf(self.dynamic.decommission_enabled, self.max_concurrent_drains)
