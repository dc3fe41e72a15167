"""``spark-allocation doctor``: what is wrong, and what to do about it."""

import time
from typing import Annotated

import typer

from spark_allocation.cli.connection import (
    EXIT_PROBLEM,
    AllNamespaces,
    Context,
    Kubeconfig,
    Output,
    OutputOption,
    connected,
    namespace_of,
)
from spark_allocation.cli.output import table, write_document
from spark_allocation.controller.check_up import check_up
from spark_allocation.controller.findings import Finding, Verdict
from spark_allocation.controller.installation_findings import Extent

_SIGNS = {Verdict.OK: "ok", Verdict.WARNING: "WARN", Verdict.FAILURE: "FAIL", Verdict.UNKNOWN: "?"}


def doctor(  # noqa: PLR0917  (options of a command)
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            "--namespace",
            "-n",
            help="Namespace; repeat for several. Left out: that of the context.",
        ),
    ] = None,
    all_namespaces: AllNamespaces = False,
    installation: Annotated[
        bool,
        typer.Option(
            "--installation",
            help="Only the operator's installation, as its own account in a pod: what it lacks is a failure. `helm test` runs this.",
        ),
    ] = False,
    operator_namespace: Annotated[
        str, typer.Option(help="Where the operator runs.")
    ] = "spark-allocation-system",
    lease_name: Annotated[
        str, typer.Option(help="Name of the operator's Lease.")
    ] = "spark-allocation-operator",
    service_account: Annotated[
        str | None,
        typer.Option(
            help="Ask for the rights of this account, NAMESPACE/NAME or NAME in the operator's namespace, instead of your own."
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Check rights, CRDs, clocks, the operator, every SparkAllocation, and drivers that nobody serves. Changes nothing.

    kubectl salloc doctor -A --service-account spark-allocation-operator

    A table shows what is not well; -o wide shows every check. A check that could not be made is a finding too.

    Exit codes: 0; 1 when a check failed (warnings do not count); 2 without credentials; 4 when the API server does not
    answer.
    """
    user = ""
    if service_account:
        place, _, account = service_account.rpartition("/")
        user = f"system:serviceaccount:{place or operator_namespace}:{account}"
    places: tuple[str, ...] = ()
    if not all_namespaces:
        places = tuple(dict.fromkeys(namespace or [namespace_of(None, kubeconfig, context)]))
    extent = Extent(
        namespaces=places,
        operator_namespace=operator_namespace,
        lease_name=lease_name,
        user=user,
        clock=time.time,
        as_operator=installation,
    )
    findings = connected(kubeconfig, context, lambda reading: check_up(reading, extent))
    if output in (Output.JSON, Output.YAML):
        write_document(
            [
                {
                    "check": each.check,
                    "about": each.about,
                    "verdict": each.verdict,
                    "message": each.message,
                    "remedy": each.remedy,
                }
                for each in findings
            ],
            output,
        )
    else:
        typer.echo(_text(findings, wide=output is Output.WIDE))
    if any(each.verdict is Verdict.FAILURE for each in findings):
        raise typer.Exit(EXIT_PROBLEM)


def _text(findings: list[Finding], *, wide: bool) -> str:
    shown = [each for each in findings if wide or each.verdict is not Verdict.OK]
    counts = ", ".join(
        f"{sum(each.verdict is verdict for each in findings)} {verdict}" for verdict in Verdict
    )
    if not shown:
        return f"All is well ({counts})."
    rows = [
        (
            _SIGNS[each.verdict],
            each.check,
            each.about,
            each.message + (f". Remedy: {each.remedy}" if each.remedy else ""),
        )
        for each in shown
    ]
    return f"{table(('', 'CHECK', 'ABOUT', 'FINDING'), rows)}\n\n{counts}"
