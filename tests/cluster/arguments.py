"""The arguments of a program that runs Spark on a test cluster, and the cluster and image that they name."""

import argparse
import os
from collections.abc import Callable

from tests.cluster.access import Cluster, require
from tests.cluster.layout import DEFAULT_NAME
from tests.cluster.loading import load_spark
from tests.machine.errors import ClusterError
from tests.machine.reporting import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--spark`` and ``--cluster``; the variable ``CLUSTER`` is the default of the latter."""
    parser.add_argument("--spark", default=None, help="version, such as 3.5.9")
    parser.add_argument("--cluster", default=os.environ.get("CLUSTER", DEFAULT_NAME))


def cluster_and_image(
    parser: argparse.ArgumentParser,
    options: argparse.Namespace,
    prepare: Callable[[Cluster], None] = lambda _cluster: None,
) -> tuple[Cluster, str]:
    """The running cluster, brought up if need be, and the name of the Spark image in it.

    Args:
        parser: ends the program with code 2 and the reason when there is no such cluster or image.
        options: with what `add_arguments` adds.
        prepare: done with the cluster before the image is loaded.
    """
    try:
        cluster = require(options.cluster, Reporter())
        prepare(cluster)
        return cluster, load_spark(cluster, Reporter(), version=options.spark)
    except ClusterError as error:
        parser.exit(2, f"{error}\n")
