"""Which spec holds for a SparkAllocation, while its life that is served follows it.

A spec that stops making sense does not stop a job that runs: the last settings that made sense stay in force, and the
condition says so. (After a restart of the operator nothing is known of them; then nothing is touched until the spec is
mended.) It is tried again whenever something changes on which it depends: policies, the labels of the driver pod by
which they select it, or the resource profiles that the driver has named.

A spec that asks for another driver, another mode or other Spark properties is followed by no life: the one that is
served ends, and the way to the driver is gone anew. With the same driver it is the same life, and its pods and targets stay.
"""

from collections.abc import Callable, Mapping
from typing import Any

from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.controller.allocation_statements import AllocationStatements
from spark_allocation.controller.driver_connection import Connection, settings_of
from spark_allocation.controller.driver_life import DriverLife
from spark_allocation.controller.executor_building import NO_WISH, ExecutorWish, executor_wish
from spark_allocation.controller.policy_directory import NO_POLICIES, PolicyDirectory
from spark_allocation.controller.profile_settings import NO_ENTRIES
from spark_allocation.controller.spec_reading import (
    InvalidSpec,
    read_spec,
    unknown_fields,
    wish,
)
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.core.pod_allow_list import NOTHING_MORE, PodAllowList
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.spark_conf import InvalidSetting


class SpecInForce:
    """Of one SparkAllocation.

    Args:
        policies: that may select it.
        statements: told what policies made of it.
        another_driver: called when it asks for another driver than before.
    """

    def __init__(
        self,
        policies: PolicyDirectory,
        statements: AllocationStatements,
        another_driver: Callable[[], None],
    ) -> None:
        self.spec: SparkAllocationSpec | None = None
        """The last that made sense; None before there was one."""
        self.problem = ""
        """What is wrong with the newest spec, while the last good settings stay in force; "" when nothing is."""
        self.driver: DriverPod | None = None
        """The driver pod of the life that follows it, or followed it last, as it is known now."""
        self._policies = policies
        self._statements = statements
        self._another_driver = another_driver
        self._newest: SparkAllocationSpec | None = None
        self._life: DriverLife | None = None
        self._life_wish: tuple[object, ...] = ()
        self._connection: Connection | None = None
        self._selected = NO_POLICIES
        self._profiles = NO_ENTRIES

    # -- what changes ------------------------------------------------------------------------------------------------

    def read(self, body: Mapping[str, Any]) -> None:
        """The object has another spec."""
        spec = read_spec(body)
        if isinstance(spec, InvalidSpec):
            self._newest = None
            self.problem = str(spec)
        else:
            self._statements.unknown_fields(unknown_fields(body))
            self._newest = spec
            self._take_over(spec)

    def renew(self) -> None:
        """Put together anew what holds."""
        if self._newest is not None:
            self._take_over(self._newest)
        elif self.spec is not None:
            problem = self.problem
            self._take_over(self.spec)
            self.problem = problem

    def driver_seen(self, driver: DriverPod) -> None:
        """A driver pod changed: other policies may select it by its labels."""
        if self.driver is None or driver.uid != self.driver.uid:
            return
        relabelled = driver.labels != self.driver.labels
        self.driver = driver
        if self._life is not None:
            self._life.relabelled(driver.labels)
        if relabelled:
            self.renew()

    @property
    def knows_policies(self) -> bool:
        """The policies by which the life is served are those that select its driver now."""
        return (
            self.driver is not None
            and self._life is not None
            and self._policies.selected(self.driver.namespace, self.driver.labels) == self._selected
        )

    # -- the life that follows ---------------------------------------------------------------------------------------

    def follow(
        self, life: DriverLife, driver: DriverPod, connection: Connection, spec: SparkAllocationSpec
    ) -> None:
        """Let a life follow from now on, made from a spec and policies which may be older ones by now."""
        self._life, self._life_wish, self.driver = life, wish(spec), driver
        self._connection = connection
        self._selected = connection.settings.policies
        self._profiles = connection.settings.profiles
        if self.spec is not None and self.spec is not spec:
            newer, self.spec = self.spec, spec
            self._take_over(newer)
        elif not self.knows_policies:
            self.renew()

    def no_longer_followed(self) -> None:
        """The life is not served any longer."""
        self._life = None

    @property
    def asks_for_another_life(self) -> bool:
        """The life cannot follow any further."""
        return self.spec is not None and wish(self.spec) != self._life_wish

    def executor_wish(self, profile_id: ProfileId) -> ExecutorWish:
        """What it says of the executor pods of a profile."""
        if self.spec is None:
            return NO_WISH
        return executor_wish(self.spec, self._profiles, profile_id)

    def allowed_fields(self) -> PodAllowList:
        """What policies let executors have beyond their driver pod."""
        if self.driver is None:
            return NOTHING_MORE
        return self._policies.selected(self.driver.namespace, self.driver.labels).allowed

    # -- inside ------------------------------------------------------------------------------------------------------

    def _take_over(self, spec: SparkAllocationSpec) -> None:
        """Let a valid spec be what is wanted, and the life that is served follow it, unless Spark refuses what it says."""
        if self._life is not None and self._connection is not None:
            assert self.driver is not None
            settings = settings_of(
                spec,
                self.driver,
                self._connection.application,
                self._connection.configuration,
                profiles=self._connection.profiles,
                policies=self._policies,
            )
            if isinstance(settings, InvalidSetting):
                self.problem = str(settings)
                return
            self._selected = settings.policies
            self._profiles = settings.profiles
            self._statements.policies(settings)
            if wish(spec) == self._life_wish:
                self._life.reconfigure(settings)
        before, self.spec = self.spec, spec
        self.problem = ""
        if before is not None and spec.driver != before.driver:
            self._another_driver()
