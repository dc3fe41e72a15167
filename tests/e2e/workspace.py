"""A namespace of one test, and what a test puts into it: drivers, real or fake, and SparkAllocations."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import Cluster
from tests.demo import manifests
from tests.demo.api import Api, Object
from tests.demo.installation import make_job_files
from tests.demo.observation import driver_answer
from tests.demo.verdict import job_result
from tests.e2e.waiting import eventually

FILES = Path(__file__).parent
RISE_AND_FALL = manifests.EXAMPLES / "jobs" / "rise_and_fall.py"
BATCH = FILES / "jobs" / "batch.py"
TWO_PROFILES = FILES / "jobs" / "two_profiles.py"
REUSE = FILES / "jobs" / "reuse.py"
PROPERTIES = manifests.EXAMPLES / "passive-driver.properties"

FIRST_LIFE = "/opt/life/first"
FAKE_APPLICATION = "spark-0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Workspace:
    """One namespace on the cluster, with the images that its pods use."""

    cluster: Cluster
    api: Api
    namespace: str
    spark_image: str

    # -- making ------------------------------------------------------------------------------------

    def create(self, *objects: Object) -> None:
        self.cluster.kubectl("create", "-f", "-", stdin=manifests.to_yaml(list(objects)))

    def start_driver(
        self,
        name: str,
        *arguments: str,
        job: Path = BATCH,
        managed: bool = True,
        annotations: dict[str, str] | None = None,
        restart_policy: str = "Never",
        conf: tuple[str, ...] = (),
    ) -> None:
        """A real driver: examples/driver-pod.yaml with another job.

        Args:
            managed: whether the pod asks for a SparkAllocation by its label.
            conf: further ``key=value`` settings of the driver.
        """
        if self._config_map("job") is None:
            self.put_job_files(RISE_AND_FALL, BATCH, TWO_PROFILES, REUSE, PROPERTIES)
        pod = self.driver_pod(name, *arguments, job=job, annotations=annotations, conf=conf)
        if not managed:
            pod["metadata"].pop("labels")
        pod["spec"]["restartPolicy"] = restart_policy
        self.create(pod)

    def put_job_files(self, *files: Path) -> None:
        """What the drivers of this namespace find below /opt/job."""
        make_job_files(self.cluster, self.namespace, "job", *files)

    def driver_pod(
        self,
        name: str,
        *arguments: str,
        job: Path,
        annotations: dict[str, str] | None = None,
        conf: tuple[str, ...] = (),
    ) -> Object:
        """examples/driver-pod.yaml with another job, not created yet."""
        pod = manifests.driver_pod(
            namespace=self.namespace,
            image=self.spark_image,
            name=name,
            job_arguments=arguments,
            annotations=annotations,
        )
        spec = pod["spec"]
        (container,) = spec["containers"]
        position = container["args"].index("/opt/job/rise_and_fall.py")
        container["args"][position] = f"/opt/job/{job.name}"
        container["args"][position:position] = [f"--conf={setting}" for setting in conf]
        spec["volumes"] = [
            {"name": "job", "configMap": {"name": "job"}},
            {"name": "life", "emptyDir": {}},
        ]
        container["volumeMounts"].append({"name": "life", "mountPath": "/opt/life"})
        return pod

    def start_fake_driver(
        self,
        name: str,
        *,
        settings: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
        serving: bool = True,
        gives: Object | None = None,
    ) -> None:
        """A pod that answers as a passive driver without work would, or, not `serving`, has no UI.

        Args:
            gives: a pod spec that its executors are to have; what the driver lacks is refused to them.
            settings: Spark properties that differ from a passive driver's.
        """
        files = {
            "fake_driver.py": (FILES / "fake_driver.py").read_text(),
            "answers.json": json.dumps(_answers(self, name, settings or {})),
        }
        command = ["python3", "/opt/fake/fake_driver.py"] if serving else ["sleep", "3600"]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace, "labels": labels or {}},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": False,
                "containers": [
                    {
                        "name": "spark-kubernetes-driver",
                        "image": self.spark_image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": command,
                        "env": [
                            {
                                "name": "POD_IP",
                                "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}},
                            }
                        ],
                        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
                        "volumeMounts": [{"name": "fake", "mountPath": "/opt/fake"}],
                    }
                ],
                "volumes": [{"name": "fake", "configMap": {"name": f"{name}-files"}}],
            },
        }
        for field, value in (gives or {}).items():
            if field != "containers":
                pod["spec"][field] = value
        pod["spec"]["containers"] += [
            {"image": self.spark_image, "imagePullPolicy": "IfNotPresent", **container}
            for container in (gives or {}).get("containers", ())
        ]
        config_map = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{name}-files", "namespace": self.namespace},
            "data": files,
        }
        self.create(config_map, pod)
        eventually(lambda: self.phase(name) == "Running", what=f"the pod {name} runs", within=60)

    def allocate(self, name: str, driver: Object | str, **spec: Any) -> None:
        """Create a SparkAllocation.

        Args:
            driver: the driver pod's name, or the whole of ``spec.driver``.
            spec: further fields of the spec, in the API's own camelCase.
        """
        named = {"podName": driver} if isinstance(driver, str) else driver
        self.create(
            {
                "apiVersion": "sparkallocation.dev/v1alpha1",
                "kind": "SparkAllocation",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {"driver": named, **spec},
            }
        )

    def delete(self, kind: str, name: str, *, wait: bool = True) -> None:
        self.cluster.kubectl(
            *("delete", kind, name, f"--namespace={self.namespace}"),
            *(f"--wait={str(wait).lower()}", "--timeout=120s"),
        )

    def touch(self, pod: str, file: str) -> None:
        """Make an empty file in the first container of a pod."""
        self.cluster.kubectl("exec", f"--namespace={self.namespace}", pod, "--", "touch", file)

    # -- looking -----------------------------------------------------------------------------------

    def phase(self, pod: str) -> str:
        found = self.api.pod(self.namespace, pod)
        return "" if found is None else found["status"].get("phase", "")

    def executors(self) -> dict[str, Object]:
        """Executor pods that have not ended, by name."""
        return {
            pod["metadata"]["name"]: pod
            for pod in self.api.executor_pods(self.namespace)
            if pod["status"].get("phase") in ("Pending", "Running")
        }

    def registered(self, driver: str) -> list[Object]:
        """Executors that the driver itself knows, None of them the driver."""
        answer = driver_answer(self.api, self.namespace, driver, "executors") or []
        return [entry for entry in answer if entry["id"] != "driver"]

    def completed_tasks(self, driver: str) -> int:
        answer = driver_answer(self.api, self.namespace, driver, "allexecutors") or []
        return sum(entry["completedTasks"] for entry in answer)

    def allocation(self, name: str) -> Object | None:
        return self.api.allocation(self.namespace, name)

    def status(self, name: str) -> Object:
        return (self.allocation(name) or {}).get("status") or {}

    def condition(self, name: str, kind: str) -> Object:
        """A condition of a SparkAllocation, {} when it is not there."""
        for entry in self.status(name).get("conditions", []):
            if entry["type"] == kind:
                return entry
        return {}

    def result(self, driver: str) -> dict[str, Any]:
        found = job_result(self.api.log(self.namespace, driver))
        assert found is not None, f"{driver} printed no result; the end of its log:\n" + self.log(
            driver
        )
        return found

    def log(self, driver: str, lines: int = 40) -> str:
        return self.api.log(self.namespace, driver, lines=lines)

    # -- waiting -----------------------------------------------------------------------------------

    def await_condition(
        self, name: str, kind: str, *, status: str, reason: str, within: float = 30
    ) -> str:
        """The condition's message, once it has this status and reason."""
        entry = eventually(
            lambda: (
                found
                if (found := self.condition(name, kind)).get("status") == status
                and found.get("reason") == reason
                else None
            ),
            what=f"{kind}={status} ({reason}) on {name}",
            within=within,
            explain=lambda: json.dumps(self.status(name), indent=1),
        )
        return entry["message"]

    def await_end(self, driver: str, *, within: float = 240) -> str:
        """The driver pod's final phase."""
        return eventually(
            lambda: phase if (phase := self.phase(driver)) in ("Succeeded", "Failed") else None,
            what=f"the driver {driver} ends",
            within=within,
            explain=lambda: self.log(driver),
        )

    def await_no_executors(self, *, within: float = 60) -> None:
        eventually(
            lambda: not self.api.executor_pods(self.namespace),
            what="no executor pod is left",
            within=within,
            explain=lambda: list(self.executors()),
        )

    def await_allocation_of(self, driver: str, *, within: float = 30) -> str:
        """The name of the SparkAllocation that names this driver pod."""
        found = eventually(
            lambda: self.api.allocation_of(self.namespace, driver),
            what=f"a SparkAllocation for {driver}",
            within=within,
        )
        return str(found["metadata"]["name"])

    def _config_map(self, name: str) -> Object | None:
        names = {item["metadata"]["name"]: item for item in self.api.config_maps(self.namespace)}
        return names.get(name)


def passive_settings() -> dict[str, str]:
    """examples/passive-driver.properties as a mapping."""
    lines = (line.strip() for line in PROPERTIES.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _answers(space: Workspace, driver: str, settings: dict[str, str]) -> dict[str, Any]:
    """What the driver of examples/driver-pod.yaml answers while it has no work."""
    properties = {
        "spark.app.id": FAKE_APPLICATION,
        "spark.app.name": driver,
        "spark.driver.host": "{{POD_IP}}",
        "spark.driver.port": "7078",
        "spark.executor.cores": "1",
        "spark.executor.memory": "128m",
        "spark.kubernetes.container.image": space.spark_image,
        "spark.kubernetes.driver.pod.name": driver,
        "spark.kubernetes.executor.disableConfigMap": "true",
        "spark.kubernetes.executor.podNamePrefix": driver,
        "spark.kubernetes.executor.request.cores": "10m",
        "spark.kubernetes.namespace": space.namespace,
        "spark.master": "k8s://https://10.96.0.1:443",
        "spark.submit.deployMode": "client",
        **passive_settings(),
        **settings,
    }
    profile = {
        "id": 0,
        "executorResources": {
            "cores": _resource("cores", 1),
            "memory": _resource("memory", 128),
            "offHeap": _resource("offHeap", 0),
        },
        "taskResources": {"cpus": {"resourceName": "cpus", "amount": 1.0}},
    }
    attempt = {
        "startTime": "2026-01-31T12:00:00.000GMT",
        "startTimeEpoch": 1_769_860_800_000,
        "sparkUser": "spark",
        "completed": False,
        "appSparkVersion": space.spark_image.rsplit(":", 1)[1],
    }
    application = f"/api/v1/applications/{FAKE_APPLICATION}"
    return {
        "/api/v1/applications": [{"id": FAKE_APPLICATION, "name": driver, "attempts": [attempt]}],
        f"{application}/environment": {
            "sparkProperties": sorted(properties.items()),
            "resourceProfiles": [profile],
        },
        f"{application}/stages?status=active": [],
        f"{application}/executors": [],
        f"{application}/allexecutors": [],
        f"{application}/jobs?status=running": [],
        "/metrics/json/": {"version": "4.0.0", "gauges": {}},
    }


def _resource(name: str, amount: int) -> dict[str, Any]:
    return {"resourceName": name, "amount": amount, "discoveryScript": "", "vendor": ""}
