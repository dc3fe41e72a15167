"""Objects that make no sense, all at once on a real API server with one operator: none of them harms another.

Each is refused by the server with a sentence that names the field, or taken and told about in a condition of the
SparkAllocation that it is, or is for. Beside them a healthy allocation goes on being scaled.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import Cluster
from tests.integration.operator_world import (
    ALLOCATIONS,
    CLUSTER_POLICIES,
    NOBODY,
    Document,
    HostOperator,
    OperatorWorld,
    eventually,
    operator_world,
)
from tests.machine.own_time import own_seconds

from spark_allocation.kube.api_client import ApiAnswer
from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.cluster

AT_ONCE = 16
SCALES_WITHIN_SECONDS = 30.0
TOLD_WITHIN_SECONDS = 120.0

LONG = "x" * 5000
POD_NAME = "spec.driver.podName"


@dataclass(frozen=True)
class Refused:
    """An object that the server does not take.

    Attributes:
        spec: of the object; a SparkAllocation's names a driver unless it says otherwise.
        says: words of the refusal, the field among them.
        kind: SparkAllocation, SparkAllocationPolicy or ClusterSparkAllocationPolicy.
    """

    what: str
    spec: Any
    says: tuple[str, ...]
    kind: str = "SparkAllocation"


@dataclass(frozen=True)
class Told:
    """An object that is taken, and a condition that says what is wrong with it.

    Attributes:
        spec: of the SparkAllocation, whose driver is a live one of its own unless it says otherwise.
        condition: type, status and reason.
        says: words of the message.
        policies: kind and spec of policies that are for this driver alone.
        properties: of its driver.
    """

    what: str
    spec: Document
    condition: tuple[str, str, str]
    says: tuple[str, ...]
    policies: tuple[tuple[str, Document], ...] = ()
    properties: Document = field(default_factory=dict)


def dynamic(**values: Any) -> Document:
    return {"dynamicAllocation": values}


def template(**values: Any) -> Document:
    return {"executor": {"podTemplate": values}}


def conf(**values: Any) -> Document:
    return {"sparkConf": {key.replace("__", "."): value for key, value in values.items()}}


DEEPEST = "deepest"
HEALTHY = "healthy" + ".x" * 123
"""The name of the healthy allocation: as long as a name may be."""


def nested(depth: int) -> Document:
    """An object in an object in an object."""
    inner: Document = {}
    for _ in range(depth):
        inner = {"x": inner}
    return inner


POLICY, CLUSTER_POLICY = "SparkAllocationPolicy", "ClusterSparkAllocationPolicy"

REFUSED = [
    # -- which driver
    Refused("no spec at all", None, ("spec: Required",)),
    Refused("a spec that is a list", [], ("spec", "must be of type object")),
    Refused("a spec that is a text", "job", ("spec", "must be of type object")),
    Refused("no driver", {"driver": None}, ("spec.driver: Required",)),
    Refused("a driver without a name", {"driver": {}}, ("spec.driver", "exactly one of podName and selector")),
    Refused("a driver with two names", {"driver": {"podName": "a", "selector": {"matchLabels": {"a": "b"}}}}, ("spec.driver", "exactly one of podName and selector")),
    Refused("an empty name", {"driver": {"podName": ""}}, (POD_NAME,)),
    Refused("a name in capitals", {"driver": {"podName": "Driver"}}, (POD_NAME, "lower case")),
    Refused("a name that is a path", {"driver": {"podName": "../../secrets/key"}}, (POD_NAME, "lower case")),
    Refused("a name with a space", {"driver": {"podName": "my driver"}}, (POD_NAME, "lower case")),
    Refused("a name in Cyrillic", {"driver": {"podName": "драйвер"}}, (POD_NAME, "lower case")),
    Refused("a name with a line break", {"driver": {"podName": "driver\n"}}, (POD_NAME, "lower case")),
    Refused("a name that is a regular expression", {"driver": {"podName": "driver-.*"}}, (POD_NAME, "lower case")),
    Refused("a name that is too long", {"driver": {"podName": "x" * 254}}, (POD_NAME, "253")),
    Refused("a name that is a number", {"driver": {"podName": 7}}, (POD_NAME, "string")),
    Refused("a selector of nothing", {"driver": {"selector": {}}}, ("spec.driver.selector.matchLabels: Required",)),
    Refused("a selector without labels", {"driver": {"selector": {"matchLabels": {}}}}, ("spec.driver.selector.matchLabels",)),
    Refused("a selector of expressions", {"driver": {"selector": {"matchExpressions": []}}}, ('unknown field "spec.driver.selector.matchExpressions"',)),
    Refused("a label that cannot be one", {"driver": {"selector": {"matchLabels": {"a b": "c"}}}}, ("spec.driver.selector.matchLabels", "label")),
    Refused("a label's value that cannot be one", {"driver": {"selector": {"matchLabels": {"app": "a/b"}}}}, ("spec.driver.selector.matchLabels.app", "should match")),
    Refused("a label's value in emoji", {"driver": {"selector": {"matchLabels": {"app": "🚗"}}}}, ("spec.driver.selector.matchLabels.app", "should match")),
    Refused("a label's value that is too long", {"driver": {"selector": {"matchLabels": {"app": "x" * 64}}}}, ("spec.driver.selector.matchLabels.app",)),
    Refused("more labels than a selector has", {"driver": {"selector": {"matchLabels": {f"l{n}": "x" for n in range(33)}}}}, ("spec.driver.selector.matchLabels", "32")),
    Refused("a port of nothing", {"driver": {"podName": "a", "uiPort": 0}}, ("spec.driver.uiPort",)),
    Refused("a port beyond all ports", {"driver": {"podName": "a", "uiPort": 65536}}, ("spec.driver.uiPort",)),
    Refused("an access that is a path", {"driver": {"podName": "a", "access": "../../token"}}, ("spec.driver.access",)),
    # -- words
    Refused("an unknown mode", {"mode": "Sometimes"}, ("spec.mode", '"Allocate", "Recommend", "Paused"')),
    Refused("a mode in lower case", {"mode": "allocate"}, ("spec.mode", '"Allocate", "Recommend", "Paused"')),
    Refused("an unknown deletion policy", {"deletionPolicy": "Delete"}, ("spec.deletionPolicy", '"Orphan", "Drain"')),
    Refused("an unknown hold", dynamic(shuffleHold="Never"), ("spec.dynamicAllocation.shuffleHold", '"Strict", "Timeout"')),
    # -- numbers
    Refused("fewer than none", dynamic(minExecutors=-1), ("spec.dynamicAllocation.minExecutors",)),
    Refused("at most none", dynamic(maxExecutors=0), ("spec.dynamicAllocation.maxExecutors",)),
    Refused("more than Spark can count", dynamic(maxExecutors=2**31), ("spec.dynamicAllocation.maxExecutors",)),
    Refused("more than anybody can count", dynamic(maxExecutors=10**30), ("spec.dynamicAllocation.maxExecutors",)),
    Refused("half an executor", dynamic(maxExecutors=1.5), ("spec.dynamicAllocation.maxExecutors", "integer")),
    Refused("a number in quotes", dynamic(maxExecutors="5"), ("spec.dynamicAllocation.maxExecutors", "integer")),
    Refused("a number that is a list", dynamic(maxExecutors=[5]), ("spec.dynamicAllocation.maxExecutors", "integer")),
    Refused("more at least than at most", dynamic(minExecutors=5, maxExecutors=2), ("spec.dynamicAllocation", "minExecutors must not be above maxExecutors")),
    Refused("more at first than at most", dynamic(initialExecutors=5, maxExecutors=2), ("spec.dynamicAllocation", "initialExecutors must not be above maxExecutors")),
    Refused("a share of nothing", dynamic(executorAllocationRatio=0), ("spec.dynamicAllocation.executorAllocationRatio",)),
    Refused("more than the whole", dynamic(executorAllocationRatio=1.01), ("spec.dynamicAllocation.executorAllocationRatio",)),
    Refused("a batch of nothing", {"allocation": {"batchSize": 0}}, ("spec.allocation.batchSize",)),
    Refused("more pending pods of one profile than of all", {"allocation": {"maxPendingPods": 2, "maxPendingPodsPerProfile": 3}}, ("spec.allocation", "maxPendingPodsPerProfile must not be above maxPendingPods")),
    Refused("no failure at all", {"allocation": {"failures": {"max": 0}}}, ("spec.allocation.failures.max",)),
    Refused("a deletion before the end", {"ttlSecondsAfterFinished": -1}, ("spec.ttlSecondsAfterFinished",)),
    Refused("a deletion in a hundred years", {"ttlSecondsAfterFinished": 3_153_600_000}, ("spec.ttlSecondsAfterFinished",)),
    # -- durations
    Refused("a negative duration", dynamic(executorIdleTimeout="-1s"), ("spec.dynamicAllocation.executorIdleTimeout",)),
    Refused("a fraction of a duration", dynamic(executorIdleTimeout="1.5h"), ("spec.dynamicAllocation.executorIdleTimeout",)),
    Refused("a duration with a word", dynamic(executorIdleTimeout="soon"), ("spec.dynamicAllocation.executorIdleTimeout",)),
    Refused("a duration as Go writes it", dynamic(executorIdleTimeout="1h30m"), ("spec.dynamicAllocation.executorIdleTimeout",)),
    Refused("a duration without an end", dynamic(shuffleTracking={"timeout": "9" * 25 + "d"}), ("spec.dynamicAllocation.shuffleTracking.timeout",)),
    Refused("a duration of more than 64 bits", dynamic(executorIdleTimeout="9223372036854775808s"), ("spec.dynamicAllocation.executorIdleTimeout",)),
    Refused("a duration that is a number", dynamic(executorIdleTimeout=60), ("spec.dynamicAllocation.executorIdleTimeout", "string")),
    Refused("an empty duration", {"decommission": {"gracePeriod": ""}}, ("spec.decommission.gracePeriod",)),
    Refused("Arabic digits", {"decommission": {"gracePeriod": "٦٠s"}}, ("spec.decommission.gracePeriod",)),
    # -- Spark's keys
    Refused("a value that is a number", conf(spark__executor__cores=4), ("spec.sparkConf.spark.executor.cores", "string")),
    Refused("a value of five thousand letters", conf(spark__executor__extraJavaOptions=LONG), ("spec.sparkConf.spark.executor.extraJavaOptions", "4096")),
    Refused("three hundred keys", {"sparkConf": {f"spark.executorEnv.E{n}": "x" for n in range(300)}}, ("spec.sparkConf", "256")),
    Refused("a key that has a field", {"sparkConf": {"spark.dynamicAllocation.maxExecutors": "5"}}, ("spec.sparkConf", "spec.dynamicAllocation.maxExecutors")),
    Refused("a key that is not Spark's", {"sparkConf": {"executor.memory": "1g"}}, ("spec.sparkConf", "spark.")),
    # -- resource profiles
    Refused("an entry for no profile", {"profiles": [{"maxExecutors": 1}]}, ("spec.profiles[0].match: Required",)),
    Refused("an entry by id and by resources", {"profiles": [{"match": {"id": 1, "resources": {"cores": 2}}}]}, ("spec.profiles[0].match", "exactly one of id and resources")),
    Refused("an entry for any resources", {"profiles": [{"match": {"resources": {}}}]}, ("spec.profiles[0].match.resources", "name at least one resource")),
    Refused("an entry that contradicts itself", {"profiles": [{"match": {"id": 1}, "minExecutors": 3, "maxExecutors": 2}]}, ("spec.profiles[0]", "minExecutors must not be above maxExecutors")),
    Refused("a memory with a fraction", {"profiles": [{"match": {"resources": {"memory": "1.5g"}}}]}, ("spec.profiles[0].match.resources.memory",)),
    # -- what nobody knows
    Refused("a field that is misspelled", dynamic(maxExecutor=5), ('unknown field "spec.dynamicAllocation.maxExecutor"',)),
    Refused("a field of another place", {"maxExecutors": 5}, ('unknown field "spec.maxExecutors"',)),
    Refused("a template that is a text", {"executor": {"podTemplate": "kind: Pod"}}, ("spec.executor.podTemplate", "object")),
    Refused("a template that is a list", {"executor": {"podTemplate": []}}, ("spec.executor.podTemplate", "object")),
    # -- policies
    Refused("a policy's limit upside down", {"limits": dynamic(maxExecutors={"min": 9, "max": 3})}, ("spec.limits.dynamicAllocation.maxExecutors", "min must not be above max"), POLICY),
    Refused("a policy's limit of a word", {"limits": dynamic(shuffleHold={"max": "Strict"})}, ('unknown field "spec.limits.dynamicAllocation.shuffleHold"',), POLICY),
    Refused("a limit without min or max", {"limits": dynamic(maxExecutors=5)}, ("spec.limits.dynamicAllocation.maxExecutors", "object"), POLICY),
    Refused("a lock in a namespace's policy", {"locks": dynamic(maxExecutors=5)}, ('unknown field "spec.locks"',), POLICY),
    Refused("a namespace's policy for other namespaces", {"selector": {"namespaces": ["other"]}}, ('unknown field "spec.selector.namespaces"',), POLICY),
    Refused("a namespace's policy that allows", {"allow": {"images": ["*"]}}, ('unknown field "spec.allow"',), POLICY),
    Refused("a selector's label that cannot be one", {"selector": {"driverLabels": {"a b": "c"}}}, ("spec.selector.driverLabels", "label"), POLICY),
    Refused("defaults that contradict themselves", {"defaults": dynamic(minExecutors=5, maxExecutors=2)}, ("spec.defaults.dynamicAllocation", "minExecutors must not be above maxExecutors"), CLUSTER_POLICY),
    Refused("a namespace with a star inside", {"selector": {"namespaces": ["a*b"]}}, ("spec.selector.namespaces",), CLUSTER_POLICY),
    Refused("a namespace that is a regular expression", {"selector": {"namespaces": ["team-[ab]"]}}, ("spec.selector.namespaces",), CLUSTER_POLICY),
    Refused("a user default without a user", {"userDefaults": {"______.spark.dynamicAllocation.maxExecutors": "3"}}, ("spec.userDefaults", "___USER___.SPARK-KEY"), CLUSTER_POLICY),
    Refused("a user default that is a number", {"userDefaults": {"___a___.spark.dynamicAllocation.maxExecutors": 3}}, ("spec.userDefaults", "string"), CLUSTER_POLICY),
    Refused("a priority beyond measure", {"priority": 2**40}, ("spec.priority",), CLUSTER_POLICY),
    Refused("what executors may have, by a label", {"selector": {"driverLabels": {"a": "b"}}, "allow": {"images": ["*"]}}, ("spec", "driver labels are what the tenant writes"), CLUSTER_POLICY),
    Refused("a maximum of nothing", {"limits": {"dynamicAllocation": {"maxExecutors": {"max": 0}}}}, ("spec.limits.dynamicAllocation.maxExecutors.max",), CLUSTER_POLICY),
    Refused("a negative minimum", {"limits": {"dynamicAllocation": {"minExecutors": {"min": -1}}}}, ("spec.limits.dynamicAllocation.minExecutors.min",), CLUSTER_POLICY),
    Refused("a limit that is a text", {"limits": {"dynamicAllocation": {"maxExecutors": {"max": "many"}}}}, ("spec.limits.dynamicAllocation.maxExecutors.max",), CLUSTER_POLICY),
    Refused("a ratio above one", {"limits": {"dynamicAllocation": {"executorAllocationRatio": {"max": 1.5}}}}, ("executorAllocationRatio.max",), CLUSTER_POLICY),
    Refused("a ratio of nothing", {"limits": {"dynamicAllocation": {"executorAllocationRatio": {"min": 0}}}}, ("executorAllocationRatio.min",), CLUSTER_POLICY),
    Refused("locks that contradict themselves", {"locks": {"dynamicAllocation": {"initialExecutors": 5, "maxExecutors": 2}}}, ("initialExecutors must not be above maxExecutors",), CLUSTER_POLICY),
    Refused("a namespace in capitals", {"selector": {"namespaces": ["Team"]}}, ("spec.selector.namespaces",), CLUSTER_POLICY),
    Refused("no namespace at all", {"selector": {"namespaces": []}}, ("spec.selector.namespaces",), CLUSTER_POLICY),
    Refused("a label value that is too long", {"selector": {"driverLabels": {"a": "x" * 64}}}, ("driverLabels",), CLUSTER_POLICY),
    Refused("no label at all", {"selector": {"driverLabels": {}}}, ("driverLabels",), CLUSTER_POLICY),
    Refused("a user default of nobody", {"userDefaults": {"spark.dynamicAllocation.maxExecutors": "3"}}, ("spec.userDefaults", "___USER___.SPARK-KEY"), CLUSTER_POLICY),
    Refused("a limit that is misspelled", {"limit": {"x": 1}}, ('unknown field "spec.limit"',), CLUSTER_POLICY),
    Refused("a budget of nothing", {"budgets": [{"name": "a"}]}, ("spec.budgets[0]", "at least one"), CLUSTER_POLICY),
    Refused("two budgets of one name", {"budgets": [{"name": "a", "executors": 1}, {"name": "a", "executors": 2}]}, ("spec.budgets[1]", "Duplicate value"), CLUSTER_POLICY),
    Refused("a budget of minus one core", {"budgets": [{"name": "a", "cores": "-1"}]}, ("spec.budgets[0].cores",), CLUSTER_POLICY),
    Refused("a memory as Spark writes it", {"budgets": [{"name": "a", "memory": "10g"}]}, ("spec.budgets[0].memory",), CLUSTER_POLICY),
    Refused("an empty pattern", {"allow": {"images": [""]}}, ("spec.allow.images",), CLUSTER_POLICY),
]  # fmt: skip

WISH = {"minExecutors": 1}
"""Of an allocation whose pods are to be built: the answer comes with the first."""

NOT_READY = ("Ready", "False")

TOLD = [
    # -- which driver
    Told("a driver that is not there", {"driver": {"podName": "no-such-driver"}}, (*NOT_READY, "DriverNotFound"), ("there is no pod no-such-driver", "spec.driver.podName")),
    Told("labels that nobody has", {"driver": {"selector": {"matchLabels": {"app": "nobody"}}}}, (*NOT_READY, "DriverNotFound"), ("has the labels app=nobody", "spec.driver.selector")),
    Told("labels that every driver has", {"driver": {"selector": {"matchLabels": {"spark-role": "driver"}}}}, ("AmbiguousDriver", "True", "AmbiguousDriver"), ("spec.driver.selector matches", "live pods")),
    Told("a driver that somebody serves", {"driver": {"podName": "healthy"}}, ("Conflicted", "True", "OlderAllocationWins"), ("healthy",)),
    Told("an access that nobody gave", {"driver": {"podName": "own", "access": "vault"}}, ("DriverReachable", "False", "NoAccess"), ("vault",)),
    Told("a port on which nobody listens", {"driver": {"podName": "own", "uiPort": 9}}, ("DriverReachable", "False", "ConnectionRefused"), ("9",)),
    # -- values that only Spark's rules refuse
    Told("a pause that Spark refuses", {"allocation": {"podAllocationDelay": "1ms"}}, (*NOT_READY, "InvalidSpec"), ("spec.allocation.podAllocationDelay", "1ms")),
    Told("no pause before executors are asked for", dynamic(schedulerBacklogTimeout="0"), (*NOT_READY, "InvalidSpec"), ("spec.dynamicAllocation.schedulerBacklogTimeout",)),
    Told("more at least than the driver has at most", dynamic(minExecutors=5), (*NOT_READY, "InvalidSpec"), ("minExecutors", "maxExecutors"), properties={"spark.dynamicAllocation.maxExecutors": "2"}),
    Told("shuffle data that nobody keeps", dynamic(shuffleTracking={"enabled": False}), (*NOT_READY, "InvalidSpec"), ("shuffleTracking",)),
    Told("a migration that the driver does not do", {"decommission": {"migrate": True}}, ("Decommissioning", "False", "MigrationOff"), ("spark.storage.decommission",)),
    Told("a driver that allocates for itself", {}, ("DriverPassive", "False", "AllocatesItself"), ("spark.executor.instances", "driver-conf"), properties={"spark.executor.instances": "4"}),
    # -- Spark's keys
    Told("a key that is another's to read", conf(spark__sql__shuffle__partitions="10"), ("Ignored", "True", "NoEffect"), ("spec.sparkConf: spark.sql.shuffle.partitions",)),
    Told("a memory of a word", {**dynamic(**WISH), **conf(spark__executor__memory="lots")}, (*NOT_READY, "UnreadableConfiguration"), ("spark.executor.memory", "lots")),
    Told("no cores at all", {**dynamic(**WISH), **conf(spark__executor__cores="0")}, (*NOT_READY, "UnreadableConfiguration"), ("spark.executor.cores",)),
    Told("a kind of volume that there is not", {**dynamic(**WISH), **conf(spark__kubernetes__executor__volumes__floppy__a__mount__path="/a")}, ("Stalled", "True", "PodNotBuilt"), ("floppy",)),
    Told("a step that nobody knows", {**dynamic(**WISH), **conf(spark__kubernetes__executor__pod__featureSteps="com.example.Step")}, ("Stalled", "True", "PodNotBuilt"), ("com.example.Step",)),
    Told("a secret that the driver does not have", {**dynamic(**WISH), **conf(spark__kubernetes__executor__secrets__keys="/keys")}, ("Stalled", "True", "FieldNotAllowed"), ("keys",)),
    # -- templates
    Told("a template without a spec", {**dynamic(**WISH), **template(metadata={})}, ("Stalled", "True", "PodNotBuilt"), ("spec.executor.podTemplate.spec", "must be an object")),
    Told("a template whose spec is a text", {**dynamic(**WISH), **template(spec="x")}, ("Stalled", "True", "PodNotBuilt"), ("spec.executor.podTemplate.spec", "must be an object")),
    Told("containers that are none", {**dynamic(**WISH), **template(spec={"containers": [1]})}, ("Stalled", "True", "PodNotBuilt"), ("spec.executor.podTemplate.spec.containers", "must be a list of objects")),
    Told("a field of a template that is misspelled", {**dynamic(**WISH), **template(spec={"tolerationz": [{"key": "a"}]})}, ("Stalled", "True", "FieldNotAllowed"), ("tolerationz",)),
    Told("a label of a template that cannot be one", {**dynamic(**WISH), **template(metadata={"labels": {"a b": "c"}}, spec={})}, ("Stalled", "True", "PodInvalid"), ("metadata.labels", "a b")),
    Told("a template with the node's network", {**dynamic(**WISH), **template(spec={"hostNetwork": True})}, ("Stalled", "True", "FieldNotAllowed"), ("hostNetwork",)),
    Told("a template with another account", {**dynamic(**WISH), **template(spec={"serviceAccountName": "admin"})}, ("Stalled", "True", "FieldNotAllowed"), ("serviceAccountName", "admin")),
    Told("a number where a text has to be", {**dynamic(**WISH), **template(spec={"nodeSelector": {"disk": 7}})}, ("Stalled", "True", "PodInvalid"), ("nodeSelector",)),
    Told("an unknown restart policy", {**dynamic(**WISH), **template(spec={"dnsPolicy": "Sometimes"})}, ("Stalled", "True", "PodInvalid"), ("dnsPolicy",)),
    Told("a template of a megabyte", {**dynamic(**WISH), **template(metadata={"annotations": {f"a{n}": LONG for n in range(200)}}, spec={})}, ("Stalled", "True", "PodNotBuilt"), ("spec.executor.podTemplate", "larger than")),
    Told("a template that is nested three hundred deep", {**dynamic(**WISH), **template(spec={"x": nested(300)})}, ("Stalled", "True", "PodNotBuilt"), ("spec.executor.podTemplate", "nested deeper than")),
    # -- resource profiles
    Told("an entry for a profile that nobody has", {"profiles": [{"match": {"resources": {"custom": {"gpu": 8}}}, "maxExecutors": 1}]}, ("ProfilesMatched", "False", "NoProfileMatches"), ("profiles[0]", "gpu 8")),
    Told("two entries for one profile", {"profiles": [{"match": {"id": 0}, "maxExecutors": 1}, {"match": {"id": 0}, "maxExecutors": 2}]}, ("ProfilesMatched", "False", "SeveralEntriesMatch"), ("profiles[0]", "stands first and holds")),
    # -- policies
    Told("two policies that disagree", {}, ("PolicyConflict", "True", "PoliciesContradict"), ("disagree over dynamicAllocation.maxExecutors",),
         policies=((CLUSTER_POLICY, {"defaults": dynamic(maxExecutors=3)}), (CLUSTER_POLICY, {"defaults": dynamic(maxExecutors=4)}))),
    Told("limits that leave nothing", {}, ("PolicyConflict", "True", "PoliciesContradict"), ("the upper limit holds",),
         policies=((CLUSTER_POLICY, {"limits": dynamic(maxExecutors={"min": 5})}), (CLUSTER_POLICY, {"limits": dynamic(maxExecutors={"max": 4})}))),
    Told("a namespace that wants more than the cluster allows", {}, ("PolicyConflict", "True", "PoliciesContradict"), ("contradicts 4",),
         policies=((POLICY, {"limits": dynamic(maxExecutors={"min": 5})}), (CLUSTER_POLICY, {"limits": dynamic(maxExecutors={"max": 4})}))),
    Told("a user default for no setting", {}, ("PolicyConflict", "True", "PolicyIgnored"), ("___алиса 🚗___.spark.executor.memory", "it is ignored"),
         policies=((CLUSTER_POLICY, {"userDefaults": {"___алиса 🚗___.spark.executor.memory": "1g"}}),)),
    Told("a user's default of a word", {}, ("PolicyConflict", "True", "PolicyIgnored"), ("userDefaults.dynamicAllocation.maxExecutors='many'", "it is ignored"),
         policies=((POLICY, {"userDefaults": {"___185___.spark.dynamicAllocation.maxExecutors": "many"}}),)),
    Told("a budget below the sum of the minima", dynamic(minExecutors=3), ("BudgetLimited", "True", "BudgetBelowMinima"), ("budget few",),
         policies=((CLUSTER_POLICY, {"budgets": [{"name": "few", "executors": 1}]}),)),
    Told("a lock that Spark refuses", {}, ("PolicyConflict", "True", "PolicyIgnored"), ("locks.allocation.podAllocationDelay", "it is ignored"),
         policies=((CLUSTER_POLICY, {"locks": {"allocation": {"podAllocationDelay": "1ms"}}}),)),
]  # fmt: skip

TOO_DEEP = Told("a template that is nested two thousand deep", {}, ("Stalled", "True", "PodNotBuilt"), ("spec.executor.podTemplate", "nested deeper than"))  # fmt: skip


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[OperatorWorld]:
    async with operator_world(cluster) as made:
        yield made
        for item in (await made.did("GET", CLUSTER_POLICIES)).get("items", ()):
            await made.request("DELETE", f"{CLUSTER_POLICIES}/{item['metadata']['name']}")


@pytest.fixture
def operator(world: OperatorWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostOperator]:  # fmt: skip
    monkeypatch.setenv("SPARK_ALLOCATION_WATCH_CLUSTER_POLICIES", "true")
    process = HostOperator(world, tmp_path, "operator")
    yield process
    process.close()


async def put(world: OperatorWorld, kind: str, name: str, spec: Any) -> ApiAnswer:
    """Create an object as `kubectl create` does: strictly."""
    plural = {POLICY: "sparkallocationpolicies", CLUSTER_POLICY: "clustersparkallocationpolicies"}
    within = "" if kind == CLUSTER_POLICY else f"/namespaces/{world.namespace}"
    body = {
        "apiVersion": "sparkallocation.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        **({} if spec is None else {"spec": spec}),
    }
    path = f"{ALLOCATIONS}{within}/{plural.get(kind, 'sparkallocations')}"
    return await world.request("POST", path, body, fieldValidation="Strict")


async def at_once(*tasks: Any) -> list[Any]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(task: Any) -> Any:
        async with gate:
            return await task

    return await asyncio.gather(*map(one, tasks))


async def test_what_makes_no_sense_is_refused_with_a_sentence_that_names_the_field(
    world: OperatorWorld,
) -> None:
    def spec(case: Refused) -> Any:
        if case.kind == "SparkAllocation" and isinstance(case.spec, dict):
            return {"driver": {"podName": "driver"}, **case.spec}
        return case.spec

    answers = await at_once(*(put(world, case.kind, "bad", spec(case)) for case in REFUSED))
    wrong = [
        (case.what, answer.status, answer.message)
        for case, answer in zip(REFUSED, answers, strict=True)
        if answer.status not in (400, 422) or not all(words in answer.message for words in case.says)
    ]  # fmt: skip
    assert wrong == []


async def test_what_only_the_operator_can_judge_is_told_and_harms_nobody_else(
    world: OperatorWorld, operator: HostOperator, tmp_path: Path
) -> None:
    async with AsyncExitStack() as drivers:
        # given a healthy application, and beside it everything that makes no sense
        healthy = await drivers.enter_async_context(FakeDriver("spark-healthy"))
        await serve(world, healthy, "healthy")
        await world.allocate(HEALTHY, {"driver": {"podName": "healthy", "uiPort": healthy.port}, **dynamic(maxExecutors=50)})  # fmt: skip
        healthy.work(2)
        await executors(world, "healthy", 2, within=TOLD_WITHIN_SECONDS)
        live = [
            await drivers.enter_async_context(FakeDriver(f"spark-{number}"))
            for number in range(len(TOLD))
        ]
        await at_once(
            *(bring(world, number, case, live[number]) for number, case in enumerate(TOLD))
        )
        deepest = await drivers.enter_async_context(FakeDriver("spark-deepest"))
        await bring_the_deepest(world, deepest, tmp_path)
        await bring_policies_for_nobody(world)
        # then each is told about
        untold = await not_told(world)
        for each in untold:
            print(each)
        assert [what for what, _ in untold] == []
        for path in for_nobody(world):
            await eventually(lambda path=path: selects_nothing(world, path), f"{path} says so", within=TOLD_WITHIN_SECONDS)  # fmt: skip
        # and the healthy one is scaled as if it were alone
        healthy.work(6)
        await executors(world, "healthy", 6, within=SCALES_WITHIN_SECONDS)
        assert "internal_error" not in operator.log
        assert "kopf_gave_up" not in operator.log


async def bring(world: OperatorWorld, number: int, case: Told, driver: FakeDriver) -> None:
    """A driver of its own, the policies for it, and the object."""
    name = f"bad-{number}"
    driver.properties |= case.properties
    await serve(world, driver, name)
    for index, (kind, spec) in enumerate(case.policies):
        selector: Document = {"driverLabels": {"case": name}}
        if kind == CLUSTER_POLICY:
            selector["namespaces"] = [world.namespace]
        answer = await put(world, kind, f"{name}-{index}", {"selector": selector, **spec})
        assert answer.ok, (case.what, answer.message)
    wanted = {"podName": "own", "uiPort": driver.port, **case.spec.get("driver", {})}
    if "selector" in wanted:
        del wanted["podName"]
    elif wanted["podName"] == "own":
        wanted["podName"] = name
    answer = await put(world, "SparkAllocation", name, {**case.spec, "driver": wanted})
    assert answer.ok, (case.what, answer.message)


async def bring_the_deepest(world: OperatorWorld, driver: FakeDriver, folder: Path) -> None:
    """A template that the API server takes, and that Python can neither decode nor send nor copy."""
    await serve(world, driver, DEEPEST)
    wish = {"driver": {"podName": DEEPEST, "uiPort": driver.port}, **dynamic(**WISH), **template(spec=7)}  # fmt: skip
    body = {
        "apiVersion": "sparkallocation.dev/v1alpha1",
        "kind": "SparkAllocation",
        "metadata": {"name": DEEPEST},
        "spec": wish,
    }
    file = folder / "deepest.json"
    file.write_text(json.dumps(body).replace(": 7}", ": " + '{"x":' * 2000 + "1" + "}" * 2000 + "}"))  # fmt: skip
    world.cluster.kubectl("create", "--raw", world.allocations_path, "-f", str(file))


def for_nobody(world: OperatorWorld) -> tuple[str, str]:
    """Policies that select nothing: no namespace has the name, and no driver the label."""
    own = f"{ALLOCATIONS}/namespaces/{world.namespace}/sparkallocationpolicies"
    return f"{CLUSTER_POLICIES}/nobodys-{world.namespace}", f"{own}/nobodys-{world.namespace}"


async def bring_policies_for_nobody(world: OperatorWorld) -> None:
    limits = {"limits": dynamic(maxExecutors={"max": 1})}
    for kind, selector in (
        (CLUSTER_POLICY, {"namespaces": ["nobody-lives-here"]}),
        (POLICY, {"driverLabels": {"case": "nobody"}}),
    ):
        answer = await put(world, kind, f"nobodys-{world.namespace}", {"selector": selector, **limits})  # fmt: skip
        assert answer.ok, answer.message


async def selects_nothing(world: OperatorWorld, path: str) -> bool:
    conditions = ((await world.did("GET", path)).get("status") or {}).get("conditions") or ()
    return any(each["reason"] == "SelectsNothing" and each["message"] for each in conditions)


async def serve(world: OperatorWorld, driver: FakeDriver, name: str) -> None:
    """A pod of this name and label, as which the driver answers."""
    world.passive(driver)
    driver.properties["spark.driver.host"] = "127.0.0.1"
    pod = {
        "metadata": {"name": name, "labels": {"spark-role": "driver", "case": name}},
        "spec": {
            "schedulerName": NOBODY,
            "automountServiceAccountToken": False,
            "containers": [{"name": "spark-kubernetes-driver", "image": "spark:test"}],
        },
    }
    await world.did("POST", world.pods_path, pod)
    await world.run_pod(name, "spark-kubernetes-driver")


async def not_told(world: OperatorWorld) -> list[tuple[str, Any]]:
    """The cases whose condition does not say what it should, and what it says instead."""
    end = own_seconds() + TOLD_WITHIN_SECONDS
    while True:
        listed = await world.did("GET", world.allocations_path)
        found = {item["metadata"]["name"]: item.get("status") or {} for item in listed["items"]}
        cases = {f"bad-{number}": case for number, case in enumerate(TOLD)} | {DEEPEST: TOO_DEEP}
        missing = [
            (case.what, found[name].get("conditions"))
            for name, case in cases.items()
            if not tells(found[name], case)
        ]
        if not missing or own_seconds() > end:
            return missing
        await asyncio.sleep(0.3)


def tells(status: Document, case: Told) -> bool:
    return any(
        (each["type"], each["status"], each["reason"]) == case.condition
        and all(words in each["message"] for words in case.says)
        for each in status.get("conditions") or ()
    )


async def executors(world: OperatorWorld, owner: str, count: int, *, within: float) -> None:
    async def there() -> bool:
        owners = [pod["metadata"]["ownerReferences"][0]["name"] for pod in await world.pods()]
        return owners.count(owner) == count

    await eventually(there, f"{count} executors of {owner}", within=within)
