"""What many SparkAllocations cost one operator process: CPU, memory, requests, and how fast it reacts.

    python -m tests.perf.bench_many                                            # 10, 100, 300 and 1,000, and how it grows
    python -m tests.perf.bench_many --applications 1000 --seconds 300 --json many.json
    python -m tests.perf.bench_many --applications 100 --restart --foreign 49000
    python -m tests.perf.bench_many --applications 1000 --failover
    python -m tests.perf.bench_many --real --applications 1,10,100,1000 --arrive 10        # on a real API server

The operator is a process of its own, as in a cluster. Its API server is one in memory and its drivers are a fleet that
answers real HTTP with bodies as long as a real driver's; both, with the kubelets, are one other process (`many_world`).
CPU and memory are the operator's own, read from /proc; reactions and requests are what the world saw. Where there is
less than a core for each of the two, figures of seconds and of cores say more of the machine than of the operator:
``cpu_ms_per_driver_request`` and the counts hold all the same.

With ``--real`` the API server is that of a test cluster, made anew for each number of applications and taken down after
it, with its scheduler and kwok in place of kubelets: all pods are real objects, a reaction ends when a watch shows the pod,
and requests are those of the audit log. What API server, etcd and the others use is told beside, for they share the machine.

With ``--restart`` the operator is killed once all executors are there, and begun anew: what it has used, how often it
has listed, and how long it took until it had its picture of all pods, and until it served every driver again. With
``--failover`` another one stands by when it is killed, and has to wait until its Lease has run out.
"""

import argparse
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tests.machine.errors import ClusterError
from tests.machine.reporting import Reporter
from tests.perf import machine
from tests.perf.many_processes import (
    OperatorProcess,
    Usage,
    WorldProcess,
    cluster_of_its_own,
    operator_of,
)
from tests.perf.many_world import Load

GROWTH = ("cpu_cores", "cpu_ms_per_driver_request", "rss_mib", "complete_cpu_seconds")
LOOK_AT_LAG_SECONDS = 5.0
"""More often than Prometheus looks at metrics, but not so often that looking is much of what is measured."""
WATCHES_OF_PODS = 3
"""Executors, drivers, and drivers that are to be managed."""
RESTART_GROWTH = ("served_cpu_seconds", "lists")


def run(options: argparse.Namespace, applications: int) -> dict[str, Any]:
    """One number of applications."""
    settings = {
        "idle_poll_seconds": str(options.idle_poll),
        "creates_per_second": "1000",
    }
    found: dict[str, Any] = {
        "applications": applications,
        "load": machine.machine()["load"],
    }
    load = Load(
        applications,
        options.pods * applications,
        foreign_pods=options.foreign,
        active=options.active,
        arrive=options.arrive,
        seed=options.seed,
    )
    cluster = cluster_of_its_own(options.cluster, Reporter()) if options.real else nullcontext()
    with cluster as many, WorldProcess(load, many) as world:
        if options.failover:
            return found | failed_over(world, settings, applications, options.patience)
        with operator_of(world, memray=options.memray, **settings) as operator:
            found |= completed(world, operator, options.patience)
            _say(f"{applications} applications: {found}")
            if not options.restart:
                return found | steady(world, operator, options)
        world.ask("begin")
        with operator_of(world, **settings) as operator:
            return found | restarted(world, operator, applications, options.patience)


def completed(world: WorldProcess, operator: OperatorProcess, patience: float) -> dict[str, Any]:
    """Wait until every application has its executors; what that took."""
    while not (state := world.ask("complete"))["complete"]:
        if operator.age_seconds > patience:
            raise SystemExit(f"not all executors came: {state}, see {operator.log}")
        operator.usage  # noqa: B018  (it must be alive)
        time.sleep(0.5)
    return {
        "executors": state["registered"],
        "complete_seconds": round(operator.age_seconds, 1),
        "complete_cpu_seconds": round(operator.usage.cpu_seconds, 2),
    }


def steady(
    world: WorldProcess, operator: OperatorProcess, options: argparse.Namespace
) -> dict[str, Any]:
    """While jobs come and go."""
    world.ask(f"jobs {options.jobs}")
    time.sleep(options.settle)
    world.ask("begin")
    before, world_before, cluster_before = operator.usage, world.usage, cluster_usages(world)
    lags: list[float] = []
    began = time.monotonic()
    while time.monotonic() - began < options.seconds:
        time.sleep(LOOK_AT_LAG_SECONDS)
        lags.append(operator.loop_lag())
    figures = world.ask("figures")
    after, world_after, cluster_after = operator.usage, world.usage, cluster_usages(world)
    seconds, requests = figures["seconds"], figures["requests"]
    cpu = after.cpu_seconds - before.cpu_seconds
    found = {
        "pods": figures["pods"],
        "running": figures["running"],
        "seconds": round(seconds, 1),
        "cpu_cores": round(cpu / seconds, 3),
        "cpu_ms_per_driver_request": round(cpu / max(1, figures["driver_requests"]) * 1000, 3),
        "world_cpu_cores": round((world_after.cpu_seconds - world_before.cpu_seconds) / seconds, 3),
        "rss_mib": round(after.rss_mib, 1),
        "jobs": figures["jobs"],
        "lost": figures["lost"],
        "reaction_active": machine.quantiles(figures["reactions_active"]),
        "reaction_resting": machine.quantiles(figures["reactions_resting"]),
        "event_lag": machine.quantiles(lags),
        "requests": requests,
        "lists": lists(requests),
        "status_patches_per_second": round(
            requests.get("patch sparkallocations/status", 0) / seconds, 2
        ),
        "most_statuses_in_a_second": figures["most_statuses_in_a_second"],
        "driver_requests_per_second": round(figures["driver_requests"] / seconds, 1),
        "driver_kib_per_second": round(figures["driver_bytes"] / seconds / 1024, 1),
        "world_late_seconds": round(figures["late_seconds"], 3),
    }
    if figures["api_bytes"] is not None:
        found["api_kib_per_second"] = round(figures["api_bytes"] / seconds / 1024, 1)
    if cluster_after:
        found["cluster"] = {
            name: {
                "cpu_cores": round(
                    (usage.cpu_seconds - cluster_before[name].cpu_seconds) / seconds, 3
                ),
                "rss_mib": round(usage.rss_mib, 1),
            }
            for name, usage in cluster_after.items()
        }
    return found


def cluster_usages(world: WorldProcess) -> dict[str, Usage]:
    """Of the programs of a real cluster; none of one in memory."""
    return {} if world.many is None else world.many.usages()


def restarted(
    world: WorldProcess, operator: OperatorProcess, applications: int, patience: float
) -> dict[str, Any]:
    """Another process goes on where one was killed, until it has decided for every driver."""
    synced = operator.until("synced", within_seconds=patience)
    synced_seconds = operator.age_seconds
    first = operator.until("driver_served", within_seconds=patience)
    first_seconds = operator.age_seconds
    served = operator.until("driver_served", applications, within_seconds=patience)
    figures = world.ask("figures")
    return {
        "pods": figures["pods"],
        "synced_cpu_seconds": round(synced.cpu_seconds, 2),
        "synced_seconds": round(synced_seconds, 2),
        "first_served_cpu_seconds": round(first.cpu_seconds, 2),
        "first_served_seconds": round(first_seconds, 2),
        "served_cpu_seconds": round(served.cpu_seconds, 2),
        "served_seconds": round(operator.age_seconds, 2),
        "rss_mib": round(served.rss_mib, 1),
        "requests": figures["requests"],
        "lists": lists(figures["requests"]),
        "pods_made": figures["pods_made"],
    }


def until_it_stands_by(world: WorldProcess, standby: OperatorProcess, patience: float) -> None:
    """Wait until it watches all that its leader watches, counted since the world's last `begin`."""
    while world.ask("figures")["requests"].get("watch pods", 0) < WATCHES_OF_PODS:
        if standby.age_seconds > patience:
            raise SystemExit(f"it does not stand by: {standby.log}")
        time.sleep(0.1)


def failed_over(
    world: WorldProcess, settings: dict[str, str], applications: int, patience: float
) -> dict[str, Any]:
    """A leader is killed; who stood by goes on, until it has decided for every driver. Seconds are since the kill."""
    settings = {**settings, "lease_name": "leader"}
    with operator_of(world, leads=True, **settings) as leader:
        leader.until("lease_taken", within_seconds=patience)
        found = completed(world, leader, patience)
        world.ask("begin")
        with operator_of(world, leads=True, **settings) as standby:
            until_it_stands_by(world, standby, patience)
            before = standby.usage
            world.ask("begin")
            leader.kill()
            killed_at = standby.age_seconds
            moments = {
                "taken_seconds": ("lease_taken", 1),
                "first_served_seconds": ("driver_served", 1),
                "served_seconds": ("driver_served", applications),
            }
            for figure, (event, times) in moments.items():
                after = standby.until(event, times, within_seconds=killed_at + patience)
                found[figure] = round(standby.age_seconds - killed_at, 2)
            figures = world.ask("figures")
    return found | {
        "pods": figures["pods"],
        "served_cpu_seconds": round(after.cpu_seconds - before.cpu_seconds, 2),
        "standby_rss_mib": round(before.rss_mib, 1),
        "requests": figures["requests"],
        "lists": lists(figures["requests"]),
        "pods_made": figures["pods_made"],
    }


def lists(requests: dict[str, int]) -> int:
    """Requests for more than one object, pages counted one by one."""
    return sum(count for name, count in requests.items() if name.startswith("list "))


def growth(runs: list[dict[str, Any]]) -> dict[str, float]:
    """The exponent with which each figure grows with the number of applications."""
    return {
        figure: round(
            machine.exponent(
                [each["applications"] for each in runs], [each[figure] for each in runs]
            ),
            2,
        )
        for figure in (*GROWTH, *RESTART_GROWTH)
        if all(figure in each for each in runs)
    }


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--applications", default="10,100,300,1000", help="by commas")
    parser.add_argument("--pods", type=int, default=10, help="executors of each, in the mean")
    parser.add_argument(
        "--foreign",
        type=int,
        default=0,
        help="executor pods of drivers that allocate for themselves",
    )
    parser.add_argument("--active", type=float, default=0.1, help="share that is always at work")
    parser.add_argument(
        "--arrive",
        type=float,
        default=0.0,
        help="applications a second that come while the operator runs; 0: all are there before",
    )
    parser.add_argument("--idle-poll", type=float, default=5.0, help="seconds")
    parser.add_argument("--jobs", type=float, default=2.0, help="that need more, a second")
    parser.add_argument("--settle", type=float, default=30.0, help="seconds before it is measured")
    parser.add_argument("--seconds", type=float, default=60.0, help="that are measured")
    parser.add_argument("--patience", type=float, default=1800.0, help="seconds for each phase")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--restart", action="store_true", help="measure a restart instead")
    parser.add_argument(
        "--failover", action="store_true", help="measure a change of leader instead"
    )
    parser.add_argument("--real", action="store_true", help="on a test cluster of its own")
    parser.add_argument("--cluster", default=os.environ.get("CLUSTER", "many"), help="its name")
    parser.add_argument(
        "--memray",
        type=Path,
        help="file for what the (first) operator allocates, for `memray flamegraph FILE`; needs the package memray",
    )
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    if options.real and options.foreign:
        parser.error("--foreign pods are there in memory alone")
    document: dict[str, Any] = {"machine": machine.machine(), "runs": []}
    for applications in map(int, options.applications.split(",")):
        try:
            document["runs"].append(run(options, applications))
        except ClusterError as error:
            parser.exit(2, f"{error}\n")
        if len(document["runs"]) > 1:
            document["growth"] = growth(document["runs"])
        machine.write(options.json, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
