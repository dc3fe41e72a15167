"""Limits on a pod's metadata and on the fields of its spec other than volumes and containers."""

from collections.abc import Iterator

from spark_allocation.core.pod_limits.allow_list import OffendingField
from spark_allocation.core.pod_limits.comparison import (
    Json,
    PodComparison,
    finding,
    items,
    mapping,
    matches,
    texts,
)
from spark_allocation.core.pod_limits.containers import security_context_limits

_LISTED_METADATA = frozenset(
    {"annotations", "finalizers", "labels", "name", "namespace", "ownerReferences"}
)
_HARMLESS = frozenset(
    {
        "activeDeadlineSeconds",
        "affinity",
        "dnsConfig",
        "dnsPolicy",
        "enableServiceLinks",
        "hostAliases",
        "hostname",
        "nodeSelector",
        "os",
        "readinessGates",
        "resources",
        "restartPolicy",
        "schedulerName",
        "schedulingGates",
        "setHostnameAsFQDN",
        "subdomain",
        "terminationGracePeriodSeconds",
        "topologySpreadConstraints",
    }
)
_CHECKED = frozenset(
    {
        "automountServiceAccountToken",
        "containers",
        "ephemeralContainers",
        "imagePullSecrets",
        "initContainers",
        "nodeName",
        "priorityClassName",
        "runtimeClassName",
        "securityContext",
        "serviceAccount",
        "serviceAccountName",
        "tolerations",
        "volumes",
    }
)
_UNSAID_ACCOUNT = "default"
"""The account of every pod that names none: to name it is no more than to leave it unsaid."""

_GRANTING_KEYS = (
    # rights outside the cluster, and secrets
    "aadpodidbinding",
    "azure.workload.identity/",
    "eks.amazonaws.com/",
    "iam.amazonaws.com/",
    "iam.gke.io/",
    "secrets.hashicorp.com/",
    "vault.hashicorp.com/",
    "vault.security.banzaicloud.io/",
    # what confines a process, and devices
    "apparmor.security.beta.kubernetes.io/",
    "cdi.k8s.io/",
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
    "devices.nri.io/",
    "io.katacontainers.",
    "io.kubernetes.cri-o.",
    "openshift.io/scc",
    "seccomp.security.alpha.kubernetes.io/",
    # service meshes: in or out, other images, volumes and ports past the proxy
    "ambient.istio.io/",
    "config.linkerd.io/",
    "consul.hashicorp.com/",
    "dapr.io/",
    "inject.istio.io/",
    "istio.io/",
    "kuma.io/",
    "linkerd.io/",
    "networking.istio.io/",
    "proxy.istio.io/",
    "security.istio.io/",
    "service.istio.io/",
    "sidecar.istio.io/",
    "topology.istio.io/",
    "traffic.kuma.io/",
    "traffic.sidecar.istio.io/",
    # networks and addresses
    "cni.projectcalico.org/",
    "egress.projectcalico.org/",
    "ipam.cilium.io/",
    "k8s.ovn.org/",
    "k8s.v1.cni.cncf.io/",
    "ovn.kubernetes.io/",
    "v1.multus-cni.io/",
    "vpc.amazonaws.com/",
    # exemption from admission
    "admission.gatekeeper.sh/",
    "pod-security.kubernetes.io/",
    "policies.kyverno.io/",
    "webhooks.kyverno.io/",
    # injectors that mount, start or replace something
    "admission.datadoghq.com/",
    "instrumentation.opentelemetry.io/",
    "sidecar.opentelemetry.io/",
)
"""Beginnings of labels and annotations that other controllers answer with rights, or with less confinement."""


def metadata_limits(both: PodComparison, template: Json | None) -> Iterator[OffendingField]:
    """Owners, finalizers, and labels and annotations that grant something."""
    metadata, of_driver = mapping(both.pod, "metadata"), mapping(both.driver, "metadata")
    for owner in items(metadata, "ownerReferences"):
        if owner.get("uid") != of_driver.get("uid"):
            yield finding("metadata.ownerReferences", owner.get("name"), "is not the driver pod")
    for owner in items(mapping(template or {}, "metadata"), "ownerReferences"):
        yield finding(
            "template.metadata.ownerReferences",
            owner.get("name"),
            "must be left out: the driver pod is the only owner of an executor",
        )
    for name in texts(metadata, "finalizers"):
        if not matches(name, both.allowed.finalizers):
            yield finding("metadata.finalizers", name, "would keep the pod from going away")
    for kind in ("labels", "annotations"):
        for key, value in sorted(mapping(metadata, kind).items()):
            known = mapping(of_driver, kind).get(key) == value
            if (
                str(key).startswith(_GRANTING_KEYS)
                and not known
                and not matches(key, both.allowed.metadata_keys)
            ):
                yield finding(
                    f"metadata.{kind}[{key}]",
                    value,
                    "grants rights that the driver pod does not have",
                )
    yield from both.fields("metadata", metadata, [of_driver], _LISTED_METADATA)


def spec_limits(both: PodComparison) -> Iterator[OffendingField]:
    """The fields of the spec other than volumes and containers."""
    spec, of_driver = both.spec, both.driver_spec
    yield from both.fields("spec", spec, [of_driver], _HARMLESS | _CHECKED)
    if spec.get("ephemeralContainers"):
        yield finding(
            "spec.ephemeralContainers",
            len(spec["ephemeralContainers"]),
            "are for debugging a pod that runs, and none to make a pod with",
        )
    if spec.get("nodeName"):
        # Where the driver runs is no reason to force executors there past the scheduler.
        yield from both.unless_allowed(
            "spec.nodeName", spec["nodeName"], "goes around the scheduler"
        )
    mount = "automountServiceAccountToken"
    if of_driver.get(mount) is False and spec.get(mount) is not False:
        yield from both.unless_allowed(
            f"spec.{mount}", spec.get(mount), "must be false: the driver pod has no token either"
        )
    accounts = [of_driver.get("serviceAccountName"), of_driver.get("serviceAccount")]
    for field_name in ("serviceAccount", "serviceAccountName"):
        name = spec.get(field_name)
        if (
            name
            and name != _UNSAID_ACCOUNT
            and name not in accounts
            and not matches(str(name), both.allowed.service_accounts)
        ):
            yield finding(f"spec.{field_name}", name, "is not the driver pod's service account")
    for field_name, patterns in (
        ("priorityClassName", both.allowed.priority_classes),
        ("runtimeClassName", both.allowed.runtime_classes),
    ):
        name = spec.get(field_name)
        if name and name != of_driver.get(field_name) and not matches(str(name), patterns):
            yield finding(f"spec.{field_name}", name, "is not the driver pod's")
    for toleration in items(spec, "tolerations"):
        key = toleration.get("key") or "*"
        known = toleration in items(of_driver, "tolerations")
        if not known and not matches(str(key), both.allowed.tolerations):
            yield finding(
                "spec.tolerations", key, "tolerates a taint that the driver pod does not tolerate"
            )
    pulled_with = [reference.get("name") for reference in items(of_driver, "imagePullSecrets")]
    for reference in items(spec, "imagePullSecrets"):
        name = str(reference.get("name"))
        if name not in pulled_with and not matches(name, both.allowed.secrets):
            yield finding(
                "spec.imagePullSecrets", name, "is a Secret that the driver pod does not pull with"
            )
    yield from security_context_limits(
        both,
        "spec.securityContext",
        mapping(spec, "securityContext"),
        [mapping(of_driver, "securityContext"), mapping(both.driver_container, "securityContext")],
    )
