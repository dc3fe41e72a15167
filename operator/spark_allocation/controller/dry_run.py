"""What the operator would do for a SparkAllocation, decided by the core itself, without a cluster.

One stage of waiting tasks is put before the same `Allocation` that serves real drivers, on a clock that is only
counted. Pods run and register some seconds after they were asked for; tasks that have a place keep it. So what is seen
is the first wave: how fast it rises, where it ends, and what ends it.

Several SparkAllocations begin together. The operator's own coordinator divides among them the budgets that cover them, and
knows of nobody else: what a budget leaves here is at least what it leaves where others have a part of it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spark_allocation.api.group import CLUSTER_POLICY_KIND, GROUP, KIND, POLICY_KIND, VERSION
from spark_allocation.api.policies import StoredBudget
from spark_allocation.controller.budget_coordinator import BudgetCoordinator
from spark_allocation.controller.driver_configuration import parse_java_properties
from spark_allocation.controller.driver_directory import DriverDirectory
from spark_allocation.controller.effective_settings import EffectiveSettings, effective_settings
from spark_allocation.controller.executor_building import executor_wish
from spark_allocation.controller.policy_directory import PolicyDirectory, SelectedPolicies
from spark_allocation.controller.policy_files import is_ours
from spark_allocation.controller.spec_reading import InvalidSpec, read_spec
from spark_allocation.controller.supposed_driver import (
    DEFAULT_PROFILE,
    EPOCH_MS,
    Moment,
    Supposed,
    SupposedApplication,
    SupposedDriver,
)
from spark_allocation.core.passive_driver import PASSIVE_SETTINGS
from spark_allocation.core.resource_profiles import ResourceProfileManager
from spark_allocation.core.spark_conf import InvalidSetting, SparkConf
from spark_allocation.snapshots_store import DriverKey, ExecutorPodsSnapshotsStore

LONGEST_SECONDS = 600
_DIVISION_MS = 100


@dataclass(frozen=True, slots=True)
class DryRun:
    """One SparkAllocation, run dry.

    Attributes:
        grant_reason: how the grant came about in the end; "" when no budget covers it.
        notes: what has to be known about its budgets, in sentences.
    """

    namespace: str
    name: str
    settings: EffectiveSettings
    policies: SelectedPolicies
    moments: tuple[Moment, ...]
    grant_reason: str = ""
    notes: tuple[str, ...] = ()


def dry_runs(documents: Iterable[Mapping[str, Any]], supposed: Supposed) -> list[DryRun] | str:
    """Run every SparkAllocation among these documents under the policies among them; a sentence when that cannot be.

    They begin in the same moment, and share the budgets that cover them. What stands beside them and is none of ours, such
    as a Namespace, is left out.

    Raises:
        InvalidSetting: a setting of the supposed driver that Spark would refuse.
    """
    directory = PolicyDirectory()
    bodies = []
    for document in documents:
        if wrong := _of_another_version(document):
            return wrong
        if document.get("kind") == KIND:
            bodies.append(document)
        elif is_ours(document):
            directory.update(str(document.get("kind")), document)
    if not bodies:
        return "there is no SparkAllocation in the files"
    drivers: list[SupposedDriver] = []
    for body in bodies:
        application = _application(body, directory, supposed)
        if isinstance(application, str):
            return application
        drivers.append(SupposedDriver(application, supposed))
    clock = _Clock()
    coordinator = BudgetCoordinator(
        directory, ExecutorPodsSnapshotsStore(), DriverDirectory(), now_ms=lambda: clock.now_ms
    )
    for place, driver in enumerate(drivers):
        own = driver.application
        key = DriverKey(own.namespace, f"driver-{place}")
        driver.member = coordinator.join(
            own.name, key, own.labels, wake=driver.wake, next_size=driver.next_size
        )
    _run(drivers, coordinator, clock)
    budgets = [budget for policy in directory.all() for budget in policy.budgets]
    return [
        DryRun(
            driver.application.namespace,
            driver.application.name,
            driver.application.settings,
            driver.application.settings.policies,
            tuple(driver.moments),
            driver.grant_reason,
            tuple(_budget_notes(driver, drivers, budgets)),
        )
        for driver in drivers
    ]


def read_properties(text: str) -> dict[str, str]:
    """Properties as spark-submit's ``--properties-file`` takes them: ``key=value``, ``key value`` or ``key: value``."""
    lines = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and stripped[0] not in "#!" and "=" not in stripped:
            key, _, value = stripped.replace(":", " ", 1).partition(" ")
            stripped = f"{key}={value.strip()}"
        lines.append(stripped)
    return parse_java_properties("\n".join(lines))


@dataclass(slots=True)
class _Clock:
    now_ms: int = EPOCH_MS


def _of_another_version(document: Mapping[str, Any]) -> str:
    """Why the API server would not know this object of ours; "" when it would, or when it does not say its version."""
    kind, version = document.get("kind"), document.get("apiVersion")
    ours = f"{GROUP}/{VERSION}"
    if kind not in (KIND, POLICY_KIND, CLUSTER_POLICY_KIND) or version in (None, ours):
        return ""
    name = (document.get("metadata") or {}).get("name") or ""
    return f"{kind} {name}: apiVersion is {version!r}; this release knows {ours}"


def _application(
    body: Mapping[str, Any], directory: PolicyDirectory, supposed: Supposed
) -> SupposedApplication | str:
    metadata = body.get("metadata") or {}
    namespace = str(metadata.get("namespace") or "default")
    name = str(metadata.get("name") or "")
    spec = read_spec(body, strict=True)
    if isinstance(spec, InvalidSpec):
        return f"SparkAllocation {name}: {spec}"
    passive = {setting.key: setting.value for setting in PASSIVE_SETTINGS}
    conf = SparkConf({**supposed.properties, **passive})
    selector = spec.driver.selector
    labels = {**(selector.match_labels if selector else {}), **supposed.driver_labels}
    policies = directory.selected(namespace, labels)
    profiles = ResourceProfileManager(conf)
    settings = effective_settings(
        spec, conf, supposed.version, policies, supposed.user, profiles=profiles
    )
    if isinstance(settings, InvalidSetting):
        return f"SparkAllocation {name}: {settings}"
    wish = executor_wish(spec, settings.profiles, DEFAULT_PROFILE)
    return SupposedApplication(namespace, name, labels, conf, settings, wish, profiles)


def _run(drivers: Sequence[SupposedDriver], coordinator: BudgetCoordinator, clock: _Clock) -> None:
    """Second by second; whose grant has changed decides again a moment later, as it does in the operator."""
    for second in range(LONGEST_SECONDS):
        for driver in drivers:
            driver.begin(second)
        due = drivers
        for later_ms in range(0, 1000, _DIVISION_MS):
            clock.now_ms = EPOCH_MS + second * 1000 + later_ms
            for driver in due:
                driver.step(second, later_ms)
            coordinator.divide()
            due = [driver for driver in drivers if driver.woken]
            if not due:
                break
        for driver in drivers:
            driver.end(second)
        if all(driver.is_over for driver in drivers):
            return


def _budget_notes(
    driver: SupposedDriver, drivers: Iterable[SupposedDriver], budgets: Iterable[StoredBudget]
) -> Iterator[str]:
    covering = [each for each in budgets if _covers(each, driver)]
    for budget in covering:
        sharers = sum(1 for each in drivers if _covers(budget, each))
        whom = (
            "for this one alone" if sharers == 1 else f"among {sharers} of these SparkAllocations"
        )
        yield (
            f"budget {budget.budget.name} of policy {budget.policy} is divided {whom}; "
            "whoever else it covers is not known here, and leaves less"
        )
    if covering and driver.unknown_size:
        yield (
            "an executor counts as one core and 1408 MiB, "
            f"for its pod cannot be built from these files: {driver.unknown_size}"
        )


def _covers(budget: StoredBudget, driver: SupposedDriver) -> bool:
    return budget.covers(driver.application.namespace, driver.application.labels)
