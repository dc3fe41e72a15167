"""The executor pod as Spark's own suites describe it (BasicExecutorFeatureStepSuite and its neighbours), and as ours adds.

The comparison with the real classes is tests/conformance; here each rule is stated by itself.
"""

import json
from typing import Any, ClassVar

import pytest

from spark_allocation.core.executor_pod_builder import ExecutorPodManifest, build_executor_pod
from spark_allocation.core.executor_pod_context import (
    DriverPodFacts,
    ExecutorConfigMap,
    ExecutorPodContext,
)
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.pod_refusals import PodRefused, RefusalReason
from spark_allocation.core.resource_profiles import (
    DEFAULT_PROFILE_ID,
    ExecutorResourceRequest,
    ProfileId,
    ResourceProfile,
)
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion

K8S = "spark.kubernetes."
EXECUTOR = K8S + "executor."
FEATURES = "org.apache.spark.deploy.k8s.features."
DEFAULT_PROFILE = ResourceProfile(id=DEFAULT_PROFILE_ID)
ALLOCATION_UID = "sparkallocation.dev/allocation-uid"


def context(spark: str = "4.1.4", **changes: Any) -> ExecutorPodContext:
    given: dict[str, Any] = {
        "application_id": "spark-app",
        "spark_version": SparkVersion.parse(spark),
        "driver": DriverPodFacts(name="driver", uid="uid-1", namespace="default", spark_user="185"),
        "pod_name_prefix": "base",
        "config_map": ExecutorConfigMap("conf-map", ("log4j2.properties", "core-site.xml")),
        **changes,
    }
    return ExecutorPodContext(**given)


def build(
    conf: dict[str, str] | None = None,
    profile: ResourceProfile = DEFAULT_PROFILE,
    *,
    executor_id: int = 1,
    as_spark: bool = False,
    **changes: Any,
) -> ExecutorPodManifest | PodRefused:
    settings = {
        K8S + "container.image": "image:1",
        "spark.app.name": "pi",
        "spark.driver.host": "driver.svc",
        "spark.driver.port": "7098",
        **(conf or {}),
    }
    return build_executor_pod(
        SparkConf(settings),
        profile,
        ExecutorId(executor_id),
        context(**changes),
        as_spark=as_spark,
    )


def built(*args: Any, **kwargs: Any) -> ExecutorPodManifest:
    manifest = build(*args, **kwargs)
    assert isinstance(manifest, ExecutorPodManifest), manifest
    return manifest


def refused(*args: Any, **kwargs: Any) -> PodRefused:
    outcome = build(*args, **kwargs)
    assert isinstance(outcome, PodRefused), outcome
    return outcome


def container(manifest: ExecutorPodManifest) -> dict[str, Any]:
    last: dict[str, Any] = manifest.pod["spec"]["containers"][-1]
    assert last.get("name") == manifest.executor_container
    return last


def environment(manifest: ExecutorPodManifest) -> dict[str, Any]:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container(manifest)["env"]}


def profile(**amounts: int | ExecutorResourceRequest) -> ResourceProfile:
    requests = {
        name: amount
        if isinstance(amount, ExecutorResourceRequest)
        else ExecutorResourceRequest(name, amount)
        for name, amount in ((n.replace("_", "."), a) for n, a in amounts.items())
    }
    return ResourceProfile(id=ProfileId(1), executor_resources=requests)


class TestDefaults:
    def test_a_basic_executor_pod_has_reasonable_defaults(self) -> None:
        manifest = built({K8S + "container.image.pullSecrets": "first, second"}, as_spark=True)
        metadata, spec = manifest.pod["metadata"], manifest.pod["spec"]

        assert metadata["name"] == "base-exec-1"
        assert metadata["labels"] == {
            "spark-version": "4.1.4",
            "spark-exec-id": "1",
            "spark-app-selector": "spark-app",
            "spark-app-name": "pi",
            "spark-role": "executor",
            "spark-exec-resourceprofile-id": "0",
        }
        assert spec["imagePullSecrets"] == [{"name": "first"}, {"name": "second"}]
        assert spec["restartPolicy"] == "Never"
        assert "nodeSelector" not in spec
        assert container(manifest)["resources"] == {
            "requests": {"memory": "1408Mi", "cpu": "1"},
            "limits": {"memory": "1408Mi"},
        }
        assert container(manifest)["args"] == ["executor"]
        assert "command" not in container(manifest)

    def test_the_driver_pod_is_the_controller_and_does_not_block_its_own_deletion(self) -> None:
        owners = built(as_spark=True).pod["metadata"]["ownerReferences"]

        assert owners == [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": "driver",
                "uid": "uid-1",
                "controller": True,
            }
        ]

    def test_the_environment_tells_the_executor_who_it_is(self) -> None:
        found = environment(built())

        assert found["SPARK_DRIVER_URL"] == "spark://CoarseGrainedScheduler@driver.svc:7098"
        assert found["SPARK_EXECUTOR_ID"] == "1"
        assert found["SPARK_EXECUTOR_CORES"] == "1"
        assert found["SPARK_EXECUTOR_MEMORY"] == "1024m"
        assert found["SPARK_USER"] == "185"
        assert found["SPARK_EXECUTOR_POD_IP"]["fieldRef"]["fieldPath"] == "status.podIP"
        assert "SPARK_CLASSPATH" not in found

    @pytest.mark.parametrize("given", [DEFAULT_PROFILE, profile(cores=2)], ids=["default", "own"])
    def test_the_driver_s_configuration_files_are_mounted(self, given: ResourceProfile) -> None:
        manifest = built(profile=given)

        assert {"name": "spark-conf-volume-exec", "mountPath": "/opt/spark/conf"} in container(
            manifest
        )["volumeMounts"]
        volume = next(
            v for v in manifest.pod["spec"]["volumes"] if v["name"] == "spark-conf-volume-exec"
        )
        assert volume["configMap"] == {
            "name": "conf-map",
            "items": [
                {"key": "core-site.xml", "mode": 0o644, "path": "core-site.xml"},
                {"key": "log4j2.properties", "mode": 0o644, "path": "log4j2.properties"},
            ],
        }

    @pytest.mark.parametrize("given", [DEFAULT_PROFILE, profile(cores=2)], ids=["default", "own"])
    def test_no_configuration_files_when_the_driver_made_no_config_map(
        self, given: ResourceProfile
    ) -> None:
        disabled = {EXECUTOR + "disableConfigMap": "true"}
        for manifest in (built(disabled, given), built(profile=given, config_map=None)):
            names = [mount["name"] for mount in container(manifest)["volumeMounts"]]
            assert "spark-conf-volume-exec" not in names

    def test_the_same_input_gives_the_same_bytes(self) -> None:
        settings = {f"spark.executorEnv.V{i}": str(i) for i in range(20)}
        backwards = dict(reversed(settings.items()))

        assert json.dumps(built(settings).pod) == json.dumps(built(backwards).pod)

    def test_the_template_is_not_changed(self) -> None:
        template = {"spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}]}]}}
        before = json.dumps(template)

        built(pod_template=template)

        assert json.dumps(template) == before


class TestNames:
    @pytest.mark.parametrize("prefix", ["_123", "spark_exec", "spark@", "x" * 238, "", "A", "a..b"])
    def test_invalid_prefixes(self, prefix: str) -> None:
        assert refused(pod_name_prefix=prefix).reason == RefusalReason.INVALID_POD_NAME_PREFIX

    def test_a_prefix_as_written_is_refused_before_a_caller_makes_another_of_it(self) -> None:
        written = "x" * 238
        found = refused({EXECUTOR + "podNamePrefix": written})

        assert found.key == EXECUTOR + "podNamePrefix"
        assert found.value == written
        assert "237" in found.rule
        assert built({EXECUTOR + "podNamePrefix": "x" * 237})
        assert built({EXECUTOR + "podNamePrefix": written}, as_spark=True)

    def test_hostnames_get_truncated_to_a_valid_label_that_keeps_the_id(self) -> None:
        prefix = "abc." + "-" * 0 + "d" * 47 + "." + "e" * 20
        hostname = built(pod_name_prefix=prefix, executor_id=123).pod["spec"]["hostname"]

        assert len(hostname) <= 63
        assert hostname.endswith("-exec-123")
        assert hostname[0].isalnum()

    def test_a_host_name_has_neither_dots_nor_the_underscores_that_spark_makes_of_them(
        self,
    ) -> None:
        assert built(pod_name_prefix="a.b").pod["spec"]["hostname"] == "a-b-exec-1"
        by_spark = built(pod_name_prefix="a.b", as_spark=True)
        assert by_spark.pod["spec"]["hostname"] == "a_b-exec-1"

    @pytest.mark.parametrize(
        ("name", "label"),
        [
            ("xyz.abc _i_am_a_app_name_w/_some_abbrs", "xyz-abc-i-am-a-app-name-w-some-abbrs"),
            ("  Spark Pi! ", "spark-pi"),
            ("a" * 62 + "-bcd", "a" * 62),
            ("Привет", ""),
        ],
    )
    def test_the_application_s_name_becomes_a_label_value(self, name: str, label: str) -> None:
        assert built({"spark.app.name": name}).pod["metadata"]["labels"]["spark-app-name"] == label

    @pytest.mark.parametrize("key", ["spark-role", "spark-exec-id", "spark-app-selector"])
    def test_spark_s_labels_are_reserved(self, key: str) -> None:
        found = refused({EXECUTOR + "label." + key: "mine"})

        assert (found.reason, found.key, found.value) == (
            RefusalReason.RESERVED_LABEL,
            EXECUTOR + "label." + key,
            "mine",
        )

    def test_placeholders_for_ids_in_labels_since_4_0_and_in_annotations_always(self) -> None:
        settings = {
            EXECUTOR + "label.l": "{{APP_ID}}-{{EXECUTOR_ID}}",
            EXECUTOR + "annotation.a": "{{EXECUTOR_ID}}",
        }
        new = built(settings).pod["metadata"]
        old = built(settings, spark="3.5.9").pod["metadata"]

        assert new["labels"]["l"] == "spark-app-1"
        assert old["labels"]["l"] == "{{APP_ID}}-{{EXECUTOR_ID}}"
        assert new["annotations"]["a"] == old["annotations"]["a"] == "1"


class TestResources:
    def test_custom_resources_are_limits_under_their_vendor(self) -> None:
        limits = container(
            built(
                {
                    "spark.executor.resource.gpu.amount": "2",
                    "spark.executor.resource.gpu.vendor": "nvidia.com",
                    "spark.executor.resource.fpga.amount": "1",
                    "spark.executor.resource.fpga.vendor": "foo.com",
                }
            )
        )["resources"]["limits"]

        assert limits == {"memory": "1408Mi", "nvidia.com/gpu": "2", "foo.com/fpga": "1"}

    @pytest.mark.parametrize("part", ["amount", "vendor"])
    def test_a_custom_resource_needs_amount_and_vendor(self, part: str) -> None:
        found = refused({f"spark.executor.resource.gpu.{part}": "2"})

        assert found.reason == RefusalReason.INCOMPLETE_RESOURCE
        assert found.key.startswith("spark.executor.resource.gpu.")

    def test_pyspark_memory_counts_for_python_only(self) -> None:
        settings = {"spark.executor.pyspark.memory": "42"}

        assert _memory(built({**settings, K8S + "resource.type": "python"})) == "1450Mi"
        assert _memory(built(settings)) == "1408Mi"

    def test_off_heap_memory_counts_when_enabled(self) -> None:
        settings = {"spark.memory.offHeap.size": "42m"}

        assert _memory(built({**settings, "spark.memory.offHeap.enabled": "true"})) == "1450Mi"
        assert _memory(built(settings)) == "1408Mi"

    def test_off_heap_memory_must_be_given_when_enabled(self) -> None:
        assert refused({"spark.memory.offHeap.enabled": "true"}).key == "spark.memory.offHeap.size"

    def test_a_profile_of_its_own(self) -> None:
        python = {K8S + "resource.type": "python"}
        amounts = {"cores": 4, "memory": 2048, "memoryOverhead": 1024, "pyspark_memory": 3072}
        resources = container(built(python, profile(**amounts)))["resources"]

        assert resources["requests"] == {"cpu": "4", "memory": "6144Mi"}

    def test_a_profile_with_gpus(self) -> None:
        gpu = ExecutorResourceRequest("gpu", 2, vendor="nvidia.com")
        resources = container(built(profile=profile(cores=2, gpu=gpu)))["resources"]

        assert resources["requests"]["cpu"] == "2"
        assert resources["limits"] == {"memory": "1408Mi", "nvidia.com/gpu": "2"}

    def test_a_profile_s_overhead_is_not_computed_from_its_memory(self) -> None:
        assert _memory(built(profile=profile(memory=100_000))) == "100384Mi"

    def test_a_profile_does_not_inherit_the_default_profile_s_gpus(self) -> None:
        gpus = {
            "spark.executor.resource.gpu.amount": "1",
            "spark.executor.resource.gpu.vendor": "nvidia.com",
        }

        assert container(built(gpus, profile(cores=2)))["resources"]["limits"] == {
            "memory": "1408Mi"
        }

    def test_cpu_settings_of_kubernetes_are_for_the_default_profile_only(self) -> None:
        settings = {EXECUTOR + "request.cores": "500m", EXECUTOR + "limit.cores": "3"}
        default = container(built(settings))["resources"]
        own = container(built(settings, profile(cores=2)))["resources"]

        assert (default["requests"]["cpu"], default["limits"]["cpu"]) == ("500m", "3")
        assert own["requests"]["cpu"] == "2"
        assert "cpu" not in own["limits"]

    @pytest.mark.parametrize(
        ("factors", "memory"),
        [
            (
                {"spark.executor.memoryOverheadFactor": ".2", K8S + "memoryOverheadFactor": ".3"},
                9216,
            ),
            ({K8S + "memoryOverheadFactor": ".3"}, 9984),
        ],
    )
    def test_the_executor_s_overhead_factor_comes_first(
        self, factors: dict[str, str], memory: int
    ) -> None:
        assert _memory(built({"spark.executor.memory": "7680m", **factors})) == f"{memory}Mi"

    def test_the_least_overhead_since_4_0_and_an_explicit_one_wins(self) -> None:
        least = {"spark.executor.minMemoryOverhead": "500m"}

        assert _memory(built(least)) == "1524Mi"
        assert _memory(built(least, spark="3.5.9")) == "1408Mi"
        assert _memory(built({**least, "spark.executor.memoryOverhead": "150"})) == "1174Mi"

    def test_a_cpu_limit_below_the_request_is_refused_since_4_1(self) -> None:
        settings = {EXECUTOR + "request.cores": "2", EXECUTOR + "limit.cores": "1"}

        assert refused(settings).reason == RefusalReason.CPU_LIMIT_BELOW_REQUEST
        assert container(built(settings, spark="4.0.1"))["resources"]["limits"]["cpu"] == "1"

    def test_an_own_profile_wipes_the_template_s_resources(self) -> None:
        template = {"spec": {"containers": [{"resources": {"requests": {"x/y": "1"}}}]}}
        default = container(built(pod_template=template))["resources"]["requests"]
        own = container(built(profile=profile(cores=2), pod_template=template))["resources"][
            "requests"
        ]

        assert default["x/y"] == "1"
        assert "x/y" not in own

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("spark.executor.memory", "1.5g"),
            ("spark.executor.cores", "two"),
            ("spark.executor.memoryOverheadFactor", "0"),
            ("spark.blockManager.port", "1000"),
            (K8S + "container.image.pullPolicy", "Sometimes"),
            (EXECUTOR + "terminationGracePeriodSeconds", "-1"),
            ("spark.decommission.enabled", "yes"),
        ],
    )
    def test_a_value_that_spark_refuses_is_named(self, key: str, value: str) -> None:
        found = refused({key: value})

        assert (found.reason, found.key, found.value) == (RefusalReason.INVALID_VALUE, key, value)


class TestContainer:
    def test_an_image_is_required(self) -> None:
        outcome = build_executor_pod(
            SparkConf({"spark.driver.host": "d"}), DEFAULT_PROFILE, ExecutorId(1), context()
        )

        assert isinstance(outcome, PodRefused)
        assert outcome.reason == RefusalReason.IMAGE_MISSING

    def test_the_spark_version_in_the_image_since_4_1(self) -> None:
        image = {EXECUTOR + "container.image": "spark:{{SPARK_VERSION}}"}

        assert container(built(image))["image"] == "spark:4.1.4"
        assert container(built(image, spark="4.0.1"))["image"] == "spark:{{SPARK_VERSION}}"

    @pytest.mark.parametrize(("port", "ports"), [("12345", [12345]), ("0", None)])
    def test_the_block_manager_s_port(self, port: str, ports: list[int] | None) -> None:
        found = container(built({"spark.blockManager.port": port})).get("ports")

        assert (found and [p["containerPort"] for p in found]) == ports

    def test_the_template_s_ports_survive(self) -> None:
        template = {"spec": {"containers": [{"ports": [{"containerPort": 80, "name": "http"}]}]}}
        names = [p["name"] for p in container(built(pod_template=template))["ports"]]

        assert names == ["http", "blockmanager"]

    def test_java_options_are_split_as_a_shell_does_and_startup_settings_follow(self) -> None:
        settings = {
            "spark.executor.defaultJavaOptions": "-Done='a b'",
            "spark.executor.extraJavaOptions": '-Dtwo={{EXECUTOR_ID}} "-Dthree=\\"x"',
            "spark.executor.extraClassPath": "/a.jar",
            "spark.network.timeout": "60s",
        }
        found = environment(built(settings))

        assert [found[f"SPARK_JAVA_OPT_{i}"] for i in range(5)] == [
            "-Done=a b",
            "-Dtwo=1",
            '-Dthree="x',
            "-Dspark.driver.port=7098",
            "-Dspark.network.timeout=60s",
        ]
        assert found["SPARK_CLASSPATH"] == "/a.jar"

    def test_ids_in_the_executor_s_directories(self) -> None:
        found = environment(
            built(
                {
                    "spark.executorEnv.SPARK_EXECUTOR_DIRS": "/d/SPARK_APPLICATION_ID/SPARK_EXECUTOR_ID"
                }
            )
        )

        assert found["SPARK_EXECUTOR_DIRS"] == "/d/spark-app/1"

    def test_invalid_names_of_variables_are_left_out(self) -> None:
        found = environment(built({"spark.executorEnv.1BAD": "x", "spark.executorEnv.good-1": "y"}))

        assert "1BAD" not in found
        assert found["good-1"] == "y"

    def test_a_log_url_adds_two_attributes_since_4_0(self) -> None:
        url = {"spark.ui.custom.executor.log.url": "https://logs"}

        assert environment(built(url))["SPARK_EXECUTOR_ATTRIBUTE_APP_ID"] == "spark-app"
        assert "SPARK_EXECUTOR_ATTRIBUTE_APP_ID" not in environment(built(url, spark="3.5.9"))

    def test_the_driver_s_address_instead_of_its_name_since_4_1(self) -> None:
        settings = {"spark.driver.bindAddress": "10.1.2.3", EXECUTOR + "useDriverPodIP": "true"}

        assert "@10.1.2.3:" in environment(built(settings))["SPARK_DRIVER_URL"]
        assert "@driver.svc:" in environment(built(settings, spark="4.0.1"))["SPARK_DRIVER_URL"]

    def test_the_secret_reaches_executors_only_without_a_secret_file(self) -> None:
        on = {"spark.authenticate": "true", "spark.authenticate.secret": "sesame"}
        file = {"spark.authenticate.secret.file": "/etc/secret"}

        assert environment(built(on, as_spark=True))["_SPARK_AUTH_SECRET"] == "sesame"
        assert "_SPARK_AUTH_SECRET" not in environment(built({**on, **file}))

    def test_a_secret_that_only_the_driver_knows_is_refused(self) -> None:
        found = refused({"spark.authenticate": "true", "spark.authenticate.secret": "not the one"})

        assert found.reason == RefusalReason.AUTH_SECRET_UNKNOWN
        assert "sesame" not in found.rule


class TestPlacement:
    def test_general_and_executor_node_selectors_but_not_the_driver_s(self) -> None:
        selector = built(
            {
                K8S + "node.selector.disk": "ssd",
                K8S + "node.selector.zone": "a",
                EXECUTOR + "node.selector.zone": "b",
                K8S + "driver.node.selector.zone": "c",
            }
        ).pod["spec"]["nodeSelector"]

        assert selector == {"disk": "ssd", "zone": "b"}

    def test_the_executor_s_scheduler_comes_first(self) -> None:
        general = {K8S + "scheduler.name": "g"}

        assert built(general).pod["spec"]["schedulerName"] == "g"
        both = {**general, EXECUTOR + "scheduler.name": "e"}
        assert built(both).pod["spec"]["schedulerName"] == "e"

    def test_service_account_of_template_then_executor_then_driver(self) -> None:
        driver = {K8S + "authenticate.driver.serviceAccountName": "d"}
        executor = {K8S + "authenticate.executor.serviceAccountName": "e"}
        template = {"spec": {"serviceAccount": "t", "serviceAccountName": "t", "containers": []}}

        assert built(driver).pod["spec"]["serviceAccountName"] == "d"
        assert built({**driver, **executor}).pod["spec"]["serviceAccountName"] == "e"
        of_template = built(executor, pod_template=template).pod["spec"]
        assert of_template["serviceAccountName"] == "t"
        assert "serviceAccountName" not in built().pod["spec"]

    def test_feature_steps_of_known_schedulers(self) -> None:
        volcano = {EXECUTOR + "pod.featureSteps": FEATURES + "VolcanoFeatureStep"}
        yunikorn = {EXECUTOR + "pod.featureSteps": FEATURES + "YuniKornFeatureStep"}

        annotations = built(volcano).pod["metadata"]["annotations"]
        assert annotations == {"scheduling.k8s.io/group-name": "spark-app-podgroup"}
        annotations = built(yunikorn).pod["metadata"]["annotations"]
        assert annotations == {"yunikorn.apache.org/app-id": "spark-app"}
        assert refused(yunikorn, spark="3.5.9").reason == RefusalReason.UNSUPPORTED_FEATURE_STEP

    def test_other_java_classes_are_refused_by_name(self) -> None:
        found = refused({EXECUTOR + "pod.featureSteps": "com.example.Own"})

        assert (found.reason, found.value) == (
            RefusalReason.UNSUPPORTED_FEATURE_STEP,
            "com.example.Own",
        )

    def test_steps_can_be_excluded_since_4_1(self) -> None:
        excluded = {EXECUTOR + "pod.excludedFeatureSteps": FEATURES + "LocalDirsFeatureStep"}

        assert "SPARK_LOCAL_DIRS" not in environment(built(excluded))
        assert "SPARK_LOCAL_DIRS" in environment(built(excluded, spark="4.0.1"))

    def test_the_basic_step_cannot_be_excluded(self) -> None:
        excluded = {EXECUTOR + "pod.excludedFeatureSteps": FEATURES + "BasicExecutorFeatureStep"}

        assert refused(excluded).reason == RefusalReason.UNSUPPORTED_FEATURE_STEP


class TestVolumes:
    PREFIX = EXECUTOR + "volumes."

    def test_an_on_demand_claim_is_created_for_the_executor_and_owned_by_the_driver(self) -> None:
        prefix = self.PREFIX + "persistentVolumeClaim.data."
        manifest = built(
            {
                prefix + "mount.path": "/data",
                prefix + "options.claimName": "OnDemand",
                prefix + "options.storageClass": "fast",
                prefix + "options.sizeLimit": "10Gi",
                prefix + "label.team": "x",
            },
            executor_id=7,
        )
        (claim,) = manifest.resources

        assert claim["metadata"]["name"] == "base-exec-7-pvc-0"
        assert claim["metadata"]["labels"] == {"team": "x", "spark-app-selector": "spark-app"}
        assert claim["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
        assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
        assert not manifest.resources_follow_pod
        volume = next(v for v in manifest.pod["spec"]["volumes"] if v["name"] == "data")
        assert volume["persistentVolumeClaim"]["claimName"] == "base-exec-7-pvc-0"

    def test_claims_that_the_driver_does_not_own_follow_the_pod(self) -> None:
        prefix = self.PREFIX + "persistentVolumeClaim.data."
        manifest = built(
            {
                prefix + "mount.path": "/data",
                prefix + "options.claimName": "OnDemand",
                prefix + "options.storageClass": "fast",
                prefix + "options.sizeLimit": "10Gi",
                K8S + "driver.ownPersistentVolumeClaim": "false",
            }
        )

        assert manifest.resources_follow_pod
        assert "ownerReferences" not in manifest.resources[0]["metadata"]

    CLAIM: ClassVar[dict[str, str]] = {
        EXECUTOR + "volumes.persistentVolumeClaim.data.mount.path": "/data",
        EXECUTOR + "volumes.persistentVolumeClaim.data.options.storageClass": "fast",
        EXECUTOR + "volumes.persistentVolumeClaim.data.options.sizeLimit": "10Gi",
    }
    CLAIM_NAME = EXECUTOR + "volumes.persistentVolumeClaim.data.options.claimName"

    def test_a_pod_name_prefix_leaves_room_for_on_demand_claims_of_all_executors(self) -> None:
        conf = {**self.CLAIM, self.CLAIM_NAME: "OnDemand"}
        room = 253 - len("-exec-2147483647-pvc-0")

        assert built(conf, pod_name_prefix="x" * room, executor_id=2**31 - 1).resources
        found = refused(conf, pod_name_prefix="x" * 237)
        assert found.reason is RefusalReason.INVALID_VOLUME
        assert (found.key, found.value) == (self.CLAIM_NAME, "OnDemand")
        assert EXECUTOR + "podNamePrefix" in found.rule
        assert "237 characters" in found.rule

    def test_spark_goes_on_until_an_id_has_too_many_digits(self) -> None:
        conf = {**self.CLAIM, self.CLAIM_NAME: "OnDemand"}

        (claim,) = built(conf, pod_name_prefix="x" * 237, as_spark=True).resources
        assert len(claim["metadata"]["name"]) == 250

    @pytest.mark.parametrize("name", ["Data-OnDemand", "data_SPARK_EXECUTOR_ID", "-", ""])
    def test_a_claim_name_that_kubernetes_does_not_take(self, name: str) -> None:
        found = refused({**self.CLAIM, self.CLAIM_NAME: name})

        assert (found.reason, found.key) == (RefusalReason.INVALID_VOLUME, self.CLAIM_NAME)

    @pytest.mark.parametrize(
        ("name", "shorten_the_prefix"), [("OnDemand" * 20, True), ("a" * 254, False)]
    )
    def test_a_claim_name_that_is_too_long_by_itself(
        self, name: str, shorten_the_prefix: bool
    ) -> None:
        found = refused({**self.CLAIM, self.CLAIM_NAME: name})

        assert found.key == self.CLAIM_NAME
        assert ("podNamePrefix" in found.rule) is shorten_the_prefix

    def test_a_claim_by_name_is_mounted_and_not_created(self) -> None:
        prefix = self.PREFIX + "persistentVolumeClaim.data."
        manifest = built(
            {prefix + "mount.path": "/d", prefix + "options.claimName": "claim-SPARK_EXECUTOR_ID"}
        )

        assert manifest.resources == ()
        volume = next(v for v in manifest.pod["spec"]["volumes"] if v["name"] == "data")
        assert volume["persistentVolumeClaim"]["claimName"] == "claim-1"

    def test_two_volumes_at_one_path_are_refused(self) -> None:
        found = refused(
            {
                self.PREFIX + "emptyDir.a.mount.path": "/same",
                self.PREFIX + "emptyDir.b.mount.path": "/same",
            }
        )

        assert (found.reason, found.value) == (RefusalReason.DUPLICATE_MOUNT_PATH, "/same")

    @pytest.mark.parametrize(
        ("settings", "key"),
        [
            ({"hostPath.v.mount.path": "/x"}, "hostPath.v.options.path"),
            ({"nfs.v.mount.path": "/x", "nfs.v.options.path": "/y"}, "nfs.v.options.server"),
            ({"emptyDir.v.options.medium": "Memory"}, "emptyDir.v.mount.path"),
            (
                {"emptyDir.v.mount.path": "/x", "emptyDir.v.options.sizeLimit": "5"},
                "emptyDir.v.options.sizeLimit",
            ),
            (
                {
                    "emptyDir.v.mount.path": "/x",
                    "emptyDir.v.mount.subPath": "a",
                    "emptyDir.v.mount.subPathExpr": "b",
                },
                "emptyDir.v.mount.subPathExpr",
            ),
            ({"csi.v.mount.path": "/x"}, "csi.v.mount.path"),
        ],
    )
    def test_an_incomplete_volume_is_refused(self, settings: dict[str, str], key: str) -> None:
        found = refused({self.PREFIX + name: value for name, value in settings.items()})

        assert (found.reason, found.key) == (RefusalReason.INVALID_VOLUME, self.PREFIX + key)

    def test_secrets_as_volumes_and_as_variables(self) -> None:
        manifest = built({EXECUTOR + "secrets.s": "/etc/s", EXECUTOR + "secretKeyRef.KEY": "s:k"})

        assert {"name": "s-volume", "secret": {"secretName": "s"}} in manifest.pod["spec"][
            "volumes"
        ]
        assert environment(manifest)["KEY"] == {"secretKeyRef": {"name": "s", "key": "k"}}

    @pytest.mark.parametrize("reference", ["name", "a:b:c", "a:", ""])
    def test_a_malformed_secret_reference_is_refused(self, reference: str) -> None:
        found = refused({EXECUTOR + "secretKeyRef.KEY": reference})

        assert found.reason == RefusalReason.MALFORMED_SECRET_KEY_REF

    def test_hadoop_configuration(self) -> None:
        manifest = built({EXECUTOR + "hadoopConfigMapName": "h"})

        assert environment(manifest)["HADOOP_CONF_DIR"] == "/opt/hadoop/conf"

    def test_local_directories_of_the_driver_then_of_the_configuration_then_the_default(
        self,
    ) -> None:
        own = {"spark.local.dir": "/a,/b"}
        driver = DriverPodFacts("driver", "uid-1", "default", "185", local_dirs="/var/data/spark-1")

        assert environment(built(own))["SPARK_LOCAL_DIRS"] == "/a,/b"
        assert environment(built(own, driver=driver))["SPARK_LOCAL_DIRS"] == "/var/data/spark-1"
        assert environment(built())["SPARK_LOCAL_DIRS"] == "/var/data/spark-local"

    def test_local_directories_in_memory(self) -> None:
        volumes = built({K8S + "local.dirs.tmpfs": "true"}).pod["spec"]["volumes"]

        assert {"name": "spark-local-dir-1", "emptyDir": {"medium": "Memory"}} in volumes

    def test_the_user_s_own_volumes_as_local_directories(self) -> None:
        prefix = self.PREFIX + "hostPath.spark-local-dir-1."
        manifest = built({prefix + "mount.path": "/fast", prefix + "options.path": "/nvme"})

        assert environment(manifest)["SPARK_LOCAL_DIRS"] == "/fast"
        names = [v["name"] for v in manifest.pod["spec"]["volumes"]]
        assert names.count("spark-local-dir-1") == 1


class TestTemplate:
    TWO: ClassVar = {
        "spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}
    }

    def test_the_first_container_is_spark_s_unless_another_is_named(self) -> None:
        named = {EXECUTOR + "podTemplateContainerName": "b"}

        assert built(pod_template=self.TWO).executor_container == "a"
        assert built(named, pod_template=self.TWO).executor_container == "b"

    def test_the_others_stay_before_it(self) -> None:
        containers = built(pod_template=self.TWO).pod["spec"]["containers"]

        assert [c["name"] for c in containers] == ["b", "a"]
        assert containers[0] == {"name": "b", "image": "y"}

    def test_placement_of_the_template_survives(self) -> None:
        spec = {
            "tolerations": [{"operator": "Exists"}],
            "priorityClassName": "low",
            "containers": [],
        }
        found = built(pod_template={"spec": spec}).pod["spec"]

        assert found["tolerations"] == [{"operator": "Exists"}]
        assert found["priorityClassName"] == "low"

    def test_a_template_without_a_spec_is_refused(self) -> None:
        assert refused(pod_template={"metadata": {}}).reason == RefusalReason.INVALID_TEMPLATE


class TestReferences:
    def test_a_reference_to_another_setting_is_replaced(self) -> None:
        settings = {"spark.first": "${spark.second}", "spark.second": "2g"}

        assert _memory(built({**settings, "spark.executor.memory": "${spark.first}"})) == "2432Mi"

    def test_a_label_keeps_it(self) -> None:
        labels = built({EXECUTOR + "label.l": "${spark.app.name}"}).pod["metadata"]["labels"]

        assert labels["l"] == "${spark.app.name}"

    @pytest.mark.parametrize("value", ["${env:HOME}", "${system:user.name}", "${spark.not.set}"])
    def test_what_only_the_driver_knows_is_refused(self, value: str) -> None:
        found = refused({"spark.executor.extraClassPath": value})

        assert found.reason == RefusalReason.UNRESOLVED_REFERENCE

    def test_a_circle_is_refused(self) -> None:
        circle = {"spark.a": "${spark.b}", "spark.b": "${spark.a}"}
        found = refused({**circle, "spark.executor.extraClassPath": "${spark.a}"})

        assert found.reason == RefusalReason.INVALID_VALUE


class TestOurAdditions:
    def test_our_labels_and_annotations_win(self) -> None:
        metadata = built(
            {EXECUTOR + "label." + ALLOCATION_UID: "forged"},
            labels={ALLOCATION_UID: "true-one"},
            annotations={"sparkallocation.dev/incarnation": "i"},
        ).pod["metadata"]

        assert metadata["labels"][ALLOCATION_UID] == "true-one"
        assert metadata["annotations"] == {"sparkallocation.dev/incarnation": "i"}

    def test_the_driver_is_the_only_owner_and_its_namespace_the_pod_s(self) -> None:
        template = {
            "metadata": {
                "namespace": "elsewhere",
                "uid": "forged",
                "ownerReferences": [{"kind": "ConfigMap", "name": "x", "uid": "y"}],
            },
            "spec": {"containers": []},
            "status": {"phase": "Running"},
        }
        pod = built(pod_template=template).pod

        assert [o["uid"] for o in pod["metadata"]["ownerReferences"]] == ["uid-1"]
        assert pod["metadata"]["namespace"] == "default"
        assert "uid" not in pod["metadata"]
        assert "status" not in pod

    def test_our_own_pre_stop_hook_when_executors_can_decommission(self) -> None:
        enabled = {"spark.decommission.enabled": "true"}
        hook = container(built(enabled))["lifecycle"]["preStop"]["exec"]["command"]

        assert hook[:2] == ["sh", "-c"]
        assert "kill -PWR" in hook[2]
        assert "lifecycle" not in container(built())

    def test_spark_s_own_script_in_spark_s_pod(self) -> None:
        enabled = {"spark.decommission.enabled": "true"}

        assert container(built(enabled, as_spark=True))["lifecycle"] == {
            "preStop": {"exec": {"command": ["/opt/decom.sh"]}}
        }

    def test_another_signal_for_decommissioning(self) -> None:
        enabled = {"spark.decommission.enabled": "true"}
        signal = "spark.executor.decommission.signal"
        hook = container(built({**enabled, signal: "USR2"}))["lifecycle"]["preStop"]["exec"][
            "command"
        ]

        assert "kill -USR2" in hook[2]
        assert refused({**enabled, signal: "PWR; rm -rf /"}).key == signal

    def test_the_pod_s_grace_period(self) -> None:
        def grace(**changes: Any) -> Any:
            return built(**changes).pod["spec"].get("terminationGracePeriodSeconds")

        assert grace(termination_grace_period_seconds=120) == 120
        assert grace() == 30
        assert grace(spark="4.0.1") is None

    def test_an_executor_never_restarts_under_its_id(self) -> None:
        stateful = {K8S + "allocation.pods.allocator": "statefulset"}

        assert built(stateful).pod["spec"]["restartPolicy"] == "Never"
        assert built(stateful, as_spark=True).pod["spec"]["restartPolicy"] == "Always"

    def test_a_template_that_the_operator_has_not_seen_is_refused(self) -> None:
        found = refused({EXECUTOR + "podTemplateFile": "/opt/spark/pod-template/t.yaml"})

        assert (found.reason, found.key) == (
            RefusalReason.INVALID_TEMPLATE,
            EXECUTOR + "podTemplateFile",
        )

    def test_sidecars_become_init_containers_that_restart(self) -> None:
        template = {
            "spec": {
                "initContainers": [{"name": "init"}],
                "containers": [{"name": "spark"}, {"name": "side"}],
            }
        }
        spec = built(pod_template=template, native_sidecars=True).pod["spec"]

        assert [c["name"] for c in spec["containers"]] == ["spark"]
        assert spec["initContainers"] == [
            {"name": "init"},
            {"name": "side", "restartPolicy": "Always"},
        ]

    def test_a_driver_in_another_namespace_than_it_looks_for_executors_is_refused(self) -> None:
        found = refused({K8S + "namespace": "elsewhere"})

        assert (found.reason, found.key) == (RefusalReason.NAMESPACE_MISMATCH, K8S + "namespace")

    def test_a_masked_value_that_matters_is_refused(self) -> None:
        found = refused({EXECUTOR + "secrets.s": "*********(redacted)"})

        assert (found.reason, found.key) == (RefusalReason.REDACTED_VALUE, EXECUTOR + "secrets.s")


def _memory(manifest: ExecutorPodManifest) -> str:
    resources = container(manifest)["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    memory: str = resources["limits"]["memory"]
    return memory
