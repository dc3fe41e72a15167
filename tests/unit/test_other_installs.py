"""Several installations in one cluster: each serves its own objects, and of two that name one driver the older does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from spark_allocation.api.group import FINALIZER, finalizer_of, is_finalizer
from spark_allocation.controller.driver_directory import DriverDirectory
from spark_allocation.controller.other_installs import OtherInstalls, managed_by
from spark_allocation.controller.process_settings import ProcessSettings
from spark_allocation.controller.runners import Claims
from spark_allocation.core.driver_report import DriverPod

EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"


def driver(name: str = "driver", **labels: str) -> DriverPod:
    return DriverPod(
        "jobs", name, f"uid-of-{name}", "Running", False, "10.0.0.1", 0, 0.0, labels=labels
    )


def allocation(
    name: str, *, created: str = EARLY, driver: Any = None, **more: Any
) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "jobs",
            "name": name,
            "creationTimestamp": created,
            **more.get("metadata", {}),
        },
        "spec": {"driver": driver or {"podName": "driver"}, "managedBy": "theirs"},
    }


@pytest.fixture
def directory() -> DriverDirectory:
    known = DriverDirectory()
    known.update("drivers", driver())
    return known


@pytest.mark.parametrize(
    ("spec", "installation"),
    [({}, ""), ({"managedBy": "blue"}, "blue"), ({"managedBy": ""}, ""), ("nonsense", ""),
     ({"managedBy": 7}, "")],
)  # fmt: skip
def test_whose_an_object_is(spec: Any, installation: str) -> None:
    assert managed_by({"spec": spec}) == installation


@pytest.mark.parametrize(
    ("ours", "theirs", "holder"),
    [(EARLY, LATE, ""), (LATE, EARLY, "elder (managed by theirs)")],
    ids=["ours is older", "theirs is older"],
)
def test_the_older_of_two_installations_has_the_driver(
    directory: DriverDirectory, ours: str, theirs: str, holder: str
) -> None:
    others = OtherInstalls(directory)
    others.seen("their-uid", allocation("elder", created=theirs), deleted=False)
    claims = Claims(others)
    claims.introduce("our-uid", ours, "job")
    assert claims.claim("uid-of-driver", "our-uid") == holder
    # and when theirs has gone, it is ours
    others.seen("their-uid", allocation("elder", created=theirs), deleted=True)
    assert claims.claim("uid-of-driver", "our-uid") == ""
    assert len(others) == 0


@given(st.sampled_from([EARLY, LATE]), st.sampled_from([EARLY, LATE]), st.permutations(["a", "b"]))
def test_two_installations_never_serve_one_driver_both(
    first: str, second: str, uids: list[str]
) -> None:
    known = DriverDirectory()
    known.update("drivers", driver())

    def has(own_uid: str, own_created: str, other_uid: str, other_created: str) -> bool:
        others = OtherInstalls(known)
        others.seen(other_uid, allocation("theirs", created=other_created), deleted=False)
        claims = Claims(others)
        claims.introduce(own_uid, own_created, "ours", served_driver_uid="uid-of-driver")
        return claims.claim("uid-of-driver", own_uid) == ""

    one, two = uids
    assert has(one, first, two, second) is not has(two, second, one, first)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (allocation("a"), True),
        (allocation("a", driver={"podName": "another"}), False),
        (allocation("a", driver={"selector": {"matchLabels": {"team": "x"}}}), True),
        (allocation("a", driver={"selector": {"matchLabels": {"team": "y"}}}), False),
        (allocation("a", metadata={"namespace": "elsewhere"}), False),
        (
            allocation(
                "a",
                metadata={
                    "ownerReferences": [{"kind": "Pod", "controller": True, "uid": "a-predecessor"}]
                },
            ),
            False,
        ),
        ({"metadata": {"namespace": "jobs", "name": "a"}, "spec": {"driver": 7}}, False),
    ],
)
def test_which_driver_another_installation_s_object_names(
    body: dict[str, Any], named: bool
) -> None:
    others = OtherInstalls(DriverDirectory())
    others.seen("uid", body, deleted=False)
    assert any(others.naming(driver(team="x"))) is named


def test_finalizer_and_lease_are_of_the_installation() -> None:
    assert finalizer_of("") == FINALIZER
    assert finalizer_of("blue") == f"{FINALIZER}-blue"
    assert is_finalizer(FINALIZER)
    assert is_finalizer(finalizer_of("blue"))
    assert not is_finalizer("sparkallocation.dev/executorsx")
    assert ProcessSettings().lease == "spark-allocation-operator"
    assert ProcessSettings(managed_by="blue").lease == "spark-allocation-operator-blue"
    assert ProcessSettings(managed_by="blue", lease_name="own").lease == "own"


@pytest.mark.parametrize("name", ["Blue", "a b", "-a", "a" * 37, "a/b"])
def test_a_name_that_no_finalizer_can_hold_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        ProcessSettings(managed_by=name)
