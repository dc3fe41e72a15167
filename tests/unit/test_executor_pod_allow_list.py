"""By default an executor gets nothing that its driver pod does not have."""

import copy
from typing import Any

import pytest

from spark_allocation.core.executor_pod_builder import ExecutorPodManifest, build_executor_pod
from spark_allocation.core.executor_pod_context import (
    DriverPodFacts,
    ExecutorConfigMap,
    ExecutorPodContext,
)
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.pod_allow_list import NOTHING_MORE, PodAllowList, offending_fields
from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ResourceProfile
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion

EXECUTOR = "spark.kubernetes.executor."
DRIVER: dict[str, Any] = {
    "metadata": {"name": "driver", "uid": "uid-1", "annotations": {"iam.amazonaws.com/role": "r"}},
    "spec": {
        "serviceAccountName": "spark",
        "nodeName": "node-1",
        "priority": 0,
        "priorityClassName": "batch",
        "imagePullSecrets": [{"name": "registry"}],
        "tolerations": [{"key": "spark", "operator": "Exists"}],
        "containers": [
            {
                "name": "spark-kubernetes-driver",
                "image": "spark:1",
                "env": [
                    {
                        "name": "PASSWORD",
                        "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}},
                    }
                ],
                "securityContext": {"capabilities": {"add": ["SYS_PTRACE"], "drop": ["ALL"]}},
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data", "readOnly": True},
                    {"name": "scratch", "mountPath": "/scratch"},
                    {"name": "node", "mountPath": "/node"},
                ],
            },
            {"name": "proxy", "image": "proxy:1", "args": ["--quiet"]},
        ],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "shared"}},
            {"name": "scratch", "persistentVolumeClaim": {"claimName": "scratch"}},
            {"name": "node", "hostPath": {"path": "/mnt/ssd"}},
            {"name": "keys", "secret": {"secretName": "whole"}},
            {"name": "hadoop", "configMap": {"name": "hadoop"}},
            {
                "name": "kube-api-access",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                        {"configMap": {"name": "kube-root-ca.crt"}},
                    ]
                },
            },
        ],
    },
}


def findings(
    conf: dict[str, str] | None = None,
    template: dict[str, Any] | None = None,
    allowed: PodAllowList = NOTHING_MORE,
    driver: dict[str, Any] = DRIVER,
) -> dict[str, str]:
    """Paths and values that offend in the pod built from these settings and this template."""
    settings = {
        "spark.kubernetes.container.image": "spark:1",
        "spark.kubernetes.authenticate.driver.serviceAccountName": "spark",
        "spark.driver.host": "d",
        "spark.decommission.enabled": "true",
        **(conf or {}),
    }
    manifest = build_executor_pod(
        SparkConf(settings),
        ResourceProfile(DEFAULT_PROFILE_ID),
        ExecutorId(1),
        ExecutorPodContext(
            application_id="app",
            spark_version=SparkVersion.parse("4.1.4"),
            driver=DriverPodFacts("driver", "uid-1", "default", "185"),
            pod_name_prefix="job",
            config_map=ExecutorConfigMap("own"),
            pod_template=template,
        ),
    )
    assert isinstance(manifest, ExecutorPodManifest), manifest
    found = offending_fields(
        manifest.pod,
        driver,
        allowed,
        own_config_maps=["own"],
        own_claims=manifest.resources,
        template=template,
    )
    for one in found:
        assert one.sentence.startswith(one.path)
        assert one.value in one.sentence
    return {one.path: one.value for one in found}


def spec(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "executor"}], **fields}}


def container(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "executor", **fields}]}}


def volume(**source: Any) -> dict[str, Any]:
    return spec(volumes=[{"name": "v", **source}])


def test_a_plain_executor_offends_in_nothing() -> None:
    assert findings() == {}


def test_what_the_driver_has_its_executors_may_have() -> None:
    template = {
        "metadata": {"annotations": {"iam.amazonaws.com/role": "r"}},
        "spec": {
            "serviceAccount": "spark",
            "priorityClassName": "batch",
            "imagePullSecrets": [{"name": "registry"}],
            "tolerations": [{"key": "spark", "operator": "Exists"}],
            "containers": [
                {
                    "name": "executor",
                    "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}},
                    "volumeMounts": [
                        {"name": "data", "mountPath": "/d", "readOnly": True},
                        {"name": "scratch", "mountPath": "/s"},
                    ],
                },
                {"name": "proxy", "image": "proxy:1", "args": ["--quiet"]},
            ],
            "volumes": copy.deepcopy(DRIVER["spec"]["volumes"]),
        },
    }
    conf = {
        EXECUTOR + "secrets.whole": "/etc/whole",
        EXECUTOR + "secretKeyRef.PASSWORD": "db:password",
        EXECUTOR + "hadoopConfigMapName": "hadoop",
    }

    assert findings(conf, template) == {}


@pytest.mark.parametrize(
    ("conf", "template", "path", "value", "allowed"),
    [
        pytest.param(conf, template, path, value, allowed, id=f"{path}={value}")
        for conf, template, path, value, allowed in [
            (
                {EXECUTOR + "container.image": "other:1"},
                None,
                "spec.containers[spark-kubernetes-executor].image",
                "other:1",
                PodAllowList(images=("other:*",)),
            ),
            (
                {"spark.kubernetes.authenticate.executor.serviceAccountName": "admin"},
                None,
                "spec.serviceAccountName",
                "admin",
                PodAllowList(service_accounts=("admin",)),
            ),
            (
                {EXECUTOR + "secrets.theirs": "/etc/theirs"},
                None,
                "spec.volumes[theirs-volume].secret",
                "theirs",
                PodAllowList(secrets=("their*",)),
            ),
            (
                {EXECUTOR + "secretKeyRef.X": "theirs:k"},
                None,
                "spec.containers[spark-kubernetes-executor].env[X]",
                "theirs",
                PodAllowList(secrets=("theirs",)),
            ),
            (
                {EXECUTOR + "hadoopConfigMapName": "theirs"},
                None,
                "spec.volumes[hadoop-properties].configMap",
                "theirs",
                PodAllowList(config_maps=("theirs",)),
            ),
            (
                {"spark.kubernetes.container.image.pullSecrets": "theirs"},
                None,
                "spec.imagePullSecrets",
                "theirs",
                PodAllowList(secrets=("theirs",)),
            ),
            (
                {
                    EXECUTOR + "volumes.persistentVolumeClaim.v.mount.path": "/x",
                    EXECUTOR + "volumes.persistentVolumeClaim.v.options.claimName": "theirs",
                },
                None,
                "spec.volumes[v].persistentVolumeClaim",
                "theirs",
                PodAllowList(claims=("theirs",)),
            ),
            (
                {
                    EXECUTOR + "volumes.hostPath.v.mount.path": "/x",
                    EXECUTOR + "volumes.hostPath.v.options.path": "/etc/kubernetes",
                },
                None,
                "spec.volumes[v].hostPath",
                "/etc/kubernetes",
                PodAllowList(host_paths=("/etc",)),
            ),
            (
                {
                    EXECUTOR + "volumes.nfs.v.mount.path": "/x",
                    EXECUTOR + "volumes.nfs.v.options.path": "/e",
                    EXECUTOR + "volumes.nfs.v.options.server": "nfs",
                },
                None,
                "spec.volumes[v].nfs",
                "{'path': '/e', 'server': 'nfs'}",
                PodAllowList(nfs_servers=("nfs",)),
            ),
            (
                {},
                spec(hostNetwork=True),
                "spec.hostNetwork",
                "True",
                PodAllowList(fields=("spec.host*",)),
            ),
            (
                {},
                spec(hostPID=True),
                "spec.hostPID",
                "True",
                PodAllowList(fields=("spec.hostPID",)),
            ),
            (
                {},
                spec(hostIPC=True),
                "spec.hostIPC",
                "True",
                PodAllowList(fields=("spec.hostIPC",)),
            ),
            (
                {},
                spec(nodeName="node-1"),
                "spec.nodeName",
                "node-1",
                PodAllowList(fields=("spec.nodeName",)),
            ),
            (
                {},
                spec(priorityClassName="system-node-critical"),
                "spec.priorityClassName",
                "system-node-critical",
                PodAllowList(priority_classes=("system-*",)),
            ),
            (
                {},
                spec(runtimeClassName="kata"),
                "spec.runtimeClassName",
                "kata",
                PodAllowList(runtime_classes=("kata",)),
            ),
            (
                {},
                spec(tolerations=[{"operator": "Exists"}]),
                "spec.tolerations",
                "*",
                PodAllowList(tolerations=("*",)),
            ),
            (
                {},
                spec(initContainers=[{"name": "i", "image": "busybox"}]),
                "spec.containers[i]",
                "busybox",
                PodAllowList(extra_containers=("busybox",)),
            ),
            (
                {},
                {"spec": {"containers": [{"name": "e"}, {"name": "side", "image": "proxy:1"}]}},
                "spec.containers[side]",
                "proxy:1",
                PodAllowList(extra_containers=("proxy:*",)),
            ),
            (
                {},
                spec(resourceClaims=[{"name": "gpu"}]),
                "spec.resourceClaims",
                "[{'name': 'gpu'}]",
                PodAllowList(fields=("spec.resourceClaims",)),
            ),
            (
                {},
                spec(fieldOfTomorrow="x"),
                "spec.fieldOfTomorrow",
                "x",
                PodAllowList(fields=("spec.fieldOfTomorrow",)),
            ),
            (
                {},
                spec(securityContext={"runAsUser": 0}),
                "spec.securityContext.runAsUser",
                "0",
                PodAllowList(fields=("spec.securityContext.runAsUser",)),
            ),
            (
                {},
                spec(securityContext={"sysctls": [{"name": "kernel.msgmax"}]}),
                "spec.securityContext.sysctls",
                "[{'name': 'kernel.msgmax'}]",
                PodAllowList(fields=("spec.securityContext.sysctls",)),
            ),
            (
                {},
                container(securityContext={"privileged": True}),
                "spec.containers[executor].securityContext.privileged",
                "True",
                PodAllowList(fields=("spec.containers.securityContext.privileged",)),
            ),
            (
                {},
                container(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}),
                "spec.containers[executor].securityContext.capabilities",
                "SYS_ADMIN",
                PodAllowList(capabilities=("SYS_ADMIN",)),
            ),
            (
                {},
                container(securityContext={"seccompProfile": {"type": "Unconfined"}}),
                "spec.containers[executor].securityContext.seccompProfile",
                "{'type': 'Unconfined'}",
                PodAllowList(fields=("*.seccompProfile",)),
            ),
            (
                {},
                container(command=["/bin/sh"]),
                "spec.containers[executor].command",
                "['/bin/sh']",
                PodAllowList(fields=("spec.containers.command",)),
            ),
            (
                {},
                container(args=["/bin/sh", "-c", "x"]),
                "spec.containers[executor].args",
                "['/bin/sh', '-c', 'x', 'executor']",
                PodAllowList(fields=("spec.containers.args",)),
            ),
            (
                {},
                container(envFrom=[{"secretRef": {"name": "db"}}]),
                "spec.containers[executor].envFrom",
                "db",
                PodAllowList(secrets=("db",)),
            ),
            (
                {},
                container(ports=[{"containerPort": 80, "hostPort": 80}]),
                "spec.containers[executor].ports.hostPort",
                "80",
                PodAllowList(fields=("spec.containers.ports.hostPort",)),
            ),
            (
                {},
                container(livenessProbe={"httpGet": {"host": "169.254.169.254", "port": 80}}),
                "spec.containers[executor].livenessProbe.httpGet.host",
                "169.254.169.254",
                PodAllowList(fields=("*.httpGet.host",)),
            ),
            (
                {},
                volume(csi={"driver": "secrets-store.csi.k8s.io"}),
                "spec.volumes[v].csi",
                "{'driver': 'secrets-store.csi.k8s.io'}",
                PodAllowList(csi_drivers=("secrets-store.csi.k8s.io",)),
            ),
            (
                {},
                volume(projected={"sources": [{"secret": {"name": "theirs"}}]}),
                "spec.volumes[v].projected.secret",
                "theirs",
                PodAllowList(secrets=("theirs",)),
            ),
            (
                {},
                volume(projected={"sources": [{"serviceAccountToken": {"audience": "vault"}}]}),
                "spec.volumes[v].projected.serviceAccountToken",
                "vault",
                PodAllowList(fields=("spec.volumes.projected.serviceAccountToken",)),
            ),
            (
                {EXECUTOR + "annotation.iam.amazonaws.com/role": "admin"},
                None,
                "metadata.annotations[iam.amazonaws.com/role]",
                "admin",
                PodAllowList(metadata_keys=("iam.amazonaws.com/role",)),
            ),
            (
                {EXECUTOR + "label.azure.workload.identity/use": "true"},
                None,
                "metadata.labels[azure.workload.identity/use]",
                "true",
                PodAllowList(metadata_keys=("azure.workload.identity/*",)),
            ),
            (
                {},
                {"metadata": {"finalizers": ["a/b"]}, "spec": {"containers": []}},
                "metadata.finalizers",
                "a/b",
                PodAllowList(finalizers=("a/*",)),
            ),
        ]
    ],
)
def test_anything_else_offends_until_the_allow_list_names_it(
    conf: dict[str, str],
    template: dict[str, Any] | None,
    path: str,
    value: str,
    allowed: PodAllowList,
) -> None:
    assert findings(conf, template).get(path) == value
    assert path not in findings(conf, template, allowed)


def test_owners_of_the_template_offend_although_the_builder_drops_them() -> None:
    template = {
        "metadata": {"ownerReferences": [{"kind": "Pod", "name": "other", "uid": "u"}]},
        "spec": {"containers": []},
    }

    assert findings({}, template) == {"template.metadata.ownerReferences": "other"}


class TestServiceAccounts:
    @pytest.mark.parametrize("field", ["serviceAccount", "serviceAccountName"])
    def test_the_default_account_is_no_more_than_to_name_none(self, field: str) -> None:
        assert findings(template=spec(**{field: "default"})) == {}

    @pytest.mark.parametrize("name", ["default-admin", "Default", "builder"])
    def test_every_other_account_must_be_the_driver_s(self, name: str) -> None:
        assert findings(template=spec(serviceAccount=name)) == {"spec.serviceAccount": name}
        both = spec(serviceAccount="default", serviceAccountName=name)
        assert findings(template=both) == {"spec.serviceAccountName": name}

    def test_the_default_account_brings_no_token_that_the_driver_goes_without(self) -> None:
        driver = copy.deepcopy(DRIVER)
        driver["spec"]["automountServiceAccountToken"] = False

        found = findings(template=spec(serviceAccountName="default"), driver=driver)

        assert list(found) == ["spec.automountServiceAccountToken"]


class TestSecrets:
    def test_another_key_of_a_secret_that_the_driver_takes_one_key_of(self) -> None:
        found = findings({EXECUTOR + "secretKeyRef.X": "db:admin-password"})

        assert list(found.values()) == ["db:admin-password"]

    def test_the_whole_of_a_secret_that_the_driver_takes_one_key_of(self) -> None:
        assert list(findings({EXECUTOR + "secrets.db": "/etc/db"}).values()) == ["db"]

    def test_a_secret_that_the_driver_only_pulls_its_image_with(self) -> None:
        assert list(findings({EXECUTOR + "secrets.registry": "/r"}).values()) == ["registry"]

    def test_one_key_of_a_secret_that_the_driver_mounts_as_a_whole(self) -> None:
        assert findings({EXECUTOR + "secretKeyRef.X": "whole:any"}) == {}


class TestVolumes:
    def test_a_claim_made_for_the_executor_alone(self) -> None:
        prefix = EXECUTOR + "volumes.persistentVolumeClaim.v."
        conf = {
            prefix + "mount.path": "/x",
            prefix + "options.claimName": "OnDemand",
            prefix + "options.storageClass": "fast",
            prefix + "options.sizeLimit": "1Gi",
        }

        assert findings(conf) == {}

    def test_a_claim_made_for_the_executor_under_a_name_that_the_user_chose(self) -> None:
        prefix = EXECUTOR + "volumes.persistentVolumeClaim.v."
        conf = {prefix + "mount.path": "/x", prefix + "options.claimName": "of-SPARK_EXECUTOR_ID"}
        made = {prefix + "options.storageClass": "fast", prefix + "options.sizeLimit": "1Gi"}

        assert findings({**conf, **made}) == {}
        assert findings(conf) == {"spec.volumes[v].persistentVolumeClaim": "of-1"}

    def test_a_claim_whose_name_begins_like_the_executor_s_and_that_is_not_made(self) -> None:
        assert findings(template=volume(persistentVolumeClaim={"claimName": "job-exec-1-pvc-0"}))

    def test_writing_a_claim_that_the_driver_only_reads(self) -> None:
        prefix = EXECUTOR + "volumes.persistentVolumeClaim.v."
        conf = {prefix + "mount.path": "/x", prefix + "options.claimName": "shared"}

        assert findings(conf) == {"spec.volumes[v].persistentVolumeClaim": "shared"}
        assert findings({**conf, prefix + "mount.readOnly": "true"}) == {}

    @pytest.mark.parametrize(
        ("path", "offends"),
        [
            ("/mnt/ssd", False),
            ("/mnt/ssd/", False),
            ("/mnt/ssd/../../etc", True),
            ("/mnt", True),
            ("/mnt/ssd/below", True),
            ("mnt/ssd", True),
        ],
    )
    def test_paths_on_the_node(self, path: str, offends: bool) -> None:
        assert bool(findings({}, volume(hostPath={"path": path}))) is offends

    @pytest.mark.parametrize(
        ("path", "offends"),
        [
            ("/allowed/x", False),
            ("/allowed", False),
            ("/allowed-not", True),
            ("/allowed/../x", True),
        ],
    )
    def test_an_allowed_folder_of_the_node(self, path: str, offends: bool) -> None:
        allowed = PodAllowList(host_paths=("/allowed/",))

        assert bool(findings({}, volume(hostPath={"path": path}), allowed)) is offends


def test_a_driver_without_a_token_has_executors_without_one() -> None:
    driver = copy.deepcopy(DRIVER)
    driver["spec"]["automountServiceAccountToken"] = False

    assert list(findings(driver=driver)) == ["spec.automountServiceAccountToken"]
    assert findings({}, spec(automountServiceAccountToken=False), driver=driver) == {}
