"""Settings of the operator process itself; what allocation does is set in SparkAllocations."""

import ipaddress
import os
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from spark_allocation.api.field_types import INSTALL_NAME_PATTERN, LONGEST_INSTALL_NAME
from spark_allocation.sources.driver_access import Address, DriverAddresses, DriverReach, Network

LEASE_NAME = "spark-allocation-operator"


class ProcessSettings(BaseSettings):
    """Read from the environment (``SPARK_ALLOCATION_…``); the command line wins."""

    model_config = SettingsConfigDict(env_prefix="SPARK_ALLOCATION_", use_attribute_docstrings=True)

    kubeconfig: Path | None = None
    """Kubeconfig file; in-cluster credentials when left out."""
    context: str | None = None
    """Context of the kubeconfig; its current context when left out."""
    namespaces: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Namespaces to serve; all when left out."""
    managed_by: str = Field(
        default="", pattern=f"({INSTALL_NAME_PATTERN})|^$", max_length=LONGEST_INSTALL_NAME
    )
    """Name of this installation, where there are several in one cluster: only SparkAllocations whose spec.managedBy is this name are served. Left out: those without. Finalizer and Lease carry it too."""
    health_host: str = "0.0.0.0"  # noqa: S104  (the kubelet's probes come from outside the pod)
    """Address of the health and metrics server."""
    health_port: int = Field(default=8080, ge=0, le=65535)
    """Port of the health and metrics server; 0 takes a free one."""
    poll_seconds: float = Field(default=1.0, gt=0.05, le=60)
    """How often a driver with work is asked what its tasks need."""
    idle_poll_seconds: float = Field(default=2.0, gt=0.05, le=60)
    """Most seconds between two questions to a driver that is quiet: after a tenth of the time that it has been it is asked again."""
    creates_per_second: float = Field(default=100.0, gt=0, le=10_000)
    """Most pods created a second, over all applications."""
    driver_networks: tuple[Network, ...] = ()
    """Networks in which driver pods are, such as ["10.0.0.0/8"]: an address elsewhere is not asked. Any when left out."""
    driver_accesses: Path | None = None
    """Folder of what reaches drivers behind TLS or a login: <namespace>/<name>/ with ca.crt, server-name, tls.crt and tls.key, token, or username and password. The name is what spec.driver.access says."""
    prometheus_accesses: Path | None = None
    """Folder of what reaches Prometheus servers behind TLS or a login: <name>/ with ca.crt, server-name, tls.crt and tls.key, token, or username and password. The name is what access of a server in a cluster policy says."""
    watch_cluster_policies: bool | None = None
    """Whether ClusterSparkAllocationPolicy objects are read from the API server. Left out: they are when all namespaces are served; with namespaces named, an install of Roles alone may not."""
    watch_nodes: bool | None = None
    """Whether nodes are watched, so that executors on those that are about to go are replaced ahead of time. Left out: they are when all namespaces are served; it takes a ClusterRole with list and watch on nodes."""
    cluster_policy_file: Path | None = None
    """File of ClusterSparkAllocationPolicy objects, for an install that may not read cluster-wide objects; read again when it changes."""
    trace_directory: Path | None = None
    """Folder in which traces of what was seen and decided are kept, for `simulate` and `plot`; none are kept when it is left out. It is made if it is not there."""
    trace_allocation_mib: int = Field(default=64, ge=1, le=1_048_576)
    """Most MiB of traces of one SparkAllocation; the oldest go."""
    trace_total_mib: int = Field(default=512, ge=1, le=1_048_576)
    """Most MiB of all traces together; the oldest go."""
    lease_namespace: str = Field(default="", validation_alias="POD_NAMESPACE")
    """Namespace of the leader's Lease; no lease is held when it is empty (a single process outside the cluster)."""
    lease_name: str = ""
    """Name of the leader's Lease. Left out: spark-allocation-operator, followed by - and managed_by when that is set."""
    identity: str = Field(default="", validation_alias="POD_NAME")
    """This process's name in the Lease; the host name when left out."""
    log_format: str = Field(default="json", pattern="^(json|console)$")
    """One JSON object a line, or lines for people."""
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    """Least severe level that is written."""

    @property
    def lease(self) -> str:
        """The Lease of this installation."""
        own = f"{LEASE_NAME}-{self.managed_by}" if self.managed_by else LEASE_NAME
        return self.lease_name or own

    @property
    def reads_cluster_policies(self) -> bool:
        """Ask the API server for ClusterSparkAllocationPolicy objects."""
        chosen = self.watch_cluster_policies
        return not self.namespaces if chosen is None else chosen

    @property
    def reads_nodes(self) -> bool:
        """Ask the API server for nodes."""
        chosen = self.watch_nodes
        return not self.namespaces if chosen is None else chosen


def driver_reach(settings: ProcessSettings) -> DriverReach:
    """Which addresses are asked, and with what.

    In a cluster no driver is in the operator's own pod, and none is the API server. Outside, named a kubeconfig, a
    driver may well be a process of the same machine.
    """
    in_cluster = settings.kubeconfig is None
    return DriverReach(
        addresses=DriverAddresses(
            networks=settings.driver_networks,
            refused=_own_addresses() if in_cluster else frozenset(),
            loopback=not in_cluster,
        ),
        accesses=settings.driver_accesses,
    )


def _own_addresses() -> frozenset[Address]:
    """The API server's address and the pod's own, as the kubelet tells them."""
    found: set[Address] = set()
    for name in ("KUBERNETES_SERVICE_HOST", "POD_IP"):
        try:
            found.add(ipaddress.ip_address(os.environ.get(name, "")))
        except ValueError:
            continue  # unset, or a name
    return frozenset(found)
