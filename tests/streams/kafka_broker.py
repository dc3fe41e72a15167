"""One broker of Kafka that is its own controller (KRaft), as a process of this host or as a pod.

Nothing of it stays: it keeps its data in a folder that goes with it. Its jars come from `kafka_jars`.
"""

import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.conformance.oracle_jvm import java
from tests.demo.api import Object
from tests.e2e.waiting import eventually
from tests.e2e.workspace import Workspace
from tests.machine.errors import ClusterError
from tests.machine.own_time import own_seconds

POD = "kafka"
PORT = 9092
CONTROLLER_PORT = 9093
HEAP = "256m"
STARTS_WITHIN_SECONDS = 120
ENDS_WITHIN_SECONDS = 20
JARS = "/opt/kafka"
DATA = "/tmp/kafka"
JVM = (
    f"-Xmx{HEAP} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
)
_CLUSTER_ID = "c3BhcmstYWxsb2NhdGlvbg"
"""Every broker has a folder of its own and no other broker to be mistaken for."""


def settings(*, address: str, port: int, controller_port: int, data: str) -> str:
    """server.properties.

    Args:
        address: under which clients find it.
        port: for clients.
        controller_port: for itself, on the loopback.
        data: a folder that only this broker uses.
    """
    lines = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{address}:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        # nothing is there to replicate to, and little memory
        "offsets.topic.num.partitions": "1",
        "offsets.topic.replication.factor": "1",
        "log.cleaner.dedupe.buffer.size": str(2 << 20),
        "log.index.size.max.bytes": str(1 << 20),
        "auto.create.topics.enable": "false",
        # on a busy machine the only broker is slow now and then, and not gone
        "broker.session.timeout.ms": "60000",
    }
    return "".join(f"{key}={value}\n" for key, value in lines.items())


class LocalBroker:
    """A broker as a process of this host, on the loopback, from `with` to its end."""

    def __init__(self, jars: list[Path]) -> None:
        """
        Args:
            jars: of `kafka_jars.broker_jars`.

        Raises:
            OracleUnavailable: there is no Java.
        """
        self._java = [java(), *JVM.split(), "-cp", ":".join(map(str, jars))]
        self._stack = ExitStack()
        self._port = 0

    @property
    def address(self) -> str:
        """For `kafka.bootstrap.servers`."""
        return f"127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        with self._stack:
            folder = Path(
                self._stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="kafka-", ignore_cleanup_errors=True)
                )
            )
            self._port, controller_port = _free_ports()
            file, log = folder / "server.properties", folder / "log"
            file.write_text(
                settings(
                    address="127.0.0.1",
                    port=self._port,
                    controller_port=controller_port,
                    data=str(folder / "data"),
                )
            )
            subprocess.run(
                [*self._java, *format_arguments(str(file))],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            output = self._stack.enter_context(log.open("w"))
            process = subprocess.Popen(
                [*self._java, "kafka.Kafka", str(file)], stdout=output, stderr=output
            )
            self._stack.callback(_end, process)
            self._await_listening(process, log)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _await_listening(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = own_seconds() + STARTS_WITHIN_SECONDS
        while not _listens(self._port):
            if process.poll() is not None or own_seconds() > deadline:
                raise ClusterError(f"Kafka does not start; it said:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)


def format_arguments(file: str) -> tuple[str, ...]:
    """Of the program that prepares the data folder, once, before the broker's first start."""
    return (
        *("kafka.tools.StorageTool", "format"),
        *(f"--cluster-id={_CLUSTER_ID}", f"--config={file}"),
    )


def broker_pod(namespace: str, image: str, jars: Path) -> Object:
    """A pod with a broker.

    Args:
        image: one with Java at JAVA_HOME and a shell, such as Spark's.
        jars: folder of the node with the broker's jars.
    """
    file = f"{DATA}.properties"
    program = f"$JAVA_HOME/bin/java {JVM} -cp '{JARS}/*'"
    command = (
        f'printf %s "$SETTINGS" > {file} && {program} {" ".join(format_arguments(file))} '
        f"&& exec {program} kafka.Kafka {file}"
    )
    # $(POD_IP) is replaced by the kubelet
    served = settings(
        address="$(POD_IP)", port=PORT, controller_port=CONTROLLER_PORT, data=f"{DATA}/data"
    )
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "broker",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", command],
                    "env": [
                        {
                            "name": "POD_IP",
                            "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}},
                        },
                        {"name": "SETTINGS", "value": served},
                    ],
                    "ports": [{"name": "kafka", "containerPort": PORT}],
                    "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "384Mi"},
                        "limits": {"memory": "768Mi"},
                    },
                    "volumeMounts": [
                        {"name": "jars", "mountPath": JARS, "readOnly": True},
                        {"name": "data", "mountPath": DATA},
                    ],
                }
            ],
            "volumes": [
                {"name": "jars", "hostPath": {"path": str(jars), "type": "Directory"}},
                {"name": "data", "emptyDir": {}},
            ],
        },
    }


def start_broker(space: Workspace, jars: list[Path]) -> str:
    """Start a broker in a namespace; its address, once it listens."""
    space.create(broker_pod(space.namespace, space.spark_image, jars[0].parent))

    def address() -> str | None:
        pod = space.api.pod(space.namespace, POD)
        status = {} if pod is None else pod["status"]
        ready = any(
            each["type"] == "Ready" and each["status"] == "True"
            for each in status.get("conditions", ())
        )
        return f"{status['podIP']}:{PORT}" if ready else None

    return eventually(
        address,
        what="the broker of Kafka listens",
        within=STARTS_WITHIN_SECONDS,
        explain=lambda: space.log(POD),
    )


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def _free_ports() -> tuple[int, int]:
    """Two that nobody listens at."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(ENDS_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
