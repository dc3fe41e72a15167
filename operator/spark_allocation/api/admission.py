"""Who may say what executor pods are: ValidatingAdmissionPolicies, made from the models.

The operator creates pods with its own rights, so a SparkAllocation that says what is in them says it in the operator's
name. A user without the right to create pods in the namespace may set how many executors there are, how large they are
and how long they stay, and nothing else. What is open is named here; **every other field is guarded**, also one that is
added to the models later and one that nobody knows.

An annotation ``spec.sparkallocation.dev/<field>`` of a labelled driver pod becomes that field, written by the operator.
Whoever creates a pod may create pods; the second policy is for those who may change pods and not create them.
"""

from collections.abc import Iterator
from typing import Any

import yaml

from spark_allocation.api import group
from spark_allocation.api.crd import structural_schema
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.core.setting_catalogue import BY_FIELD

Document = dict[str, Any]

OPEN_FIELDS = frozenset(
    {
        "managedBy",
        "driver",
        "mode",
        "profiles[].match",
        "streaming.backlog.promQL",
        "streaming.freezeWindows",
        "streaming.queries",
        "deletionPolicy",
        "ttlSecondsAfterFinished",
    }
)
"""Fields that anybody may set who may write SparkAllocations, beside the settings that policies may limit
(`core.setting_catalogue`): sizes and timing, and what they are for."""

_ENTRIES_OF_SETTINGS = {"profiles[].": "dynamicAllocation."}
"""Lists whose entries have settings of another place."""

KEYED_FIELD = "sparkConf"
"""Guarded key by key: see `OPEN_KEYS`."""

OPEN_KEYS = (
    "spark.executor.cores",
    "spark.executor.memory",
    "spark.executor.memoryOverhead",
    "spark.executor.memoryOverheadFactor",
    "spark.executor.minMemoryOverhead",
    "spark.executor.pyspark.memory",
    "spark.kubernetes.executor.limit.cores",
    "spark.kubernetes.executor.request.cores",
    "spark.kubernetes.memoryOverheadFactor",
    "spark.memory.offHeap.enabled",
    "spark.memory.offHeap.size",
)
"""Spark keys that say how large an executor is, which quotas and limit ranges judge."""

OPEN_KEY_PREFIXES = ("spark.dynamicAllocation.", "spark.kubernetes.allocation.batch.")
"""Families of Spark keys that say how many executors there are, and when."""

FIELDS_POLICY = "spark-allocation-executor-fields"
ANNOTATIONS_POLICY = "spark-allocation-executor-annotations"

_HEAD = """\
# Only who may create pods in a namespace may say there what executor pods are: templates, images, Secrets, volumes.
# Everybody else who may write SparkAllocations may set how many executors there are, how large and how long they stay.
# Needs Kubernetes 1.30. Of the cluster, and one for all installations: with deploy/namespaced/ an administrator applies
# it once, like the CRDs. Made from the models by `make crd`; change operator/spark_allocation/api/admission.py.
"""

_MAY_NOT_CREATE_PODS = (
    "!authorizer.group('').resource('pods').namespace(request.namespace).check('create').allowed()"
)
_GUARDED_KEY = (
    "!(key in variables.openKeys) && !variables.openPrefixes.exists(prefix, key.startsWith(prefix))"
)
_REMEDY = """' may be set or changed only by users who may create pods in namespace ' + request.namespace
+ ': it decides what executor pods are and what they read.'
+ ' Leave it as it is, or ask somebody who may create pods there to set it.'"""


def guarded_fields(schema: Document | None = None) -> tuple[str, ...]:
    """The fields of ``spec`` that only those may set who may create pods; ``a[].b`` is b of each entry of a.

    Of a field that holds nothing open only itself is named, so that what is added to it is guarded before it is known.

    Args:
        schema: of ``spec``; that of the models when left out.
    """
    chosen = structural_schema(SparkAllocationSpec) if schema is None else schema
    return tuple(path for name, field in chosen["properties"].items() for path in _guarded(name, field))  # fmt: skip


def is_open(path: str) -> bool:
    """Whether a field says how many executors there are, how large, how long they stay, or what it is for."""
    for entries, settings in _ENTRIES_OF_SETTINGS.items():
        if path.startswith(entries) and path.replace(entries, settings, 1) in BY_FIELD:
            return True
    return path in OPEN_FIELDS or path in BY_FIELD


def _guarded(path: str, schema: Document) -> Iterator[str]:
    if is_open(path) or path == KEYED_FIELD:
        return
    below = [each for name, field in _children(path, schema) for each in _guarded(name, field)]
    yield from below if _holds_something_open(path, schema) else [path]


def _holds_something_open(path: str, schema: Document) -> bool:
    if is_open(path):
        return True
    return any(_holds_something_open(name, field) for name, field in _children(path, schema))


def _children(path: str, schema: Document) -> Iterator[tuple[str, Document]]:
    items = schema.get("items")
    if isinstance(items, dict):
        yield from ((f"{path}[].{name}", field) for name, field in items.get("properties", {}).items())  # fmt: skip
    yield from ((f"{path}.{name}", field) for name, field in schema.get("properties", {}).items())


def admission_policies() -> list[Document]:
    """The policies and their bindings."""
    return [*_enforced(_fields_policy()), *_enforced(_annotations_policy())]


def admission_policy_file() -> str:
    """The policies as committed under ``deploy/``."""
    return (
        f"{_HEAD}{yaml.dump_all(admission_policies(), Dumper=_Dumper, sort_keys=False, width=200)}"
    )


def _fields_policy() -> Document:
    validations = [
        *(_validation(path) for path in guarded_fields()),
        {
            "expression": "size(variables.guardedKeys) == 0",
            "messageExpression": (
                f"'spec.{KEYED_FIELD}: ' + variables.guardedKeys.join(', ')\n+ {_REMEDY}"
            ),
            "reason": "Forbidden",
        },
        {
            # what somebody said of one driver's executors, nobody else takes to another driver
            "expression": "!variables.saysWhatExecutorsAre || object.spec.?driver == variables.before.?driver",
            "messageExpression": f"'spec.driver of a SparkAllocation that says what executor pods are'\n+ {_REMEDY}",
            "reason": "Forbidden",
        },
    ]
    return _policy(
        FIELDS_POLICY,
        rule={
            "apiGroups": [group.GROUP],
            "apiVersions": [group.VERSION],
            "resources": [group.PLURAL],
            "operations": ["CREATE", "UPDATE"],
        },
        variables={
            "before": "request.operation == 'CREATE' ? dyn({}) : dyn(oldObject.spec)",
            "keys": f"object.spec.?{KEYED_FIELD}.orValue({{}})",
            "keysBefore": f"variables.before.?{KEYED_FIELD}.orValue({{}})",
            "changedKeys": _changed("variables.keys", "variables.keysBefore"),
            "openKeys": f"[\n{_listed(OPEN_KEYS)}]",
            "openPrefixes": f"[\n{_listed(OPEN_KEY_PREFIXES)}]",
            "guardedKeys": f"variables.changedKeys.filter(key, {_GUARDED_KEY})",
            "saysWhatExecutorsAre": "\n|| ".join(
                [*map(_said, guarded_fields()), f"variables.keys.exists(key, {_GUARDED_KEY})"]
            ),
        },
        validations=validations,
    )


def _annotations_policy() -> Document:
    prefix, label = group.FIELD_ANNOTATION_PREFIX, group.MANAGED_LABEL
    managed = f"metadata.?labels[?'{label}'].orValue('') == 'true'"
    return _policy(
        ANNOTATIONS_POLICY,
        rule={
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "resources": ["pods"],
            "operations": ["UPDATE"],
        },
        selector={"matchLabels": {label: "true"}},
        variables={
            # a pod that becomes managed has said nothing before: its annotations count as set now
            "before": f"oldObject.{managed} ? oldObject.metadata.?annotations.orValue({{}}) : {{}}",
            "now": f"object.{managed} ? object.metadata.?annotations.orValue({{}}) : variables.before",
            "changed": _changed("variables.now", "variables.before"),
            "guarded": (
                f"variables.changed.filter(key, key.startsWith('{prefix}')\n"
                f"&& !(key.substring({len(prefix)}).split('.')[0] in [\n"
                + _listed(_open_annotations())
                + "]))"
            ),
        },
        validations=[
            {
                "expression": "size(variables.guarded) == 0",
                "messageExpression": f"'annotation ' + variables.guarded.join(', ')\n+ {_REMEDY}",
                "reason": "Forbidden",
            }
        ],
    )


def _open_annotations() -> tuple[str, ...]:
    """Fields of ``spec`` in which nothing is guarded: what an annotation may set, itself or something in it."""
    guarded = {path.replace("[", ".").partition(".")[0] for path in guarded_fields()}
    properties = structural_schema(SparkAllocationSpec)["properties"]
    return tuple(name for name in properties if name not in {*guarded, KEYED_FIELD})


def _said(path: str) -> str:
    """Whether a field is set, for an entry of a list: in any of them."""
    outer, _, inner = path.partition("[].")
    if not inner:
        return f"object.spec{_optional(outer)}.hasValue()"
    return f"object.spec{_optional(outer)}.orValue([]).exists(entry, entry{_optional(inner)}.hasValue())"


def _validation(path: str) -> Document:
    outer, _, inner = path.partition("[].")
    now, before = f"object.spec{_optional(outer)}", f"variables.before{_optional(outer)}"
    expression = f"{now} == {before}"
    if inner:
        # which entry holds for what follows from all of them: where one says it, none comes, goes or moves
        said = f"entry{_optional(inner)}"
        now, before = f"{now}.orValue([])", f"{before}.orValue([])"
        both = f".map(entry, [dyn(entry.?match), dyn({said})])"
        expression = (
            f"{now}{both}\n== {before}{both}\n"
            f"|| !{now}.exists(entry, {said}.hasValue())\n"
            f"&& !{before}.exists(entry, {said}.hasValue())"
        )
    return {
        "expression": expression,
        "messageExpression": f"'spec.{path}'\n+ {_REMEDY}",
        "reason": "Forbidden",
    }


def _optional(path: str) -> str:
    return "".join(f".?{part}" for part in path.split("."))


def _changed(now: str, before: str) -> str:
    """The keys of a map that were added, changed or taken away."""
    return (
        f"{now}.map(key, key).filter(key, !(key in {before}) || {before}[key] != {now}[key])\n"
        f"+ {before}.map(key, string(key)).filter(key, !(key in {now}))"
    )


def _listed(words: tuple[str, ...]) -> str:
    return "".join(f"  '{word}',\n" for word in words)


def _policy(
    name: str,
    *,
    rule: Document,
    variables: dict[str, str],
    validations: list[Document],
    selector: Document | None = None,
) -> Document:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": _metadata(name),
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                **({"objectSelector": selector} if selector else {}),
                "resourceRules": [{**rule, "scope": "Namespaced"}],
            },
            "matchConditions": [
                {"name": "user-may-not-create-pods", "expression": _MAY_NOT_CREATE_PODS}
            ],
            "variables": [{"name": key, "expression": text} for key, text in variables.items()],
            "validations": validations,
        },
    }


def _enforced(policy: Document) -> list[Document]:
    name = policy["metadata"]["name"]
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": _metadata(name),
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    return [policy, binding]


def _metadata(name: str) -> Document:
    return {"name": name, "labels": {"app.kubernetes.io/name": "spark-allocation-operator"}}


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = "|" if "\n" in text or "'" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)
