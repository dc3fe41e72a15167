"""Policies to try, as people write them: files of YAML, refused with a sentence before any log is read.

A file holds SparkAllocations, with the policies that should hold for them beside them, or one mapping of Spark properties.
What no application could have is refused here, and fields and settings that nobody knows are mistakes, for a policy that
is without effect looks like one that is without use. What only some applications cannot have, `what_if.policy_for` says.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from spark_allocation.api.group import CLUSTER_POLICY_KIND, GROUP, KIND, POLICY_KIND
from spark_allocation.api.policies import InvalidPolicy, read_policy
from spark_allocation.controller.spec_reading import InvalidSpec, read_spec
from spark_allocation.core import passive_driver
from spark_allocation.core.setting_catalogue import BY_SPARK_KEY
from spark_allocation.core.spark_conf import InvalidSetting

_DYNAMIC_ALLOCATION = "spark.dynamicAllocation."
_KNOWN = frozenset(
    {
        passive_driver.DYNAMIC_ALLOCATION,
        "spark.dynamicAllocation.testing",
        *(key for key in BY_SPARK_KEY if key.startswith(_DYNAMIC_ALLOCATION)),
    }
)
"""All settings of dynamic allocation: what else begins so is a mistake."""


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy as it was written.

    Attributes:
        name: for people.
        documents: a SparkAllocation and the policies beside it, or one mapping of Spark properties.
        where: the file, for errors; "" for a policy that is in none.
    """

    name: str
    documents: tuple[Mapping[str, Any], ...]
    where: str = ""

    def refused(self, why: object) -> "RefusedPolicy":
        """The refusal of this policy."""
        return RefusedPolicy(f"{self.where or self.name}: {why}")


class RefusedPolicy(ValueError):  # noqa: N818  (what the user reads)
    """A policy that Spark or the operator would refuse; the message names file, field, value and rule."""


def read_policy_file(file: Path) -> list[PolicyFile]:
    """The policies of one file.

    Raises:
        RefusedPolicy: when there is none, or one that no application could have.
        OSError: when the file cannot be read.
    """
    try:
        documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValueError, LookupError, RecursionError) as error:
        # the last three: no UTF-8, and what PyYAML itself stumbles over, such as the date 2026-13-45
        why = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise RefusedPolicy(f"{file}: cannot be read as YAML: {why}") from None
    found: list[Mapping[str, Any]] = []
    for each in documents:
        if each is not None and not isinstance(each, dict):
            raise RefusedPolicy(f"{file}: a policy is a SparkAllocation or a mapping of Spark properties")  # fmt: skip
        items = (each or {}).get("items")
        found += [item for item in items if isinstance(item, dict)] if isinstance(items, list) else [each or {}]  # fmt: skip
    return policy_files(file.stem, found, str(file))


def policy_files(
    name: str, documents: Iterable[Mapping[str, Any]], where: str = ""
) -> list[PolicyFile]:
    """The policies among documents: each SparkAllocation is one.

    Args:
        name: for people.
        where: the file, for errors.

    Raises:
        RefusedPolicy: when there is none, or one that no application could have.
    """
    found = [document for document in documents if document]
    allocations = [each for each in found if each.get("kind") == KIND]
    if allocations:
        others = tuple(each for each in found if each.get("kind") != KIND and is_ours(each))
        several = len(allocations) > 1
        files = []
        for number, each in enumerate(allocations):
            own = metadata_of(each).get("name", number)
            files.append(PolicyFile(f"{name}:{own}" if several else name, (each, *others), where))
        for file in files:
            _check_objects(file)
        return files
    if len(found) == 1 and all(str(key).startswith("spark.") for key in found[0]):
        file = PolicyFile(name, (found[0],), where)
        _check_properties(file)
        return [file]
    keys = ", ".join(sorted(str(key) for each in found for key in each)[:5]) or "nothing"
    raise RefusedPolicy(
        f"{where or name}: a policy is a SparkAllocation (kind: {KIND}) or a mapping of Spark properties "
        f"(spark.dynamicAllocation.maxExecutors: 20); found: {keys}"
    )


def distinct(policies: Iterable[PolicyFile]) -> list[PolicyFile]:
    """The same policies without repetitions; of those that share a name, each bears its file's."""
    found = []
    for each in policies:
        if each not in found:
            found.append(each)
    names = [each.name for each in found]
    return [
        replace(each, name=f"{each.name} ({each.where})") if names.count(each.name) > 1 else each
        for each in found
    ]


def metadata_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Its metadata; empty where that is none."""
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def property_text(value: Any) -> str:
    """A value of YAML as Spark's properties have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_ours(document: Mapping[str, Any]) -> bool:
    """Not so the Namespace or the driver pod that stands in the same file."""
    group = str(document.get("apiVersion") or "").partition("/")[0]
    return group == GROUP or document.get("kind") in (POLICY_KIND, CLUSTER_POLICY_KIND)


def _check_objects(file: PolicyFile) -> None:
    body, *policies = file.documents
    for document in file.documents:
        if not isinstance(document.get("metadata") or {}, Mapping):
            raise file.refused(
                f"metadata is {document['metadata']!r}: wanted are name and namespace"
            )
    spec = read_spec(body, strict=True)
    if isinstance(spec, InvalidSpec):
        raise file.refused(spec)
    for each in policies:
        read = read_policy(each, strict=True)
        if isinstance(read, InvalidPolicy):
            raise file.refused(f"{each.get('kind')} {read.name}: {read.message}")


def _check_properties(file: PolicyFile) -> None:
    for key, value in file.documents[0].items():
        text = property_text(value)
        if key.startswith(_DYNAMIC_ALLOCATION) and key not in _KNOWN:
            near = get_close_matches(key, sorted(_KNOWN), n=1)
            meant = f"; is {near[0]} meant?" if near else ""
            raise file.refused(f"{key}={text!r}: there is no such setting{meant}")
        if key in BY_SPARK_KEY:
            try:
                BY_SPARK_KEY[key].measure(text)
            except ValueError as error:
                raise file.refused(InvalidSetting(key, text, str(error))) from None
