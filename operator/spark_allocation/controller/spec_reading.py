"""From the object as the API server has it to what is asked for.

Nothing is decided here: a body becomes a spec or the sentence that says why not, and a spec is divided into what a life
follows while it is served and what it has to end for (`wish`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from spark_allocation.api import later_fields
from spark_allocation.api.later_fields import validated
from spark_allocation.api.refusals import refusal
from spark_allocation.api.v1alpha1 import Mode, SparkAllocationSpec


@dataclass(frozen=True, slots=True)
class InvalidSpec:
    """A spec that the operator cannot read."""

    message: str

    def __str__(self) -> str:
        return self.message


def read_spec(
    body: Mapping[str, Any], *, strict: bool = False
) -> SparkAllocationSpec | InvalidSpec:
    """The spec of a SparkAllocation.

    Args:
        strict: refuse fields that nobody knows, which in a file are mistakes. An API server that has such a field has
            CustomResourceDefinitions of a later version: then what is known is read, and `unknown_fields` names the rest.
    """
    try:
        return validated(SparkAllocationSpec, body.get("spec") or {}, strict=strict)
    except ValidationError as error:
        return InvalidSpec(refusal(SparkAllocationSpec, error, of_file=strict))


def unknown_fields(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields of the spec that this version does not know, as paths."""
    return later_fields.unknown_fields(SparkAllocationSpec, body.get("spec") or {})


def wish(spec: SparkAllocationSpec) -> tuple[object, ...]:
    """What cannot be changed without going the way to the driver anew."""
    return (spec.driver, spec.mode or Mode.ALLOCATE, spec.spark_conf)


def owner_pod(metadata: Mapping[str, Any]) -> str:
    """The uid of the pod that owns the object and takes it along when it goes; "" for one made by hand."""
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("kind") == "Pod" and owner.get("controller"):
            return str(owner.get("uid") or "")
    return ""
