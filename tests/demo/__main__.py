"""`python -m tests.demo`: a real Spark job on a real cluster, its executors allocated by the operator.

Exit codes: 0 every check holds; 1 one does not, or the demo could not run (the reason is printed); 130 interrupted.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console
from rich.table import Table
from tests import cluster as clusters
from tests.cluster import Cluster, ClusterError
from tests.demo import chart, story, table
from tests.demo.api import Api
from tests.demo.diagnosis import print_diagnosis
from tests.demo.installation import (
    Images,
    Installation,
    delete_namespace,
    install_in_cluster,
    install_on_host,
    make_namespace,
)
from tests.demo.manifests import ROOT
from tests.machine.reporting import Reporter

NAMESPACE = "spark-allocation-demo"
OUTPUT = ROOT / "demo-output"
WIDTH_OF_A_FILE = 120


def main() -> int:
    options = parse_options()
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)
    reporter = Reporter()
    signal.signal(signal.SIGTERM, _interrupt)
    began = time.monotonic()
    try:
        good = run(options, console, reporter)
    except ClusterError as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; what the demo made is gone, the cluster stays up.")
        return 130
    console.print(f"{time.monotonic() - began:.0f} s in all.", highlight=False)
    return 0 if good else 1


def run(options: argparse.Namespace, console: Console, reporter: Reporter) -> bool:
    """Everything from the cluster to the checks; True when all of them hold."""
    cluster = get_cluster(options, reporter)
    images = get_images(options, cluster, reporter)
    installation = install(options, cluster, images, reporter)
    try:
        with Api(cluster) as api, demo_namespace(cluster, console, reporter, keep=options.keep):
            with reporter.step("creating the driver pod"):
                story.start_driver(cluster, api, NAMESPACE, spark_image=images.spark)
            with table.display(console) as display:
                timeline = story.watch_until_the_end(api, NAMESPACE, display.show)
            outcome = story.conclude(cluster, api, NAMESPACE, timeline)
            report(console, outcome, title=f"{story.DRIVER_POD} on {images.spark}")
            if not outcome.good:
                explain(console, installation, outcome)
            return outcome.good
    finally:
        installation.close()


@contextmanager
def demo_namespace(
    cluster: Cluster, console: Console, reporter: Reporter, *, keep: bool
) -> Iterator[None]:
    """The demo's namespace; gone afterwards, also after Ctrl-C, unless it is to be kept."""
    with reporter.step(f"making namespace {NAMESPACE}"):
        make_namespace(cluster, NAMESPACE)
    try:
        yield
    except KeyboardInterrupt:
        keep = False
        raise
    finally:
        if keep:
            console.print(f"kept: namespace {NAMESPACE}", highlight=False)
        else:
            with reporter.step(f"deleting namespace {NAMESPACE}"):
                delete_namespace(cluster, NAMESPACE)


def get_cluster(options: argparse.Namespace, reporter: Reporter) -> Cluster:
    if options.context:
        return clusters.connect_existing(options.context, options.kubeconfig)
    with reporter.step("bringing the cluster up"):
        return clusters.require(options.cluster, reporter)


def get_images(options: argparse.Namespace, cluster: Cluster, reporter: Reporter) -> Images:
    if options.context:
        return Images(spark=options.spark_image, operator=options.operator_image)
    with reporter.step("loading the Spark image"):
        spark = clusters.load_spark(cluster, reporter, version=options.spark)
    operator = ""
    if options.operator == "cluster":
        with reporter.step("loading the operator's image"):
            operator = clusters.load_operator(cluster, reporter)
    return Images(spark=spark, operator=operator)


def install(
    options: argparse.Namespace, cluster: Cluster, images: Images, reporter: Reporter
) -> Installation:
    if options.operator == "host":
        with reporter.step("starting the operator as a process of this host"):
            return install_on_host(cluster, OUTPUT)
    with reporter.step("installing the operator: kubectl apply -f crds/ -f deploy/"):
        return install_in_cluster(cluster, operator_image=images.operator)


def report(console: Console, outcome: story.Outcome, *, title: str) -> None:
    console.print(table.headline(outcome.timeline.last))
    console.rule("executors over time", align="left", style="dim")
    console.print(chart.terminal_chart(outcome.timeline, width=console.width))
    file = OUTPUT / "timeline.png"
    chart.write_png(outcome.timeline, file, title=title)
    console.print(f"picture: {file}")
    checks = Table(box=None, pad_edge=False, show_header=False)
    for check in outcome.checks:
        mark = "[green]yes[/]" if check.holds else "[red]NO[/]"
        checks.add_row(mark, check.claim, f"[dim]{check.seen}[/]")
    console.rule("shown", align="left", style="dim")
    console.print(checks)


def explain(console: Console, installation: Installation, outcome: story.Outcome) -> None:
    """Why a run was not good: first what is there to look at, last the sentence to read."""
    print_diagnosis(console, installation, namespace=NAMESPACE, driver_pod=story.DRIVER_POD)
    console.rule("not shown", align="left", style="red")
    for check in outcome.checks:
        if not check.holds:
            console.print(f"not so: {check.claim} ({check.seen})", style="red", highlight=False)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.demo",
        description="Run a real Spark job whose executors the operator allocates, and check what is claimed of it.",
    )
    parser.add_argument(
        "--spark", metavar="VERSION", help="Spark version (default: the test image's)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the demo's namespace for a look")
    parser.add_argument(
        "--operator",
        choices=("cluster", "host"),
        default="cluster",
        help="run the operator as a Deployment (default) or as a process of this host",
    )
    parser.add_argument(
        "--cluster", default=clusters.DEFAULT_NAME, help="name of the local cluster"
    )
    existing = parser.add_argument_group("a cluster of yours instead of the local one")
    existing.add_argument("--context", help="its kube context; there is no default")
    existing.add_argument("--kubeconfig", type=Path, help="the file that has the context")
    existing.add_argument("--spark-image", help="a Spark image its nodes can pull")
    existing.add_argument("--operator-image", help="the operator's image")
    options = parser.parse_args()
    if options.context and not (
        options.spark_image and (options.operator_image or options.operator == "host")
    ):
        parser.error("--context needs --spark-image and --operator-image: its nodes pull them")
    return options


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
