"""A cluster's namespaces, seen from the host: made, entered, searched, ended.

See keeper.py for what lives in them. A process is only ever signalled through a pidfd, and only
after it was seen, by that pidfd, inside the PID namespace of a keeper whose start time and boot
match the record; a recycled process id can therefore never be hit.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster import keeper
from tests.cluster.layout import SERVICE_ADDRESS, ClusterLayout
from tests.cluster.waiting import last_lines, wait_until_none
from tests.machine.cache import cache_folder
from tests.machine.errors import ClusterError

_PROCESS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SETSID = "/usr/bin/setsid"


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the machine, named so that it cannot be mistaken for a later one.

    Attributes:
        pid: as the host numbers it.
        start_ticks: its start time, in clock ticks since boot.
        boot: the kernel's boot id.
    """

    pid: int
    start_ticks: int
    boot: str

    @property
    def alive(self) -> bool:
        return self.boot == _boot() and _start_ticks(self.pid) == self.start_ticks

    @property
    def arguments(self) -> tuple[str, ...]:
        """Its command line without the program; () when it has ended."""
        try:
            line = Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return ()
        return tuple(line.decode(errors="replace").split("\0")[1:-1])

    @property
    def since(self) -> float:
        """Its start as a Unix time, in seconds."""
        seconds_after_boot = self.start_ticks / os.sysconf("SC_CLK_TCK")
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + seconds_after_boot

    def send(self, number: signal.Signals, *, grace: float) -> bool:
        """Send a signal if this very process still runs; True when it is gone within `grace` s."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.alive:
                return True
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            return bool(select.select([descriptor], [], [], grace)[0])
        finally:
            os.close(descriptor)


def process_of(pid: int) -> Process | None:
    """The process that has this id now; None when there is none or only its zombie."""
    ticks = _start_ticks(pid)
    return None if ticks is None else Process(pid, ticks, _boot())


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The namespaces of one running cluster, through their first process."""

    keeper: Process

    @property
    def alive(self) -> bool:
        return self.keeper.alive

    def processes(self) -> Iterator[tuple[Process, str]]:
        """The processes directly in the PID namespace, each with its executable's path.

        Containers have PID namespaces of their own and do not appear.
        """
        if not self.alive:
            return
        ours = Path(f"/proc/{self.keeper.pid}/ns/pid").readlink()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == self.keeper.pid:
                continue
            try:
                if (entry / "ns/pid").readlink() != ours:
                    continue
                executable = str((entry / "exe").readlink()).removesuffix(" (deleted)")
            except OSError:  # ended meanwhile, or a kernel thread
                continue
            process = process_of(int(entry.name))
            if process is not None:
                yield process, executable

    def find(self, program: Path) -> Process | None:
        """The process running `program`, if any."""
        wanted = str(program.resolve())
        return next((process for process, path in self.processes() if path == wanted), None)

    def runs(self, program: Path) -> bool:
        """Whether `program` runs or is just being started."""
        return bool({path for _, path in self.processes()} & {str(program.resolve()), _SETSID})

    def command(self, *command: str, network_only: bool = False) -> list[str]:
        """The command line that runs `command` inside."""
        entered = ["--net"] if network_only else ["--net", "--mount", "--pid"]
        return ["nsenter", "-t", str(self.keeper.pid), *entered, "--", *command]

    def start(self, command: Sequence[str], log: Path) -> None:
        """Start a long-running process inside; it belongs to the keeper, not to us."""
        with log.open("ab") as output:
            result = subprocess.run(
                self.command(_SETSID, "--fork", *command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": _PROCESS_PATH, "HOME": "/root"},
                cwd="/",
                check=False,
            )
        if result.returncode != 0:
            raise ClusterError(f"{command[0]} did not start:\n{last_lines(log)}")

    def end(self) -> None:
        """Kill the keeper; the kernel kills all others before the keeper's death is reported."""
        if not self.keeper.send(signal.SIGKILL, grace=60):
            raise ClusterError(
                f"The cluster's first process {self.keeper.pid} does not end; a process of it "
                "hangs in the kernel. Look at `dmesg`, then try `down` again."
            )


def _keeper_file(layout: ClusterLayout) -> Path:
    return layout.state / "keeper.json"


def recorded(layout: ClusterLayout) -> Namespaces | None:
    """The namespaces the state folder tells of, alive or not."""
    try:
        record = json.loads(_keeper_file(layout).read_text())
    except FileNotFoundError:
        return None
    return Namespaces(Process(**record))


def create(layout: ClusterLayout) -> Namespaces:
    """Make the namespaces of a cluster; its state folder exists and its log folder too."""
    ready = layout.state / "keeper.ready"
    ready.unlink(missing_ok=True)
    settings = layout.state / "keeper-settings.json"
    settings.write_text(
        json.dumps(
            {
                "kept_folders": [str(layout.state), str(cache_folder())],
                "node": f"{layout.node_address}/24",
                "service_address": SERVICE_ADDRESS,
                "ready_file": str(ready),
            }
        )
    )
    log = layout.logs / "keeper.log"
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [sys.executable, "-I", keeper.__file__, str(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env={"PATH": _PROCESS_PATH},
            cwd="/",
        ) as starter,
    ):
        assert starter.stdin is not None
        assert starter.stdout is not None
        told = starter.stdout.readline()
        process = process_of(int(told)) if told else None
        if process is None:
            raise ClusterError(f"The cluster's namespaces cannot be made:\n{last_lines(log)}")
        wait_until_none(
            lambda: None if ready.exists() else "not set up yet",
            what="the cluster's namespaces",
            seconds=20,
            log=log,
            every=0.02,
            still_possible=lambda: process.alive,
        )
        _record(layout, process)
        starter.stdin.write(keeper.RECORDED)
    return Namespaces(process)


def _record(layout: ClusterLayout, process: Process) -> None:
    unfinished = _keeper_file(layout).with_suffix(".new")
    unfinished.write_text(json.dumps(asdict(process)))
    unfinished.rename(_keeper_file(layout))


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None when there is no such process or only its zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])
