"""The driver's configuration, source by source: REST, what its pod mounts where REST masks, spec.sparkConf, a refusal."""

from dataclasses import replace
from typing import Any

import pytest

from spark_allocation.api.conditions import Reason
from spark_allocation.controller.driver_configuration import (
    DriverConfiguration,
    UnreadableConfiguration,
    read_driver_configuration,
)
from spark_allocation.controller.driver_connection import Connection
from spark_allocation.controller.executor_building import ExecutorBuilding, ExecutorWish
from spark_allocation.controller.pod_creation import Obstacle
from spark_allocation.core.driver_report import Application, Environment
from spark_allocation.core.executor_ids import ExecutorIds
from spark_allocation.core.executor_java_options import rebuild_java_module_options
from spark_allocation.core.executor_pod_builder import ExecutorPodManifest
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.redacted_settings import REDACTED
from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ResourceProfileManager
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.testing.faults import UNANSWERED
from spark_allocation.testing.objects import FakeObjectsApi

Document = dict[str, Any]
EXECUTOR = "spark.kubernetes.executor."
OPTIONS = "spark.executor.extraJavaOptions"
SECRET = "spark.executorEnv.DB_PASSWORD"
TEMPLATE_FILE = EXECUTOR + "podTemplateFile"
APPLICATION = Application("app-1", "job", 1, False, "4.1.4", "185")
PLAIN = {"spark.kubernetes.container.image": "spark:1", "spark.driver.host": "driver"}


def driver_pod(*volumes: Document, mounts: list[Document] | None = None, **spec: Any) -> Document:
    container = {
        "name": "spark-kubernetes-driver",
        "image": "spark:1",
        "volumeMounts": mounts if mounts is not None else [],
    }
    return {
        "metadata": {"name": "driver", "namespace": "default", "uid": "uid-1"},
        "spec": {"containers": [container], "volumes": list(volumes), **spec},
    }


def config_map_volume(name: str, *items: Document) -> Document:
    source: Document = {"name": name}
    if items:
        source["items"] = list(items)
    return {"name": f"volume-{name}", "configMap": source}


def mount(name: str, path: str, **fields: str) -> Document:
    return {"name": f"volume-{name}", "mountPath": path, **fields}


class Cluster:
    """Config maps, and a driver that reports these properties."""

    def __init__(self, pod: Document | None = None, **config_maps: dict[str, str]) -> None:
        self.objects = FakeObjectsApi()
        for name, data in config_maps.items():
            document = {"metadata": {"name": name}, "data": data}
            self.objects.put("configmaps", document, namespace="default")
        self.pod = pod if pod is not None else driver_pod(*map(config_map_volume, config_maps))

    async def read(
        self, reported: dict[str, str], *, version: str = "4.1.4", **spark_conf: str
    ) -> DriverConfiguration | UnreadableConfiguration:
        return await read_driver_configuration(
            driver_pod=self.pod,
            application=replace(APPLICATION, spark_version=version),
            environment=Environment({**PLAIN, **reported}, {}),
            spark_conf={key.replace("__", "."): value for key, value in spark_conf.items()},
            objects=self.objects,
        )

    async def conf(self, reported: dict[str, str], **spark_conf: str) -> SparkConf:
        found = await self.read(reported, **spark_conf)
        assert isinstance(found, DriverConfiguration), found
        return found.conf

    async def refusal(self, reported: dict[str, str], **spark_conf: str) -> str:
        found = await self.read(reported, **spark_conf)
        assert isinstance(found, UnreadableConfiguration), found
        return found.message


class TestTheOrder:
    async def test_what_the_driver_says_counts_and_no_config_map_is_read(self) -> None:
        cluster = Cluster(conf={"spark.properties": "spark.executor.memory=9g"})
        conf = await cluster.conf({"spark.executor.memory": "2g"})
        assert conf["spark.executor.memory"] == "2g"
        assert cluster.objects.made("get") == []

    async def test_what_it_masks_is_in_the_properties_that_its_pod_mounts(self) -> None:
        cluster = Cluster(
            conf={"spark.properties": f"{SECRET}=hunter2\nspark.executor.memory=9g\n"}
        )
        conf = await cluster.conf({SECRET: REDACTED, "spark.executor.memory": "2g"})
        assert conf[SECRET] == "hunter2"
        assert conf["spark.executor.memory"] == "2g", "what is not masked is the driver's word"

    async def test_masked_java_options_get_the_module_options_that_the_driver_adds(self) -> None:
        cluster = Cluster(conf={"spark.properties": f"{OPTIONS}=-Dtoken=x -Dy=1"})
        conf = await cluster.conf({OPTIONS: REDACTED})
        modules = rebuild_java_module_options(SparkVersion.parse("4.1.4"))
        assert conf[OPTIONS] == f"{modules} -Dtoken=x -Dy=1"

    async def test_what_no_config_map_tells_is_in_the_spark_allocation(self) -> None:
        assert (await Cluster().conf({SECRET: REDACTED}, **{SECRET: "told"}))[SECRET] == "told"

    async def test_the_spark_allocation_has_the_last_word(self) -> None:
        cluster = Cluster(conf={"spark.properties": f"{SECRET}=mounted"})
        conf = await cluster.conf(
            {SECRET: REDACTED, "spark.executor.memory": "2g"},
            **{SECRET: "told", "spark.executor.memory": "3g"},
        )
        assert (conf[SECRET], conf["spark.executor.memory"]) == ("told", "3g")


class TestWhatStaysUnknown:
    async def test_every_key_is_named_with_the_remedy_and_no_value(self) -> None:
        other = EXECUTOR + "secretKeyRef.TOKEN"
        message = await Cluster().refusal({SECRET: REDACTED, other: REDACTED, "spark.x": "v"})
        assert SECRET in message
        assert other in message
        assert "spec.sparkConf" in message
        assert "spark.x" not in message

    async def test_a_masked_value_that_leaves_the_pod_alone_does_not_matter(self) -> None:
        hidden = {"spark.hadoop.fs.s3a.secret.key": REDACTED, "spark.sql.token": REDACTED}
        assert (await Cluster().conf(hidden))["spark.sql.token"] == REDACTED

    async def test_a_config_map_that_masks_as_well_tells_nothing(self) -> None:
        cluster = Cluster(conf={"spark.properties": f"{SECRET}={REDACTED}"})
        assert SECRET in await cluster.refusal({SECRET: REDACTED})

    async def test_a_config_map_that_cannot_be_read_tells_nothing(self) -> None:
        cluster = Cluster(driver_pod(config_map_volume("gone")))
        assert SECRET in await cluster.refusal({SECRET: REDACTED})

    async def test_while_the_api_server_is_silent_nobody_concludes_anything(self) -> None:
        cluster = Cluster(conf={"spark.properties": f"{SECRET}=x"})
        cluster.objects.will("get", UNANSWERED)
        with pytest.raises(ApiUnavailable):
            await cluster.read({SECRET: REDACTED})

    async def test_a_spark_of_no_version(self) -> None:
        found = await Cluster().read({}, version="tomorrow's")
        assert isinstance(found, UnreadableConfiguration)
        assert "tomorrow's" in found.message


class TestMountedFiles:
    """The file that counts is the one that the driver sees at the path."""

    TEMPLATE = "spec: {containers: [{name: of-driver}]}"
    OTHER = "spec: {containers: [{name: of-somebody-else}]}"

    async def name_of(self, cluster: Cluster, path: str) -> str:
        found = await cluster.read({TEMPLATE_FILE: path})
        assert isinstance(found, DriverConfiguration)
        if found.pod_template is None:
            assert TEMPLATE_FILE in found.pod_template_problem
            assert "spec.executor.podTemplate" in found.pod_template_problem
            return ""
        return str(found.pod_template["spec"]["containers"][0]["name"])

    async def test_of_two_files_of_one_name_the_one_at_the_path(self) -> None:
        pod = driver_pod(
            config_map_volume("other"),
            config_map_volume("mine"),
            mounts=[mount("other", "/other"), mount("mine", "/mine")],
        )
        cluster = Cluster(pod, other={"t.yaml": self.OTHER}, mine={"t.yaml": self.TEMPLATE})
        assert await self.name_of(cluster, "/mine/t.yaml") == "of-driver"
        assert await self.name_of(cluster, "file:///mine/t.yaml") == "of-driver"
        assert await self.name_of(cluster, "elsewhere/t.yaml") == "", "no guess between two"

    async def test_a_key_mounted_under_another_name(self) -> None:
        volume = config_map_volume("mine", {"key": "a", "path": "deep/t.yaml"})
        pod = driver_pod(volume, mounts=[mount("mine", "/mine")])
        cluster = Cluster(pod, mine={"a": self.TEMPLATE})
        assert await self.name_of(cluster, "/mine/deep/t.yaml") == "of-driver"

    async def test_a_single_file_mounted_over_a_directory(self) -> None:
        pod = driver_pod(
            config_map_volume("directory"),
            config_map_volume("file"),
            mounts=[mount("directory", "/mine"), mount("file", "/mine/t.yaml", subPath="a")],
        )
        cluster = Cluster(pod, directory={"t.yaml": self.OTHER}, file={"a": self.TEMPLATE})
        assert await self.name_of(cluster, "/mine/t.yaml") == "of-driver"

    async def test_a_config_map_in_a_projected_volume(self) -> None:
        volume = {"name": "v", "projected": {"sources": [{"configMap": {"name": "mine"}}]}}
        pod = driver_pod(volume, mounts=[{"name": "v", "mountPath": "/mine"}])
        cluster = Cluster(pod, mine={"t.yaml": self.TEMPLATE})
        assert await self.name_of(cluster, "/mine/t.yaml") == "of-driver"

    async def test_a_path_that_no_mount_explains_is_looked_for_by_its_name(self) -> None:
        assert await self.name_of(Cluster(mine={"t.yaml": self.TEMPLATE}), "t.yaml") == "of-driver"

    @pytest.mark.parametrize("text", ["[", "just a text", "a: &a [*a]", "!!python/object:x {}"])
    async def test_a_file_that_is_no_template(self, text: str) -> None:
        assert await self.name_of(Cluster(mine={"t.yaml": text}), "t.yaml") == ""

    async def test_properties_are_those_of_the_driver_s_own_directory(self) -> None:
        pod = driver_pod(
            config_map_volume("history"),
            config_map_volume("own"),
            mounts=[mount("history", "/history"), mount("own", "/opt/spark/conf")],
        )
        cluster = Cluster(
            pod,
            history={"spark.properties": f"{SECRET}=of-the-history-server"},
            own={"spark.properties": f"{SECRET}=mine"},
        )
        assert (await cluster.conf({SECRET: REDACTED}))[SECRET] == "mine"

    async def test_the_user_and_directories_are_those_of_the_driver_s_container(self) -> None:
        pod = driver_pod()
        pod["spec"]["containers"][0]["env"] = [{"name": "SPARK_USER", "value": "ann"}]
        proxy = {"name": "proxy", "env": [{"name": "SPARK_USER", "value": "root"}]}
        pod["spec"]["containers"].append(proxy)
        found = await Cluster(pod).read({})
        assert isinstance(found, DriverConfiguration)
        assert found.facts.spark_user == "ann"


class TestBuilding:
    """From a configuration to a pod, or to the condition that says why there is none."""

    async def build(
        self,
        reported: dict[str, str],
        *,
        template: Document | None = None,
        cluster: Cluster | None = None,
    ) -> ExecutorPodManifest | Obstacle:
        cluster = cluster or Cluster()
        found = await cluster.read(reported)
        assert isinstance(found, DriverConfiguration), found
        connection = Connection(
            rest=None,  # type: ignore[arg-type]
            application=APPLICATION,
            configuration=found,
            settings=None,  # type: ignore[arg-type]
            profiles=ResourceProfileManager(found.conf),
            driver_document=cluster.pod,
            passive=True,
            profile_errors="",
        )
        building = ExecutorBuilding(
            connection,
            incarnation="0123abcd",
            allocation_uid="allocation",
            ids=ExecutorIds(),
            wish=lambda _: ExecutorWish(template),
        )
        return building.build(ExecutorId(1), DEFAULT_PROFILE_ID)

    async def obstacle(self, reported: dict[str, str]) -> Obstacle:
        found = await self.build(reported)
        assert isinstance(found, Obstacle), found
        return found

    async def test_a_template_that_cannot_be_read_is_no_matter_when_the_allocation_has_one(
        self,
    ) -> None:
        reported = {TEMPLATE_FILE: "/gone/t.yaml"}
        own = {"spec": {"containers": [{"name": "own"}]}}
        assert isinstance(await self.build(reported, template=own), ExecutorPodManifest)
        refused = await self.obstacle(reported)
        assert refused.reason is Reason.POD_NOT_BUILT
        assert "spec.executor.podTemplate" in refused.message

    @pytest.mark.parametrize(
        ("reported", "words"),
        [
            ({EXECUTOR + "pod.featureSteps": "com.example.Own"}, "com.example.Own"),
            ({"spark.authenticate": "true"}, "spark.authenticate"),
            ({"spark.kubernetes.scheduler.name": "${env:SCHEDULER}"}, "${env:SCHEDULER}"),
            ({EXECUTOR + "disableConfigMap": "maybe"}, "disableConfigMap"),
            ({EXECUTOR + "podNamePrefix": "Not_A_Name"}, "'Not_A_Name'"),
            ({EXECUTOR + "podNamePrefix": "${env:NAME}"}, "${env:NAME}"),
        ],
    )
    async def test_what_cannot_be_known_or_done_outside_the_driver_is_named(
        self, reported: dict[str, str], words: str
    ) -> None:
        refused = await self.obstacle(reported)
        assert refused.reason is Reason.POD_NOT_BUILT
        assert words in refused.message
        assert next(iter(reported)) in refused.message

    async def test_a_prefix_that_refers_to_another_setting(self) -> None:
        found = await self.build({EXECUTOR + "podNamePrefix": "${spark.name}", "spark.name": "etl"})
        assert isinstance(found, ExecutorPodManifest)
        assert found.pod["metadata"]["name"] == "etl-0123abcd-exec-1"

    async def test_the_longest_prefix_of_spark_leaves_room_for_claims(self) -> None:
        claim = EXECUTOR + "volumes.persistentVolumeClaim.c."
        found = await self.build(
            {
                EXECUTOR + "podNamePrefix": "x" * 237,
                claim + "mount.path": "/c",
                claim + "options.claimName": "OnDemand",
                claim + "options.storageClass": "fast",
                claim + "options.sizeLimit": "1Gi",
            }
        )
        assert isinstance(found, ExecutorPodManifest)
        (made,) = found.resources
        assert len(made["metadata"]["name"]) < 253

    @pytest.mark.parametrize(
        ("step", "annotation"),
        [
            ("VolcanoFeatureStep", "scheduling.k8s.io/group-name"),
            ("YuniKornFeatureStep", "yunikorn.apache.org/app-id"),
        ],
    )
    async def test_steps_of_known_schedulers_are_reproduced(
        self, step: str, annotation: str
    ) -> None:
        name = f"org.apache.spark.deploy.k8s.features.{step}"
        found = await self.build({EXECUTOR + "pod.featureSteps": name})
        assert isinstance(found, ExecutorPodManifest)
        assert APPLICATION.id in found.pod["metadata"]["annotations"][annotation]

    async def test_a_field_that_the_driver_pod_lacks_is_named(self) -> None:
        found = await self.build({EXECUTOR + "secrets.payroll": "/etc/payroll"})
        assert isinstance(found, Obstacle)
        assert found.reason is Reason.FIELD_NOT_ALLOWED
        assert "payroll" in found.message
