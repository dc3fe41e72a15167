"""The executor's preStop hook, run for real: it drains the executor's JVM and nothing else, under every common shell.

A stand-in for the JVM is this Python under the name ``java`` with Spark's main class in its command line. The hook looks
at all processes that it can see, so each test runs it in a process-id namespace of its own.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spark_allocation.core.feature_steps.decommission import pre_stop_command
from spark_allocation.core.spark_conf import SparkConf

MAIN_CLASS = "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
SHELLS = [
    pytest.param((name, *arguments), id=name)
    for name, *arguments in (("dash",), ("busybox", "sh"), ("bash",))
    if shutil.which(name)
]
_STAND_IN = """\
import signal, sys, time
received = []
signal.signal(signal.SIGPWR, lambda *_: received.append("PWR"))
signal.signal(signal.SIGTERM, lambda *_: received.append("TERM"))
print("ready", flush=True)
while not received:
    time.sleep(0.01)
time.sleep(float(sys.argv[1]))  # tasks that run on
print(",".join(received), flush=True)
"""
_IN_A_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def _can_unshare() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run([*_IN_A_NAMESPACE, "true"], capture_output=True, check=False).returncode
        == 0
    )


pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and sends SIGPWR"),
    pytest.mark.skipif(not _can_unshare(), reason="needs a process-id namespace of its own"),
]


@pytest.fixture
def java(tmp_path: Path) -> Path:
    """An executable whose processes are named ``java``."""
    path = tmp_path / "bin" / "java"
    path.parent.mkdir()
    path.symlink_to(sys.executable)
    (tmp_path / "executor.py").write_text(_STAND_IN)
    return path


@pytest.fixture(params=SHELLS)
def hook(request: pytest.FixtureRequest) -> str:
    """The hook as one shell command line, under the shell of the test."""
    _, option, script = pre_stop_command(SparkConf())
    return " ".join([*request.param, option, _quoted(script)])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _run(script: str) -> tuple[int, str, float]:
    """Run a shell script as process 1 of its own namespace; its code, output and duration."""
    begun = time.monotonic()
    ended = subprocess.run(
        [*_IN_A_NAMESPACE, "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.stderr == ""
    return ended.returncode, ended.stdout, time.monotonic() - begun


def _executor(java: Path, tasks_run_on: float, output: Path) -> str:
    program = java.parent.parent / "executor.py"
    return f"{java} {program} {tasks_run_on} -XX:+UseG1GC {MAIN_CLASS} --driver-url spark://d > {output} &"


def _until_ready(output: Path) -> str:
    return f"until grep -q ready {output} 2>/dev/null; do sleep 0.02; done"


def test_it_signals_the_executor_once_and_waits_for_its_end(
    hook: str, java: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"

    code, printed, seconds = _run(
        f"{_executor(java, 1.5, output)} executor=$!\n{_until_ready(output)}\n{hook}\n"
        f"echo hook=$?; kill -0 $executor 2>/dev/null && echo running; wait; cat {output}"
    )

    assert (code, printed.split()) == (0, ["hook=0", "ready", "PWR"])
    assert 1.5 <= seconds < 10


def test_without_an_executor_it_ends_soon(hook: str) -> None:
    code, _, seconds = _run(hook)

    assert code == 0
    assert 4 < seconds < 15


def test_an_executor_that_is_about_to_start_does_not_escape_it(
    hook: str, java: Path, tmp_path: Path
) -> None:
    """The pod is withdrawn while its container begins: what starts now must not register and take tasks."""
    program = tmp_path / "executor.py"
    marker = tmp_path / "started"

    code, printed, _ = _run(
        f"(sleep 1.5; touch {marker}; exec {java} {program} 0 {MAIN_CLASS}) >/dev/null & executor=$!\n"
        f"{hook}\necho hook=$?; test -e {marker} && echo started; wait $executor; echo ended=$?"
    )

    assert code == 0
    # by the signal itself, or by its own handler when it had one
    assert printed.split() in (["hook=0", "started", "ended=158"], ["hook=0", "started", "ended=0"])


def test_it_leaves_alone_whoever_only_mentions_the_executor(
    hook: str, java: Path, tmp_path: Path
) -> None:
    """A supervisor with the JVM's whole command line (tini), a script, and a JVM that is not the executor."""
    bystander = tmp_path / "executor.py"
    output = tmp_path / "out"

    code, printed, _ = _run(
        f"{sys.executable} {bystander} 0 {MAIN_CLASS} > {output} & supervisor=$!\n"
        f"{java} {bystander} 0 org.example.OtherMain > {output}.2 & other=$!\n"
        f"{_until_ready(output)}; {_until_ready(Path(f'{output}.2'))}\n{hook}\n"
        f"echo hook=$?; kill -0 $supervisor && kill -0 $other && echo both; kill $supervisor $other; wait"
    )

    assert (code, printed.split()) == (0, ["hook=0", "both"])


def test_an_executor_that_ended_but_was_not_reaped_does_not_hold_the_hook(
    hook: str, java: Path, tmp_path: Path
) -> None:
    """Process 1 of an image without an init reaps nobody; here it is busy with the hook meanwhile."""
    output = tmp_path / "out"
    program = tmp_path / "reaps_nobody.py"
    program.write_text(
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen(['{java}', '{tmp_path / 'executor.py'}', '0.1', '{MAIN_CLASS}'],\n"
        f"                         stdout=open('{output}', 'w'))\n"
        f"while 'ready' not in open('{output}').read(): time.sleep(0.02)\n"
        "code = os.spawnvp(os.P_WAIT, 'sh', ['sh', '-c', sys.argv[1]])\n"
        "state = open(f'/proc/{child.pid}/stat').read().split()[2]\n"
        "print(f'hook={code} executor={state}')\n"
    )

    code, printed, _ = _run(f"exec {sys.executable} {program} {_quoted(hook)}")

    assert (code, printed.strip()) == (0, "hook=0 executor=Z")
