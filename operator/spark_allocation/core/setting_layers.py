"""Who can set a setting, and what came of it: the values that `setting_resolution` makes.

Theory of operation
-------------------
A *layer* is somebody who can say what a setting is to be; of several the last one's word is what is *wished*. A *change*
is what a lock, a limit or another setting made of that. The value that holds keeps both, so that everybody can be told
who set it and why it is not what they wrote.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import lru_cache

from spark_allocation.core.setting_catalogue import Setting

_USER_DEFAULT = re.compile(r"___(.+)___\.(spark\..+)", re.DOTALL)


class Layer(IntEnum):
    """Who can set a value, in the order in which the later wins."""

    DEFAULT = 0
    DRIVER = 1
    CLUSTER_POLICY = 2
    NAMESPACE_POLICY = 3
    USER_DEFAULT = 4
    ALLOCATION = 5
    PROFILE = 6
    """An entry of ``spec.profiles``, for the resource profile that it matches, or of ``spec.streaming.queries``, for its query."""


class Scope(StrEnum):
    """Where a policy holds."""

    CLUSTER = "cluster"
    NAMESPACE = "namespace"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who set a value.

    Attributes:
        scope: of the policy, where a policy did.
        policy: its name.
        user: whose default it is.
        entry: such as ``profiles[0]``, or ``queries[orders]``.
    """

    layer: Layer
    scope: Scope | None = None
    policy: str = ""
    user: str = ""
    entry: str = ""

    def __str__(self) -> str:
        if self.scope is not None:
            of_user = f" for user {self.user}" if self.layer is Layer.USER_DEFAULT else ""
            return f"{self.scope} policy {self.policy}{of_user}"
        return {
            Layer.DRIVER: "driver",
            Layer.ALLOCATION: "SparkAllocation",
            Layer.PROFILE: f"SparkAllocation {self.entry}",
        }.get(self.layer, "default")


DEFAULT = Origin(Layer.DEFAULT)
DRIVER = Origin(Layer.DRIVER)
ALLOCATION = Origin(Layer.ALLOCATION)


@dataclass(frozen=True, slots=True)
class Limit:
    """The least and the greatest value that are allowed, as text; None for no such limit."""

    least: str | None = None
    most: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy that was selected for an application.

    Attributes:
        defaults: by field.
        user_defaults: as written, such as ``___alice___.spark.dynamicAllocation.maxExecutors``.
        limits: by field.
        locks: values by field that nobody may change; only of cluster policies.
    """

    name: str
    scope: Scope
    priority: int = 0
    defaults: Mapping[str, str] = field(default_factory=dict)
    user_defaults: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, Limit] = field(default_factory=dict)
    locks: Mapping[str, str] = field(default_factory=dict)

    def origin(self, layer: Layer | None = None, user: str = "") -> Origin:
        """This policy as the one who set something."""
        own = Layer.CLUSTER_POLICY if self.scope is Scope.CLUSTER else Layer.NAMESPACE_POLICY
        return Origin(own if layer is None else layer, self.scope, self.name, user)


class ChangeKind(StrEnum):
    """Why the value that holds is not the one that was wished."""

    LOCK = "Lock"
    UPPER_LIMIT = "UpperLimit"
    LOWER_LIMIT = "LowerLimit"
    ORDER = "Order"
    """Another setting, which has to be at least or at most this one, left no room."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a lock, a limit or another setting made of a value.

    Attributes:
        wished: before.
        wished_by: who had set it.
        value: after.
        by: the policy; None when another setting did it.
        because_of: that setting's field.
    """

    setting: Setting
    kind: ChangeKind
    wished: str
    wished_by: Origin
    value: str
    by: Origin | None = None
    because_of: str = ""

    def __str__(self) -> str:
        wished, value = self.setting.shown(self.wished), self.setting.shown(self.value)
        what = {
            ChangeKind.LOCK: f"locked by {self.by}",
            ChangeKind.UPPER_LIMIT: f"upper limit of {self.by}",
            ChangeKind.LOWER_LIMIT: f"lower limit of {self.by}",
            ChangeKind.ORDER: f"because of {self.because_of}",
        }[self.kind]
        return f"{self.setting.field}: {wished} ({self.wished_by}) → {value}, {what}"


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """The value that holds.

    Attributes:
        origin: who set what was wished.
        changes: what became of it, in order.
    """

    setting: Setting
    value: str
    origin: Origin
    changes: tuple[Change, ...] = ()

    @property
    def stated(self) -> bool:
        """Somebody set it, or a policy changed it; otherwise the default holds by itself."""
        return self.origin.layer is not Layer.DEFAULT or bool(self.changes)

    @property
    def by_policy(self) -> bool:
        """A policy had a say."""
        return self.origin.scope is not None or bool(self.changes)


@dataclass(frozen=True, slots=True)
class Resolution:
    """All settings.

    Attributes:
        settings: by field, in the order of the catalogue.
        conflicts: policies that contradict each other, and what holds; sentences.
        ignored: values of policies that make no sense; sentences.
    """

    settings: Mapping[str, EffectiveSetting]
    conflicts: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every lock and limit that bit."""
        return tuple(change for each in self.settings.values() for change in each.changes)

    def value(self, setting: Setting) -> str:
        """The value that holds."""
        return self.settings[setting.field].value

    def spark_properties(self) -> dict[str, str]:
        """The Spark properties that say all this; defaults are left to Spark."""
        return {
            each.setting.spark_key: each.value
            for each in self.settings.values()
            if each.stated and each.setting.spark_key
        }


@lru_cache(maxsize=8192)
def user_default(key: str) -> tuple[str, str] | None:
    """User and Spark key of a key in Kyuubi's style, such as ``___alice___.spark.dynamicAllocation.maxExecutors``."""
    match = _USER_DEFAULT.fullmatch(key)
    return (match.group(1), match.group(2)) if match is not None else None
