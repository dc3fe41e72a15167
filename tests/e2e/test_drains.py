"""Executors with shuffle data and cached blocks have nothing to do for a while: whatever becomes of them, nothing is lost."""

import pytest
from tests.demo.api import Object
from tests.e2e.waiting import eventually, throughout
from tests.e2e.workspace import REUSE, Workspace

DRIVER = "reuse"
EXECUTORS = 3
GO = "/opt/life/go"
START_AND_FIRST_JOB_SECONDS = 300
"""On two cores that others use too."""
MIGRATION = (
    "spark.storage.decommission.enabled=true",
    "spark.storage.decommission.rddBlocks.enabled=true",
    "spark.storage.decommission.shuffleBlocks.enabled=true",
)
BOUNDS = {
    "maxExecutors": EXECUTORS,
    "executorIdleTimeout": "5s",
    "cachedExecutorIdleTimeout": "5s",
}


@pytest.mark.slow
def test_with_migration_all_but_one_hand_on_what_they_hold(space: Workspace) -> None:
    # given executors that hold shuffle data and cached blocks, and a driver that lets them hand these on
    space.allocate(
        "mine",
        DRIVER,
        dynamicAllocation=BOUNDS,
        decommission={"migrate": True, "gracePeriod": "120s"},
    )
    space.start_driver(DRIVER, f"--go={GO}", job=REUSE, managed=False, conf=MIGRATION)
    _await_the_pause(space)
    # when they have nothing to do, then all but the last one go
    left = eventually(
        lambda: pods if len(pods := _staying(space)) == 1 else None,
        what="one executor is left",
        within=90,
        explain=lambda: (space.status("mine"), list(space.executors())),
    )
    eventually(
        lambda: len(space.registered(DRIVER)) == 1,
        what="the others have handed on what they held",
        within=120,
        explain=lambda: space.registered(DRIVER),
    )
    # and that one is held, and the status says by what
    eventually(
        lambda: _held(space) == (1, "HeldByShuffle"),
        what="the status says what holds the last one",
        within=30,
        explain=lambda: space.status("mine"),
    )
    assert _staying(space) == left
    # and the job finds all that it left there
    result = _finish(space)
    assert result["partsComputed"] == result["parts"], "nothing was computed twice"


@pytest.mark.slow
def test_without_migration_executors_with_shuffle_data_stay(space: Workspace) -> None:
    # given the same job on a driver that hands nothing on (shuffleHold is left out: Strict)
    space.allocate("mine", DRIVER, dynamicAllocation=BOUNDS)
    space.start_driver(DRIVER, f"--go={GO}", job=REUSE, managed=False)
    _await_the_pause(space)
    before = _staying(space)
    assert len(before) == EXECUTORS
    # when they have nothing to do for longer than every timeout, then they stay, and the status says what it costs
    eventually(
        lambda: _held(space) == (EXECUTORS, "HeldByShuffle"),
        what="the status says what holds them",
        within=40,
        explain=lambda: space.status("mine"),
    )
    looks = iter(range(40))
    throughout(
        lambda: _staying(space) == before,
        until=lambda: next(looks, None) is None,
        what="executors that hold shuffle data stay",
        within=40,
        explain=lambda: space.status("mine"),
    )
    result = _finish(space)
    assert result["partsComputed"] == result["parts"], "nothing was computed twice"


@pytest.mark.slow
def test_executors_with_cached_blocks_stay_until_their_own_timeout(space: Workspace) -> None:
    # given executors that hold cached blocks and no shuffle data, without a timeout for these
    bounds = {key: value for key, value in BOUNDS.items() if not key.startswith("cached")}
    space.allocate("mine", DRIVER, dynamicAllocation=bounds)
    space.start_driver(DRIVER, f"--go={GO}", "--without-shuffle", job=REUSE, managed=False)
    eventually(
        lambda: "pause" in space.log(DRIVER) and space.registered(DRIVER),
        what="the first job has ended",
        within=START_AND_FIRST_JOB_SECONDS,
        explain=lambda: (space.status("mine"), space.log(DRIVER)),
    )
    caching = sum(1 for entry in space.registered(DRIVER) if entry["rddBlocks"])
    assert caching
    # when they have nothing to do, then they stay, and the status says why
    eventually(
        lambda: _cached(space) == (caching, "HeldByCache"),
        what="the status says what holds them",
        within=40,
        explain=lambda: space.status("mine"),
    )
    assert len(_staying(space)) == caching
    # and a timeout of their own, set while the application runs, lets them go
    space.cluster.kubectl(
        *("patch", "sparkallocation", "mine", f"--namespace={space.namespace}", "--type=merge"),
        '--patch={"spec": {"dynamicAllocation": {"cachedExecutorIdleTimeout": "6s"}}}',
    )
    eventually(
        lambda: not _staying(space),
        what="they go",
        within=60,
        explain=lambda: space.status("mine"),
    )


@pytest.mark.slow
def test_migration_that_the_driver_does_not_know_is_said_and_not_relied_on(
    space: Workspace,
) -> None:
    space.allocate("mine", DRIVER, dynamicAllocation=BOUNDS, decommission={"migrate": True})
    space.start_driver(DRIVER, f"--go={GO}", job=REUSE, managed=False)
    _await_the_pause(space)
    message = space.await_condition(
        "mine", "Decommissioning", status="False", reason="MigrationOff"
    )
    assert "spark.storage.decommission.enabled is false" in message
    eventually(
        lambda: _held(space) == (EXECUTORS, "HeldByShuffle"),
        what="they are held as without migration",
        within=40,
        explain=lambda: space.status("mine"),
    )
    _finish(space)


def _await_the_pause(space: Workspace) -> None:
    eventually(
        lambda: "pause" in space.log(DRIVER) and _blocks(space),
        what="the first job has ended",
        within=START_AND_FIRST_JOB_SECONDS,
        explain=lambda: (space.status("mine"), space.log(DRIVER)),
    )


def _blocks(space: Workspace) -> bool:
    registered = space.registered(DRIVER)
    return any(entry["rddBlocks"] for entry in registered) and any(
        entry["totalShuffleWrite"] for entry in registered
    )


def _held(space: Workspace) -> tuple[int, str]:
    (profile,) = space.status("mine").get("profiles") or [{}]
    return profile.get("heldByShuffle", 0), profile.get("reason", "")


def _cached(space: Workspace) -> tuple[int, str]:
    (profile,) = space.status("mine").get("profiles") or [{}]
    return profile.get("heldByCache", 0), profile.get("reason", "")


def _staying(space: Workspace) -> set[str]:
    return {
        pod["metadata"]["uid"]
        for pod in space.executors().values()
        if "deletionTimestamp" not in pod["metadata"]
    }


def _finish(space: Workspace) -> Object:
    space.touch(DRIVER, GO)
    assert space.await_end(DRIVER) == "Succeeded"
    result = space.result(DRIVER)
    assert all(answer["computed"] == answer["known"] for answer in result["answers"].values())
    assert (result["retriedStages"], result["fetchFailures"], result["failedTasks"]) == (0, 0, 0)
    return result
