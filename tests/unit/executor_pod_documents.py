"""Executor and driver pods as the API server would show them."""

from typing import Any

from spark_allocation.api.group import ALLOCATION_UID_LABEL, INCARNATION_ANNOTATION

Document = dict[str, Any]


def executor_document(
    executor_id: int,
    *,
    driver_uid: str = "driver",
    namespace: str = "jobs",
    name: str = "",
    allocation_uid: str = "allocation",
    incarnation: str = "life",
    profile_id: int = 0,
    phase: str = "Pending",
) -> Document:
    labels = {
        "spark-role": "executor",
        "spark-exec-id": str(executor_id),
        "spark-exec-resourceprofile-id": str(profile_id),
        "spark-app-selector": "app-1",
    }
    if allocation_uid:
        labels[ALLOCATION_UID_LABEL] = allocation_uid
    return {
        "metadata": {
            "name": name or f"app-exec-{executor_id}",
            "namespace": namespace,
            "labels": labels,
            "annotations": {INCARNATION_ANNOTATION: incarnation} if incarnation else {},
            "ownerReferences": [
                {"kind": "Pod", "name": "driver", "uid": driver_uid, "controller": True}
            ],
        },
        "spec": {"containers": [{"name": "spark-kubernetes-executor"}], "restartPolicy": "Never"},
        "status": {"phase": phase},
    }


def driver_document(
    name: str = "driver",
    *,
    namespace: str = "jobs",
    uid: str = "",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    ip: str = "127.0.0.1",
    ui_port: int | None = None,
    containers: tuple[str, ...] = ("spark-kubernetes-driver",),
    restarts: tuple[int, ...] = (0,),
    phase: str = "Running",
    started_at: str = "2026-01-01T00:00:00Z",
) -> Document:
    specs: list[Document] = [{"name": each, "image": "spark:test"} for each in containers]
    if ui_port is not None:
        specs[0]["ports"] = [{"name": "spark-ui", "containerPort": ui_port}]
    document: Document = {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"spark-role": "driver", **(labels or {})},
            "annotations": annotations or {},
        },
        "spec": {"containers": specs, "restartPolicy": "Never"},
        "status": {
            "phase": phase,
            "podIP": ip,
            "containerStatuses": [
                {
                    "name": each,
                    "restartCount": count,
                    "state": {"running": {"startedAt": started_at}},
                }
                for each, count in zip(containers, restarts, strict=True)
            ],
        },
    }
    if uid:
        document["metadata"]["uid"] = uid
    return document
