"""Pods of somebody else that look as much like the operator's as they can without being so."""

from collections.abc import Iterator
from typing import Any

from tests.integration.operator_world import NOBODY

Document = dict[str, Any]


def foreign_pods(
    mine: tuple[str, str], theirs: tuple[str, str], application_id: str
) -> Iterator[Document]:
    """One of another driver, one of it that forges our label, and one of our driver that the operator did not make.

    Args:
        mine: name and uid of a driver pod that is served.
        theirs: of one that is not.
        application_id: of the served driver; all of them claim to be its.
    """
    forged = {"sparkallocation.dev/allocation-uid": "x"}
    for name, owner, labels in (
        ("foreign-exec-1", theirs, {}),
        ("forged-exec-2", theirs, forged),
        ("unlabelled-exec-3", mine, {}),
    ):
        yield {
            "metadata": {
                "name": name,
                "labels": {
                    "spark-role": "executor",
                    "spark-exec-id": name[-1],
                    "spark-app-selector": application_id,
                    "spark-exec-resourceprofile-id": "0",
                    **labels,
                },
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Pod", "controller": True,
                     "name": owner[0], "uid": owner[1]}
                ],
            },
            "spec": {
                "schedulerName": NOBODY,
                "automountServiceAccountToken": False,
                "containers": [{"name": "spark-kubernetes-executor", "image": "spark:test"}],
            },
        }  # fmt: skip
