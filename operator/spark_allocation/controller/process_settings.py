"""Settings of the operator process itself; what allocation does is set in SparkAllocations."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ProcessSettings(BaseSettings):
    """Read from the environment (``SPARK_ALLOCATION_…``); the command line wins."""

    model_config = SettingsConfigDict(env_prefix="SPARK_ALLOCATION_", use_attribute_docstrings=True)

    kubeconfig: Path | None = None
    """Kubeconfig file; in-cluster credentials when left out."""
    context: str | None = None
    """Context of the kubeconfig; its current context when left out."""
    namespaces: tuple[str, ...] = ()
    """Namespaces to serve; all when left out."""
    health_host: str = "0.0.0.0"  # noqa: S104  (the kubelet's probes come from outside the pod)
    """Address of the health and metrics server."""
    health_port: int = Field(default=8080, ge=0, le=65535)
    """Port of the health and metrics server; 0 takes a free one."""
    poll_seconds: float = Field(default=1.0, gt=0.05, le=60)
    """How often a driver with work is asked what its tasks need."""
    idle_poll_seconds: float = Field(default=2.0, gt=0.05, le=60)
    """How often a driver without running jobs and without executors is asked."""
    creates_per_second: float = Field(default=100.0, gt=0, le=10_000)
    """Most pods created a second, over all applications."""
    lease_namespace: str = Field(default="", validation_alias="POD_NAMESPACE")
    """Namespace of the leader's Lease; no lease is held when it is empty (a single process outside the cluster)."""
    lease_name: str = "spark-allocation-operator"
    """Name of the leader's Lease."""
    identity: str = Field(default="", validation_alias="POD_NAME")
    """This process's name in the Lease; the host name when left out."""
    log_format: str = Field(default="json", pattern="^(json|console)$")
    """One JSON object a line, or lines for people."""
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    """Least severe level that is written."""
