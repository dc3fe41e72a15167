"""From layers of settings to the one value that holds, with who set it and what limited it.

Theory of operation
-------------------
For each setting the last of these that says something is what is *wished*:

    default < driver's configuration < cluster policies < namespace policies < defaults of the user < SparkAllocation

Then the cluster's policies have the last word: a *lock* replaces what was wished, and *limits* clamp it.

Rules for what could be read in two ways, each with one outcome:

- Several policies of one scope: the higher priority wins; of equal priorities the name that sorts first. That two of
  equal priority disagree is told (`Resolution.conflicts`). The order in which policies arrive never matters.
- Limits are not overridden, they add up: the lowest upper and the highest lower limit hold, whatever the priority.
- An upper limit below a lower one: within one scope the upper limit holds; a namespace's limit outside of the
  cluster's is moved to the nearest value that the cluster allows.
- A lock outside the limits is clamped like any other value.
- ``minExecutors`` or ``initialExecutors`` above ``maxExecutors``, when a policy had a say in either: the lower one is
  moved to ``maxExecutors``. Only where a lower limit forbids that, ``maxExecutors`` is raised instead, and where an
  upper limit forbids that too, the upper limit holds. Without a policy it is the user's own contradiction, and left for
  Spark's rules to refuse. The same for pending pods of a profile and of the application, and for a stream's low and target
  backlog.
- A value that stands for none at all (a target duration that nobody gives) is not limited; "no limit" and "for ever" are.
- A resource profile may have an entry of its own in the SparkAllocation: its settings are put together once more with
  that entry as the last layer. Where one of two settings that have to be in order comes from the entry and the other
  does not, the entry's stays and the other is moved.
- ``allocation.failures.max`` that nobody sets is twice the ``maxExecutors`` that hold, as in Spark.
- A policy's value that makes no sense is ignored and told.

So an upper limit is never exceeded, whatever the layers say, and a lower one gives way only to an upper one. The user
of an application is what its tenant says, so it selects defaults, never limits.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spark_allocation.core.failure_tracker import LEAST_LIMIT
from spark_allocation.core.setting_catalogue import (
    BACKLOG_LOW,
    BACKLOG_TARGET,
    BY_FIELD,
    BY_SPARK_KEY,
    INITIAL_EXECUTORS,
    MAX_EXECUTORS,
    MAX_FAILURES,
    MAX_PENDING_PODS,
    MAX_PENDING_PODS_PER_PROFILE,
    MIN_EXECUTORS,
    NO_LIMIT,
    SETTINGS,
    Setting,
)
from spark_allocation.core.setting_layers import (
    ALLOCATION,
    DEFAULT,
    DRIVER,
    Change,
    ChangeKind,
    EffectiveSetting,
    Layer,
    Origin,
    Policy,
    Resolution,
    Scope,
    user_default,
)
from spark_allocation.core.spark_conf import INT_MAX


@dataclass(slots=True)
class _Bounds:
    """The limits of one setting, with who set them."""

    least: float = float("-inf")
    least_text: str = ""
    least_by: Origin | None = None
    most: float = float("inf")
    most_text: str = ""
    most_by: Origin | None = None


def resolve(
    *,
    driver: Mapping[str, str],
    policies: Iterable[Policy],
    user: str,
    allocation: Mapping[str, str],
    profile: tuple[Origin, Mapping[str, str]] | None = None,
) -> Resolution:
    """Put the layers together.

    Args:
        driver: what the driver's configuration says, by field.
        policies: those that are selected, in any order.
        user: the Spark user.
        allocation: what the SparkAllocation says, by field.
        profile: for one resource profile, what the entry that is for it says, by field.
    """
    resolving = _Resolving(driver, tuple(policies), user, allocation, profile=profile)
    return resolving.resolution()


class _Resolving:
    def __init__(
        self,
        driver: Mapping[str, str],
        policies: Sequence[Policy],
        user: str,
        allocation: Mapping[str, str],
        *,
        profile: tuple[Origin, Mapping[str, str]] | None,
    ) -> None:
        self._conflicts: list[str] = []
        self._ignored: list[str] = []
        by_name = sorted(policies, key=lambda policy: policy.name, reverse=True)
        self._policies = sorted(by_name, key=lambda policy: policy.priority)
        """The later wins."""
        self._layers = self._in_order(driver, user, allocation)
        if profile is not None:
            origin, values = profile
            self._layers.append({name: (text, origin) for name, text in values.items()})
        self._locks = self._policy_layer(
            [(policy, policy.locks) for policy in self._of(Scope.CLUSTER)], None, "locks"
        )
        self._bounds = {
            setting.field: self._bounds_of(setting) for setting in SETTINGS if setting.limitable
        }
        for policy in self._policies:
            for name in sorted(policy.limits.keys() - self._bounds.keys()):
                self._ignored.append(
                    f"{policy.scope} policy {policy.name}: limits.{name}: this setting has no limits; it is ignored"
                )
        self._settings: dict[str, EffectiveSetting] = {}

    def resolution(self) -> Resolution:
        for setting in SETTINGS:
            self._settings[setting.field] = self._limited(self._locked(self._wished(setting)))
        self._in_order_of_size(MIN_EXECUTORS, MAX_EXECUTORS)
        initial = self._settings[INITIAL_EXECUTORS.field]
        if not initial.stated:
            least = self._settings[MIN_EXECUTORS.field]
            self._settings[INITIAL_EXECUTORS.field] = EffectiveSetting(
                INITIAL_EXECUTORS, least.value, DEFAULT
            )
        self._in_order_of_size(INITIAL_EXECUTORS, MAX_EXECUTORS)
        self._in_order_of_size(MAX_PENDING_PODS_PER_PROFILE, MAX_PENDING_PODS)
        self._in_order_of_size(BY_FIELD[BACKLOG_LOW], BY_FIELD[BACKLOG_TARGET])
        # last: its default follows from the maxExecutors that hold
        self._settings[MAX_FAILURES.field] = self._limited(self._locked(self._wished(MAX_FAILURES)))
        return Resolution(self._settings, tuple(self._conflicts), tuple(self._ignored))

    # -- layers ------------------------------------------------------------------------------------------------------

    def _in_order(
        self, driver: Mapping[str, str], user: str, allocation: Mapping[str, str]
    ) -> list[dict[str, tuple[str, Origin]]]:
        layers = [{name: (text, DRIVER) for name, text in driver.items()}]
        for scope in (Scope.CLUSTER, Scope.NAMESPACE):
            chosen = [(policy, policy.defaults) for policy in self._of(scope)]
            layers.append(self._policy_layer(chosen, None, "defaults"))
        for scope in (Scope.CLUSTER, Scope.NAMESPACE):
            own = [(policy, self._of_user(policy, user)) for policy in self._of(scope)]
            layers.append(self._policy_layer(own, user, "userDefaults"))
        layers.append({name: (text, ALLOCATION) for name, text in allocation.items()})
        return layers

    def _of(self, scope: Scope) -> list[Policy]:
        return [policy for policy in self._policies if policy.scope is scope]

    def _of_user(self, policy: Policy, user: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, text in policy.user_defaults.items():
            named = user_default(key)
            setting = BY_SPARK_KEY.get(named[1]) if named is not None else None
            if named is None or setting is None:
                self._ignored.append(
                    f"{policy.scope} policy {policy.name}: userDefaults: {key!r} is not ___user___. and the Spark key "
                    "of a setting; it is ignored"
                )
            elif named[0] == user:
                found[setting.field] = text
        return found

    def _policy_layer(
        self, chosen: Sequence[tuple[Policy, Mapping[str, str]]], user: str | None, part: str
    ) -> dict[str, tuple[str, Origin]]:
        """One layer out of several policies, the later of which wins."""
        layer: dict[str, tuple[str, Origin]] = {}
        rank: dict[str, int] = {}
        for policy, values in chosen:
            origin = policy.origin() if user is None else policy.origin(Layer.USER_DEFAULT, user)
            for name, text in sorted(values.items()):
                setting = self._sensible(policy, part, name, text)
                if setting is None:
                    continue
                if name in layer and rank[name] == policy.priority:
                    other, by = layer[name]
                    if setting.measure(other) != setting.measure(text):
                        self._conflicts.append(
                            f"{part} of {by} ({setting.shown(other)}) and of {origin} ({setting.shown(text)}) disagree "
                            f"over {name} at priority {policy.priority}; the name that sorts first holds"
                        )
                layer[name] = (text, origin)
                rank[name] = policy.priority
        return layer

    def _sensible(self, policy: Policy, part: str, name: str, text: str) -> Setting | None:
        setting = BY_FIELD.get(name)
        if setting is None:
            self._ignore(policy, f"{part}.{name}", text, "no such setting")
            return None
        try:
            setting.measure(text)
        except ValueError as error:
            self._ignore(policy, f"{part}.{name}", text, str(error))
            return None
        return setting

    def _ignore(self, policy: Policy, path: str, text: str, rule: str) -> None:
        self._ignored.append(
            f"{policy.scope} policy {policy.name}: {path}={text!r}: {rule}; it is ignored"
        )

    def _wished(self, setting: Setting) -> EffectiveSetting:
        for layer in reversed(self._layers):
            if setting.field in layer:
                text, origin = layer[setting.field]
                return EffectiveSetting(setting, text, origin)
        if setting is MAX_FAILURES:
            return EffectiveSetting(setting, self._failures_borne(), DEFAULT)
        if setting.default_of:
            of = self._settings[setting.default_of]
            return EffectiveSetting(setting, of.value, DEFAULT)
        return EffectiveSetting(setting, setting.default, DEFAULT)

    def _failures_borne(self) -> str:
        """Twice ``maxExecutors`` (``maxNumExecutorFailures``); without these it follows what is wanted."""
        most = _measured(MAX_EXECUTORS, self._settings[MAX_EXECUTORS.field].value)
        if most is None or most > INT_MAX // 2:
            return NO_LIMIT
        return str(max(LEAST_LIMIT, 2 * int(most)))

    # -- locks and limits --------------------------------------------------------------------------------------------

    def _locked(self, wished: EffectiveSetting) -> EffectiveSetting:
        lock = self._locks.get(wished.setting.field)
        if lock is None:
            return wished
        text, by = lock
        if _measured(wished.setting, wished.value) == wished.setting.measure(text):
            return wished
        return _changed(wished, ChangeKind.LOCK, text, by=by)

    def _bounds_of(self, setting: Setting) -> _Bounds:
        cluster = self._bounds_in(Scope.CLUSTER, setting)
        own = self._bounds_in(Scope.NAMESPACE, setting)
        if own.most_by is not None and own.most < cluster.least:
            self._outside(setting, own.most_by, own.most_text, cluster.least_by, cluster.least_text)
            own.most, own.most_text = cluster.least, cluster.least_text
        if own.least_by is not None and own.least > cluster.most:
            self._outside(setting, own.least_by, own.least_text, cluster.most_by, cluster.most_text)
            own.least, own.least_text = cluster.most, cluster.most_text
        if own.least_by is None or own.least <= cluster.least:
            own.least, own.least_text = cluster.least, cluster.least_text
            own.least_by = cluster.least_by
        if own.most_by is None or own.most >= cluster.most:
            own.most, own.most_text, own.most_by = cluster.most, cluster.most_text, cluster.most_by
        return own

    def _outside(
        self, setting: Setting, inner: Origin, text: str, outer: Origin | None, bound: str
    ) -> None:
        self._conflicts.append(
            f"{setting.field}: the limit {setting.shown(text)} of {inner} contradicts {setting.shown(bound)} of {outer}; "
            f"{setting.shown(bound)} holds"
        )

    def _bounds_in(self, scope: Scope, setting: Setting) -> _Bounds:
        bounds = _Bounds()
        for policy in self._of(scope):
            limit = policy.limits.get(setting.field)
            if limit is None:
                continue
            by = policy.origin()
            if limit.least is not None and self._is_limit(policy, setting, "min", limit.least):
                number = setting.measure(limit.least)
                # of equal limits the last one is named: the highest priority, the first name
                if number >= bounds.least:
                    bounds.least, bounds.least_text, bounds.least_by = number, limit.least, by
            if limit.most is not None and self._is_limit(policy, setting, "max", limit.most):
                number = setting.measure(limit.most)
                if number <= bounds.most:
                    bounds.most, bounds.most_text, bounds.most_by = number, limit.most, by
        if bounds.least > bounds.most:
            self._conflicts.append(
                f"{setting.field}: the lower limit {setting.shown(bounds.least_text)} of {bounds.least_by} is above the "
                f"upper limit {setting.shown(bounds.most_text)} of {bounds.most_by}; the upper limit holds"
            )
            bounds.least, bounds.least_text = bounds.most, bounds.most_text
        return bounds

    def _is_limit(self, policy: Policy, setting: Setting, end: str, text: str) -> bool:
        return (
            self._sensible(policy, f"limits.{setting.field}.{end}", setting.field, text) is not None
        )

    def _limited(self, wished: EffectiveSetting) -> EffectiveSetting:
        bounds = self._bounds.get(wished.setting.field)
        number = _measured(wished.setting, wished.value)
        if bounds is None or number is None or wished.value == wished.setting.unset:
            return wished
        if number > bounds.most:
            return _changed(wished, ChangeKind.UPPER_LIMIT, bounds.most_text, by=bounds.most_by)
        if number < bounds.least:
            return _changed(wished, ChangeKind.LOWER_LIMIT, bounds.least_text, by=bounds.least_by)
        return wished

    def _in_order_of_size(self, low: Setting, high: Setting) -> None:
        """Let ``low`` be at most ``high`` where a policy or a profile's entry is to blame that it is not."""
        lower, upper = self._settings[low.field], self._settings[high.field]
        small, large = _measured(low, lower.value), _measured(high, upper.value)
        if small is None or large is None or small <= large:
            return
        if lower.value == NO_LIMIT:
            return
        if not (lower.by_policy or upper.by_policy):
            of_the_entry = [each.origin.layer is Layer.PROFILE for each in (lower, upper)]
            if of_the_entry == [True, False]:
                self._move(upper, lower.value, low)
            elif of_the_entry == [False, True]:
                self._move(lower, upper.value, high)
            return
        floor = self._bounds[low.field].least if low.limitable else float("-inf")
        ceiling = self._bounds[high.field].most
        if large >= floor:
            self._move(lower, upper.value, high)
        elif floor <= ceiling:
            self._move(upper, self._bounds[low.field].least_text, low)
            if small > floor:
                self._move(lower, self._bounds[low.field].least_text, high)
        else:
            self._conflicts.append(
                f"the lower limit {self._bounds[low.field].least_text} of {low.field} is above the upper limit "
                f"{self._bounds[high.field].most_text} of {high.field}; the upper limit holds"
            )
            self._move(lower, upper.value, high)

    def _move(self, each: EffectiveSetting, value: str, because_of: Setting) -> None:
        self._settings[each.setting.field] = _changed(
            each, ChangeKind.ORDER, value, because_of=because_of.field
        )


def _measured(setting: Setting, text: str) -> float | None:
    """The number, or None for what the driver or the user wrote and Spark's rules are going to refuse."""
    try:
        return setting.measure(text)
    except ValueError:
        return None


def _changed(
    each: EffectiveSetting,
    kind: ChangeKind,
    value: str,
    *,
    by: Origin | None = None,
    because_of: str = "",
) -> EffectiveSetting:
    wished_by = each.changes[-1].by or each.origin if each.changes else each.origin
    change = Change(each.setting, kind, each.value, wished_by, value, by, because_of)
    return EffectiveSetting(each.setting, value, each.origin, (*each.changes, change))
