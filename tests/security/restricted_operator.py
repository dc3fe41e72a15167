"""The operator as a process of this host, with the rights that deploy/ grants and no others."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.cluster import Cluster
from tests.demo.manifests import OPERATOR, OPERATOR_NAMESPACE
from tests.demo.operator_process import write_kubeconfig
from tests.integration.operator_world import eventually


class RestrictedOperator:
    """`spark-allocation run` with a token of its service account; leads by a Lease in the account's namespace.

    Attributes:
        token: what it authenticates with; it must never show.
        user: its name at the API server.
    """

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        *,
        namespace: str = OPERATOR_NAMESPACE,
        serves: tuple[str, ...] = (),
        level: str = "debug",
        environment: dict[str, str] | None = None,
    ) -> None:
        self.log_file = folder / "operator.log"
        kubeconfig = folder / "operator.kubeconfig"
        self.token = write_kubeconfig(cluster, kubeconfig, namespace=namespace)
        self.user = f"system:serviceaccount:{namespace}:{OPERATOR}"
        command = [
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *(str(Path(sys.executable).with_name("spark-allocation")), "run"),
            *(f"--namespace={each}" for each in serves),
            f"--log-level={level}",
        ]
        with self.log_file.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **{key: value for key, value in os.environ.items() if not key.startswith("KUBE")},
                    "POD_NAMESPACE": namespace,
                    "POD_NAME": "restricted",
                    "SPARK_ALLOCATION_KUBECONFIG": str(kubeconfig),
                    "SPARK_ALLOCATION_HEALTH_HOST": "127.0.0.1",
                    "SPARK_ALLOCATION_HEALTH_PORT": "0",
                    **(environment or {}),
                },
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    async def says(self, words: str, *, within: float = 40) -> None:
        async def said() -> bool:
            assert self.process.poll() is None or words in self.log, self.log[-3000:]
            return words in self.log

        await eventually(said, f"the operator says {words}", within=within)

    async def ends(self, *, within: float = 30) -> int:
        """Ask it to end, as the kubelet does; its exit code."""
        self.process.send_signal(signal.SIGTERM)

        async def ended() -> bool:
            return self.process.poll() is not None

        await eventually(ended, "the operator ends", within=within)
        return int(self.process.returncode)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
