"""Field types of our kinds: each one a pattern for the CRD and one parser for the operator."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from spark_allocation.core.quantities import quantity_amount
from spark_allocation.core.spark_conf import MIB, SECOND, parse_size, parse_time

DURATION_PATTERN = r"^[0-9]{1,18}(us|ms|s|m|min|h|d)?$"


def _spark_duration(text: str) -> str:
    parse_time(text, SECOND)
    return text


SparkDuration = Annotated[
    str,
    StringConstraints(pattern=DURATION_PATTERN, max_length=24),
    AfterValidator(_spark_duration),
]
"""A duration as Spark writes it: a whole number and us, ms, s, m or min, h, d; bare numbers are seconds."""

SIZE_PATTERN = r"^[0-9]+(b|k|kb|m|mb|g|gb|t|tb|p|pb)?$"


def _spark_size(text: str) -> str:
    parse_size(text, MIB)
    return text


SparkSize = Annotated[
    str,
    StringConstraints(pattern=SIZE_PATTERN, max_length=24),
    AfterValidator(_spark_size),
]
"""A size as Spark writes it: a whole number and b, k, m, g, t or p; bare numbers are MiB."""


def cel_rules(*rules: tuple[str, str]) -> dict[str, Any]:
    """What a schema says to have the API server check these rules: each one in CEL, and the sentence for who breaks it."""
    return {
        "x-kubernetes-validations": [
            {"rule": expression, "message": message} for expression, message in rules
        ]
    }


def keyed_list(*keys: str) -> dict[str, Any]:
    """What the schema of a list says when its entries are told apart by these fields."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


ExecutorCount = Annotated[int, Field(ge=0, le=2_147_483_647)]
PositiveCount = Annotated[int, Field(ge=1, le=2_147_483_647)]
AccessName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
]
ServerName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
]
"""The name of a Prometheus server in a policy."""
AccountName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253),
]
INSTALL_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
LONGEST_INSTALL_NAME = 36
"""A finalizer's name, and the Lease's, hold it."""
InstallName = Annotated[
    str, StringConstraints(pattern=INSTALL_NAME_PATTERN, max_length=LONGEST_INSTALL_NAME)
]
KubernetesName = Annotated[str, StringConstraints(min_length=1, max_length=253)]


def _quantity(pattern: str, what: str) -> tuple[Any, Any]:
    """Kubernetes takes a number or a text; the operator keeps the text."""

    def checked(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError(f"must be {what}")  # noqa: TRY004  (pydantic takes it for a fault of the input)
        text = str(value)
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {what}")
        return text

    schema = {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
        "pattern": f"^{pattern}$",
        "minimum": 0,
        "maxLength": 24,
    }
    return BeforeValidator(checked), WithJsonSchema(schema)


_CORES, _CORES_SCHEMA = _quantity(
    r"([0-9]{1,9}(\.[0-9]{1,3})?|[0-9]{1,12}m)", "a number of cores, such as 400 or 1500m"
)
_MEMORY, _MEMORY_SCHEMA = _quantity(
    r"[0-9]{1,15}(\.[0-9]{1,9})?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?",
    "a quantity of memory, such as 1600Gi or 2Ti",
)

CoreQuantity = Annotated[str, _CORES, _CORES_SCHEMA]
"""Cores as Kubernetes writes them: 400, 1.5 or 1500m."""
MemoryQuantity = Annotated[str, _MEMORY, _MEMORY_SCHEMA]
"""Memory as Kubernetes writes it: bytes, or 1600Gi, 2Ti, 500M."""


def milli_cores(cores: str) -> int:
    """A `CoreQuantity` in thousandths of a core."""
    return int(quantity_amount(cores) * 1000)


def mebibytes(memory: str) -> int:
    """A `MemoryQuantity` in MiB; a part of one does not count."""
    return int(quantity_amount(memory) / (1 << 20))


def mebibytes_of_spark(size: str) -> int:
    """A `SparkSize` in MiB."""
    return parse_size(size, MIB)


def milliseconds(duration: str) -> int:
    """A `SparkDuration` in milliseconds; a bare number is seconds."""
    return (
        parse_time(duration, SECOND) * 1000
        if duration.strip().isdigit()
        else parse_time(duration, 1_000_000)
    )


def seconds(duration: str) -> float:
    """A `SparkDuration` in seconds."""
    return milliseconds(duration) / 1000


_POD_NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_POD_NAME_RULE = (
    "must be the name of a pod: lower case letters, digits, - and ., such as nightly-report-driver"
)
_LABEL_PART = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = rf"([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_LABEL_PART}"
_LABEL_KEY_RULE = (
    "keys must be those of labels: letters, digits, -, _ and ., a letter or digit at both ends; "
    "a domain and / may come before"
)


def _pod_name(text: str) -> str:
    if not re.fullmatch(_POD_NAME, text):
        raise ValueError(_POD_NAME_RULE)
    return text


def is_label_key(key: str) -> bool:
    """Whether there can be a label of this key."""
    return re.fullmatch(_LABEL_KEY, key) is not None


def _label_keys(labels: dict[str, str]) -> dict[str, str]:
    if not all(map(is_label_key, labels)):
        raise ValueError(_LABEL_KEY_RULE)
    return labels


def _matches(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\")
    return f"matches('^{escaped}$')"


PodName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    Field(json_schema_extra=cel_rules((f"self.{_matches(_POD_NAME)}", _POD_NAME_RULE))),
    AfterValidator(_pod_name),
]
"""The name of a pod."""

Labels = Annotated[
    dict[str, Annotated[str, StringConstraints(pattern=f"^({_LABEL_PART})?$", max_length=63)]],
    Field(min_length=1, max_length=32),
]
"""Labels that a pod must have; the API server does not check keys, which costs too much within long lists."""

MatchLabels = Annotated[
    Labels,
    Field(
        json_schema_extra=cel_rules((f"self.all(key, key.{_matches(_LABEL_KEY)})", _LABEL_KEY_RULE))
    ),
    AfterValidator(_label_keys),
]
"""Labels that a pod must have."""
