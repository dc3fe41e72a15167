"""The way to a driver: does its REST API answer, is it passive, and is enough known to build its executors?

The questions are asked in this order, and the first that has a bad answer ends the way: an `Unconnected` with the
sentence for the condition. No pod is touched on the way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import aiohttp

from spark_allocation.api.conditions import Reason
from spark_allocation.api.group import USER_LABEL
from spark_allocation.api.v1alpha1 import Mode, SparkAllocationSpec
from spark_allocation.controller.driver_configuration import (
    DriverConfiguration,
    UnreadableConfiguration,
    read_driver_configuration,
)
from spark_allocation.controller.driver_polling import add_profiles
from spark_allocation.controller.effective_settings import EffectiveSettings, effective_settings
from spark_allocation.controller.pod_creation import Apis
from spark_allocation.controller.policy_directory import NO_POLICIES, PolicyDirectory
from spark_allocation.core.driver_report import Application, DriverPod
from spark_allocation.core.passive_driver import offences
from spark_allocation.core.resource_profiles import ResourceProfileManager
from spark_allocation.core.spark_conf import InvalidSetting
from spark_allocation.sources.driver_access import PLAIN, DriverReach, NoAccess
from spark_allocation.sources.driver_rest import DriverRest, find_driver, ui_ports
from spark_allocation.sources.unreachable import Unreachable

ANY_REACH = DriverReach()


class Obstruction(StrEnum):
    """Where the way ended, in one word for the STATE column."""

    UNREACHABLE = "DriverUnreachable"
    NOT_PASSIVE = "DriverNotPassive"
    NOT_READABLE = "NotReadable"
    INVALID_SPEC = "InvalidSpec"
    CHANGED = "DriverStarting"
    """The pod is not the one any more that was looked for; the next look sees another."""


@dataclass(frozen=True, slots=True)
class Unconnected:
    """Why a driver cannot be served, and what to do about it."""

    obstruction: Obstruction
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Connection:
    """A driver that answers and whose executors can be built.

    Attributes:
        driver_document: the driver pod as the API server has it.
        passive: it leaves allocation to the operator; otherwise it can only be advised.
        profile_errors: a sentence about profiles that Spark itself would refuse, or "".
    """

    rest: DriverRest
    application: Application
    configuration: DriverConfiguration
    settings: EffectiveSettings
    profiles: ResourceProfileManager
    driver_document: Mapping[str, Any]
    passive: bool
    profile_errors: str


async def connect(
    driver: DriverPod,
    spec: SparkAllocationSpec,
    session: aiohttp.ClientSession,
    apis: Apis,
    reach: DriverReach = ANY_REACH,
    *,
    policies: PolicyDirectory | None = None,
) -> Connection | Unconnected:
    """Go the way.

    Raises:
        ApiUnavailable: the API server did not answer.
    """
    refusal = reach.addresses.problem(driver.ip)
    if refusal:
        return Unconnected(Obstruction.UNREACHABLE, Reason.ADDRESS_NOT_ALLOWED, refusal)
    try:
        access = reach.access(driver.namespace, spec.driver.access)
    except NoAccess as error:
        return Unconnected(Obstruction.UNREACHABLE, Reason.NO_ACCESS, str(error))
    found = await find_driver(
        session,
        driver.ip,
        ui_ports(driver.ui_port, spec.driver.ui_port, tls=access is not PLAIN),
        driver.labels.get("spark-app-selector", ""),
        access,
    )
    if isinstance(found, Unreachable):
        return Unconnected(Obstruction.UNREACHABLE, found.reason, found.message)
    rest, application = found
    environment = await rest.environment()
    if isinstance(environment, Unreachable):
        return Unconnected(Obstruction.UNREACHABLE, environment.reason, environment.message)
    offending = offences(environment.spark_properties)
    if offending and spec.mode is not Mode.RECOMMEND:
        return Unconnected(
            Obstruction.NOT_PASSIVE,
            Reason.ALLOCATES_ITSELF,
            "the driver allocates for itself; start it with the settings that `spark-allocation driver-conf` "
            f"prints: {'; '.join(map(str, offending))}",
        )
    pod = await apis.pods.get(driver.namespace, driver.name)
    if pod is None or pod["metadata"]["uid"] != driver.uid:
        return Unconnected(
            Obstruction.CHANGED, Reason.DRIVER_STARTING, f"driver pod {driver.name} is another now"
        )
    try:
        configuration = await read_driver_configuration(
            driver_pod=pod,
            application=application,
            environment=environment,
            spark_conf=spec.spark_conf or {},
            objects=apis.objects,
        )
    except InvalidSetting as error:
        return _not_readable(str(error))
    if isinstance(configuration, UnreadableConfiguration):
        return _not_readable(configuration.message)
    try:
        profiles = ResourceProfileManager(configuration.conf)
    except ValueError as error:
        return _not_readable(str(error))
    profile_errors = add_profiles(profiles, environment.resource_profiles)
    settings = settings_of(
        spec, driver, application, configuration, profiles=profiles, policies=policies
    )
    if isinstance(settings, InvalidSetting):
        return Unconnected(Obstruction.INVALID_SPEC, Reason.INVALID_SPEC, str(settings))
    return Connection(
        rest=rest,
        application=application,
        configuration=configuration,
        settings=settings,
        profiles=profiles,
        driver_document=pod,
        passive=not offending,
        profile_errors=profile_errors,
    )


def settings_of(
    spec: SparkAllocationSpec,
    driver: DriverPod,
    application: Application,
    configuration: DriverConfiguration,
    *,
    profiles: ResourceProfileManager,
    policies: PolicyDirectory | None,
) -> EffectiveSettings | InvalidSetting:
    """The settings that hold for a spec, with the policies as they are now.

    Args:
        driver: its labels select policies, and may name the user.
        profiles: that the driver has named so far.
    """
    return effective_settings(
        spec,
        configuration.conf,
        configuration.version,
        NO_POLICIES if policies is None else policies.selected(driver.namespace, driver.labels),
        driver.labels.get(USER_LABEL) or application.spark_user,
        profiles=profiles,
    )


def _not_readable(message: str) -> Unconnected:
    return Unconnected(Obstruction.NOT_READABLE, Reason.UNREADABLE_CONFIGURATION, message)
