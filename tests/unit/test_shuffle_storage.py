"""Where shuffle data lies, by the driver's configuration: what goes with its executor is a reason to keep it."""

import pytest

from spark_allocation.core.shuffle_storage import ShuffleStorage, shuffle_storage
from spark_allocation.core.spark_conf import InvalidSetting, SparkConf


def storage(**keys: str) -> ShuffleStorage:
    return shuffle_storage(SparkConf({f"spark.shuffle.{key}": each for key, each in keys.items()}))


def test_by_default_shuffle_is_on_the_executors() -> None:
    assert storage() is ShuffleStorage.LOCAL


@pytest.mark.parametrize(
    "manager",
    ["sort", "SORT", "tungsten-sort", "org.apache.spark.shuffle.sort.SortShuffleManager"],
)
def test_sparks_own_manager_by_any_of_its_names_is_local(manager: str) -> None:
    assert storage(manager=manager) is ShuffleStorage.LOCAL


def test_an_external_service_serves_what_executors_leave() -> None:
    found = shuffle_storage(SparkConf({"spark.shuffle.service.enabled": "true"}))
    assert found is ShuffleStorage.SERVICE
    assert not found.goes_with_executors


@pytest.mark.parametrize(
    "manager",
    [
        pytest.param("org.apache.spark.shuffle.celeborn.SparkShuffleManager", id="Celeborn"),
        pytest.param("org.apache.spark.shuffle.RssShuffleManager", id="Uniffle"),
        pytest.param("org.apache.spark.shuffle.sort.S3ShuffleManager", id="S3"),
    ],
)
def test_a_remote_manager_keeps_shuffle_elsewhere(manager: str) -> None:
    found = storage(manager=manager)
    assert found is ShuffleStorage.REMOTE
    assert not found.goes_with_executors


@pytest.mark.parametrize(
    "plugin",
    [
        "org.apache.spark.shuffle.celeborn.CelebornShuffleDataIO",
        "org.apache.spark.shuffle.RssShuffleDataIo",
    ],
)
def test_so_does_a_plugin_of_sparks_own_manager(plugin: str) -> None:
    conf = SparkConf({"spark.shuffle.sort.io.plugin.class": plugin})
    assert shuffle_storage(conf) is ShuffleStorage.REMOTE


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(
            {"spark.shuffle.manager": "com.nvidia.spark.rapids.spark350.RapidsShuffleManager"},
            id="a manager that caches on executors",
        ),
        pytest.param({"spark.shuffle.manager": "com.example.OurManager"}, id="a manager"),
        pytest.param({"spark.shuffle.sort.io.plugin.class": "com.example.Ours"}, id="a plug-in"),
    ],
)
def test_what_is_not_known_counts_as_local(keys: dict[str, str]) -> None:
    found = shuffle_storage(SparkConf(keys))
    assert found is ShuffleStorage.UNKNOWN
    assert found.goes_with_executors


def test_sparks_plugin_for_reused_volumes_is_local() -> None:
    plugin = "org.apache.spark.shuffle.KubernetesLocalDiskShuffleDataIO"
    conf = SparkConf({"spark.shuffle.sort.io.plugin.class": plugin})
    assert shuffle_storage(conf) is ShuffleStorage.LOCAL


def test_a_flag_that_spark_refuses_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"spark\.shuffle\.service\.enabled"):
        shuffle_storage(SparkConf({"spark.shuffle.service.enabled": "perhaps"}))
