"""The operator as a process on the host instead of a Deployment: for development, and for tests that kill it.

The process holds the same rights as in the cluster: its kubeconfig carries a token of the operator's service account,
so what deploy/ does not grant fails here too.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml
from tests.cluster import Cluster, ClusterError
from tests.demo.manifests import OPERATOR, OPERATOR_NAMESPACE
from tests.machine.own_time import own_seconds

READY_SECONDS = 40.0
EXIT_SECONDS = 40.0


class OperatorProcess:
    """`spark-allocation run`, started, killed and started again by the same object."""

    def __init__(self, cluster: Cluster, folder: Path, *, traces: Path | None = None) -> None:
        """
        Args:
            folder: where the kubeconfig and the log (appended to over restarts) are written.
            traces: where it keeps traces; None for none.
        """
        self.log = folder / "operator.log"
        self._kubeconfig = folder / "operator.kubeconfig"
        self._process: subprocess.Popen[bytes] | None = None
        self._settings = {}
        if traces is not None:
            traces.mkdir(parents=True, exist_ok=True)
            self._settings["SPARK_ALLOCATION_TRACE_DIRECTORY"] = str(traces)
        folder.mkdir(parents=True, exist_ok=True)
        self.token = write_kubeconfig(cluster, self._kubeconfig)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """None before its first start."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it and return once it is ready.

        Raises:
            ClusterError: it ended, or was not ready in time; carries the end of its log.
        """
        assert not self.running, "one operator at a time"
        port = _free_port()
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("KUBE")},
            "SPARK_ALLOCATION_KUBECONFIG": str(self._kubeconfig),
            "SPARK_ALLOCATION_HEALTH_HOST": "127.0.0.1",
            "SPARK_ALLOCATION_HEALTH_PORT": str(port),
            **self._settings,
        }
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                # An operator that outlived a killed test run would serve the next run's drivers as well.
                [
                    *("setpriv", "--pdeathsig", "KILL", "--"),
                    *(str(Path(sys.executable).with_name("spark-allocation")), "run"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is the demo's to handle
            )
        end = own_seconds() + READY_SECONDS
        while not _ready(port):
            if not self.running:
                raise ClusterError(
                    f"The operator ended with code {self._process.returncode}; the end of "
                    f"{self.log}:\n{self.log_tail(30)}"
                )
            if own_seconds() > end:
                self.stop()
                raise ClusterError(
                    f"The operator was not ready in {READY_SECONDS:.0f} s; the end of {self.log}:\n"
                    + self.log_tail(30)
                )
            time.sleep(0.2)

    def kill(self) -> None:
        """End it without a word to it (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end (SIGTERM), as the kubelet does; its exit code."""
        return self._end(signal.SIGTERM)

    def log_tail(self, lines: int) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None, "it was started"
        self._process.send_signal(number)
        try:
            return self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(EXIT_SECONDS)
            raise ClusterError(
                f"The operator did not end within {EXIT_SECONDS:.0f} s of {number.name}."
            ) from None


def write_kubeconfig(cluster: Cluster, file: Path, *, namespace: str = OPERATOR_NAMESPACE) -> str:
    """A kubeconfig with a token of the operator's service account in this namespace; returns the token."""
    token = cluster.kubectl(
        "create", "token", OPERATOR, f"--namespace={namespace}", "--duration=12h"
    ).strip()
    view = cluster.kubectl("config", "view", "--raw", "--flatten", "--minify")
    config = yaml.safe_load(view)
    config["users"] = [{"name": OPERATOR, "user": {"token": token}}]
    config["contexts"][0]["context"]["user"] = OPERATOR
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(config))
    return token


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ready(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/readyz", timeout=1):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False
