"""Spark's Kubernetes and resource settings that leave executor pods as they are, each with the reason.

A key that ends in a dot stands for the family below it. Together with `POD_SETTINGS` the list is complete: a test goes
through the keys of the newest Spark (`spark_kubernetes_keys.txt`), another asks Spark itself for each of its settings
whether the pod changes (`tests/conformance/test_pod_settings.py`).
"""

_DRIVER = "spark.kubernetes.driver."
_EXECUTOR = "spark.kubernetes.executor."

ABOUT_THE_DRIVER_POD = "about the driver pod or its service, which spark-submit makes"
ABOUT_SUBMISSION = "about spark-submit"
ABOUT_THE_DRIVER_S_CLIENT = (
    "about the driver's own connection to the API server; a passive driver needs none"
)
ABOUT_THE_DRIVER_S_VIEW = (
    "about how a driver sees its executor pods; the operator has its own watch"
)

SETTINGS_WITHOUT_EFFECT: tuple[tuple[str, str], ...] = (
    *(
        (_DRIVER + name, ABOUT_THE_DRIVER_POD)
        for name in (
            "annotation.",
            "container.image",
            "label.",
            "limit.cores",
            "node.selector.",
            "pod.excludedFeatureSteps",
            "pod.featureSteps",
            "podTemplateContainerName",
            "podTemplateFile",
            "request.cores",
            "resourceNamePrefix",
            "scheduler.name",
            "secretKeyRef.",
            "secrets.",
            "service.annotation.",
            "service.deleteOnTermination",
            "service.ipFamilies",
            "service.ipFamilyPolicy",
            "service.label.",
            "volumes.",
        )
    ),
    ("spark.kubernetes.driverEnv.", ABOUT_THE_DRIVER_POD),
    ("spark.driver.resource.", ABOUT_THE_DRIVER_POD),
    (
        _DRIVER + "pod.name",
        "the owner of executor pods is the driver pod that the SparkAllocation names",
    ),
    (_DRIVER + "annotateExitException", "what the driver writes at its own end"),
    (
        "spark.kubernetes.hadoop.configMapName",
        "about the driver pod; executors have `spark.kubernetes.executor.hadoopConfigMapName`",
    ),
    ("spark.kubernetes.kerberos.", "about the driver pod; executors get tokens from the driver"),
    (
        "spark.kubernetes.configMap.maxSize",
        "about the config map that the driver makes; the operator mounts it",
    ),
    ("spark.kubernetes.authenticate.submission.", ABOUT_SUBMISSION),
    ("spark.kubernetes.context", ABOUT_SUBMISSION),
    ("spark.kubernetes.file.upload.path", ABOUT_SUBMISSION),
    ("spark.kubernetes.report.interval", ABOUT_SUBMISSION),
    ("spark.kubernetes.appKillPodDeletionGracePeriod", ABOUT_SUBMISSION),
    ("spark.kubernetes.submission.", ABOUT_SUBMISSION),
    ("spark.kubernetes.submitInDriver", "what spark-submit tells the driver about itself"),
    (
        "spark.kubernetes.pyspark.pythonVersion",
        "without effect in Spark itself, and gone since 4.0",
    ),
    (_DRIVER + "master", ABOUT_THE_DRIVER_S_CLIENT),
    (_DRIVER + "connectionTimeout", ABOUT_THE_DRIVER_S_CLIENT),
    (_DRIVER + "requestTimeout", ABOUT_THE_DRIVER_S_CLIENT),
    ("spark.kubernetes.trust.certificates", ABOUT_THE_DRIVER_S_CLIENT),
    *(
        (f"spark.kubernetes.authenticate.{family}{name}", ABOUT_THE_DRIVER_S_CLIENT)
        for family in ("", "driver.")
        for name in (
            "caCertFile",
            "clientCertFile",
            "clientKeyFile",
            "oauthToken",
            "oauthTokenFile",
            "oauthTokenProvider",
        )
    ),
    ("spark.kubernetes.authenticate.driver.mounted.", ABOUT_THE_DRIVER_S_CLIENT),
    (_EXECUTOR + "apiPollingInterval", ABOUT_THE_DRIVER_S_VIEW),
    (_EXECUTOR + "enableApiPolling", ABOUT_THE_DRIVER_S_VIEW),
    (_EXECUTOR + "enableApiWatcher", ABOUT_THE_DRIVER_S_VIEW),
    (_EXECUTOR + "enablePollingWithResourceVersion", ABOUT_THE_DRIVER_S_VIEW),
    (_EXECUTOR + "eventProcessingInterval", ABOUT_THE_DRIVER_S_VIEW),
    (_EXECUTOR + "missingPodDetectDelta", ABOUT_THE_DRIVER_S_VIEW),
    (_EXECUTOR + "deletedExecutorsCacheTimeout", ABOUT_THE_DRIVER_S_VIEW),
    ("spark.kubernetes.executorSnapshotsSubscribersShutdownGracePeriod", ABOUT_THE_DRIVER_S_VIEW),
    (_EXECUTOR + "checkAllContainers", "how a pod's end is judged, not the pod"),
    (
        _EXECUTOR + "deleteOnTermination",
        "a passive driver deletes no pods; the operator deletes ended ones",
    ),
    (
        _EXECUTOR + "decommissionLabel",
        "a driver labels pods that it decommissions; a passive one does not",
    ),
    (_EXECUTOR + "decommissionLabelValue", "as `decommissionLabel`"),
    (
        _EXECUTOR + "minTasksPerExecutorBeforeRolling",
        "about a driver plug-in that replaces executors; a passive driver cannot",
    ),
    (_EXECUTOR + "rollInterval", "as `minTasksPerExecutorBeforeRolling`"),
    (_EXECUTOR + "rollPolicy", "as `minTasksPerExecutorBeforeRolling`"),
    ("spark.kubernetes.dynamicAllocation.deleteGracePeriod", "`spec.decommission.gracePeriod`"),
    (
        "spark.kubernetes.allocation.batch.delay",
        "how often executors are asked for, not what they are",
    ),
    (
        "spark.kubernetes.allocation.batch.size",
        "how many executors are asked for at once, not what they are",
    ),
    (
        "spark.kubernetes.allocation.executor.timeout",
        "when a pod is given up, and how old a claim must be to be used again",
    ),
    (
        "spark.kubernetes.allocation.maxPendingPods",
        "how many executors are asked for, not what they are",
    ),
    (
        "spark.kubernetes.allocation.maxPendingPodsPerRp",
        "how many executors are asked for, not what they are",
    ),
    ("spark.kubernetes.allocation.maximum", "how many executors are asked for, not what they are"),
    (
        "spark.kubernetes.allocation.driver.readinessTimeout",
        "a driver waits for its own pod before it asks for executors",
    ),
    ("spark.task.resource.", "how many tasks an executor takes at once, not what it is"),
    ("spark.task.cpus", "how many tasks an executor takes at once, not what it is"),
    ("spark.resources.discoveryPlugin", "read by the executor, from the driver's configuration"),
)

KEYS_OF_OTHER_PREFIXES = frozenset(
    {
        "spark.kubernetes.authenticate",
        "spark.kubernetes.authenticate.driver",
        "spark.kubernetes.authenticate.driver.mounted",
        "spark.kubernetes.authenticate.executor",
        "spark.kubernetes.authenticate.submission",
    }
)
"""What Spark's own list holds as the beginning of keys, not as a key."""
