"""How an executor leaves: the preStop hook of the container, in this operator's own words.

Theory of operation
-------------------
A pod that is being deleted runs its preStop hook first and gets SIGTERM only when the hook has ended. Spark decommissions
an executor (no more tasks, running tasks finish, blocks move) on SIGPWR, and only when ``spark.decommission.enabled`` is
in the driver's configuration; without it SIGPWR ends the JVM at once, so the hook is there only with it.

Spark's own hook is a script in the image, ``/opt/decom.sh``, which needs ``ps`` and differs from version to version.
The one here is given inline and needs only ``sh`` and ``sleep`` of the image:

1. look through ``/proc`` for the executor: a process named ``java`` whose command line names
   KubernetesExecutorBackend. The name matters: ``tini -- java …`` above the JVM has the same words in its command line,
   and so has the hook itself. A container that has just begun may still be in its entrypoint: SIGTERM would be lost on
   that, as on every first process without a handler, and the executor would start, register and take tasks until the
   grace is over. So the hook looks again for `_APPEARS_WITHIN_SECONDS`; a JVM that young ends of the signal at once;
2. send SIGPWR once (or ``spark.executor.decommission.signal``), with the shell's built-in ``kill``;
3. wait until that process is no longer the executor. Its command line is read again rather than its number asked for:
   a process that ended but was not yet reaped has an empty one, and a number may be used again.

The hook has no time limit of its own: the pod's grace period is the limit, and the operator chooses it per deletion.
When no executor appears (it never started, or is gone already) the hook ends with success.

Arguments in ``/proc/<pid>/cmdline`` are separated by zero bytes, which no shell can hold; ``read`` drops them in dash,
busybox and bash alike. Tests run the script under each of them.
"""

import re
from typing import ClassVar

from spark_allocation.core.executor_pod_context import ExecutorPodRequest, SparkPod
from spark_allocation.core.feature_steps.basic import decommission_enabled
from spark_allocation.core.feature_steps.feature_step import FeatureStepWithoutResources
from spark_allocation.core.spark_conf import InvalidSetting, SparkConf

_SIGNAL = "spark.executor.decommission.signal"
_SIGNAL_NAME = re.compile(r"[A-Z][A-Z0-9]*")
_APPEARS_WITHIN_SECONDS = 5
_SCRIPT = """\
is_executor() {
  name= part=
  read -r name 2>/dev/null <"/proc/$1/comm"
  [ "$name" = java ] || return 1
  while read -r part || [ -n "$part" ]; do
    case $part in *KubernetesExecutorBackend*) return 0 ;; esac
  done 2>/dev/null <"/proc/$1/cmdline"
  return 1
}
find_executor() {
  for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    is_executor "$pid" && return 0
  done
  return 1
}
looks=0
until find_executor; do
  [ "$looks" -lt %d ] || exit 0
  looks=$((looks + 1))
  sleep 1
done
kill -%s "$pid" || exit 0
while is_executor "$pid"; do sleep 1; done
exit 0
"""


class InlineDecommissionFeatureStep(FeatureStepWithoutResources):
    """Replaces Spark's preStop hook by the script above, when executors know how to decommission."""

    spark_class: ClassVar[str] = ""

    def __init__(self, request: ExecutorPodRequest) -> None:
        self._command = (
            pre_stop_command(request.entries) if decommission_enabled(request.entries) else None
        )

    def configure(self, pod: SparkPod) -> None:
        """Set the container's lifecycle; like Spark's own step it replaces the template's."""
        if self._command is not None:
            pod.container["lifecycle"] = {"preStop": {"exec": {"command": self._command}}}


def pre_stop_command(entries: SparkConf) -> list[str]:
    """The hook's command: a shell with the script that drains the executor and waits for its end.

    Raises:
        InvalidSetting: when the signal is not the name of a signal without ``SIG``.
    """
    signal = entries.get(_SIGNAL, "PWR")
    if not _SIGNAL_NAME.fullmatch(signal) or signal.startswith("SIG"):
        raise InvalidSetting(_SIGNAL, signal, "must be the name of a signal, such as PWR")
    return ["sh", "-c", _SCRIPT % (_APPEARS_WITHIN_SECONDS, signal)]
