"""Values that the chart is tried with."""

from typing import Any

Values = dict[str, Any]

PEER = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}

EVERYTHING: Values = {
    "fullnameOverride": "allocator",
    "commonLabels": {"team": "data-platform"},
    "image": {
        "registry": "registry.example.com/platform/",
        "digest": f"sha256:{'0123456789abcdef' * 4}",
        "pullPolicy": "Always",
        "pullSecrets": [{"name": "registry"}],
    },
    "replicas": 3,
    "crds": {"install": False},
    "managedBy": "blue",
    "watch": {"nodes": False},
    "operator": {
        "logLevel": "debug",
        "logFormat": "console",
        "pollSeconds": 0.5,
        "idlePollSeconds": 10,
        "createsPerSecond": 250,
        "driverNetworks": ["10.0.0.0/8", "fd00::/8"],
        "driverAccesses": [
            {
                "namespace": "reports",
                "name": "ui",
                "secretName": "reports-ui",
                "keys": ["ca.crt", "token"],
            }
        ],
        "prometheusAccesses": [
            {"name": "metrics", "secretName": "prometheus-reader", "keys": ["ca.crt", "token"]}
        ],
        "env": [{"name": "SPARK_ALLOCATION_HEALTH_HOST", "value": "::"}],
    },
    "traces": {"enabled": True, "allocationMiB": 16, "totalMiB": 128},
    "policies": [
        {
            "name": "teams",
            "spec": {
                "selector": {"namespaces": ["team-*"]},
                "defaults": {"dynamicAllocation": {"maxExecutors": 20}},
                "limits": {"dynamicAllocation": {"maxExecutors": {"max": 1000000}}},
            },
        }
    ],
    "serviceAccount": {"name": "allocator-account", "annotations": {"example.com/role": "none"}},
    "networkPolicy": {
        "apiServerPorts": [6443],
        "apiServerPeers": [{"ipBlock": {"cidr": "10.0.0.1/32"}}],
        "extraEgress": [{"ports": [{"protocol": "TCP", "port": 9090}]}],
        "driverPorts": [{"port": 4040, "endPort": 4043}, {"port": 18080}],
        "metricsPeers": [PEER],
        "driversIn": ["team-a", "team-b"],
    },
    "flowSchema": {"enabled": True},
    "metrics": {
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "interval": "15s"},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboard": {"enabled": True, "annotations": {"folder": "Spark"}},
    },
    "podLabels": {"sidecar": "none"},
    "podAnnotations": {"example.com/scrape": "true"},
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "platform", "operator": "Exists"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "spot", "operator": "DoesNotExist"}]}
                ]
            }
        }
    },
    "topologySpreadConstraints": [
        {
            "topologyKey": "kubernetes.io/hostname",
            "maxSkew": 1,
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "spark-allocation-operator"}},
        }
    ],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "extraObjects": [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "of-{{ .Release.Name }}"},
            "data": {"a": "b"},
        },
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: as-text\ndata:\n  namespace: {{ .Release.Namespace }}\n",
    ],
}  # fmt: skip

SMALLEST: Values = {
    "crds": {"install": False},
    "replicas": 1,
    "podDisruptionBudget": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "rbac": {"create": False, "aggregate": False},
    "admission": {"enabled": False},
    "serviceAccount": {"create": False, "name": "somebody-elses"},
    "uninstall": {"release": False},
}

ONE_TEAM: Values = {"crds": {"install": False}, "watch": {"namespaces": ["team-a"]}}
TWO_TEAMS: Values = {
    "crds": {"install": False},
    "watch": {"namespaces": ["team-a", "team-b"]},
    "networkPolicy": {"driversIn": ["team-a"]},
    "policies": EVERYTHING["policies"],
    "traces": {"enabled": True, "claim": "traces"},
    "metrics": {"serviceMonitor": {"enabled": True}},
}

MATRIX: dict[str, Values] = {
    "defaults": {},
    "everything": EVERYTHING,
    "smallest": SMALLEST,
    "one-team": ONE_TEAM,
    "two-teams": TWO_TEAMS,
}

NAMESPACED = ("one-team", "two-teams")
"""Those that have nothing cluster-scoped."""
