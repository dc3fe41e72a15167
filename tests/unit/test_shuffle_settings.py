"""From spec and driver configuration to who is held for shuffle data."""

from typing import Any

import pytest

from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.controller.effective_settings import EffectiveSettings, effective_settings
from spark_allocation.core.passive_driver import MIGRATION_SETTINGS, PASSIVE_SETTINGS
from spark_allocation.core.shuffle_holders import ShuffleHold, ShuffleHoldConf
from spark_allocation.core.spark_conf import InvalidSetting, SparkConf
from spark_allocation.core.spark_version import SparkVersion

PASSIVE = {setting.key: setting.value for setting in PASSIVE_SETTINGS}
MIGRATES = PASSIVE | {setting.key: setting.value for setting in MIGRATION_SETTINGS}
TRACKING = "spark.dynamicAllocation.shuffleTracking.enabled"
CELEBORN = {"spark.shuffle.manager": "org.apache.spark.shuffle.celeborn.SparkShuffleManager"}


def settings(
    driver: dict[str, str],
    *,
    hold: str | None = None,
    migrate: bool | None = None,
    tracked: bool | None = None,
    drains: bool | None = None,
) -> EffectiveSettings | InvalidSetting:
    spec = SparkAllocationSpec.model_validate(
        {
            "driver": {"podName": "driver"},
            "dynamicAllocation": {
                **({"shuffleHold": hold} if hold else {}),
                **({"shuffleTracking": {"enabled": tracked}} if tracked is not None else {}),
            },
            "decommission": {
                **({"migrate": migrate} if migrate is not None else {}),
                **({"enabled": drains} if drains is not None else {}),
            },
        }
    )
    return effective_settings(spec, SparkConf(driver), SparkVersion.parse("4.1.1"))


def held(driver: dict[str, str], **wishes: Any) -> ShuffleHoldConf:
    found = settings(driver, **wishes)
    assert isinstance(found, EffectiveSettings), found
    return found.core.shuffle


def test_by_default_local_shuffle_is_held_strictly() -> None:
    assert held(PASSIVE) == ShuffleHoldConf(local=True, hold=ShuffleHold.STRICT)


def test_the_other_rule_is_chosen_by_name() -> None:
    assert held(PASSIVE, hold="Timeout").hold is ShuffleHold.TIMEOUT


def test_migration_is_relied_on_only_when_asked_for() -> None:
    found = held(MIGRATES)
    assert (found.hands_over, found.migrates, found.migration_obstacle) == (True, False, "")
    found = held(MIGRATES, migrate=True)
    assert (found.hands_over, found.migrates, found.migration_obstacle) == (True, True, "")


@pytest.mark.parametrize(
    "key",
    [
        "spark.decommission.enabled",
        "spark.storage.decommission.enabled",
        "spark.storage.decommission.shuffleBlocks.enabled",
    ],
)
def test_a_driver_that_does_not_migrate_is_named_as_the_obstacle(key: str) -> None:
    found = held(MIGRATES | {key: "false"}, migrate=True)
    assert (found.hands_over, found.migrates) == (False, False)
    assert found.migration_obstacle == f"{key} is false"


def test_executors_that_are_deleted_at_once_hand_nothing_on() -> None:
    found = held(MIGRATES, migrate=True, drains=False)
    assert (found.hands_over, found.migrates) == (False, False)
    assert isinstance(settings(MIGRATES, migrate=True, tracked=False, drains=False), InvalidSetting)


def test_cached_blocks_may_be_left_behind_where_shuffle_data_is_handed_on() -> None:
    assert held(MIGRATES, migrate=True).cached_too
    left = {"spark.storage.decommission.rddBlocks.enabled": "false"}
    assert not held(MIGRATES | left, migrate=True).cached_too


def test_nobody_is_held_for_remote_shuffle_and_tracking_may_be_off() -> None:
    assert not held(PASSIVE | CELEBORN).local
    assert not held(PASSIVE | CELEBORN, tracked=False).local


def test_local_shuffle_that_nothing_would_protect_is_refused_as_spark_refuses_it() -> None:
    refused = settings(PASSIVE, tracked=False)
    assert isinstance(refused, InvalidSetting)
    assert TRACKING in refused.key
    assert "decommission.migrate" in refused.rule


def test_with_migration_tracking_may_be_off() -> None:
    assert held(MIGRATES, migrate=True, tracked=False).migrates


def test_a_shuffle_manager_that_is_not_known_may_be_vouched_for() -> None:
    """It counts as local; whoever knows better switches tracking off."""
    unknown = PASSIVE | {"spark.shuffle.manager": "com.example.Manager"}
    assert held(unknown).local
    assert held(unknown, tracked=False).local


def test_a_storage_to_fall_back_on_is_known_by_its_path() -> None:
    path = {"spark.storage.decommission.fallbackStorage.path": "s3a://spill/"}
    assert held(MIGRATES | path, migrate=True).fallback_storage
