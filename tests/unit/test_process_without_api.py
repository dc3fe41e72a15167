"""An operator whose API server is away when it starts: it is alive, not ready, says why, and can be told to end.

Were it not alive, the kubelet would start it again and again, and at the API server's return it might be waiting out a
pause of minutes.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: nowhere, cluster: {server: "http://127.0.0.1:9"}}]
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]
users: [{name: nobody, user: {}}]
current-context: nowhere
"""
STARTS_WITHIN_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def probed(port: int, path: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_without_an_api_server_it_is_alive_and_not_ready_and_says_so(tmp_path: Path) -> None:
    kubeconfig, log = tmp_path / "kubeconfig", tmp_path / "log"
    kubeconfig.write_text(KUBECONFIG)
    port = free_port()
    command = [
        *(str(Path(sys.executable).with_name("spark-allocation")), "run"),
        *(f"--kubeconfig={kubeconfig}", "--namespace=jobs", f"--health-port={port}"),
    ]
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("POD_")},
        "SPARK_ALLOCATION_HEALTH_HOST": "127.0.0.1",
    }
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=environment) as process,
    ):
        try:
            end = time.monotonic() + STARTS_WITHIN_SECONDS
            alive: tuple[int, str] | None = None
            while alive is None and time.monotonic() < end and process.poll() is None:
                try:
                    alive = probed(port, "/healthz")
                except OSError:
                    time.sleep(0.1)
            assert alive == (200, "ok\n"), log.read_text()
            status, why = probed(port, "/readyz")
            assert (status, why.strip()) == (503, "the executor pods are not listed yet")
            while b"api_unavailable" not in log.read_bytes():
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(STARTS_WITHIN_SECONDS) == 0
        finally:
            process.kill()
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events[0] == "starting"
