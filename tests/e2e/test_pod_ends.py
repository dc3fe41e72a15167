"""Every way in which an executor can end: it is told apart, replaced once, and the job's answer stays right.

Told means: a line of the operator's log, an entry of `status.executorEnds`, an Event.

The first half ends executors of one real driver, one after the other; the driver's own judgement of the same ends is
part of what is tested. The second half needs executors that never work, so a pod that answers like a driver will do.
"""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import ClusterError
from tests.demo.api import Object
from tests.demo.installation import make_job_files
from tests.demo.observation import executor_id
from tests.demo.operator_process import OperatorProcess
from tests.e2e.waiting import eventually, throughout
from tests.e2e.workspace import FAKE_APPLICATION, PROPERTIES, RISE_AND_FALL, Workspace

from spark_allocation.core.failure_tracker import BackoffConf

DRIVER = "driver"
ALLOCATION = "ends"
EXECUTORS = 2
MOST_ENDS = 20
"""More than these tests bring about: what comes above has a test of its own."""
PATIENCE_SECONDS = 300
"""A driver starts in ten seconds, and in more than a minute on a machine that many share."""
ROUNDS = Path(__file__).parent / "jobs" / "rounds.py"
ENOUGH = "/tmp/enough"
HEARTBEATS = (
    "spark.executor.heartbeatInterval=2s",
    "spark.network.timeout=12s",
    "spark.network.timeoutInterval=2s",
)
"""A silent executor is given up after 12 instead of 120 s."""

EACH_JVM = 'for process in /proc/[0-9]*; do [ "$(cat $process/comm)" = java ] && {}; done'
TAKE_MEMORY = "import time; kept = bytes([1]) * (48 << 20); time.sleep(30)"
FILL_MEMORY = (
    EACH_JVM.format("echo 1000 >$process/oom_score_adj")
    + f"; for each in $(seq 20); do python3 -c '{TAKE_MEMORY}' & done; wait"
)
"""Many take a little memory each, so that the JVM is the largest when the kernel has to choose."""
STOP_JVM = EACH_JVM.format("kill -STOP ${process#/proc/}")
GO_ON_JVM = EACH_JVM.format("kill -CONT ${process#/proc/}")
WAIT = "trap 'exit 0' TERM; while true; do sleep 0.2; done"
CONTAINER = "spark-kubernetes-executor"


@dataclass
class OperatorLog:
    """What the operator has logged about the executors of one namespace."""

    file: Path
    namespace: str

    def ended(self) -> dict[int, dict[str, Any]]:
        """The line about each executor that has ended; twice the same executor is a failure."""
        found: dict[int, dict[str, Any]] = {}
        for line in self.file.read_text(errors="replace").splitlines():
            if '"executor_ended"' in line and self.namespace in line:
                entry = json.loads(line)
                assert entry["executor"] not in found, "an end is told once"
                found[entry["executor"]] = entry
        return found


def told(space: Workspace, reason: str, *, mentions: str = "") -> Object:
    """The entry of the status about ends for this reason, once it is there and an Event says the same."""

    def entry() -> Object | None:
        for each in space.status(ALLOCATION).get("executorEnds", []):
            if each["reason"] == reason and mentions in each["lastMessage"]:
                return each
        return None

    found = eventually(
        entry,
        what=f"status.executorEnds tells of {reason}",
        within=30,
        explain=lambda: space.status(ALLOCATION).get("executorEnds"),
    )
    eventually(
        lambda: events(space, f"Executor{reason}"),
        what=f"an Event Executor{reason}",
        within=30,
        explain=lambda: [(each["reason"], each["message"]) for each in all_events(space)],
    )
    return found


def all_events(space: Workspace) -> list[Object]:
    """Events about the SparkAllocation."""
    return [
        each
        for each in space.api.events(space.namespace)
        if each["involvedObject"]["kind"] == "SparkAllocation"
    ]


def events(space: Workspace, reason: str) -> list[str]:
    """Their messages."""
    return [each["message"] for each in all_events(space) if each["reason"] == reason]


@dataclass
class Job:
    """A real job that goes on until it is told that it is enough."""

    space: Workspace
    log: OperatorLog
    victims: list[int] = field(default_factory=list)

    def working(self) -> dict[int, Object]:
        """Executors that run, are not on their way out and have finished a task, by id."""
        worked = {
            int(each["id"])
            for each in self.space.registered(DRIVER)
            if each["isActive"] and each["completedTasks"]
        }
        return {
            executor_id(pod): pod
            for pod in self.space.executors().values()
            if executor_id(pod) in worked and "deletionTimestamp" not in pod["metadata"]
        }

    def victim(self) -> Object:
        """An executor to end, once all that are wanted are at work."""
        working = eventually(
            lambda: two if len(two := self.working()) == EXECUTORS else None,
            what="both executors work",
            within=PATIENCE_SECONDS,
            explain=lambda: (self.space.status(ALLOCATION), self.space.log(DRIVER)),
        )
        number = min(working)
        self.victims.append(number)
        return working[number]

    def end_of(self, victim: Object) -> dict[str, Any]:
        """How the operator says that it ended, once it has been replaced, by exactly one other."""
        number = executor_id(victim)
        end = eventually(
            lambda: self.log.ended().get(number),
            what=f"the end of executor {number}",
            within=PATIENCE_SECONDS,
            explain=lambda: (self.space.status(ALLOCATION), list(self.space.executors())),
        )
        replacement = EXECUTORS + len(self.victims)
        eventually(
            lambda: replacement in self.working(),
            what=f"executor {replacement} works",
            within=PATIENCE_SECONDS,
            explain=lambda: (self.space.status(ALLOCATION), list(self.space.executors())),
        )
        assert max(map(executor_id, self.space.executors().values())) == replacement
        assert set(self.log.ended()) == set(self.victims), "nobody else ended"
        assert self.space.phase(DRIVER) == "Running"
        entry = told(self.space, end["reason"], mentions=f"Executor {number} ")
        assert entry["reaction"].startswith("replaced at once if it is needed")
        assert self.space.status(ALLOCATION)["failureLimit"] == {
            "ended": len(self.victims),
            "limit": MOST_ENDS,
            "windowSeconds": 3600,
        }
        return end

    def run_in(self, victim: Object, script: str) -> None:
        """Run a shell script in the executor's container; it may die of it."""
        with suppress(ClusterError):
            self.space.cluster.kubectl(
                *("exec", f"--namespace={self.space.namespace}", victim["metadata"]["name"]),
                *("--", "sh", "-c", script),
            )


@pytest.fixture(scope="module")
def job(
    make_workspace: Callable[[], Workspace], started_operator: OperatorProcess
) -> Iterator[Job]:
    space = make_workspace()
    make_job_files(space.cluster, space.namespace, "job", RISE_AND_FALL, ROUNDS, PROPERTIES)
    space.allocate(
        ALLOCATION,
        DRIVER,
        dynamicAllocation={"minExecutors": EXECUTORS, "maxExecutors": EXECUTORS},
        allocation={"failures": {"max": MOST_ENDS}},
    )
    space.start_driver(DRIVER, f"--until={ENOUGH}", job=ROUNDS, managed=False, conf=HEARTBEATS)
    yield Job(space, OperatorLog(started_operator.log, space.namespace))
    space.cluster.kubectl("delete", "namespace", space.namespace, "--wait=false")


def test_killed_for_memory(job: Job) -> None:
    victim = job.victim()
    job.run_in(victim, FILL_MEMORY)
    end = job.end_of(victim)
    assert (end["reason"], end["exit_code"], end["charged"]) == ("OOMKilled", 137, True)
    assert "spark.executor.memoryOverhead" in end["message"], "the remedy"
    assert job.space.status(ALLOCATION)["failed"] == 1


def test_evicted_through_the_api(job: Job) -> None:
    """As a node drain does: with the pod's own grace period, so that it drains.

    Whether Spark would charge it depends on which status it sees first: deleted, or ended and not gone yet.
    """
    victim = job.victim()
    name = victim["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    job.space.cluster.kubectl(
        *("create", "--raw", f"/api/v1/namespaces/{job.space.namespace}/pods/{name}/eviction"),
        *("-f", "-"),
        stdin=json.dumps(eviction),
    )
    end = job.end_of(victim)
    assert (end["reason"], end["exit_code"]) == ("Evicted", 0)


def test_evicted_by_the_kubelet(job: Job) -> None:
    """As on a node that runs short: the kubelet writes this status. No graceful deletion is involved."""
    victim = job.victim()
    failures = job.space.status(ALLOCATION)["failed"]
    status = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}
    job.space.cluster.kubectl(
        *("patch", "pod", victim["metadata"]["name"], f"--namespace={job.space.namespace}"),
        *("--subresource=status", "--type=merge", f"--patch={json.dumps({'status': status})}"),
    )
    end = job.end_of(victim)
    assert (end["reason"], end["charged"]) == ("Evicted", True)
    assert end["message"].endswith("The node was low on memory.")
    assert job.space.status(ALLOCATION)["failed"] == failures + 1


def test_force_deleted(job: Job) -> None:
    victim = job.victim()
    job.space.cluster.kubectl(
        *("delete", "pod", victim["metadata"]["name"], f"--namespace={job.space.namespace}"),
        *("--grace-period=0", "--force", "--wait=false"),
    )
    end = job.end_of(victim)
    assert (end["reason"], end["charged"]) == ("Deleted", False)


def test_stopped_until_the_driver_gives_it_up(job: Job) -> None:
    """The driver loses an executor whose pod does not change."""
    victim = job.victim()
    job.run_in(victim, STOP_JVM)
    end = job.end_of(victim)
    assert (end["reason"], end["charged"]) == ("DriverLost", True)
    assert "its pod runs on" in end["message"]
    job.run_in(victim, GO_ON_JVM)  # else the pod stays for the whole of its grace period


def test_the_job_ends_well_and_nobody_was_created_in_excess(job: Job) -> None:
    if not job.victims:
        pytest.skip("no executor was ended")
    space = job.space
    used = {executor_id(pod) for pod in space.api.executor_pods(space.namespace)}
    assert max(used) == EXECUTORS + len(job.victims)
    space.cluster.kubectl("exec", f"--namespace={space.namespace}", DRIVER, "--", "touch", ENOUGH)
    assert space.await_end(DRIVER) == "Succeeded"
    result = space.result(DRIVER)
    assert all(answer["computed"] == answer["known"] for answer in result["answers"].values())
    assert {entry["id"] for entry in result["executors"]} <= set(range(1, max(used) + 1))


# -- executors that never work -----------------------------------------------------------------------------------------


@pytest.fixture
def log(space: Workspace, started_operator: OperatorProcess) -> OperatorLog:
    return OperatorLog(started_operator.log, space.namespace)


def _want_two(
    space: Workspace,
    gives: Object | None = None,
    *,
    template: Object | None = None,
    failures: int = MOST_ENDS,
    **settings: str,
) -> None:
    """A driver that wants two executors with a spec that it has itself, and what any executor may have."""
    spec = {"automountServiceAccountToken": False, **(gives or {}), **(template or {})}
    space.start_fake_driver(DRIVER, settings=settings, gives=gives)
    space.allocate(
        ALLOCATION,
        DRIVER,
        dynamicAllocation={"minExecutors": EXECUTORS},
        allocation={"failures": {"max": failures}},
        executor={"podTemplate": {"spec": spec}},
    )


def _running(command: str) -> Object:
    return {"containers": [{"name": CONTAINER, "command": ["sh", "-c", command]}]}


def _created(space: Workspace, log: OperatorLog) -> set[int]:
    """Ids of all executors that there ever were."""
    return set(log.ended()) | {executor_id(pod) for pod in space.api.executor_pods(space.namespace)}


def _probes(seconds: float) -> int:
    """How many single attempts the back-off allows in this time after it has begun."""
    conf, count, spent = BackoffConf(), 0, 0.0
    delay = conf.first_delay_ms / 1000
    while (spent := spent + delay) <= seconds:
        count += 1
        delay = min(2 * delay, conf.longest_delay_ms / 1000)
    return count


@pytest.mark.slow
def test_a_crash_loop_is_slowed_down_and_says_so(space: Workspace, log: OperatorLog) -> None:
    # given executors that exit with 1 at once
    began = time.monotonic()
    _want_two(space, _running("exit 1"))
    message = space.await_condition(ALLOCATION, "Stalled", status="True", reason="ExecutorsFail")
    assert "Application" in message
    seconds = 75.0
    # when a while goes by, then the pods are those that opened the back-off and its few probes
    most = BackoffConf().failures_to_open + EXECUTORS - 1 + _probes(seconds)
    throughout(
        lambda: len(_created(space, log)) <= most,
        until=lambda: time.monotonic() - began > seconds,
        what=f"at most {most} pods in {seconds:.0f} s",
        within=seconds + 10,
        explain=lambda: sorted(_created(space, log)),
    )
    ends = log.ended()
    assert len(_created(space, log)) >= BackoffConf().failures_to_open + 1, "it is tried again"
    assert {(end["reason"], end["exit_code"]) for end in ends.values()} == {("Error", 1)}
    assert space.status(ALLOCATION)["failed"] == len(ends)
    stalled = space.condition(ALLOCATION, "Stalled")
    assert stalled["reason"] == "ExecutorsFail"
    assert stalled["message"].endswith(f"Stalled since {stalled['lastTransitionTime']}.")
    # and it is told with few words: one entry that counts, one Event
    entry = told(space, "Error")
    assert entry["count"] == len(ends)
    assert entry["reaction"].startswith("held back: one is ")
    assert "(exit code 1)" in entry["lastMessage"]
    assert len(events(space, "ExecutorError")) == 1
    assert space.phase(DRIVER) == "Running"


def test_an_image_that_cannot_be_had(space: Workspace, log: OperatorLog) -> None:
    """The driver's own image, which no registry has: `Always` makes the kubelet ask one."""
    _want_two(space, **{"spark.kubernetes.container.image.pullPolicy": "Always"})
    message = space.await_condition(
        ALLOCATION, "Stalled", status="True", reason="ExecutorsFailToStart", within=60
    )
    assert "its image cannot be pulled" in message
    assert "spark.kubernetes.container.image" in message, "the remedy"
    assert space.spark_image in message, "the kubelet's words"
    assert events(space, "ExecutorsFailToStart")
    assert len(_created(space, log)) == EXECUTORS, "waiting pods are not replaced"
    # when somebody deletes them, they are told as what they were not: ended
    for name in space.executors():
        space.delete("pod", name, wait=False)
    assert told(space, "Deleted")["count"] <= EXECUTORS
    assert space.phase(DRIVER) == "Running"


@pytest.mark.slow
def test_an_init_container_that_fails(space: Workspace, log: OperatorLog) -> None:
    # given executors that may have what their driver pod has too: an init container; theirs fails
    script = 'case "$HOSTNAME" in *exec*) exit 22;; esac'
    fetch = {"name": "fetch", "image": space.spark_image, "command": ["sh", "-c", script]}
    _want_two(space, {"initContainers": [fetch], **_running(WAIT)})
    space.await_condition(ALLOCATION, "Stalled", status="True", reason="ExecutorsFail", within=90)
    entry = told(space, "InitContainerFailed")
    assert "its init container fetch ended with exit code 22" in entry["lastMessage"]
    assert {end["reason"] for end in log.ended().values()} == {"InitContainerFailed"}


@pytest.mark.slow
def test_a_native_sidecar_that_ends_again_and_again_ends_no_executor(
    space: Workspace, log: OperatorLog
) -> None:
    sidecar = {
        "name": "proxy",
        "image": space.spark_image,
        "restartPolicy": "Always",
        "command": ["sh", "-c", "sleep 2; exit 1"],
    }
    _want_two(space, {"initContainers": [sidecar], **_running(WAIT)})

    def restarts() -> list[int]:
        return [
            status["restartCount"]
            for pod in space.executors().values()
            for status in pod["status"].get("initContainerStatuses", [])
        ]

    eventually(
        lambda: len(restarts()) == EXECUTORS and min(restarts()) >= 2,
        what="both sidecars have restarted twice",
        within=90,
        explain=lambda: (restarts(), space.status(ALLOCATION)),
    )
    assert log.ended() == {}
    assert len(_created(space, log)) == EXECUTORS


@pytest.mark.slow
def test_executors_that_somebody_keeps_deleting_are_replaced_more_slowly(
    space: Workspace, log: OperatorLog
) -> None:
    # given a limit of four unasked ends
    _want_two(space, _running(WAIT), failures=4)
    deleted: set[str] = set()

    def delete_all() -> bool:
        for name in set(space.executors()) - deleted:
            deleted.add(name)
            space.cluster.kubectl(
                *("delete", "pod", name, f"--namespace={space.namespace}"),
                *("--grace-period=1", "--wait=false"),
            )
        return space.condition(ALLOCATION, "Stalled").get("reason") == "FailureLimit"

    # when somebody deletes whatever comes up, then it is slowed down and said
    eventually(delete_all, what="Stalled for FailureLimit", within=90, every=0.5)
    message = space.condition(ALLOCATION, "Stalled")["message"]
    assert "more than the limit of 4" in message
    assert "spec.allocation.failures.max" in message
    assert "deleted by a user or the framework" in message, "how the last one ended"
    before = len(_created(space, log))
    began = time.monotonic()
    throughout(
        lambda: (delete_all() or True) and len(_created(space, log)) <= before + 1,
        until=lambda: time.monotonic() - began > 45,
        what="at most one more in 45 s",
        within=60,
        explain=lambda: (before, sorted(_created(space, log))),
    )
    entry = told(space, "Deleted")
    assert entry["reaction"] == ("replaced if it is needed, one a minute: above the failure limit")
    assert len(events(space, "ExecutorDeleted")) == 1


def test_no_node_for_them(space: Workspace, log: OperatorLog) -> None:
    _want_two(space, template={"nodeSelector": {"disk": "none-has-it"}})
    message = space.await_condition(ALLOCATION, "Stalled", status="True", reason="Unschedulable")
    assert "didn't match Pod's node affinity/selector" in message, "the scheduler's words"
    assert len(_created(space, log)) == EXECUTORS, "waiting pods are not replaced"


def test_a_quota_that_is_used_up(space: Workspace, log: OperatorLog) -> None:
    space.create(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "small", "namespace": space.namespace},
            "spec": {"hard": {"pods": "2"}},  # the driver and one executor
        }
    )
    _want_two(space, _running(WAIT))
    message = space.await_condition(ALLOCATION, "Stalled", status="True", reason="QuotaExceeded")
    assert "exceeded quota: small" in message, "the server's words"
    assert len(space.executors()) == 1
    # and when there is room, the second comes
    space.delete("resourcequota", "small")
    eventually(
        lambda: len(space.executors()) == EXECUTORS,
        what="the second executor",
        within=60,
        explain=lambda: space.status(ALLOCATION),
    )
    space.await_condition(ALLOCATION, "Stalled", status="False", reason="AsWanted")


def test_the_driver_loses_one_before_its_pod_changes(space: Workspace, log: OperatorLog) -> None:
    # given two executors that the driver knows
    _want_two(space, _running(WAIT))
    eventually(
        lambda: [pod["status"]["phase"] for pod in space.executors().values()] == ["Running"] * 2,
        what="two executors run",
        within=60,
        explain=lambda: space.status(ALLOCATION),
    )
    lost, other = sorted(executor_id(pod) for pod in space.executors().values())
    answer(space, "executors", [executor_of_driver(lost), executor_of_driver(other)])
    answer(space, "allexecutors", [executor_of_driver(lost), executor_of_driver(other)])
    eventually(
        lambda: space.status(ALLOCATION)["profiles"][0]["registered"] == EXECUTORS,
        what="both count as registered",
        within=30,
        explain=lambda: space.status(ALLOCATION),
    )
    # when the driver removes one of them, whose pod runs on
    answer(space, "executors", [executor_of_driver(other)])
    answer(
        space, "allexecutors", [executor_of_driver(lost, active=False), executor_of_driver(other)]
    )
    # then it ends, and one other takes its place
    end = eventually(lambda: log.ended().get(lost), what="the end of the lost one", within=60)
    assert end["reason"] == "DriverLost"
    assert told(space, "DriverLost", mentions=f"Executor {lost} ")["count"] == 1
    eventually(
        lambda: {executor_id(pod) for pod in space.executors().values()} == {other, other + 1},
        what="one replacement, and the lost pod is gone",
        within=60,
        explain=lambda: list(space.executors()),
    )
    assert set(log.ended()) == {lost}


def answer(space: Workspace, path: str, document: object) -> None:
    """From now on the fake driver answers this."""
    pod = space.api.pod(space.namespace, DRIVER)
    assert pod is not None
    request = urllib.request.Request(
        f"http://{pod['status']['podIP']}:4040/api/v1/applications/{FAKE_APPLICATION}/{path}",
        data=json.dumps(document).encode(),
        method="PUT",
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(request, timeout=5).close()


def executor_of_driver(number: int, *, active: bool = True) -> Object:
    """An executor without work, as Spark's REST API tells of it."""
    return {
        "id": str(number),
        "hostPort": f"10.88.0.{number}:7079",
        "isActive": active,
        "rddBlocks": 0,
        "memoryUsed": 0,
        "diskUsed": 0,
        "totalCores": 1,
        "maxTasks": 1,
        "activeTasks": 0,
        "failedTasks": 0,
        "completedTasks": 0,
        "totalTasks": 0,
        "totalShuffleRead": 0,
        "totalShuffleWrite": 0,
        "isBlacklisted": False,
        "isExcluded": False,
        "maxMemory": 1,
        "addTime": "2026-01-31T12:00:30.000GMT",
        "executorLogs": {},
        "blacklistedInStages": [],
        "excludedInStages": [],
        "attributes": {},
        "resources": {},
        "resourceProfileId": 0,
        **({} if active else {"removeTime": "2026-01-31T12:01:00.000GMT", "removeReason": "x"}),
    }
