"""Why no executor pod can be built: a closed list of reasons.

Spark throws while it builds a pod (SparkException, IllegalArgumentException, NoSuchElementException) and its allocator
logs the exception and tries again for ever. Here the same findings are a value, so that the caller can report the key,
the value and the rule as a condition and stop.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn


class RefusalReason(StrEnum):
    """What kind of setting stands in the way of an executor pod."""

    IMAGE_MISSING = "ImageMissing"
    INVALID_VALUE = "InvalidValue"
    INVALID_POD_NAME_PREFIX = "InvalidPodNamePrefix"
    RESERVED_LABEL = "ReservedLabel"
    INCOMPLETE_RESOURCE = "IncompleteResource"
    CPU_LIMIT_BELOW_REQUEST = "CpuLimitBelowRequest"
    MALFORMED_SECRET_KEY_REF = "MalformedSecretKeyRef"  # noqa: S105  (a reason's name)
    INVALID_VOLUME = "InvalidVolume"
    DUPLICATE_MOUNT_PATH = "DuplicateMountPath"
    INVALID_TEMPLATE = "InvalidTemplate"
    UNSUPPORTED_FEATURE_STEP = "UnsupportedFeatureStep"
    AUTH_SECRET_UNKNOWN = "AuthSecretUnknown"  # noqa: S105  (a reason's name)
    UNRESOLVED_REFERENCE = "UnresolvedReference"
    REDACTED_VALUE = "RedactedValue"
    NAMESPACE_MISMATCH = "NamespaceMismatch"


@dataclass(frozen=True, slots=True)
class PodRefused:
    """No executor pod can be built from this configuration.

    Attributes:
        reason: from the closed list.
        key: the configuration key to look at (or the field, for a template).
        value: the value as written; empty when the key is missing.
        rule: what the value must satisfy, as a phrase.
    """

    reason: RefusalReason
    key: str
    value: str
    rule: str


class PodNotBuildableError(Exception):
    """Carries a `PodRefused` from a feature step to the builder; it never leaves the builder."""

    def __init__(self, refused: PodRefused) -> None:
        super().__init__(f"{refused.key}={refused.value!r}: {refused.rule}")
        self.refused = refused


def refuse(reason: RefusalReason, key: str, value: str, rule: str) -> NoReturn:
    """Stop building; the builder turns this into a `PodRefused`."""
    raise PodNotBuildableError(PodRefused(reason, key, value, rule))
