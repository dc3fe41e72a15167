"""Helm for the tests of the chart, built from its Go module once and kept in the cache, and what it makes of the chart.

Helm reads no configuration of the user who runs the tests, and no cluster that is not named.
"""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.cluster import Cluster
from tests.cluster.programs import ProgramModule, ensure_program
from tests.machine.reporting import Reporter

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "spark-allocation-operator"
RELEASE = "spark-allocation-operator"
NAMESPACE = "spark-allocation-system"
KUBERNETES = "1.35.4"
"""What `helm template` is told to render for."""

TOOLS = ProgramModule(
    folder=Path(__file__).parent / "tools",
    module="helm.sh/helm/v4",
    packages={"helm": "helm.sh/helm/v4/cmd/helm", "kind": "sigs.k8s.io/kind"},
    name="helm",
    version_variable="helm.sh/helm/v4/internal/version.version",
)
HELM_3 = ProgramModule(
    folder=Path(__file__).parent / "tools" / "helm3",
    module="helm.sh/helm/v3",
    packages={"helm": "helm.sh/helm/v3/cmd/helm"},
    name="helm3",
    version_variable="helm.sh/helm/v3/internal/version.version",
)

Object = dict[str, Any]


class HelmError(Exception):
    """Helm refused; its words."""


@dataclass(frozen=True, slots=True)
class Helm:
    """Helm, for no cluster or for one.

    Attributes:
        user: whom to act as; "" for the cluster's administrator.
    """

    program: Path
    cluster: Cluster | None = None
    user: str = ""

    def run(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Run a command and return its output.

        Args:
            values: given as a values file.

        Raises:
            HelmError: it failed.
        """
        with tempfile.TemporaryDirectory(prefix="helm-") as folder:
            options: list[str] = []
            if values is not None:
                file = Path(folder) / "values.yaml"
                file.write_text(yaml.safe_dump(dict(values)))
                options.append(f"--values={file}")
            if self.cluster is not None:
                options += [
                    f"--kubeconfig={self.cluster.kubeconfig}",
                    f"--kube-context={self.cluster.context}",
                    *((f"--kube-as-user={self.user}",) if self.user else ()),
                ]
            result = subprocess.run(
                [str(self.program), *arguments, *options],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                env={
                    **{
                        key: value
                        for key, value in os.environ.items()
                        if not key.startswith(("HELM_", "KUBE"))
                    },
                    "HELM_CACHE_HOME": f"{folder}/cache",
                    "HELM_CONFIG_HOME": f"{folder}/config",
                    "HELM_DATA_HOME": f"{folder}/data",
                    **({} if self.cluster else {"KUBECONFIG": f"{folder}/none"}),
                },
                check=False,
            )
        if result.returncode != 0:
            raise HelmError(result.stderr.strip() or result.stdout.strip())
        return result.stdout

    def template(
        self,
        values: Mapping[str, Any] | None = None,
        *options: str,
        release: str = RELEASE,
        namespace: str = NAMESPACE,
        chart: Path = CHART,
    ) -> str:
        """The chart's manifests as text, hooks among them."""
        return self.run(
            *("template", release, str(chart), f"--namespace={namespace}"),
            *(f"--kube-version={KUBERNETES}", *options),
            values=values or {},
        )

    def objects(self, values: Mapping[str, Any] | None = None, *options: str, **named: Any) -> list[Object]:  # fmt: skip
        """The chart's objects."""
        return parsed(self.template(values, *options, **named))


def parsed(text: str) -> list[Object]:
    """The objects of a stream of YAML documents."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def helm(reporter: Reporter | None = None, *, module: ProgramModule = TOOLS) -> Helm:
    """Helm, built if need be.

    Raises:
        ClusterError: it cannot be built.
    """
    return Helm(ensure_program(module, "helm", reporter or Reporter()))
