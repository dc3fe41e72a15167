"""Writes docs/reference/executor-pod-configuration.md from the list of settings and the tests that name them.

python -m tests.documents.executor_pod_configuration
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.documents.settings_without_effect import SETTINGS_WITHOUT_EFFECT

from spark_allocation.core.executor_pod_settings import POD_SETTINGS, PodSetting
from spark_allocation.core.pod_refusals import RefusalReason

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "executor-pod-configuration.md"
_TESTS = (
    ROOT / "tests" / "unit" / "test_executor_pod_builder.py",
    ROOT / "tests" / "unit" / "test_executor_claims.py",
)
EFFECT_TEST = "test_each_setting_changes_the_pod_from_its_version_on"
_NAMES = {
    "K8S": "spark.kubernetes.",
    "EXECUTOR": "spark.kubernetes.executor.",
    "PREFIX": "spark.kubernetes.executor.volumes.",
}
_HEAD = """\
# Settings that make an executor pod

The operator builds executor pods as the driver itself would, from the driver's own configuration. This page lists every
setting that counts, what it does to the pod, and since which Spark version. Of Spark's Kubernetes and resource settings
the others follow, each with the reason why it leaves the pod alone. A setting in neither table has no effect on the pod:
the executor gets it from the driver when it registers.

The first table is complete: each setting that Spark itself knows was given to its own classes, and those that changed the
pod are here (`tests/conformance/test_pod_settings.py`). Every one takes part in the random comparison with those classes
(`tests/conformance`, kind `pod`), except the ones marked *ours*. The last column names unit tests that state the effect
by itself; each row is also a case of `test_each_setting_changes_the_pod_from_its_version_on`
(`tests/unit/test_executor_pod_settings_effects.py`). Where our pod differs on purpose: [differences from
Spark](../differences-from-spark.md).

This page is generated: `python -m tests.documents.executor_pod_configuration`.

| setting | effect on the pod | since | tested by |
| --- | --- | --- | --- |
"""
_OTHERS = """
## Settings without effect on executors that the operator makes

| setting | because |
| --- | --- |
"""
_TAIL = """
## Values and refusals

Values: `${spark.x}` refers to another setting wherever Spark itself replaces it (not in labels, annotations, environment,
volumes and `-D` options). `${env:X}` and `${system:x}` are known inside the driver only and are refused.

When no pod can be built, the condition names the key, the value and the rule, with one of these reasons:

"""
OURS = frozenset(
    {
        "spark.kubernetes.namespace",
        "spark.kubernetes.driver.ownPersistentVolumeClaim",
        "spark.kubernetes.driver.reusePersistentVolumeClaim",
        "spark.kubernetes.driver.waitToReusePersistentVolumeClaim",
        "spark.executor.decommission.signal",
    }
)


def page() -> str:
    """The whole page."""
    found = dict(_keys_of_tests())
    rows = "".join(_row(setting, found) for setting in POD_SETTINGS)
    reasons = "".join(f"- `{reason.value}`\n" for reason in RefusalReason)
    others = "".join(
        f"| `{key}{'*' if key.endswith('.') else ''}` | {reason} |\n"
        for key, reason in sorted(SETTINGS_WITHOUT_EFFECT)
    )
    return _HEAD + rows + _OTHERS + others + _TAIL + reasons


def _row(setting: PodSetting, found: dict[str, set[str]]) -> str:
    name = setting.key + ("*" if setting.is_family or setting.key in _OPEN_PREFIXES else "")
    tests = sorted(
        test for test, keys in found.items() if any(_names(setting, key) for key in keys)
    )
    ours = " *(ours)*" if setting.key in OURS else ""
    shown = "<br>".join(f"`{test}`" for test in tests[:2] or [EFFECT_TEST])
    return f"| `{name}` | {setting.effect}{ours} | {setting.since or 'all'} | {shown} |\n"


_OPEN_PREFIXES = frozenset({"spark.auth", "spark.rpc", "spark.network", "spark.ssl"})


def _names(setting: PodSetting, key: str) -> bool:
    if setting.is_family or setting.key in _OPEN_PREFIXES:
        return key.startswith(setting.key)
    return key == setting.key


def _keys_of_tests() -> Iterator[tuple[str, set[str]]]:
    for path in _TESTS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
                "test_"
            ):
                yield node.name, set(_keys(node))


def _keys(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and str(inner.value).startswith("spark."):
            yield str(inner.value)
        elif isinstance(inner, ast.BinOp):
            prefix = getattr(inner.left, "id", getattr(inner.left, "attr", None))
            if prefix in _NAMES and isinstance(inner.right, ast.Constant):
                yield _NAMES[prefix] + str(inner.right.value)


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
