"""Layers of settings: who wins, what a limit and a lock do, and that nothing can get around a limit."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_allocation.core.setting_catalogue import (
    BY_FIELD,
    FOR_EVER,
    MAX_EXECUTORS,
    MAX_PENDING_PODS,
    MAX_PENDING_PODS_PER_PROFILE,
    MIN_EXECUTORS,
    SETTINGS,
    Kind,
    Setting,
    shown_duration,
)
from spark_allocation.core.setting_layers import (
    Layer,
    Limit,
    Origin,
    Policy,
    Resolution,
    Scope,
    user_default,
)
from spark_allocation.core.setting_resolution import resolve

MAX, MIN, INITIAL = (
    f"dynamicAllocation.{name}" for name in ("maxExecutors", "minExecutors", "initialExecutors")
)
IDLE = "dynamicAllocation.executorIdleTimeout"
SHUFFLE = "dynamicAllocation.shuffleTracking.timeout"
FAILURES = "allocation.failures.max"


def cluster(name: str = "prod", **parts) -> Policy:
    return Policy(name, Scope.CLUSTER, **parts)


def namespace(name: str = "team", **parts) -> Policy:
    return Policy(name, Scope.NAMESPACE, **parts)


def resolved(*policies: Policy, driver=None, allocation=None, user="alice") -> Resolution:
    return resolve(driver=driver or {}, policies=policies, user=user, allocation=allocation or {})


def alice(value: str) -> dict[str, str]:
    return {"___alice___.spark.dynamicAllocation.maxExecutors": value}


# -- who wins ---------------------------------------------------------------------------------------------------------


def test_each_layer_wins_over_the_one_before() -> None:
    policies: list[Policy] = []
    given: dict[str, dict[str, str]] = {"driver": {}, "allocation": {}}

    def now() -> tuple[str, str]:
        found = resolved(*policies, **given).settings[MAX]
        return found.value, str(found.origin)

    assert now() == ("2147483647", "default")
    given["driver"] = {MAX: "1"}
    assert now() == ("1", "driver")
    policies.append(cluster(defaults={MAX: "2"}))
    assert now() == ("2", "cluster policy prod")
    policies.append(namespace(defaults={MAX: "3"}))
    assert now() == ("3", "namespace policy team")
    policies.append(cluster("users", user_defaults=alice("4")))
    assert now() == ("4", "cluster policy users for user alice")
    policies.append(namespace("people", user_defaults=alice("5")))
    assert now() == ("5", "namespace policy people for user alice")
    given["allocation"] = {MAX: "6"}
    assert now() == ("6", "SparkAllocation")
    policies.append(cluster("locked", locks={MAX: "7"}))
    assert now() == ("7", "SparkAllocation")
    policies.append(cluster("small", limits={MAX: Limit(most="5")}))
    assert now() == ("5", "SparkAllocation")


def test_what_changed_a_value_is_told_in_order() -> None:
    found = resolved(
        cluster(locks={MAX: "70"}, limits={MAX: Limit(most="50")}), allocation={MAX: "100"}
    )
    assert [str(change) for change in found.changes] == [
        f"{MAX}: 100 (SparkAllocation) → 70, locked by cluster policy prod",
        f"{MAX}: 70 (cluster policy prod) → 50, upper limit of cluster policy prod",
    ]


def test_the_default_of_one_user_is_not_that_of_another() -> None:
    policy = cluster(user_defaults=alice("4"))
    assert resolved(policy, user="alice").settings[MAX].value == "4"
    assert resolved(policy, user="bob").settings[MAX].origin.layer is Layer.DEFAULT


@pytest.mark.parametrize(
    "user", ["alice@EXAMPLE.COM", "a.b-c", "x___y", "___", "Zoë", "a b", "spark.app", "\n"]
)
def test_odd_user_names_are_found(user: str) -> None:
    key = f"___{user}___.spark.dynamicAllocation.maxExecutors"
    assert user_default(key) == (user, "spark.dynamicAllocation.maxExecutors")
    assert resolved(cluster(user_defaults={key: "4"}), user=user).settings[MAX].value == "4"


@pytest.mark.parametrize(
    "key",
    ["spark.dynamicAllocation.maxExecutors", "______.spark.dynamicAllocation.maxExecutors",
     "___alice___.spark.executor.memory", "___alice___", "", "__alice__.spark.x"],
)  # fmt: skip
def test_a_user_default_that_means_nothing_is_told(key: str) -> None:
    found = resolved(cluster(user_defaults={key: "4"}))
    assert found.ignored == (
        f"cluster policy prod: userDefaults: {key!r} is not ___user___. and the Spark key of a setting; it is ignored",
    )


def test_priority_before_name_and_name_before_nothing() -> None:
    low = cluster("a", defaults={MAX: "1"})
    high = cluster("z", priority=9, defaults={MAX: "2"})
    assert resolved(low, high).settings[MAX].value == "2"
    twin = cluster("y", priority=9, defaults={MAX: "3"})
    tied = resolved(low, high, twin)
    assert tied.settings[MAX].value == "3"
    (sentence,) = tied.conflicts
    assert sentence.startswith(
        f"defaults of cluster policy z (2) and of cluster policy y (3) disagree over {MAX} at priority 9"
    )


def test_equal_values_of_equal_policies_are_no_conflict() -> None:
    assert (
        resolved(
            cluster("a", defaults={IDLE: "60s"}), cluster("b", defaults={IDLE: "1min"})
        ).conflicts
        == ()
    )


def test_a_namespace_locks_nothing() -> None:
    assert resolved(namespace(locks={MAX: "1"}), allocation={MAX: "9"}).settings[MAX].value == "9"


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_limit_clamps_what_nobody_set() -> None:
    """Spark keeps executors with shuffle data for ever; a limit makes that end."""
    found = resolved(cluster(limits={SHUFFLE: Limit(most="30min")}))
    assert found.settings[SHUFFLE].value == "30min"
    assert found.spark_properties()["spark.dynamicAllocation.shuffleTracking.timeout"] == "30min"
    assert "for ever (default) → 30min, upper limit" in str(found.changes[0])


def test_the_narrowest_limits_hold_whatever_their_priority() -> None:
    wide = cluster("wide", priority=9, limits={MAX: Limit(least="2", most="90")})
    narrow = cluster("narrow", limits={MAX: Limit(least="5", most="40")})
    assert resolved(wide, narrow, allocation={MAX: "99"}).settings[MAX].value == "40"
    assert resolved(wide, narrow, allocation={MAX: "1"}).settings[MAX].value == "5"


def test_a_namespace_narrows_and_never_widens() -> None:
    platform = cluster(limits={MAX: Limit(least="4", most="50")})
    asked = {MAX: "99"}
    assert (
        resolved(platform, namespace(limits={MAX: Limit(most="20")}), allocation=asked)
        .settings[MAX]
        .value
        == "20"
    )
    assert (
        resolved(platform, namespace(limits={MAX: Limit(most="80")}), allocation=asked)
        .settings[MAX]
        .value
        == "50"
    )
    below = resolved(platform, namespace(limits={MAX: Limit(most="2")}), allocation=asked)
    assert below.settings[MAX].value == "4"
    assert below.conflicts == (
        f"{MAX}: the limit 2 of namespace policy team contradicts 4 of cluster policy prod; 4 holds",
    )
    above = resolved(platform, namespace(limits={MAX: Limit(least="60")}))
    assert above.settings[MAX].value == "50"
    assert "contradicts 50 of cluster policy prod; 50 holds" in above.conflicts[0]


def test_of_contradicting_limits_the_upper_holds() -> None:
    found = resolved(
        cluster("a", limits={MAX: Limit(least="9")}), cluster("b", limits={MAX: Limit(most="3")})
    )
    assert found.settings[MAX].value == "3"
    assert "the upper limit holds" in found.conflicts[0]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (cluster(defaults={MAX: "many"}), "defaults.dynamicAllocation.maxExecutors='many': must be a whole number"),
        (cluster(defaults={MAX: "0"}), "must be at least 1"),
        (cluster(limits={IDLE: Limit(most="soon")}), "limits.dynamicAllocation.executorIdleTimeout.max"),
        (cluster(locks={"dynamicAllocation.executorAllocationRatio": "1.5"}), "at most 1"),
        (cluster(defaults={"spark.executor.memory": "4g"}), "no such setting"),
        (cluster(limits={INITIAL: Limit(most="4")}), "this setting has no limits"),
        (cluster(user_defaults=alice("-3")), "must be at least 1"),
    ],
)  # fmt: skip
def test_a_value_of_a_policy_that_makes_no_sense_is_ignored_and_told(
    policy: Policy, words: str
) -> None:
    found = resolved(policy)
    assert all(not each.stated for each in found.settings.values())
    (sentence,) = found.ignored
    assert words in sentence
    assert sentence.endswith("it is ignored")


def test_what_the_user_wrote_wrong_stays_for_spark_to_refuse() -> None:
    found = resolved(cluster(limits={MAX: Limit(most="5")}), driver={MAX: "lots"})
    assert found.settings[MAX].value == "lots"


# -- settings that depend on each other -------------------------------------------------------------------------------


def test_a_minimum_above_the_policy_s_maximum_is_lowered() -> None:
    found = resolved(
        cluster(limits={MAX: Limit(most="5")}), allocation={MIN: "10", INITIAL: "20", MAX: "30"}
    )
    assert [found.settings[name].value for name in (MIN, INITIAL, MAX)] == ["5", "5", "5"]
    assert (
        str(found.settings[MIN].changes[0]) == f"{MIN}: 10 (SparkAllocation) → 5, because of {MAX}"
    )


def test_a_floor_raises_the_maximum_and_no_higher_than_its_limit() -> None:
    floor = cluster("floor", limits={MIN: Limit(least="3")})
    assert resolved(floor, allocation={MAX: "2"}).settings[MAX].value == "3"
    ceiling = cluster("ceiling", limits={MAX: Limit(most="2")})
    both = resolved(floor, ceiling)
    assert (both.settings[MIN].value, both.settings[MAX].value) == ("2", "2")
    assert "the upper limit holds" in both.conflicts[-1]


def test_a_contradiction_of_the_user_s_own_is_left_alone() -> None:
    found = resolved(cluster(defaults={IDLE: "30s"}), allocation={MIN: "10", MAX: "5"})
    assert (found.settings[MIN].value, found.settings[MAX].value) == ("10", "5")


def test_pending_pods_of_a_profile_stay_within_those_of_the_application() -> None:
    total, each = MAX_PENDING_PODS.field, MAX_PENDING_PODS_PER_PROFILE.field
    policy = cluster(limits={total: Limit(most="8")})
    assert resolved(policy, allocation={each: "20"}).settings[each].value == "8"
    unlimited = resolved(policy)
    assert MAX_PENDING_PODS_PER_PROFILE.spark_key not in unlimited.spark_properties()


def test_initial_executors_follow_the_minimum_that_holds() -> None:
    found = resolved(cluster(limits={MIN: Limit(least="3")}))
    assert found.settings[INITIAL].value == "3"
    assert "spark.dynamicAllocation.initialExecutors" not in found.spark_properties()


# -- rules for all layers ---------------------------------------------------------------------------------------------

TEXTS: dict[Kind, st.SearchStrategy[str]] = {
    Kind.COUNT: st.integers(-1, 12).map(str),
    Kind.DURATION: st.builds(
        "{}{}".format, st.integers(0, 9), st.sampled_from(["", "s", "ms", "min"])
    ),
    Kind.RATIO: st.sampled_from(["0.1", "0.5", "1.0", "2", "NaN"]),
    Kind.FLAG: st.sampled_from(["true", "false", "perhaps"]),
}
FEW = [MIN_EXECUTORS, MAX_EXECUTORS, BY_FIELD[INITIAL], BY_FIELD[IDLE], MAX_PENDING_PODS,
       MAX_PENDING_PODS_PER_PROFILE, BY_FIELD["dynamicAllocation.shuffleTracking.enabled"]]  # fmt: skip


@st.composite
def values(draw: st.DrawFn) -> dict[str, str]:
    chosen = draw(st.lists(st.sampled_from(FEW), max_size=4, unique_by=lambda each: each.field))
    return {each.field: draw(TEXTS[each.kind]) for each in chosen}


@st.composite
def limits(draw: st.DrawFn) -> dict[str, Limit]:
    chosen = draw(st.lists(st.sampled_from(FEW), max_size=3, unique_by=lambda each: each.field))
    return {
        each.field: Limit(draw(st.none() | TEXTS[each.kind]), draw(st.none() | TEXTS[each.kind]))
        for each in chosen
    }


@st.composite
def policies(draw: st.DrawFn) -> list[Policy]:
    names = draw(st.lists(st.sampled_from("abcde"), max_size=4, unique=True))
    return [
        Policy(
            name,
            draw(st.sampled_from(Scope)),
            draw(st.integers(0, 1)),
            draw(values()),
            {
                f"___{draw(st.sampled_from(['alice', 'bob']))}___.{BY_FIELD[path].spark_key}": text
                for path, text in draw(values()).items()
            },
            draw(limits()),
            draw(values()),
        )
        for name in names
    ]


def sensible(setting: Setting, text: str | None) -> float | None:
    try:
        return None if text is None else setting.measure(text)
    except ValueError:
        return None


def upper_limits(chosen: list[Policy], setting: Setting, scope: Scope) -> list[float]:
    found = [
        sensible(setting, policy.limits[setting.field].most)
        for policy in chosen
        if policy.scope is scope and setting.field in policy.limits
    ]
    return [number for number in found if number is not None]


RULE = settings(max_examples=80, deadline=None)


@RULE
@given(policies(), values(), values(), st.sampled_from(["alice", "bob", ""]))
def test_an_upper_limit_of_the_cluster_is_never_exceeded(chosen, driver, allocation, user) -> None:
    found = resolve(driver=driver, policies=chosen, user=user, allocation=allocation)
    for setting in (each for each in FEW if each.limitable):
        number = sensible(setting, found.settings[setting.field].value)
        for most in upper_limits(chosen, setting, Scope.CLUSTER):
            assert number is None or number <= most


@RULE
@given(policies(), values(), values())
def test_a_lower_limit_gives_way_only_where_a_contradiction_is_told(
    chosen, driver, allocation
) -> None:
    found = resolve(driver=driver, policies=chosen, user="alice", allocation=allocation)
    for policy in chosen:
        for name, limit in policy.limits.items():
            setting = BY_FIELD[name]
            number = sensible(setting, found.settings[name].value)
            least = sensible(setting, limit.least)
            if setting.limitable and least is not None and number is not None and number < least:
                assert any(name in sentence for sentence in found.conflicts)


@RULE
@given(policies(), values(), values(), values())
def test_no_default_of_a_user_widens_what_limits_allow(chosen, driver, allocation, wishes) -> None:
    def outcome(user: str) -> dict[str, float | None]:
        held = resolve(driver=driver, policies=everybody, user=user, allocation=allocation)
        return {
            each.field: sensible(each, held.settings[each.field].value)
            for each in FEW
            if each.limitable and upper_limits(everybody, each, Scope.CLUSTER)
        }

    greedy = Policy(
        "greedy",
        Scope.NAMESPACE,
        9,
        user_defaults={f"___mallory___.{BY_FIELD[path].spark_key}": text for path, text in wishes.items()},
    )  # fmt: skip
    everybody = [*chosen, greedy]
    for path, number in outcome("mallory").items():
        most = min(upper_limits(everybody, BY_FIELD[path], Scope.CLUSTER))
        assert number is None or number <= most


@RULE
@given(policies(), values(), values())
def test_the_order_in_which_policies_arrive_does_not_matter(chosen, driver, allocation) -> None:
    outcomes = [
        resolve(driver=driver, policies=order, user="alice", allocation=allocation)
        for order in itertools.islice(itertools.permutations(chosen), 6)
    ]
    assert all(each == outcomes[0] for each in outcomes)


@RULE
@given(policies(), values(), values())
def test_what_holds_is_a_fixed_point(chosen, driver, allocation) -> None:
    once = resolve(driver=driver, policies=chosen, user="alice", allocation=allocation)
    held = {name: each.value for name, each in once.settings.items()}
    twice = resolve(driver=driver, policies=chosen, user="alice", allocation=held)
    assert {name: each.value for name, each in twice.settings.items()} == held


@RULE
@given(policies(), values(), values())
def test_bounds_that_a_policy_had_a_say_in_are_bounds_that_spark_takes(
    chosen, driver, allocation
) -> None:
    found = resolve(driver=driver, policies=chosen, user="alice", allocation=allocation)
    least, most = found.settings[MIN], found.settings[MAX]
    numbers = sensible(MIN_EXECUTORS, least.value), sensible(MAX_EXECUTORS, most.value)
    if None not in numbers and (least.by_policy or most.by_policy):
        assert numbers[0] <= numbers[1]


# -- the failures that are borne --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allocation", "policy", "value", "shown"),
    [
        ({MAX: "10"}, cluster(), "20", "20"),
        ({MAX: "1"}, cluster(), "3", "3"),
        ({}, cluster(), "2147483647", "twice the most wanted"),
        ({MAX: "10"}, cluster(limits={MAX: Limit(most="4")}), "8", "8"),
        ({MAX: "10"}, cluster(limits={FAILURES: Limit(most="50")}), "20", "20"),
        ({MAX: "10"}, cluster(limits={FAILURES: Limit(most="5")}), "5", "5"),
        ({MAX: "10", FAILURES: "7"}, cluster(), "7", "7"),
    ],
    ids=["twice", "at least three", "without a maximum", "of the maximum that holds",
         "a limit above it", "a limit below it", "stated"],
)  # fmt: skip
def test_what_nobody_sets_of_failures_is_twice_the_maximum(
    allocation, policy, value, shown
) -> None:
    found = resolved(policy, allocation=allocation).settings[FAILURES]
    assert (found.value, found.setting.shown(found.value)) == (value, shown)


# -- an entry of spec.profiles ----------------------------------------------------------------------------------------

ENTRY = Origin(Layer.PROFILE, entry="profiles[0]")


def of_profile(*policies: Policy, entry: dict[str, str], **layers) -> Resolution:
    return resolve(
        driver=layers.get("driver", {}),
        policies=policies,
        user="alice",
        allocation=layers.get("allocation", {}),
        profile=(ENTRY, entry),
    )


def test_the_entry_is_the_last_layer_and_is_named() -> None:
    found = of_profile(allocation={MAX: "9", IDLE: "30s"}, entry={MAX: "4"})
    assert (found.settings[MAX].value, str(found.settings[MAX].origin)) == (
        "4",
        "SparkAllocation profiles[0]",
    )
    assert str(found.settings[IDLE].origin) == "SparkAllocation"


def test_locks_and_limits_clamp_an_entry_too() -> None:
    limited = of_profile(cluster(limits={MAX: Limit(most="3")}), entry={MAX: "8"})
    assert str(limited.changes[0]) == (
        f"{MAX}: 8 (SparkAllocation profiles[0]) → 3, upper limit of cluster policy prod"
    )
    assert of_profile(cluster(locks={IDLE: "5s"}), entry={IDLE: "1h"}).settings[IDLE].value == "5s"


@pytest.mark.parametrize(
    ("allocation", "entry", "least", "most"),
    [
        ({MIN: "5"}, {MAX: "2"}, "2", "2"),
        ({MAX: "5"}, {MIN: "8"}, "8", "8"),
        ({MIN: "5", MAX: "9"}, {MIN: "1", MAX: "2"}, "1", "2"),
    ],
)
def test_what_the_entry_says_stays_and_what_it_does_not_say_gives_way(
    allocation, entry, least, most
) -> None:
    found = of_profile(allocation=allocation, entry=entry)
    assert (found.settings[MIN].value, found.settings[MAX].value) == (least, most)


def test_an_entry_s_minimum_above_a_policy_s_limit_gives_way() -> None:
    found = of_profile(cluster(limits={MAX: Limit(most="4")}), entry={MIN: "8"})
    assert (found.settings[MIN].value, found.settings[MAX].value) == ("4", "4")


@RULE
@given(policies(), values(), values(), values())
def test_an_entry_never_gets_around_an_upper_limit(chosen, driver, allocation, entry) -> None:
    found = resolve(
        driver=driver,
        policies=chosen,
        user="alice",
        allocation=allocation,
        profile=(ENTRY, entry),
    )
    for setting in (each for each in FEW if each.limitable):
        number = sensible(setting, found.settings[setting.field].value)
        for most in upper_limits(chosen, setting, Scope.CLUSTER):
            assert number is None or number <= most


# -- the catalogue ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda each: each.field)
def test_every_default_is_a_value_of_its_setting(setting: Setting) -> None:
    if setting.default_of:
        assert setting.default_of in BY_FIELD
    else:
        assert setting.measure(setting.default) >= setting.least


@pytest.mark.parametrize(
    ("field", "text", "shown"),
    [(MAX, "2147483647", "no limit"), (MAX, "7", "7"), (IDLE, FOR_EVER, "for ever"),
     (IDLE, "120000ms", "2min"), (IDLE, "90", "90s"), (SHUFFLE, "1500", "1500ms"),
     (SHUFFLE, "9223372036854775807ms", "for ever"), (IDLE, "0", "0s"), (IDLE, "soon", "soon")],
)  # fmt: skip
def test_values_are_shown_as_people_write_them(field: str, text: str, shown: str) -> None:
    assert BY_FIELD[field].shown(text) == shown


def test_a_duration_is_shown_in_the_unit_that_keeps_it_whole() -> None:
    assert shown_duration(7_200_000_000_000) == "2h"
