"""The manifests grant what the code asks of the API server, and no more than was decided."""

from pathlib import Path

import yaml

RBAC = [
    document
    for document in yaml.safe_load_all(
        (Path(__file__).parents[2] / "deploy/10-rbac.yaml").read_text()
    )
    if document is not None
]


def granted(resource: str) -> set[str]:
    return {
        verb
        for document in RBAC
        for rule in document.get("rules", ())
        if resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_lease_can_be_read_made_and_renewed() -> None:
    # kube/leader_lease.py: GET, POST, PATCH
    assert granted("leases") == {"get", "create", "patch"}


def test_pods_can_be_made_and_deleted_one_by_one_but_not_changed() -> None:
    assert granted("pods") == {"get", "list", "watch", "create", "delete"}


def test_the_status_of_an_allocation_is_patched() -> None:
    assert "patch" in granted("sparkallocations/status")


def test_claims_can_be_found_made_and_swept_but_not_changed() -> None:
    # kube/objects_api.py: LIST for reuse and sweep, GET of a name that is taken, POST, DELETE
    assert granted("persistentvolumeclaims") == {"get", "list", "create", "delete"}
