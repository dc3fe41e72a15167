"""Writes deploy/ from the chart, for `kubectl apply` without Helm.

python -m tests.documents.install_manifests

Each file is what `helm template` makes of one template with the default values, without what only Helm has a use for:
its labels, and hooks. deploy/00-namespace.yaml and deploy/samples/ are written by hand.
"""

import re
from pathlib import Path

from tests.chart.helm import Helm, helm

DEPLOY = Path(__file__).parents[2] / "deploy"
WITHOUT_HELM = {"crds": {"install": False}}
ONE_TEAM = {**WITHOUT_HELM, "watch": {"namespaces": ["spark-jobs"]}}
FURTHER = {**WITHOUT_HELM, "watch": {"namespaces": ["spark-jobs", "other-jobs"]}}
FILES = {
    "rbac": "10-rbac",
    "user-roles": "15-user-roles",
    "admission-policies": "16-admission-policies",
    "deployment": "20-deployment",
    "networkpolicy": "30-network-policy",
    "poddisruptionbudget": "40-pod-disruption-budget",
}
"""Template → file."""

_MADE = "# Made from charts/spark-allocation-operator by `make chart`; change the chart, not this file.\n"
_ONE_TEAM = """\
# The operator for one team: it lives in the namespace whose drivers it serves, with Roles only. Nothing here is
# cluster-scoped, so who administers a namespace can install it, once an administrator of the cluster has applied crds/
# and deploy/15-user-roles.yaml (nobody can grant rights that he does not have) and deploy/16-admission-policies.yaml:
# without that file let only those write SparkAllocations who may create pods.
#
# spark-jobs is the namespace. For another one: sed 's/namespace: spark-jobs/namespace: mine/; s/--namespace=spark-jobs/--namespace=mine/'
# For further namespaces: further-namespace.yaml for each, and one more --namespace in 20-deployment.yaml.
"""
_FURTHER = """\
# One more namespace for an operator that was installed from deploy/namespaced/ into spark-jobs: it may serve
# other-jobs too. Add --namespace=other-jobs to the arguments in 20-deployment.yaml, and let the NetworkPolicy's egress
# reach the drivers there.
"""
_ONLY_HELM_S = re.compile(
    r"^ *(helm\.sh/chart: .*|app\.kubernetes\.io/managed-by: Helm)\n", re.MULTILINE
)
_SOURCE = re.compile(r"^---\n# Source: [^/]+/templates/(\S+)\.yaml\n", re.MULTILINE)
_DOCUMENTS = re.compile(r"^---\n", re.MULTILINE)


def manifests(program: Helm) -> dict[Path, str]:
    """File → content."""
    found = {}
    for name, text in _by_template(program.template(WITHOUT_HELM, "--no-hooks")).items():
        found[DEPLOY / f"{FILES[name]}.yaml"] = _MADE + text
    one_team = program.template(ONE_TEAM, "--no-hooks", namespace="spark-jobs")
    for name, text in _by_template(one_team).items():
        head = _ONE_TEAM if name == "rbac" else ""
        found[DEPLOY / "namespaced" / f"{FILES[name]}.yaml"] = _MADE + head + text
    further = _by_template(program.template(FURTHER, "--no-hooks", namespace="spark-jobs"))["rbac"]
    theirs = [each for each in _DOCUMENTS.split(further) if "\n  namespace: other-jobs\n" in each]
    found[DEPLOY / "namespaced" / "further-namespace.yaml"] = _MADE + _FURTHER + "---\n".join(theirs)  # fmt: skip
    return found


def without_helm_s_own(text: str) -> str:
    """Manifests without the labels that tell Helm what is its own."""
    return _ONLY_HELM_S.sub("", text)


def _by_template(rendered: str) -> dict[str, str]:
    """Template → what it rendered, its documents in the order of the template."""
    parts = _SOURCE.split(without_helm_s_own(rendered))
    found: dict[str, str] = {}
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        document = text.strip("\n") + "\n"
        found[name] = f"{found[name]}---\n{document}" if name in found else document
    return found


def write() -> None:
    """Write all of them, and take away what no template makes any more."""
    made = manifests(helm())
    for file, text in made.items():
        file.write_text(text)
    for folder in (DEPLOY, DEPLOY / "namespaced"):
        for file in set(folder.glob("[1-9]*.yaml")) - made.keys():
            file.unlink()


if __name__ == "__main__":
    write()
