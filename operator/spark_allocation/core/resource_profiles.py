"""Resource profiles: what an executor offers and what a task takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

ProfileId = NewType("ProfileId", int)
DEFAULT_PROFILE_ID = ProfileId(0)
UNKNOWN_PROFILE_ID = ProfileId(-1)


@dataclass(frozen=True, slots=True)
class ExecutorResourceRequest:
    """An amount of one resource in each executor (``ExecutorResourceRequest``); memory amounts are in MiB."""

    resource_name: str
    amount: int
    discovery_script: str = ""
    vendor: str = ""


@dataclass(frozen=True, slots=True)
class TaskResourceRequest:
    """An amount of one resource for each task (``TaskResourceRequest``)."""

    resource_name: str
    amount: float


@dataclass(frozen=True, slots=True)
class ResourceProfile:
    """Executor and task resources under the id that the driver gave them (``org.apache.spark.resource.ResourceProfile``)."""

    id: ProfileId
    executor_resources: Mapping[str, ExecutorResourceRequest] = field(default_factory=dict)
    task_resources: Mapping[str, TaskResourceRequest] = field(default_factory=dict)
    task_only: bool = False
