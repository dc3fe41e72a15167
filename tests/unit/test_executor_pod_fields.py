"""Every field that Kubernetes has for a pod, and what an executor may do with it.

The fields are taken from the models of the Kubernetes client, so a new version of Kubernetes fails here until somebody
has thought about its fields. Until then the operator refuses them unless the driver pod has the same.
"""

import copy
from enum import Enum
from typing import Any, ClassVar

import kubernetes.client
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_allocation.core.pod_allow_list import PodAllowList, offending_fields

Json = dict[str, Any]


class Limit(Enum):
    """What holds for a field."""

    FREE = "an executor may have any value"
    LIKE_DRIVER = "an executor may have what its driver pod has"
    NEVER = "an executor may not have it"
    INSIDE = "what is inside it is judged field by field"


FREE, LIKE_DRIVER, NEVER, INSIDE = Limit.FREE, Limit.LIKE_DRIVER, Limit.NEVER, Limit.INSIDE

POD_SPEC: dict[str, tuple[Limit, Any]] = {
    "activeDeadlineSeconds": (FREE, 60),
    "affinity": (FREE, {"nodeAffinity": {}}),
    "automountServiceAccountToken": (FREE, False),
    "containers": (INSIDE, None),
    "dnsConfig": (FREE, {"nameservers": ["1.1.1.1"]}),
    "dnsPolicy": (FREE, "Default"),
    "enableServiceLinks": (FREE, True),
    "ephemeralContainers": (NEVER, [{"name": "debug", "image": "spark:1"}]),
    "evictionResponders": (LIKE_DRIVER, [{"name": "r"}]),
    "hostAliases": (FREE, [{"ip": "1.1.1.1", "hostnames": ["a"]}]),
    "hostIPC": (LIKE_DRIVER, True),
    "hostNetwork": (LIKE_DRIVER, True),
    "hostPID": (LIKE_DRIVER, True),
    "hostUsers": (LIKE_DRIVER, True),
    "hostname": (FREE, "a"),
    "hostnameOverride": (LIKE_DRIVER, "a.b.c"),
    "imagePullSecrets": (LIKE_DRIVER, [{"name": "registry"}]),
    "initContainers": (LIKE_DRIVER, [{"name": "setup", "image": "setup:1"}]),
    "nodeName": (NEVER, "node-1"),
    "nodeSelector": (FREE, {"disk": "ssd"}),
    "os": (FREE, {"name": "linux"}),
    "overhead": (LIKE_DRIVER, {"cpu": "1"}),
    "preemptionPolicy": (LIKE_DRIVER, "Never"),
    "priority": (LIKE_DRIVER, 1_000_000),
    "priorityClassName": (LIKE_DRIVER, "system-node-critical"),
    "readinessGates": (FREE, [{"conditionType": "a"}]),
    "resourceClaims": (LIKE_DRIVER, [{"name": "gpu", "resourceClaimName": "of-another-team"}]),
    "resources": (FREE, {"limits": {"cpu": "1"}}),
    "restartPolicy": (FREE, "Never"),
    "runtimeClassName": (LIKE_DRIVER, "unconfined"),
    "schedulerName": (FREE, "volcano"),
    "schedulingGates": (FREE, [{"name": "a"}]),
    "schedulingGroup": (LIKE_DRIVER, {"name": "gang"}),
    "securityContext": (INSIDE, None),
    "serviceAccount": (LIKE_DRIVER, "admin"),
    "serviceAccountName": (LIKE_DRIVER, "admin"),
    "setHostnameAsFQDN": (FREE, True),
    "shareProcessNamespace": (LIKE_DRIVER, True),
    "subdomain": (FREE, "a"),
    "terminationGracePeriodSeconds": (FREE, 60),
    "tolerations": (LIKE_DRIVER, [{"operator": "Exists"}]),
    "topologySpreadConstraints": (FREE, [{"maxSkew": 1}]),
    "volumes": (INSIDE, None),
}
CONTAINER: dict[str, tuple[Limit, Any]] = {
    "args": (LIKE_DRIVER, ["-c", "id"]),
    "command": (LIKE_DRIVER, ["sh"]),
    "env": (INSIDE, None),
    "envFrom": (INSIDE, None),
    "image": (LIKE_DRIVER, "other:1"),
    "imagePullPolicy": (FREE, "Always"),
    "lifecycle": (INSIDE, None),
    "livenessProbe": (INSIDE, None),
    "name": (FREE, "executor"),
    "ports": (INSIDE, None),
    "readinessProbe": (INSIDE, None),
    "resizePolicy": (FREE, [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]),
    "resources": (FREE, {"limits": {"cpu": "1"}}),
    "restartPolicy": (FREE, "Always"),
    "restartPolicyRules": (LIKE_DRIVER, [{"action": "Restart"}]),
    "securityContext": (INSIDE, None),
    "startupProbe": (INSIDE, None),
    "stdin": (FREE, True),
    "stdinOnce": (FREE, True),
    "terminationMessagePath": (FREE, "/dev/other"),
    "terminationMessagePolicy": (FREE, "File"),
    "tty": (FREE, True),
    "volumeDevices": (LIKE_DRIVER, [{"name": "disk", "devicePath": "/dev/sda"}]),
    "volumeMounts": (INSIDE, None),
    "workingDir": (FREE, "/tmp"),
}
OBJECT_META: dict[str, tuple[Limit, Any]] = {
    "annotations": (INSIDE, None),
    "creationTimestamp": (LIKE_DRIVER, "2026-01-01T00:00:00Z"),
    "deletionGracePeriodSeconds": (LIKE_DRIVER, 5),
    "deletionTimestamp": (LIKE_DRIVER, "2026-01-01T00:00:00Z"),
    "finalizers": (NEVER, ["example.com/stay"]),
    "generateName": (LIKE_DRIVER, "a-"),
    "generation": (LIKE_DRIVER, 3),
    "labels": (INSIDE, None),
    "managedFields": (LIKE_DRIVER, [{"manager": "kubectl"}]),
    "name": (FREE, "job-exec-1"),
    "namespace": (FREE, "jobs"),
    "ownerReferences": (NEVER, [{"kind": "Pod", "name": "other", "uid": "uid-2"}]),
    "resourceVersion": (LIKE_DRIVER, "7"),
    "selfLink": (LIKE_DRIVER, "/a"),
    "uid": (LIKE_DRIVER, "uid-3"),
}
POD_SECURITY_CONTEXT: dict[str, tuple[Limit, Any]] = {
    "appArmorProfile": (LIKE_DRIVER, {"type": "Unconfined"}),
    "fsGroup": (LIKE_DRIVER, 1000),
    "fsGroupChangePolicy": (FREE, "OnRootMismatch"),
    "runAsGroup": (LIKE_DRIVER, 1000),
    "runAsNonRoot": (FREE, True),
    "runAsUser": (LIKE_DRIVER, 1337),
    "seLinuxChangePolicy": (LIKE_DRIVER, "Recursive"),
    "seLinuxOptions": (LIKE_DRIVER, {"type": "spc_t"}),
    "seccompProfile": (LIKE_DRIVER, {"type": "Unconfined"}),
    "supplementalGroups": (LIKE_DRIVER, [999]),
    "supplementalGroupsPolicy": (LIKE_DRIVER, "Merge"),
    "sysctls": (LIKE_DRIVER, [{"name": "kernel.shm_rmid_forced", "value": "1"}]),
    "windowsOptions": (LIKE_DRIVER, {"hostProcess": True}),
}
SECURITY_CONTEXT: dict[str, tuple[Limit, Any]] = {
    "allowPrivilegeEscalation": (FREE, True),
    "appArmorProfile": (LIKE_DRIVER, {"type": "Localhost", "localhostProfile": "loose"}),
    "capabilities": (LIKE_DRIVER, {"add": ["NET_ADMIN"]}),
    "privileged": (LIKE_DRIVER, True),
    "procMount": (LIKE_DRIVER, "Unmasked"),
    "readOnlyRootFilesystem": (FREE, False),
    "runAsGroup": (LIKE_DRIVER, 0),
    "runAsNonRoot": (FREE, False),
    "runAsUser": (LIKE_DRIVER, 0),
    "seLinuxOptions": (LIKE_DRIVER, {"type": "spc_t"}),
    "seccompProfile": (LIKE_DRIVER, {"type": "Unconfined"}),
    "windowsOptions": (LIKE_DRIVER, {"runAsUserName": "ContainerAdministrator"}),
}
VOLUME: dict[str, tuple[Limit, Any]] = {
    **{
        kind: (LIKE_DRIVER, {"any": "source"})
        for kind in (
            "awsElasticBlockStore",
            "azureDisk",
            "azureFile",
            "cephfs",
            "cinder",
            "csi",
            "fc",
            "flexVolume",
            "flocker",
            "gcePersistentDisk",
            "gitRepo",
            "glusterfs",
            "image",
            "iscsi",
            "nfs",
            "photonPersistentDisk",
            "portworxVolume",
            "quobyte",
            "rbd",
            "scaleIO",
            "storageos",
            "vsphereVolume",
        )
    },
    "configMap": (LIKE_DRIVER, {"name": "other"}),
    "downwardAPI": (FREE, {"items": []}),
    "emptyDir": (FREE, {"medium": "Memory"}),
    "ephemeral": (
        LIKE_DRIVER,
        {"volumeClaimTemplate": {"spec": {"dataSource": {"kind": "PersistentVolumeClaim"}}}},
    ),
    "hostPath": (LIKE_DRIVER, {"path": "/etc"}),
    "name": (FREE, "v"),
    "persistentVolumeClaim": (LIKE_DRIVER, {"claimName": "other"}),
    "projected": (LIKE_DRIVER, {"sources": [{"secret": {"name": "other"}}]}),
    "secret": (LIKE_DRIVER, {"secretName": "other"}),
}
PROJECTION: dict[str, tuple[Limit, Any]] = {
    "clusterTrustBundle": (LIKE_DRIVER, {"name": "ca"}),
    "configMap": (LIKE_DRIVER, {"name": "other"}),
    "downwardAPI": (FREE, {"items": []}),
    "podCertificate": (LIKE_DRIVER, {"signerName": "example.com/signer"}),
    "secret": (LIKE_DRIVER, {"name": "other"}),
    "serviceAccountToken": (LIKE_DRIVER, {"audience": "vault", "path": "t"}),
}
ENV: dict[str, tuple[Limit, Any]] = {
    "configMapKeyRef": (LIKE_DRIVER, {"name": "other", "key": "k"}),
    "fieldRef": (FREE, {"fieldPath": "status.podIP"}),
    "fileKeyRef": (NEVER, {"volumeName": "v", "path": "p", "key": "k"}),
    "resourceFieldRef": (FREE, {"resource": "limits.cpu"}),
    "secretKeyRef": (LIKE_DRIVER, {"name": "other", "key": "k"}),
}
ENV_FROM: dict[str, tuple[Limit, Any]] = {
    "configMapRef": (LIKE_DRIVER, {"name": "other"}),
    "prefix": (FREE, "A_"),
    "secretRef": (LIKE_DRIVER, {"name": "other"}),
}
LIFECYCLE: dict[str, tuple[Limit, Any]] = {
    "postStart": (FREE, {"exec": {"command": ["true"]}}),
    "preStop": (FREE, {"httpGet": {"port": 1}}),
    "stopSignal": (FREE, "SIGTERM"),
}
HANDLER: dict[str, tuple[Limit, Any]] = {
    "exec": (FREE, {"command": ["true"]}),
    "httpGet": (NEVER, {"host": "10.0.0.1", "port": 80}),
    "sleep": (FREE, {"seconds": 1}),
    "tcpSocket": (NEVER, {"host": "10.0.0.1", "port": 80}),
}
PROBE: dict[str, tuple[Limit, Any]] = {
    "exec": (FREE, {"command": ["true"]}),
    "failureThreshold": (FREE, 3),
    "grpc": (FREE, {"port": 1}),
    "httpGet": (NEVER, {"host": "169.254.169.254", "port": 80}),
    "initialDelaySeconds": (FREE, 1),
    "periodSeconds": (FREE, 1),
    "successThreshold": (FREE, 1),
    "tcpSocket": (NEVER, {"host": "10.0.0.1", "port": 80}),
    "terminationGracePeriodSeconds": (FREE, 1),
    "timeoutSeconds": (FREE, 1),
}
PORT: dict[str, tuple[Limit, Any]] = {
    "containerPort": (FREE, 7079),
    "hostIP": (FREE, "127.0.0.1"),
    "hostPort": (NEVER, 443),
    "name": (FREE, "blockmanager"),
    "protocol": (FREE, "TCP"),
}
MOUNT: dict[str, tuple[Limit, Any]] = {
    "bindMountOptions": (NEVER, ["exec"]),
    "mountPath": (FREE, "/x"),
    "mountPropagation": (FREE, "HostToContainer"),
    "name": (FREE, "scratch"),
    "readOnly": (FREE, True),
    "recursiveReadOnly": (FREE, "Enabled"),
    "subPath": (FREE, "a"),
    "subPathExpr": (FREE, "$(POD)"),
}
CLAIM_SPEC: dict[str, tuple[Limit, Any]] = {
    "accessModes": (FREE, ["ReadWriteOnce"]),
    "dataSource": (LIKE_DRIVER, {"kind": "PersistentVolumeClaim", "name": "payroll"}),
    "dataSourceRef": (LIKE_DRIVER, {"kind": "VolumeSnapshot", "name": "payroll"}),
    "resources": (FREE, {"requests": {"storage": "1Gi"}}),
    "selector": (LIKE_DRIVER, {"matchLabels": {"team": "payroll"}}),
    "storageClassName": (FREE, "fast"),
    "volumeAttributesClassName": (FREE, "gold"),
    "volumeMode": (FREE, "Filesystem"),
    "volumeName": (LIKE_DRIVER, "pv-of-payroll"),
}


def executor_container(**fields: Any) -> Json:
    return {"spec": {"containers": [{"name": "executor", "image": "spark:1", **fields}]}}


def pod_spec(**fields: Any) -> Json:
    return {"spec": {"containers": [{"name": "executor", "image": "spark:1"}], **fields}}


def in_volume(field: str, value: Any) -> Json:
    return pod_spec(volumes=[{"name": "v", field: value}])


MODELS: dict[str, tuple[str, dict[str, tuple[Limit, Any]], Any]] = {
    "pod": ("V1PodSpec", POD_SPEC, lambda field, value: pod_spec(**{field: value})),
    "container": (
        "V1Container",
        CONTAINER,
        lambda field, value: executor_container(**{field: value}),
    ),
    "metadata": (
        "V1ObjectMeta",
        OBJECT_META,
        lambda field, value: {**pod_spec(), "metadata": {field: value}},
    ),
    "pod security context": (
        "V1PodSecurityContext",
        POD_SECURITY_CONTEXT,
        lambda field, value: pod_spec(securityContext={field: value}),
    ),
    "security context": (
        "V1SecurityContext",
        SECURITY_CONTEXT,
        lambda field, value: executor_container(securityContext={field: value}),
    ),
    "volume": ("V1Volume", VOLUME, in_volume),
    "projection": (
        "V1VolumeProjection",
        PROJECTION,
        lambda field, value: in_volume("projected", {"sources": [{field: value}]}),
    ),
    "source of a variable": (
        "V1EnvVarSource",
        ENV,
        lambda field, value: executor_container(env=[{"name": "A", "valueFrom": {field: value}}]),
    ),
    "source of variables": (
        "V1EnvFromSource",
        ENV_FROM,
        lambda field, value: executor_container(envFrom=[{field: value}]),
    ),
    "lifecycle": (
        "V1Lifecycle",
        LIFECYCLE,
        lambda field, value: executor_container(lifecycle={field: value}),
    ),
    "hook": (
        "V1LifecycleHandler",
        HANDLER,
        lambda field, value: executor_container(lifecycle={"postStart": {field: value}}),
    ),
    "probe": (
        "V1Probe",
        PROBE,
        lambda field, value: executor_container(livenessProbe={field: value}),
    ),
    "port": (
        "V1ContainerPort",
        PORT,
        lambda field, value: executor_container(ports=[{field: value}]),
    ),
    "mount": (
        "V1VolumeMount",
        MOUNT,
        lambda field, value: executor_container(volumeMounts=[{"name": "v", field: value}]),
    ),
    "claim": (
        "V1PersistentVolumeClaimSpec",
        CLAIM_SPEC,
        lambda field, value: in_volume(
            "ephemeral", {"volumeClaimTemplate": {"spec": {field: value}}}
        ),
    ),
}
CASES = [
    pytest.param(table[field], place, field, id=f"{where}: {field}")
    for where, (_, table, place) in MODELS.items()
    for field in table
    if table[field][0] is not INSIDE
]
PLAIN_DRIVER: Json = {
    "metadata": {"name": "driver", "uid": "uid-1"},
    "spec": {"containers": [{"name": "spark-kubernetes-driver", "image": "spark:1"}]},
}


def driver_like(executor: Json) -> Json:
    """A driver pod that has what this executor pod has."""
    driver = copy.deepcopy(executor)
    driver["metadata"] = {**driver.get("metadata", {}), "name": "driver"}
    driver["metadata"].setdefault("uid", "uid-1")
    driver["spec"]["containers"][0]["name"] = "spark-kubernetes-driver"
    return driver


def offends(executor: Json, driver: Json, allowed: PodAllowList | None = None) -> bool:
    return bool(offending_fields(executor, driver, allowed or PodAllowList()))


@pytest.mark.parametrize("where", MODELS)
def test_every_field_that_kubernetes_has_is_classified(where: str) -> None:
    model, table, _ = MODELS[where]
    fields = getattr(kubernetes.client, model).attribute_map.values()
    assert sorted(table) == sorted(fields)


@pytest.mark.parametrize(("limit_and_value", "place", "field"), CASES)
def test_each_field_is_limited_as_it_is_classified(
    limit_and_value: tuple[Limit, Any], place: Any, field: str
) -> None:
    limit, value = limit_and_value
    executor = place(field, value)
    assert offends(executor, PLAIN_DRIVER) is (limit is not FREE)
    assert offends(executor, driver_like(executor)) is (limit is NEVER)


@pytest.mark.parametrize("where", [where for where in MODELS if where != "volume"])
@given(name=st.from_regex(r"[a-z][A-Za-z]{3,12}Ref", fullmatch=True))
@settings(max_examples=8, deadline=None)
def test_a_field_of_a_future_kubernetes_is_refused(where: str, name: str) -> None:
    _, table, place = MODELS[where]
    if name not in table:
        assert offends(place(name, {"any": "thing"}), PLAIN_DRIVER)


def test_a_token_for_another_user_of_a_future_kubernetes_is_refused() -> None:
    token = {"path": "t", "user": "admin"}
    driver = in_volume("projected", {"sources": [{"serviceAccountToken": {"path": "t"}}]})
    executor = in_volume("projected", {"sources": [{"serviceAccountToken": token}]})
    assert offends(executor, driver_like(driver))


class TestPartsOfVolumes:
    """A driver that sees one folder of a volume does not give its executors the others."""

    SOURCES = (
        {"persistentVolumeClaim": {"claimName": "shared"}},
        {"hostPath": {"path": "/data"}},
        {"nfs": {"server": "s", "path": "/p"}},
        {"csi": {"driver": "files.example.com"}},
    )

    @staticmethod
    def pod(source: Json, **mount: Any) -> Json:
        pod = executor_container(volumeMounts=[{"name": "v", "mountPath": "/v", **mount}])
        pod["spec"]["volumes"] = [{"name": "v", **source}]
        return pod

    @pytest.mark.parametrize("source", SOURCES, ids=lambda source: next(iter(source)))
    @pytest.mark.parametrize(
        ("part", "allowed"),
        [
            ({}, False),
            ({"subPath": "team-a"}, True),
            ({"subPath": "team-a/jobs"}, True),
            ({"subPath": "team-a/../team-b"}, False),
            ({"subPath": "team-ab"}, False),
            ({"subPath": "team-b"}, False),
            ({"subPathExpr": "$(TEAM)"}, False),
        ],
    )
    def test_of_a_folder_that_the_driver_mounts(
        self, source: Json, part: Json, allowed: bool
    ) -> None:
        driver = driver_like(self.pod(source, subPath="team-a"))
        assert offends(self.pod(source, **part), driver) is not allowed

    @pytest.mark.parametrize("source", SOURCES, ids=lambda source: next(iter(source)))
    def test_writing_what_the_driver_mounts_read_only(self, source: Json) -> None:
        driver = driver_like(self.pod(source, readOnly=True))
        assert offends(self.pod(source), driver)
        assert not offends(self.pod(source, readOnly=True), driver)

    def test_writing_a_claim_that_is_read_only_in_the_driver_pod_as_a_volume(self) -> None:
        claim = {"claimName": "shared"}
        driver = driver_like(self.pod({"persistentVolumeClaim": {**claim, "readOnly": True}}))
        assert offends(self.pod({"persistentVolumeClaim": claim}), driver)

    def test_one_file_of_a_secret_is_not_the_whole(self) -> None:
        secret = {"secret": {"secretName": "db"}}
        driver = driver_like(self.pod(secret, subPath="password"))
        one_key = {"secret": {"secretName": "db", "items": [{"key": "password", "path": "p"}]}}
        assert offends(self.pod(secret), driver)
        assert not offends(self.pod(one_key), driver)


class TestMeshes:
    """What a proxy beside the driver may do is no right of the executor's own container."""

    DRIVER: ClassVar[Json] = {
        "metadata": {"name": "driver", "uid": "uid-1"},
        "spec": {
            "containers": [
                {"name": "istio-proxy", "image": "proxy:1", "securityContext": {"runAsUser": 1337}},
                {"name": "spark-kubernetes-driver", "image": "spark:1"},
            ],
            "initContainers": [
                {
                    "name": "istio-init",
                    "image": "proxy:1",
                    "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}, "runAsUser": 0},
                }
            ],
        },
    }

    @pytest.mark.parametrize(
        "context", [{"runAsUser": 1337}, {"runAsUser": 0}, {"capabilities": {"add": ["NET_ADMIN"]}}]
    )
    def test_the_executor_s_processes_pass_no_proxy_by(self, context: Json) -> None:
        assert offends(executor_container(securityContext=context), self.DRIVER)

    @pytest.mark.parametrize(
        "key",
        [
            "sidecar.istio.io/inject",
            "sidecar.istio.io/userVolume",
            "traffic.sidecar.istio.io/excludeOutboundPorts",
            "istio.io/dataplane-mode",
            "linkerd.io/inject",
            "container.apparmor.security.beta.kubernetes.io/executor",
            "seccomp.security.alpha.kubernetes.io/pod",
            "io.kubernetes.cri-o.Devices",
            "cdi.k8s.io/gpu",
            "k8s.v1.cni.cncf.io/networks",
            "cni.projectcalico.org/ipAddrs",
            "azure.workload.identity/use",
            "vault.hashicorp.com/agent-inject-secret-db",
            "policies.kyverno.io/exempt",
        ],
    )
    @pytest.mark.parametrize("kind", ["annotations", "labels"])
    def test_words_that_other_controllers_answer(self, key: str, kind: str) -> None:
        executor = {**pod_spec(), "metadata": {kind: {key: "x"}}}
        assert offends(executor, PLAIN_DRIVER)
        assert not offends(executor, driver_like(executor))
        assert offends(executor, driver_like({**pod_spec(), "metadata": {kind: {key: "y"}}}))
        assert not offends(executor, PLAIN_DRIVER, PodAllowList(metadata_keys=(key,)))


class TestClaimsToBeMade:
    @staticmethod
    def found(**claim: Any) -> bool:
        made = {"metadata": {"name": "job-exec-1-pvc-0", **claim.pop("metadata", {})}, **claim}
        return bool(offending_fields(pod_spec(), PLAIN_DRIVER, own_claims=[made]))

    def test_a_claim_as_spark_describes_it(self) -> None:
        assert not self.found(
            spec={"accessModes": ["ReadWriteOncePod"], "storageClassName": "fast"},
            metadata={"labels": {"team": "a"}},
        )

    def test_a_copy_of_another_claim(self) -> None:
        assert self.found(spec={"dataSource": {"kind": "PersistentVolumeClaim", "name": "payroll"}})

    def test_an_annotation_that_a_storage_provider_may_take_for_an_order_to_copy(self) -> None:
        annotation = {"trident.netapp.io/cloneFromPVC": "payroll"}
        assert self.found(metadata={"annotations": annotation})
