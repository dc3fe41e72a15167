"""The programs of a local cluster: their settings files, command lines and health.

Identities are bearer tokens in a file of the API server, made anew for each cluster. The API
server makes its own serving certificate (for the node's and the Service's address) at its first
start; the same key signs service account tokens.
"""

import json
import secrets
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.layout import SERVICE_NETWORK, ClusterLayout
from tests.cluster.programs import program
from tests.images.pause import PAUSE_IMAGE

AUDITED_NAMESPACES = ("spark-allocation-system", "spark-allocation-namespaced", "beside-spark")
"""The API server writes down what service accounts of these namespaces ask of it."""


@dataclass(frozen=True, slots=True)
class Component:
    """One long-running program.

    Attributes:
        name: as shown by `status`; names the log too.
        program: the executable.
        arguments: its command line without the program.
        complaint: None when it is healthy, else why not.
        slow: seconds it may take to become healthy.
    """

    name: str
    program: Path
    arguments: tuple[str, ...]
    complaint: Callable[[], str | None]
    slow: float = 60.0


def write_settings(layout: ClusterLayout) -> None:
    """Write every settings file; tokens that exist already are kept."""
    for folder in (
        layout.settings,
        layout.settings / "cni",
        layout.certificates,
        layout.logs,
        layout.logs / "pods",
        layout.state / "kubelet",
    ):
        folder.mkdir(parents=True, exist_ok=True)
    layout.state.chmod(0o700)
    _write_tokens(layout)
    for user in ("kube-controller-manager", "kube-scheduler", "kubelet"):
        write_kubeconfig(layout, layout.settings / f"{user}.kubeconfig", user)
    (layout.settings / "resolv.conf").write_text(
        # The cluster has no DNS: a lookup is refused at once instead of timing out.
        "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
    )
    (layout.settings / "cni" / "10-pods.conflist").write_text(
        json.dumps(_pod_network(layout), indent=2)
    )
    (layout.settings / "containerd.toml").write_text(_containerd_settings(layout))
    (layout.settings / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet_settings(layout)))
    (layout.settings / "audit-policy.yaml").write_text(yaml.safe_dump(_audit_policy()))


def components(layout: ClusterLayout) -> tuple[Component, ...]:
    """All components in the order in which they start."""
    settings = layout.settings
    node = layout.node_address
    service_account_key = layout.certificates / "apiserver.key"

    def kubeconfig(user: str) -> str:
        return f"--kubeconfig={settings / user}.kubeconfig"

    return (
        Component(
            "containerd",
            Path("/usr/bin/containerd"),
            (f"--config={settings / 'containerd.toml'}",),
            lambda: _socket_complaint(layout.containerd_socket),
        ),
        Component(
            "etcd",
            program("etcd"),
            (
                f"--data-dir={layout.state / 'etcd'}",
                "--name=node",
                "--listen-client-urls=http://127.0.0.1:2379",
                "--advertise-client-urls=http://127.0.0.1:2379",
                "--listen-peer-urls=http://127.0.0.1:2380",
                "--initial-advertise-peer-urls=http://127.0.0.1:2380",
                "--initial-cluster=node=http://127.0.0.1:2380",
                f"--listen-metrics-urls=http://{node}:2381",
                "--unsafe-no-fsync",  # the data need not survive a power cut
                "--quota-backend-bytes=4294967296",
                "--auto-compaction-mode=periodic",
                "--auto-compaction-retention=5m",
                "--log-level=warn",
            ),
            lambda: _http_complaint(f"http://{node}:2381/health"),
        ),
        Component(
            "kube-apiserver",
            program("kube-apiserver"),
            (
                "--etcd-servers=http://127.0.0.1:2379",
                "--bind-address=0.0.0.0",
                "--secure-port=443",
                f"--advertise-address={node}",
                f"--service-cluster-ip-range={SERVICE_NETWORK}",
                f"--cert-dir={layout.certificates}",
                f"--token-auth-file={settings / 'tokens.csv'}",
                "--anonymous-auth=false",
                "--authorization-mode=RBAC,Node",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=true",
                "--kubelet-preferred-address-types=InternalIP",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={service_account_key}",
                f"--service-account-signing-key-file={service_account_key}",
                "--profiling=false",
                f"--audit-policy-file={settings / 'audit-policy.yaml'}",
                f"--audit-log-path={layout.audit_log}",
                "--audit-log-maxsize=1000",
                "--audit-log-maxbackup=1",
            ),
            lambda: _http_complaint(f"{layout.server}/readyz", layout=layout),
            slow=120,
        ),
        Component(
            "kube-controller-manager",
            program("kube-controller-manager"),
            (
                kubeconfig("kube-controller-manager"),
                "--bind-address=0.0.0.0",
                f"--cert-dir={layout.certificates / 'kube-controller-manager'}",
                "--leader-elect=false",
                "--use-service-account-credentials=true",
                f"--root-ca-file={layout.server_certificate}",
                f"--service-account-private-key-file={service_account_key}",
                "--controllers=*,-nodeipam,-service,-cloud-node-lifecycle",
                "--profiling=false",
            ),
            lambda: _http_complaint(f"https://{node}:10257/healthz"),
        ),
        Component(
            "kube-scheduler",
            program("kube-scheduler"),
            (
                kubeconfig("kube-scheduler"),
                "--bind-address=0.0.0.0",
                f"--cert-dir={layout.certificates / 'kube-scheduler'}",
                "--leader-elect=false",
                "--kube-api-qps=200",  # of 50: thousands of pods of kwok would wait for minutes
                "--kube-api-burst=400",
                "--profiling=false",
            ),
            lambda: _http_complaint(f"https://{node}:10259/healthz"),
        ),
        Component(
            "kubelet",
            program("kubelet"),
            (
                kubeconfig("kubelet"),
                f"--config={settings / 'kubelet.yaml'}",
                f"--root-dir={layout.state / 'kubelet'}",
                f"--cert-dir={layout.state / 'kubelet' / 'pki'}",
                f"--hostname-override={layout.name}",
                f"--node-ip={node}",
            ),
            lambda: _http_complaint(f"http://{node}:10248/healthz"),
        ),
    )


def write_kubeconfig(layout: ClusterLayout, file: Path, user: str) -> None:
    """Write a kubeconfig (mode 0600) that refers to the API server's own certificate.

    The certificate is named by its path, since the API server makes it at its first start.
    """
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": layout.name,
                "cluster": {
                    "server": layout.server,
                    "certificate-authority": str(layout.server_certificate),
                },
            }
        ],
        "users": [{"name": user, "user": {"token": token_of(layout, user)}}],
        "contexts": [
            {"name": layout.name, "context": {"cluster": layout.name, "user": user}},
        ],
        "current-context": layout.name,
    }
    unfinished = file.with_name(f".{file.name}.new")
    unfinished.touch(mode=0o600)
    unfinished.write_text(yaml.safe_dump(config))
    unfinished.rename(file)


def token_of(layout: ClusterLayout, user: str) -> str:
    """The bearer token of one of the cluster's users (`admin`, `kubelet`, …)."""
    for line in (layout.settings / "tokens.csv").read_text().splitlines():
        token, _, uid = line.split(",")[:3]
        if uid == user:
            return token
    raise KeyError(user)


def ask(layout: ClusterLayout, path: str, *, timeout: float = 5.0) -> Any:
    """GET `path` from the API server as the administrator; the decoded answer."""
    request = urllib.request.Request(
        layout.server + path,
        headers={"Authorization": f"Bearer {token_of(layout, 'admin')}"},
    )
    context = ssl.create_default_context(cafile=str(layout.server_certificate))
    with _opener(context).open(request, timeout=timeout) as answer:
        body = answer.read()
    return json.loads(body) if body[:1] == b"{" else body.decode()


def node_complaint(layout: ClusterLayout) -> str | None:
    """None when the node is Ready and pods can be created in the default namespace."""
    try:
        node = ask(layout, f"/api/v1/nodes/{layout.name}")
        ask(layout, "/api/v1/namespaces/default/serviceaccounts/default")
    except (OSError, ValueError) as error:
        return str(error)
    for condition in node["status"].get("conditions", []):
        if condition["type"] == "Ready":
            return None if condition["status"] == "True" else str(condition["message"])
    return "the node has no Ready condition yet"


def pods_complaint(layout: ClusterLayout) -> str | None:
    """None when the kubelet knows every pod it has reported as running.

    A restarted kubelet is healthy, and its node still counts as Ready, before it has its pods back;
    until then `logs` and `exec` fail.
    """
    ours = f"fieldSelector=spec.nodeName={layout.name},status.phase=Running"
    try:
        running = ask(layout, f"/api/v1/pods?{ours}")["items"]
        unverified = ssl._create_unverified_context()
        with _opener(unverified).open(
            f"https://{layout.node_address}:10250/pods", timeout=5
        ) as pods:
            known = {pod["metadata"]["uid"] for pod in json.load(pods)["items"] or ()}
    except (OSError, ValueError) as error:
        return str(error)
    unknown = sum(pod["metadata"]["uid"] not in known for pod in running)
    return f"the kubelet does not know {unknown} of its pods yet" if unknown else None


def _opener(context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )


def _http_complaint(url: str, layout: ClusterLayout | None = None) -> str | None:
    try:
        if layout is not None:
            ask(layout, url.removeprefix(layout.server), timeout=2)
            return None
        # The healthz endpoints of the other programs have throw-away certificates.
        unverified = ssl._create_unverified_context()
        with _opener(unverified).open(url, timeout=2):
            return None
    except urllib.error.HTTPError as error:
        body = error.read().decode(errors="replace").splitlines()
        failed = [line for line in body if line.startswith("[-]")]
        return f"{url} answers {error.code} {'; '.join(failed)}".rstrip()
    except (OSError, ValueError) as error:
        return f"{url}: {getattr(error, 'reason', error)}"


def _socket_complaint(path: Path) -> str | None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        try:
            client.connect(str(path))
        except OSError as error:
            return f"{path}: {error.strerror or error}"
    return None


def _write_tokens(layout: ClusterLayout) -> None:
    file = layout.settings / "tokens.csv"
    if file.exists():
        return
    users = (
        ("admin", "admin", "system:masters"),
        ("system:kube-controller-manager", "kube-controller-manager", ""),
        ("system:kube-scheduler", "kube-scheduler", ""),
        (f"system:node:{layout.name}", "kubelet", "system:nodes"),
    )
    unfinished = file.with_suffix(".new")
    unfinished.touch(mode=0o600)
    unfinished.write_text(
        "".join(f'{secrets.token_hex(24)},{user},{uid},"{group}"\n' for user, uid, group in users)
    )
    unfinished.rename(file)


def _pod_network(layout: ClusterLayout) -> dict[str, Any]:
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods",
                "isGateway": True,
                "hairpinMode": True,
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(layout.state / "cni"),
                    "ranges": [[{"subnet": layout.pod_network}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
        ],
    }


def _containerd_settings(layout: ClusterLayout) -> str:
    state = layout.state / "containerd"
    return f"""\
version = 2
root = "{state / "root"}"
state = "{state / "state"}"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{layout.containerd_socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{state / "opt"}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{layout.settings / "cni"}"
"""


def _audit_policy() -> dict[str, Any]:
    """The operator's requests without their bodies, and nobody else's: so it costs nearly nothing."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {
                "level": "Metadata",
                "userGroups": [
                    f"system:serviceaccounts:{namespace}" for namespace in AUDITED_NAMESPACES
                ],
            },
            {"level": "None"},
        ],
    }


def _kubelet_settings(layout: ClusterLayout) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "evictionHard": {"memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,  # never: no registry could give an image back
        "maxPods": 250,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "podLogsDir": str(layout.logs / "pods"),
        "resolvConf": str(layout.settings / "resolv.conf"),
        "volumePluginDir": str(layout.state / "kubelet" / "volume-plugins"),
        "makeIPTablesUtilChains": False,
        "healthzBindAddress": layout.node_address,
        # Only processes of this machine reach the node's network, so the kubelet asks nobody who
        # they are; the API server's `logs` and `exec` need no client certificate then.
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
    }
