"""Random scenarios of kind ``pod``: configurations over every setting that makes an executor pod.

Each scenario picks a handful of concerns (image, memory, volumes, template, …) and random settings of each, valid for
the most part. About a quarter of them gets one setting that Spark should refuse, or that looks as if it should.
"""

from collections.abc import Callable
from random import Random
from typing import Any

Scenario = dict[str, Any]
_K8S = "spark.kubernetes."
_EXECUTOR = _K8S + "executor."
_TEMPLATE_KEY = _EXECUTOR + "podTemplateFile"
_PREFIXES = ["p", "my-app-0", "a.b-c.d1", "x" * 237, "x" * 60, "job-17f.spark-9"]
_WORDS = [
    "alpha",
    "b",
    "{{APP_ID}}",
    "x-{{EXECUTOR_ID}}-y",
    "",
    "with space",
    "a=b,c",
    "ü",
    "$1",
    "${nothing}",
]
_SIZES = ["1g", "2048", "512m", "3000k", "1t", "384m", "1", "0", "7680m", " 2g ", "1G"]
_BOOLEANS = ["true", "false", "TRUE", " true", "False "]
_NOT_BOOLEANS = ["yes", "1", "", "tru"]
_NOT_SIZES = ["1.5g", "-1", "g", "", "10x", "1 g", "99999999999999999999"]
_NOT_INTEGERS = ["1.5", "", "x", "2147483648", "1_0"]


def generate(random: Random, spark_version: str) -> Scenario:
    """A random configuration, mostly of a kind that a user might write."""
    scenario: Scenario = {
        "kind": "pod",
        "conf": {
            _EXECUTOR + "podNamePrefix": random.choice(_PREFIXES),
            _K8S + "container.image": "registry.example/spark:{{SPARK_VERSION}}",
        },
    }
    if _chance(random, 0.6):
        scenario["execId"] = str(random.choice([1, 7, 10, 4711, 2147483647]))
    if _chance(random, 0.5):
        scenario["appId"] = random.choice(["spark-application-1", "app_2", "spark-" + "0a" * 16])
    if _chance(random, 0.5):
        scenario["driverPod"] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "driver", "uid": "2f4c1c1e-0000-4000-8000-000000000001"},
        }
    busy = random.choice([0.1, 0.25, 0.5, 0.9])
    for concern in _CONCERNS:
        if _chance(random, busy):
            concern(random, scenario)
    if _chance(random, 0.25):
        random.choice(_FAULTS)(random, scenario)
    return scenario


def _chance(random: Random, probability: float) -> bool:
    return random.random() < probability


def _some(
    random: Random, conf: dict[str, str], choices: dict[str, list[str]], share: float = 0.5
) -> None:
    for key, values in choices.items():
        if _chance(random, share):
            conf[key] = random.choice(values)


def _identity(random: Random, scenario: Scenario) -> None:
    names = [
        "spark-pi",
        "  Spark Pi! ",
        "xyz.abc _i_am_a_app_name_w/_some_abbrs",
        "-" * 70,
        "a" * 62 + "-b",
        "Привет",
        "İstanbul",
        "",
        "9lives",
    ]
    _some(
        random,
        scenario["conf"],
        {"spark.app.name": names, _K8S + "namespace": ["spark", "default"]},
    )
    for prefix in ("label.", "annotation."):
        for name in random.sample(
            ["team", "example.com/x", "spark-extra", "a.b.c", "Ünit"], random.randint(0, 3)
        ):
            scenario["conf"][_EXECUTOR + prefix + name] = random.choice(_WORDS)


def _image(random: Random, scenario: Scenario) -> None:
    choices = {
        _EXECUTOR + "container.image": [
            "executor:1",
            "x:{{SPARK_VERSION}}-{{SPARK_VERSION}}",
            "${spark.app.name}:1",
        ],
        _K8S + "container.image.pullPolicy": ["Always", "Never", "IfNotPresent"],
        _K8S + "container.image.pullSecrets": ["one", "one, two ,,three", "", " , "],
    }
    scenario["conf"].setdefault("spark.app.name", "named")
    _some(random, scenario["conf"], choices)


def _cores(random: Random, scenario: Scenario) -> None:
    _some(
        random,
        scenario["conf"],
        {
            "spark.executor.cores": ["1", "4", "16", " 2", "+3"],
            _EXECUTOR + "request.cores": ["1", "0.5", "500m", "3", "1e1", "2.50", "100u"],
            _EXECUTOR + "limit.cores": ["1", "4", "1500m", "0.1", "2Ki", "10", "2e0", "1E3"],
        },
    )


def _memory(random: Random, scenario: Scenario) -> None:
    conf = scenario["conf"]
    _some(
        random,
        conf,
        {
            "spark.executor.memory": _SIZES,
            "spark.executor.memoryOverhead": _SIZES,
            "spark.yarn.executor.memoryOverhead": _SIZES,
            "spark.executor.memoryOverheadFactor": ["0.2", "0.1", "1", "1e-3", "2.5", "0.33333"],
            _K8S + "memoryOverheadFactor": ["0.4", "0.3", "0.10", "1.5", "0"],
            "spark.executor.minMemoryOverhead": ["500m", "150", "1g", "0"],
            "spark.executor.pyspark.memory": ["3g", "42", "100m"],
            _K8S + "resource.type": ["python", "java", "r"],
        },
        random.choice([0.2, 0.6]),
    )
    if _chance(random, 0.4):
        for key in ("spark.memory.offHeap.enabled", "spark.unsafe.offHeap"):
            if _chance(random, 0.6):
                conf[key] = random.choice(_BOOLEANS)
        conf["spark.memory.offHeap.size"] = random.choice(["42m", "1g", "1048576", "2097151"])


def _custom_resources(random: Random, scenario: Scenario) -> None:
    for name, vendor in (("gpu", "nvidia.com"), ("fpga", "intel.com"), ("x.y", "v")):
        if _chance(random, 0.5):
            prefix = f"spark.executor.resource.{name}."
            scenario["conf"][prefix + "amount"] = random.choice(["0", "1", "2", "8"])
            scenario["conf"][prefix + "vendor"] = vendor
            if _chance(random, 0.5):
                scenario["conf"][prefix + "discoveryScript"] = "/opt/find.sh"
    # a name with a dot is one resource "x" without an amount: leave it to the faults
    for key in [k for k in scenario["conf"] if k.startswith("spark.executor.resource.x.y.")]:
        del scenario["conf"][key]


def _profile(random: Random, scenario: Scenario) -> None:
    executor: dict[str, Any] = {}
    for name, amounts in {
        "cores": [1, 4, 32],
        "memory": [512, 2048, 100000],
        "memoryOverhead": [0, 384, 1024],
        "pyspark.memory": [42, 3072],
        "offHeap": [1, 512],
        "gpu": [{"amount": 2, "vendor": "nvidia.com", "discoveryScript": "/find"}],
        "fpga": [{"amount": 1, "vendor": "intel.com"}],
    }.items():
        if _chance(random, 0.4):
            executor[name] = random.choice(amounts)
    scenario["rp"] = {"id": random.choice([0, 1, 2, 77]), "executor": executor, "task": {"cpus": 1}}


def _java_options(random: Random, scenario: Scenario) -> None:
    options = [
        "-Dfoo=bar -XX:+UseG1GC",
        "-Dspark.auth.x=1 -verbose",
        '-Da=\'b c\' -De="f\\"g\\\\h" \'i\'"j"k',
        "  -Dx={{APP_ID}}/{{EXECUTOR_ID}}  ",
        "-Dopen='never closed",
        '-Dslash="at the end\\',
        "-Dempty='' \"\" tail",
        "-Dline=1\n-Dtab=2\t-Dback\\slash=3",
        "-Djava.net.preferIPv6Addresses=false --add-opens=java.base/java.lang=ALL-UNNAMED",
        "-Dname=${spark.app.name} -Dnot=${nothing} -D${",
        "",
        "-D\u00a0nbsp=ü",
    ]
    scenario["conf"].setdefault("spark.app.name", "named")
    _some(
        random,
        scenario["conf"],
        {
            "spark.executor.extraJavaOptions": options,
            "spark.executor.defaultJavaOptions": options,
            "spark.executor.defaultExtraClassPath": ["/d.jar", "", "${spark.app.name}"],
            "spark.executor.extraClassPath": ["/a.jar:/b/*", "", "local:///x"],
            "spark.executor.extraLibraryPath": ["/usr/lib/hadoop", "", "/a:/b"],
        },
    )


def _startup_conf(random: Random, scenario: Scenario) -> None:
    _some(
        random,
        scenario["conf"],
        {
            "spark.rpc.message.maxSize": ["128"],
            "spark.rpc.x": ["a b", ""],
            "spark.network.timeout": ["120s"],
            "spark.networking": ["starts so too"],
            "spark.port.maxRetries": ["16"],
            "spark.some.port": ["1"],
            "spark.a.ports": ["not one"],
            "spark.ssl.protocol": ["TLSv1.3"],
            "spark.ssl.keyPasswordX": ["never"],
            "spark.sslx": ["y"],
            "spark.authx": ["1"],
            "spark.ui.port": ["4041", "0"],
        },
        0.3,
    )


def _environment(random: Random, scenario: Scenario) -> None:
    for name in random.sample(
        [
            "A",
            "SPARK_USER",
            "SPARK_EXECUTOR_DIRS",
            "1bad",
            "with space",
            "dotted.name",
            "-",
            "_X1",
            "ü",
            "SPARK_JAVA_OPT_0x",
        ],
        random.randint(1, 4),
    ):
        values = [*_WORDS, "/d/SPARK_APPLICATION_ID/SPARK_EXECUTOR_ID/SPARK_EXECUTOR_IDs"]
        scenario["conf"]["spark.executorEnv." + name] = random.choice(values)
    _some(
        random,
        scenario["conf"],
        {"spark.ui.custom.executor.log.url": ["https://logs/{{EXECUTOR_ID}}", ""]},
    )


def _driver_address(random: Random, scenario: Scenario) -> None:
    _some(
        random,
        scenario["conf"],
        {
            "spark.driver.host": ["driver.ns.svc", "10.0.0.1", "[::1]"],
            "spark.driver.port": ["7098", "0", "+7"],
            "spark.driver.bindAddress": ["10.1.2.3", "0.0.0.0"],
            _EXECUTOR + "useDriverPodIP": _BOOLEANS,
            "spark.blockManager.port": ["0", "1024", "65535", "12345"],
        },
    )


def _authentication(random: Random, scenario: Scenario) -> None:
    conf = scenario["conf"]
    conf["spark.authenticate"] = random.choice(["true", "true", "false"])
    conf["spark.authenticate.secret"] = "sesame"  # a real driver makes one up; the oracle does not
    _some(
        random,
        conf,
        {
            "spark.authenticate.secret.executor.file": ["/etc/secret"],
            "spark.authenticate.enableSaslEncryption": ["true"],
        },
        0.4,
    )
    _some(random, conf, {"spark.authenticate.secret.file": ["/etc/secret"]}, 0.2)


def _secrets(random: Random, scenario: Scenario) -> None:
    for name in random.sample(["sec", "other", "third-one"], random.randint(0, 3)):
        scenario["conf"][f"{_EXECUTOR}secrets.{name}"] = f"/etc/{name}"
    for name in random.sample(["PASSWORD", "KEY", "a.b"], random.randint(0, 2)):
        scenario["conf"][f"{_EXECUTOR}secretKeyRef.{name}"] = random.choice(
            ["s:k", "secret:key.x", "s:k:", ":k"]
        )


def _volumes(random: Random, scenario: Scenario) -> None:
    conf = scenario["conf"]
    names = ["data", "spark-local-dir-1", "spark-local-dir-x", "logs", "e1", "e2", "e3"]
    for index, name in enumerate(random.sample(names, random.randint(1, 5))):
        kind = random.choice(["hostPath", "persistentVolumeClaim", "emptyDir", "nfs"])
        prefix = f"{_EXECUTOR}volumes.{kind}.{name}."
        conf[prefix + "mount.path"] = f"/mnt/{index}"
        _some(random, conf, {prefix + "mount.readOnly": ["true", "false", "TRUE"]}, 0.4)
        _some(
            random,
            conf,
            {prefix + random.choice(["mount.subPath", "mount.subPathExpr"]): ["a/b", "$(X)"]},
            0.3,
        )
        _some(random, conf, {prefix + "unknown": ["x"], prefix + "options.unknown": ["y"]}, 0.1)
        _volume_options(random, conf, prefix, kind)


def _volume_options(random: Random, conf: dict[str, str], prefix: str, kind: str) -> None:
    options = prefix + "options."
    match kind:
        case "hostPath":
            conf[options + "path"] = "/host"
            _some(random, conf, {options + "type": ["Directory", ""]}, 0.3)
        case "nfs":
            conf[options + "path"] = "/export"
            conf[options + "server"] = "nfs.example"
        case "emptyDir":
            _some(
                random,
                conf,
                {
                    options + "medium": ["Memory", ""],
                    options + "sizeLimit": ["1Gi", "2048", "5G", "abc"],
                },
            )
        case _:
            conf[options + "claimName"] = random.choice(
                ["OnDemand", "fixed", "claim-SPARK_EXECUTOR_ID", "OnDemand-x-OnDemand"]
            )
            _some(
                random,
                conf,
                {options + "storageClass": ["fast", ""], options + "sizeLimit": ["10Gi", "1024"]},
                0.7,
            )
            _some(
                random,
                conf,
                {prefix + "label.team": ["x"], prefix + "label.spark-app-selector": ["forged"]},
                0.2,
            )
            _some(random, conf, {prefix + "annotation.example.com/a": ["b"]}, 0.2)


def _local_dirs(random: Random, scenario: Scenario) -> None:
    _some(
        random,
        scenario["conf"],
        {
            "spark.local.dir": ["/a", "/a,/b", "/a,/b,", "/a,/b,/c", "/tmp/${spark.app.name}"],
            _K8S + "local.dirs.tmpfs": _BOOLEANS,
        },
        0.7,
    )


def _placement(random: Random, scenario: Scenario) -> None:
    _some(
        random,
        scenario["conf"],
        {
            _K8S + "node.selector.disk": ["ssd", ""],
            _K8S + "node.selector.zone": ["a"],
            _EXECUTOR + "node.selector.zone": ["b"],
            _K8S + "driver.node.selector.zone": ["never"],
            _K8S + "scheduler.name": ["volcano"],
            _EXECUTOR + "scheduler.name": ["yunikorn", ""],
            _K8S + "authenticate.executor.serviceAccountName": ["executors"],
            _K8S + "authenticate.driver.serviceAccountName": ["drivers"],
            _K8S + "authenticate.serviceAccountName": ["never"],
        },
    )


def _life(random: Random, scenario: Scenario) -> None:
    _some(
        random,
        scenario["conf"],
        {
            "spark.decommission.enabled": _BOOLEANS,
            "spark.worker.decommission.enabled": ["true"],
            _K8S + "decommission.script": ["/opt/other.sh", ""],
            _EXECUTOR + "terminationGracePeriodSeconds": ["0", "30", "3600", " 5"],
            _K8S + "allocation.pods.allocator": ["statefulset", "direct", "com.example.Own"],
            _EXECUTOR + "disableConfigMap": _BOOLEANS,
            _EXECUTOR + "hadoopConfigMapName": ["hadoop", ""],
            _K8S + "legacy.useReadWriteOnceAccessMode": _BOOLEANS,
            _EXECUTOR + "pod.excludedFeatureSteps": _excluded(random),
        },
        0.35,
    )


def _excluded(random: Random) -> list[str]:
    package = "org.apache.spark.deploy.k8s.features."
    steps = [
        "BasicExecutorFeatureStep",
        "ExecutorKubernetesCredentialsFeatureStep",
        "MountSecretsFeatureStep",
        "EnvSecretsFeatureStep",
        "MountVolumesFeatureStep",
        "HadoopConfExecutorFeatureStep",
        "LocalDirsFeatureStep",
        "NoSuchFeatureStep",
    ]
    return [",".join(package + step for step in random.sample(steps, random.randint(1, 3))), ""]


def _template(random: Random, scenario: Scenario) -> None:
    containers = [
        _template_container(random, name)
        for name in random.sample(["main", "side", "third"], random.randint(0, 3))
    ]
    if containers and _chance(random, 0.1):
        containers.append(_template_container(random, containers[0]["name"]))
    spec: dict[str, Any] = {"containers": containers}
    optional = {
        "serviceAccount": "of-template",
        "serviceAccountName": "of-template-too",
        "nodeSelector": {"zone": "t", "own": "1"},
        "imagePullSecrets": [{"name": "one"}],
        "tolerations": [{"key": "spark", "operator": "Exists", "tolerationSeconds": 5}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "a", "operator": "In", "values": ["x"]}]}
                    ]
                }
            }
        },
        "priorityClassName": "low",
        "runtimeClassName": "gvisor",
        "securityContext": {"runAsUser": 185, "fsGroup": 185},
        "hostNetwork": True,
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": 7,
        "schedulerName": "of-template",
        "hostname": "of-template",
        "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
        "initContainers": [{"name": "init", "image": "i", "command": ["true"]}],
        "volumes": random.choice(
            [
                [{"name": "spark-local-dir-t", "emptyDir": {"sizeLimit": "1Gi"}}],
                [
                    {
                        "name": "cm",
                        "configMap": {"name": "c", "items": [{"key": "a", "path": "b"}]},
                    },
                    {"name": "e", "emptyDir": {}},
                ],
                [
                    {
                        "name": "p",
                        "projected": {
                            "sources": [
                                {"serviceAccountToken": {"path": "t", "expirationSeconds": 600}}
                            ]
                        },
                    }
                ],
            ]
        ),
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
        "shareProcessNamespace": True,
        "unknownField": {"kept": [1, "2", None]},
    }
    spec.update({key: value for key, value in optional.items() if _chance(random, 0.3)})
    optional = {
        "name": "ignored",
        "namespace": "kept",
        "labels": {"team": "of-template", "spark-role": "forged"},
        "annotations": {"team": "of-template"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"}],
        "finalizers": ["example.com/f"],
    }
    metadata = {key: value for key, value in optional.items() if _chance(random, 0.4)}
    template: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "spec": spec}
    if metadata or _chance(random, 0.5):
        template["metadata"] = metadata
    scenario["files"] = {"t.yaml": template}
    scenario["conf"][_TEMPLATE_KEY] = "${DIR}/t.yaml"
    _some(
        random,
        scenario["conf"],
        {_EXECUTOR + "podTemplateContainerName": ["main", "side", "missing"]},
        0.5,
    )


def _template_container(random: Random, name: str) -> dict[str, Any]:
    container: dict[str, Any] = {"name": name}
    optional = {
        "image": "of-template",
        "imagePullPolicy": "Always",
        "command": ["/bin/sh"],
        "args": ["-c", "true"],
        "env": [
            {"name": "A", "value": "template"},
            {"name": "SPARK_USER", "value": "t"},
            {"name": "EMPTY", "value": ""},
            {
                "name": "REF",
                "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}},
            },
        ],
        "envFrom": [{"configMapRef": {"name": "c"}}],
        "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
        "resources": random.choice(
            [
                {"requests": {"cpu": "100m", "memory": "1Mi", "ephemeral-storage": "1Gi"}},
                {"limits": {"cpu": 2, "nvidia.com/gpu": "1"}, "requests": {"cpu": 0.5}},
                {},
            ]
        ),
        "volumeMounts": random.choice(
            [
                [{"name": "spark-local-dir-t", "mountPath": "/template/local"}],
                [{"name": "e", "mountPath": "/e", "readOnly": True, "mountPropagation": "None"}],
            ]
        ),
        "lifecycle": {
            "postStart": {"exec": {"command": ["true"]}},
            "preStop": {"sleep": {"seconds": 1}},
        },
        "livenessProbe": {
            "httpGet": {"path": "/", "port": random.choice(["http", 8080])},
            "periodSeconds": 3,
        },
        "securityContext": {"capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True},
        "workingDir": "/w",
        "tty": False,
        "ownField": "kept",
    }
    container.update({key: value for key, value in optional.items() if _chance(random, 0.3)})
    return container


def _reference(random: Random, scenario: Scenario) -> None:
    """References to other settings, in values that Spark reads through a config entry and in others."""
    conf = scenario["conf"]
    conf.setdefault("spark.app.name", "named")
    conf["spark.first"] = "${spark.second}"
    conf["spark.second"] = random.choice(["2g", "8", "true"])
    key = random.choice([
        "spark.executor.memory", "spark.executor.extraClassPath", _EXECUTOR + "label.ref", "spark.executorEnv.REF",
        "spark.network.ref", _K8S + "scheduler.name", _EXECUTOR + "request.cores", "spark.executor.cores",
    ])  # fmt: skip
    conf[key] = random.choice(
        [
            "${spark.first}",
            "${spark.second}",
            "x${spark.first}y",
            "${other:spark.first}",
            "${first}",
        ]
    )


_CONCERNS: tuple[Callable[[Random, Scenario], None], ...] = (
    _identity, _image, _cores, _memory, _custom_resources, _profile, _java_options, _startup_conf, _environment,
    _driver_address, _authentication, _secrets, _volumes, _local_dirs, _placement, _life, _template, _reference,
)  # fmt: skip


def _bad_value(random: Random, scenario: Scenario) -> None:
    key, values = random.choice([
        ("spark.executor.cores", _NOT_INTEGERS),
        ("spark.executor.memory", _NOT_SIZES),
        ("spark.executor.memoryOverhead", _NOT_SIZES),
        ("spark.executor.pyspark.memory", _NOT_SIZES),
        ("spark.executor.minMemoryOverhead", _NOT_SIZES),
        ("spark.memory.offHeap.size", [*_NOT_SIZES, "1k", "0"]),
        ("spark.memory.offHeap.enabled", [*_NOT_BOOLEANS, "true"]),
        ("spark.executor.memoryOverheadFactor", ["0", "-0.1", "x", "", "NaN", "Infinity", "1e400"]),
        (_K8S + "memoryOverheadFactor", ["0", "-1", "x"]),
        (_EXECUTOR + "request.cores", ["", "abc", "1x2b", "1.2.3", "-1", "1 ", "1e3k", "x8y", "1i2i"]),
        (_EXECUTOR + "limit.cores", ["", "abc", "1x2b", "0", "1Zi", "E", "5e", "+", "1e3k", "1Ki2"]),
        (_K8S + "container.image.pullPolicy", ["Sometimes", "", "always"]),
        ("spark.blockManager.port", ["1000", "65536", "x", "-1", " 7079", ""]),
        ("spark.driver.port", ["x", "", " 1"]),
        (_EXECUTOR + "terminationGracePeriodSeconds", ["-1", "x", "30s", "", "2min", "-5ms", "1500ms"]),
        (_EXECUTOR + "podNamePrefix", ["_123", "spark_exec", "spark@", "x" * 238, "", "A", "a..b", "-a", "a-"]),
        ("spark.decommission.enabled", _NOT_BOOLEANS),
        (_EXECUTOR + "disableConfigMap", _NOT_BOOLEANS),
        (_EXECUTOR + "useDriverPodIP", _NOT_BOOLEANS),
        (_K8S + "local.dirs.tmpfs", _NOT_BOOLEANS),
        (_K8S + "legacy.useReadWriteOnceAccessMode", _NOT_BOOLEANS),
        ("spark.authenticate", ["", "maybe"]),
        (_K8S + "resource.type", ["", "Python", "scala"]),
        (_EXECUTOR + "secretKeyRef.BAD", ["onlyname", "a:b:c", "", ":", "::", "a:"]),
        ("spark.executor.resource.gpu", ["1"]),
        ("spark.executor.resource.bad.vendor", ["v"]),
        ("spark.executor.resource.bad.amount", ["1", "x", "0", "-1"]),
        ("spark.local.dir", ["", ",", ",,", "a,,b", ",a"]),
        (_EXECUTOR + "pod.featureSteps", ["com.example.NoSuchStep"]),
    ])  # fmt: skip
    scenario["conf"][key] = random.choice(values)


def _reserved_label(random: Random, scenario: Scenario) -> None:
    label = random.choice(
        ["spark-role", "spark-version", "spark-app-name", "spark-exec-id", "spark-app-selector",
         "spark-exec-resourceprofile-id", "spark-exec-inactive"]
    )  # fmt: skip
    scenario["conf"][f"{_EXECUTOR}label.{label}"] = "mine"


def _bad_volume(random: Random, scenario: Scenario) -> None:
    prefix = _EXECUTOR + "volumes."
    scenario["conf"].update(
        random.choice([
            {prefix + "hostPath.bad.mount.path": "/x"},
            {prefix + "nfs.bad.mount.path": "/x", prefix + "nfs.bad.options.path": "/y"},
            {prefix + "persistentVolumeClaim.bad.mount.path": "/x"},
            {prefix + "emptyDir.bad.options.medium": "Memory"},
            {prefix + "csi.bad.mount.path": "/x"},
            {prefix + "emptyDir": "ignored"},
            {prefix + "emptyDir.bad": "x"},
            {prefix + "emptyDir.a.mount.path": "/same", prefix + "emptyDir.b.mount.path": "/same"},
            {prefix + "emptyDir.bad.mount.path": "/x", prefix + "emptyDir.bad.options.sizeLimit": random.choice(["5", "1023", "", "1a2b", "١٢"])},
            {prefix + "emptyDir.bad.mount.path": "/x", prefix + "emptyDir.bad.mount.readOnly": random.choice(["yes", " true", ""])},
            {prefix + "emptyDir.bad.mount.path": "/x", prefix + "emptyDir.bad.mount.subPath": "a", prefix + "emptyDir.bad.mount.subPathExpr": "b"},
            {prefix + "emptyDir.bad.mount.path": ""},
            {prefix + "persistentVolumeClaim.bad.mount.path": "/x", prefix + "persistentVolumeClaim.bad.options.claimName": "c",
             prefix + "persistentVolumeClaim.bad.options.sizeLimit": "10", prefix + "persistentVolumeClaim.bad.options.storageClass": "s"},
        ])
    )  # fmt: skip


def _bad_template(random: Random, scenario: Scenario) -> None:
    scenario["conf"][_TEMPLATE_KEY] = "${DIR}/t.yaml"
    scenario["files"] = {
        "t.yaml": random.choice([
            {"apiVersion": "v1", "kind": "Pod", "metadata": {}},
            {"apiVersion": "v1", "kind": "Pod", "spec": None},
            {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": None}},
            {"spec": {"containers": []}},
            "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: y\n    image: from-yaml\n",
        ])
    }  # fmt: skip


def _no_image(random: Random, scenario: Scenario) -> None:
    scenario["conf"].pop(_K8S + "container.image", None)


def _profile_fault(random: Random, scenario: Scenario) -> None:
    scenario["rp"] = {
        "id": 1,
        "executor": random.choice([
            {"gpu": {"amount": 1}},
            {"gpu": {"amount": 1, "vendor": "nvidia.com"}, "cores": 2},
            {"offHeap": 0},
            {"memory": 1, "memoryOverhead": 0, "cores": 0},
        ]),
        "taskOnly": random.random() < 0.2,
        "task": {"cpus": 1},
    }  # fmt: skip


_FAULTS: tuple[Callable[[Random, Scenario], None], ...] = (
    _bad_value, _bad_value, _bad_value, _bad_value, _bad_value, _reserved_label, _bad_volume, _bad_volume, _bad_template,
    _no_image, _profile_fault,
)  # fmt: skip
