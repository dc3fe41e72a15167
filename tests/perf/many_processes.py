"""The processes of `bench_many`: the world, the operator that serves it, and a cluster for both where it is a real one."""

import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.cluster.access import Cluster, require
from tests.cluster.kwok import Kwok
from tests.cluster.layout import layout_of
from tests.cluster.local import component_processes, down
from tests.day.samples import process_figures
from tests.demo.installation import install_without_operator
from tests.machine.errors import ClusterError
from tests.machine.reporting import Reporter
from tests.perf.many_world import Load

LOOK_SECONDS = 0.05
KWOK_NODES = 20
TRACED_ENDS_SECONDS = 600.0


class Usage(NamedTuple):
    """Of a process until now."""

    rss_mib: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class ManyCluster:
    """A test cluster with the operator's rights, its kinds, and kwok."""

    cluster: Cluster
    kwok: Kwok

    def usages(self) -> dict[str, Usage]:
        """Of each of its programs."""
        pids = {name: each.pid for name, each in component_processes(self.cluster.name).items()}
        found = {
            name: process_figures(pid) for name, pid in (pids | {"kwok": self.kwok.pid}).items()
        }
        return {name: Usage(*figures) for name, figures in found.items() if figures is not None}


@contextmanager
def cluster_of_its_own(name: str, reporter: Reporter) -> Iterator[ManyCluster]:
    """A new test cluster, for the operator serves all of it; it is taken down at the end.

    Raises:
        ClusterError: there is one of this name, or it cannot be made.
    """
    if layout_of(name).state.exists():
        raise ClusterError(
            f"There is a test cluster {name!r}; this one would be taken down at the end. Name another one, or take that "
            f"down first: `python -m tests.cluster down --name {name}`."
        )
    try:
        cluster = require(name, reporter)
        install_without_operator(cluster)
        with (
            tempfile.TemporaryDirectory(prefix="kwok-") as folder,
            Kwok(cluster, Path(folder), nodes=KWOK_NODES, reporter=reporter) as kwok,
        ):
            yield ManyCluster(cluster, kwok)
    finally:
        down(name, reporter)


class WorldProcess:
    """A world of `tests.perf.many_world` in a process of its own.

    Attributes:
        kubeconfig: the operator's, as text.
        lease_namespace: where an operator may have its Lease.
        many: the cluster that it lives in; None for one in memory.
    """

    def __init__(self, load: Load, many: ManyCluster | None = None) -> None:
        self.many = many
        module = "many_in_memory" if many is None else "many_in_cluster"
        where = "" if many is None else f"{many.cluster.name!r}, "
        code = (
            f"import uvloop; from tests.perf.many_world import Load; from tests.perf.{module} import serve; "
            f"uvloop.run(serve({where}{load!r}))"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        told = self._answer()
        self.kubeconfig = str(told["kubeconfig"])
        self.lease_namespace = str(told["lease_namespace"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()  # closes its pipes

    @property
    def usage(self) -> Usage:
        found = process_figures(self._process.pid)
        assert found is not None
        return Usage(*found)

    def ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        print(command, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the world ended by itself, see above")
        answer: dict[str, Any] = json.loads(line)
        return answer


class OperatorProcess:
    """`spark-allocation run` against that world."""

    def __init__(
        self,
        kubeconfig: str,
        environment: Mapping[str, str],
        namespace: str = "",
        memray: Path | None = None,
    ) -> None:
        folder = Path(tempfile.mkdtemp(prefix="bench-many-"))
        path = folder / "kubeconfig"
        path.write_text(kubeconfig)
        self.log = folder / "operator.log"
        self._port = _free_port()
        self.began = time.monotonic()
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *_program(memray), "run"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **{
                        key: value
                        for key, value in os.environ.items()
                        if not key.startswith("KUBE")
                    },
                    "POD_NAMESPACE": namespace,
                    "SPARK_ALLOCATION_KUBECONFIG": str(path),
                    "SPARK_ALLOCATION_HEALTH_HOST": "127.0.0.1",
                    "SPARK_ALLOCATION_HEALTH_PORT": str(self._port),
                    **environment,
                },
            )

    @property
    def usage(self) -> Usage:
        found = process_figures(self.process.pid)
        if found is None:
            raise SystemExit(f"the operator ended: {self.log.read_text()[-2000:]}")
        return Usage(*found)

    @property
    def age_seconds(self) -> float:
        return time.monotonic() - self.began

    def said(self, event: str) -> int:
        """How often its log has this event."""
        return self.log.read_bytes().count(f'"event":"{event}"'.encode())

    def until(self, event: str, times: int = 1, *, within_seconds: float) -> Usage:
        """Wait until its log has the event so often; what it has used by then."""
        while self.said(event) < times:
            if self.age_seconds > within_seconds:
                raise SystemExit(f"no {times} × {event}, see {self.log}")
            time.sleep(LOOK_SECONDS)
        return self.usage

    def loop_lag(self) -> float:
        """Seconds by which its event loop was late at the last look: an event waits for so long."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._port}/metrics", timeout=10
            ) as answer:
                text = answer.read().decode()
        except OSError:
            return math.inf
        found = re.search(r"^spark_allocation_event_loop_lag_seconds (\S+)", text, re.MULTILINE)
        return float(found.group(1)) if found else math.nan

    def kill(self) -> None:
        """As a node that fails would: nothing is given back, nothing is finished."""
        self.process.kill()
        self.process.wait(60)

    def end(self, within_seconds: float = 60) -> None:
        """As a rolling update would."""
        self.process.terminate()
        self.process.wait(within_seconds)


def _program(memray: Path | None) -> list[str]:
    if memray is None:
        return [str(Path(sys.executable).with_name("spark-allocation"))]
    options = ("--trace-python-allocators", "--force", "--output", str(memray))
    return [sys.executable, "-m", "memray", "run", *options, "-m", "spark_allocation"]


@contextmanager
def operator_of(
    world: WorldProcess, *, leads: bool = False, memray: Path | None = None, **settings: str
) -> Iterator[OperatorProcess]:
    """An operator of that world.

    Args:
        leads: whether it has to hold a Lease.
        memray: file for all that it allocates, which makes it several times slower; the package memray has to be there.
        settings: of its environment, without their prefix.
    """
    environment = {f"SPARK_ALLOCATION_{name.upper()}": value for name, value in settings.items()}
    namespace = world.lease_namespace if leads else ""
    operator = OperatorProcess(world.kubeconfig, environment, namespace, memray)
    try:
        yield operator
    finally:
        if memray is not None:
            operator.end(TRACED_ENDS_SECONDS)  # what it has not written yet would be missing
        operator.kill()
    shutil.rmtree(operator.log.parent)  # whoever fails leaves the log behind


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
