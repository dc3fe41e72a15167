"""Entries of spec.profiles: which one is for which resource profile, and what it changes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.api.spark_keys import wished_of_profiles
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.controller.effective_settings import EffectiveSettings, effective_settings
from spark_allocation.controller.executor_building import executor_wish
from spark_allocation.controller.policy_directory import SelectedPolicies
from spark_allocation.core.dynamic_allocation_conf import ExecutorBounds
from spark_allocation.core.profile_entries import ProfileEntry, ProfileMatch, choose_entries
from spark_allocation.core.resource_profiles import (
    ExecutorResourceRequest,
    ProfileId,
    ResourceProfile,
    ResourceProfileManager,
    TaskResourceRequest,
)
from spark_allocation.core.setting_layers import Limit, Policy, Scope
from spark_allocation.core.spark_conf import SECOND, SparkConf
from spark_allocation.core.spark_version import SparkVersion

CONF = SparkConf(
    {
        "spark.executor.cores": "2",
        "spark.executor.memory": "4g",
        "spark.dynamicAllocation.enabled": "true",
        "spark.decommission.enabled": "true",
    }
)
SMALL, GPU, WIDE = ProfileId(1), ProfileId(2), ProfileId(3)


def profile(profile_id: int, **executor: int) -> ResourceProfile:
    return ResourceProfile(
        ProfileId(profile_id),
        {name: ExecutorResourceRequest(name, amount) for name, amount in executor.items()},
        {"cpus": TaskResourceRequest("cpus", 1.0)},
    )


def named() -> ResourceProfileManager:
    """The profiles of an application: the default one of 2 cores and 4 GiB, and three of its stages."""
    profiles = ResourceProfileManager(CONF)
    profiles.add(profile(SMALL, memory=1024))
    profiles.add(profile(GPU, cores=4, gpu=1))
    profiles.add(profile(WIDE, cores=16, memory=65536))
    return profiles


def chosen(*matches: ProfileMatch) -> dict[int, int]:
    """Profile → place of its entry."""
    found = choose_entries([ProfileEntry(*each) for each in enumerate(matches)], named())
    return {profile_id: entry.place for profile_id, entry in found.chosen.items()}


def has(**resources: int) -> ProfileMatch:
    return ProfileMatch(resources=resources)


# -- which entry ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "profiles"),
    [
        (ProfileMatch(GPU), {GPU}),
        (ProfileMatch(ProfileId(7)), set()),
        (has(gpu=1), {GPU}),
        (has(gpu=2), set()),
        (has(gpu=0), {0, SMALL, WIDE}),
        (has(cores=4), {GPU}),
        (has(cores=2), {0, SMALL}),
        (has(memory=4096), {0, GPU}),
        (has(cores=4, memory=4096), {GPU}),
        (has(cores=16, memory=4096), set()),
    ],
    ids=str,
)
def test_an_entry_is_for_the_profiles_whose_executors_have_exactly_that(match, profiles) -> None:
    assert set(chosen(match)) == profiles


def test_what_a_profile_leaves_open_is_what_the_application_has() -> None:
    # SMALL asks for memory alone: its executors have the application's two cores
    assert SMALL in chosen(has(cores=2))


def test_the_id_wins_over_resources_and_more_resources_over_fewer() -> None:
    assert chosen(has(cores=4), has(cores=4, gpu=1), ProfileMatch(GPU)) == {GPU: 2}
    assert chosen(has(cores=4), has(cores=4, gpu=1)) == {GPU: 1}


def test_of_equals_the_first_holds_and_that_is_told() -> None:
    entries = [ProfileEntry(0, has(gpu=1)), ProfileEntry(1, has(cores=4))]
    found = choose_entries(entries, named())
    assert found.chosen == {GPU: entries[0]}
    assert found.ties == (
        "profiles[0] and profiles[1] match resource profile 2 equally well; profiles[0] stands first and holds",
    )
    assert found.unused == (entries[1],)


@given(
    st.lists(
        st.sampled_from([ProfileMatch(GPU), ProfileMatch(SMALL), has(gpu=1), has(cores=2),
                         has(cores=4), has(cores=4, gpu=1), has(memory=4096), has(gpu=9)]),
        unique_by=str,
        max_size=6,
    ).flatmap(lambda matches: st.tuples(st.just(matches), st.permutations(matches)))
)  # fmt: skip
def test_but_for_ties_the_order_of_the_entries_does_not_matter(orders) -> None:
    first, second = (
        choose_entries([ProfileEntry(*each) for each in enumerate(order)], named())
        for order in orders
    )
    tied = {int(sentence.split("profile ")[1].split(" ")[0]) for sentence in first.ties}
    for profile_id in first.chosen.keys() | second.chosen.keys():
        if profile_id not in tied:
            assert first.chosen[profile_id].match == second.chosen[profile_id].match


# -- what holds -------------------------------------------------------------------------------------------------------


def settings(*policies: Policy, profiles: list[Any], **spec: Any) -> EffectiveSettings:
    found = effective_settings(
        SparkAllocationSpec.model_validate(
            {"driver": {"podName": "d"}, "profiles": profiles, **spec}
        ),
        CONF,
        SparkVersion.parse("4.1.1"),
        SelectedPolicies(policies),
        "alice",
        profiles=named(),
    )
    assert isinstance(found, EffectiveSettings), found
    return found


def test_a_profile_has_the_bounds_and_timeouts_of_its_entry() -> None:
    dynamic = settings(
        dynamicAllocation={"minExecutors": 1, "maxExecutors": 20, "executorIdleTimeout": "60s"},
        profiles=[
            {
                "match": {"resources": {"custom": {"gpu": 1}}},
                "minExecutors": 0,
                "maxExecutors": 4,
                "executorIdleTimeout": "5min",
                "cachedExecutorIdleTimeout": "1h",
                "shuffleTracking": {"timeout": "90s"},
            }
        ],
    ).core.dynamic
    assert dynamic.bounds(GPU) == ExecutorBounds(0, 1, 4)
    assert dynamic.timeouts(GPU).idle_ns == 300 * SECOND
    assert dynamic.timeouts(GPU).cached_ns == 3600 * SECOND
    assert dynamic.timeouts(GPU).shuffle_ns == 90 * SECOND
    assert dynamic.bounds(WIDE) == ExecutorBounds(1, 1, 20)
    assert dynamic.timeouts(WIDE).idle_ns == 60 * SECOND


def test_the_default_profile_can_have_an_entry_too() -> None:
    dynamic = settings(
        dynamicAllocation={"maxExecutors": 20},
        profiles=[{"match": {"id": 0}, "initialExecutors": 3, "maxExecutors": 5}],
    ).core.dynamic
    assert dynamic.bounds(ProfileId(0)) == ExecutorBounds(0, 3, 5)


def test_an_application_s_bounds_give_way_to_those_of_the_entry() -> None:
    dynamic = settings(
        dynamicAllocation={"minExecutors": 5, "initialExecutors": 6, "maxExecutors": 9},
        profiles=[
            {"match": {"id": GPU}, "maxExecutors": 2},
            {"match": {"id": WIDE}, "minExecutors": 12},
        ],
    ).core.dynamic
    assert dynamic.bounds(GPU) == ExecutorBounds(2, 2, 2)
    assert dynamic.bounds(WIDE) == ExecutorBounds(12, 12, 12)


def test_no_entry_gets_around_a_limit_or_a_lock() -> None:
    policy = Policy(
        "prod",
        Scope.CLUSTER,
        limits={"dynamicAllocation.maxExecutors": Limit(most="3")},
        locks={"dynamicAllocation.executorIdleTimeout": "10s"},
    )
    found = settings(
        policy,
        profiles=[{"match": {"id": GPU}, "maxExecutors": 50, "executorIdleTimeout": "1h"}],
    )
    assert found.core.dynamic.bounds(GPU).max_executors == 3
    assert found.core.dynamic.timeouts(GPU).idle_ns == 10 * SECOND
    (maximum, *_) = found.profiles.differing(found.resolution)[GPU]
    assert str(maximum.changes[0]) == (
        "dynamicAllocation.maxExecutors: 50 (SparkAllocation profiles[0]) → 3, upper limit of cluster policy prod"
    )


def test_who_set_what_is_told_of_what_the_entry_says_alone() -> None:
    found = settings(
        dynamicAllocation={"executorIdleTimeout": "30s"},
        profiles=[{"match": {"id": GPU}, "maxExecutors": 4}],
    )
    told = found.profiles.differing(found.resolution)[GPU]
    assert [(each.setting.field, each.value, str(each.origin)) for each in told] == [
        ("dynamicAllocation.maxExecutors", "4", "SparkAllocation profiles[0]")
    ]


def test_pods_of_a_profile_start_from_its_entry_s_template() -> None:
    common, own = {"spec": {"priority": 1}}, {"spec": {"nodeSelector": {"gpu": "yes"}}}
    entries = [
        {"match": {"id": GPU}, "podTemplate": own},
        {"match": {"id": WIDE}, "maxExecutors": 2},
    ]
    found = settings(profiles=entries)
    spec = SparkAllocationSpec.model_validate(
        {
            "driver": {"podName": "d"},
            "profiles": entries,
            "executor": {"podTemplate": common, "image": "spark:9", "serviceAccountName": "runs"},
        }
    )
    of_gpu = executor_wish(spec, found.profiles, GPU)
    of_wide = executor_wish(spec, found.profiles, WIDE)
    assert (of_gpu.template, of_wide.template) == (own, common)
    assert of_gpu.properties == {
        "spark.kubernetes.executor.container.image": "spark:9",
        "spark.kubernetes.authenticate.executor.serviceAccountName": "runs",
    }


def test_sizes_and_amounts_are_read_as_spark_writes_them() -> None:
    spec = SparkAllocationSpec.model_validate(
        {
            "driver": {"podName": "d"},
            "profiles": [
                {
                    "match": {"resources": {"cores": 4, "memory": "8g", "custom": {"gpu": 1}}},
                    "executorIdleTimeout": "90",
                }
            ],
        }
    )
    (entry,) = wished_of_profiles(spec)
    assert entry.match.resources == {"cores": 4, "memory": 8192, "gpu": 1}
    assert str(entry.match) == "cores 4, memory 8192m, gpu 1"
    assert entry.settings == {"dynamicAllocation.executorIdleTimeout": "90000ms"}
