"""The demo itself, from an installed operator to the checks: one real Spark job, watched from outside."""

import math
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.cluster import Cluster
from tests.demo import manifests
from tests.demo.api import Api, Object
from tests.demo.installation import make_job_files
from tests.demo.observation import Observation, observe
from tests.demo.timeline import Timeline
from tests.demo.verdict import Check, Ending, job_result, judge

DRIVER_POD = "rise-and-fall"
LOOK_EVERY_SECONDS = 1.0
JOB_SECONDS = 600.0
SWEEP_SECONDS = 60.0
DRIVER_ACCOUNT = "spark-driver"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the run."""

    timeline: Timeline
    checks: list[Check]

    @property
    def good(self) -> bool:
        return all(check.holds for check in self.checks)


def start_driver(
    cluster: Cluster,
    api: Api,
    namespace: str,
    *,
    spark_image: str,
    job_arguments: tuple[str, ...] = (),
) -> None:
    """Create the config map and the driver pod of examples/driver-pod.yaml."""
    job = manifests.EXAMPLES / "jobs" / "rise_and_fall.py"
    properties = manifests.EXAMPLES / "passive-driver.properties"
    make_job_files(cluster, namespace, DRIVER_POD, job, properties)
    pod = manifests.driver_pod(
        namespace=namespace,
        image=spark_image,
        job_arguments=(f"--profile-tasks={profile_tasks(api)}", *job_arguments),
    )
    cluster.kubectl("create", "-f", "-", stdin=manifests.to_yaml([pod]))


def profile_tasks(api: Api) -> int:
    """How many executors of a profile the nodes can hold beside the first profile's.

    Spark lets spark.kubernetes.executor.request.cores shrink the request of the default profile only; an executor of
    any other profile requests whole cores, so a small node holds few of them.
    """
    free = sum(
        math.floor(_cores(node["status"]["allocatable"]["cpu"]) - 0.75)
        for node in api.items("/api/v1/nodes")
    )
    return max(1, min(3, free))


def watch_until_the_end(api: Api, namespace: str, show: Callable[[Observation], None]) -> Timeline:
    """Look once a second until the driver has ended and nothing of it is left, or time is up."""
    timeline = Timeline()
    began = time.monotonic()
    swept_by = math.inf
    while True:
        looked = time.monotonic()
        seen = observe(api, namespace, DRIVER_POD, seconds=looked - began)
        timeline.add(seen)
        show(seen)
        if seen.driver_ended:
            swept_by = min(swept_by, looked + SWEEP_SECONDS)
            finished = condition(seen.allocation, "Finished").startswith("True")
            if finished and not seen.executor_pods:
                return timeline
        if looked > swept_by or looked - began > JOB_SECONDS:
            return timeline
        time.sleep(max(0.0, looked + LOOK_EVERY_SECONDS - time.monotonic()))


def conclude(cluster: Cluster, api: Api, namespace: str, timeline: Timeline) -> Outcome:
    """Read the job's result and what is left of it, and judge."""
    last = timeline.last
    driver = api.pod(namespace, DRIVER_POD)
    application = "" if driver is None else last.status.get("applicationId", "")
    ending = Ending(
        driver_phase=last.driver_phase,
        executors_left=len(api.executor_pods(namespace)),
        config_maps_left=len(
            api.config_maps(namespace, f"spark-app-selector={application},spark-role=executor")
        ),
        finished=condition(last.allocation, "Finished"),
        may_create_pods=driver_may(cluster, namespace, "create"),
        may_delete_pods=driver_may(cluster, namespace, "delete"),
    )
    result = job_result(api.log(namespace, DRIVER_POD))
    return Outcome(timeline, judge(result, timeline, ending))


def driver_may(cluster: Cluster, namespace: str, verb: str) -> str:
    """kubectl's answer (yes or no) whether the driver's service account may do that to pods."""
    account = f"system:serviceaccount:{namespace}:{DRIVER_ACCOUNT}"
    command = cluster.kubectl_command(
        *("auth", "can-i", verb, "pods", f"--namespace={namespace}", f"--as={account}")
    )
    # "no" comes with exit code 1, so the words decide
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or answer.stderr.strip()


def condition(allocation: Object, kind: str) -> str:
    """A condition as "status reason: message", "" when it is not there."""
    for entry in (allocation.get("status") or {}).get("conditions", []):
        if entry["type"] == kind:
            return f"{entry['status']} {entry['reason']}: {entry.get('message', '')}"
    return ""


def _cores(quantity: str) -> float:
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)
