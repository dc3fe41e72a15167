"""The two processes of `bench_many`: the world, and the operator that serves it."""

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
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.day.samples import process_figures

LOOK_SECONDS = 0.05


class Usage(NamedTuple):
    """Of a process until now."""

    rss_mib: float
    cpu_seconds: float


class WorldProcess:
    """`tests.perf.many_world` in a process of its own."""

    def __init__(
        self,
        applications: int,
        pods: int,
        *,
        foreign_pods: int = 0,
        active: float = 0.1,
        seed: int = 1,
    ) -> None:
        serving = f"uvloop.run(serve({applications}, {pods}, {foreign_pods}, {active}, {seed}))"
        code = f"import uvloop; from tests.perf.many_world import serve; {serving}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.kubeconfig = str(self._answer()["kubeconfig"])

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
        self, kubeconfig: str, environment: Mapping[str, str], namespace: str = ""
    ) -> None:
        folder = Path(tempfile.mkdtemp(prefix="bench-many-"))
        path = folder / "kubeconfig"
        path.write_text(kubeconfig)
        self.log = folder / "operator.log"
        self._port = _free_port()
        self.began = time.monotonic()
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", "--"),
                    *(str(Path(sys.executable).with_name("spark-allocation")), "run"),
                ],
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

    def end(self) -> None:
        """As a rolling update would."""
        self.process.terminate()
        self.process.wait(60)


@contextmanager
def operator_of(
    world: WorldProcess, *, namespace: str = "", **settings: str
) -> Iterator[OperatorProcess]:
    """An operator of that world.

    Args:
        namespace: of its Lease; "" for none.
        settings: of its environment, without their prefix.
    """
    environment = {f"SPARK_ALLOCATION_{name.upper()}": value for name, value in settings.items()}
    operator = OperatorProcess(world.kubeconfig, environment, namespace)
    try:
        yield operator
    finally:
        operator.kill()
    shutil.rmtree(operator.log.parent)  # whoever fails leaves the log behind


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
