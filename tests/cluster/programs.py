"""The cluster's programs, built from Go modules into the user's cache folder.

tests/cluster/tools/go.mod pins the Kubernetes programs, tools/etcd/go.mod pins etcd (Kubernetes
wants other versions of its libraries); kwok has a module too and is built for who asks for it
(tests/cluster/kwok.py). A program is built once for each content of go.mod and
go.sum and each set of build flags, in a temporary file that is renamed when complete, so an
interrupted build leaves nothing that looks finished.
"""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.machine.cache import cache_folder
from tests.machine.errors import ClusterError
from tests.machine.locking import alone
from tests.machine.reporting import Reporter

TOOLS = Path(__file__).parent / "tools"


@dataclass(frozen=True, slots=True)
class ProgramModule:
    """One go.mod and the programs that come from it.

    Attributes:
        folder: where go.mod and go.sum stand.
        module: the required module whose version names the programs.
        packages: program -> Go package.
        name: of the folder in the cache.
        version_variable: what the linker sets to the version; "" for programs that read it from the build.
    """

    folder: Path
    module: str
    packages: dict[str, str]
    name: str
    version_variable: str = "k8s.io/component-base/version.gitVersion"

    @property
    def version(self) -> str:
        text = (self.folder / "go.mod").read_text()
        found = re.search(rf"^\s*(?:require )?{re.escape(self.module)} (v\S+)", text, re.MULTILINE)
        if found is None:
            raise ClusterError(f"{self.folder / 'go.mod'} does not require {self.module}.")
        return found.group(1)

    @property
    def linker_flags(self) -> str:
        version = f" -X {self.version_variable}={self.version}" if self.version_variable else ""
        return f"-s -w{version}"

    @property
    def output(self) -> Path:
        digest = hashlib.sha256()
        for part in ("go.mod", "go.sum"):
            digest.update((self.folder / part).read_bytes())
        digest.update(self.linker_flags.encode())
        return cache_folder() / "programs" / f"{self.name}-{self.version}-{digest.hexdigest()[:12]}"


MODULES = (
    ProgramModule(
        folder=TOOLS / "etcd",
        module="go.etcd.io/etcd/server/v3",
        name="etcd",
        packages={"etcd": "go.etcd.io/etcd/server/v3"},
    ),
    ProgramModule(
        folder=TOOLS,
        module="k8s.io/kubernetes",
        name="kubernetes",
        packages={
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kube-apiserver",
                "kubelet",
                "kube-controller-manager",
                "kube-scheduler",
                "kubectl",
            )
        },
    ),
)


def program(name: str) -> Path:
    """Where the program `name` is, or will be once built."""
    for module in MODULES:
        if name in module.packages:
            return module.output / name
    raise KeyError(name)


def ensure_programs(reporter: Reporter) -> None:
    """Build the programs that are not in the cache; a few minutes the first time.

    Raises:
        ClusterError: there is no Go toolchain, or a build failed (with the compiler's last lines).
    """
    missing = [
        (module, name)
        for module in MODULES
        for name in module.packages
        if not (module.output / name).exists()
    ]
    if not missing:
        return
    _require_go("or use --provider existing --context NAME")
    reporter.say(
        f"Building {', '.join(name for _, name in missing)} once "
        "(about 7 minutes on two cores when nothing is cached)."
    )
    with alone(cache_folder() / "programs" / ".lock"):
        for number, (module, name) in enumerate(missing, 1):
            if not (module.output / name).exists():
                with reporter.step(f"building {name} {module.version} ({number}/{len(missing)})"):
                    _build(module, name)


def ensure_program(module: ProgramModule, name: str, reporter: Reporter) -> Path:
    """One program, built if it is not in the cache.

    Raises:
        ClusterError: as `ensure_programs`.
    """
    if not (module.output / name).exists():
        _require_go("or run the other tests alone")
        with alone(cache_folder() / "programs" / ".lock"):
            if not (module.output / name).exists():
                with reporter.step(f"building {name} once"):
                    _build(module, name)
    return module.output / name


def _require_go(otherwise: str) -> None:
    if shutil.which("go") is None:
        raise ClusterError(
            "These programs are built from source and no `go` was found: install Go 1.25 or newer, "
            f"{otherwise}."
        )


def _build(module: ProgramModule, name: str) -> None:
    module.output.mkdir(parents=True, exist_ok=True)
    unfinished = module.output / f".{name}.{os.getpid()}"
    try:
        result = subprocess.run(
            [
                "go",
                "build",
                "-trimpath",
                f"-ldflags={module.linker_flags}",
                "-o",
                str(unfinished),
                module.packages[name],
            ],
            cwd=module.folder,
            env=os.environ | {"CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise ClusterError(f"Building {name} failed; Go said:\n{result.stderr[-2000:]}")
        unfinished.rename(module.output / name)
    finally:
        unfinished.unlink(missing_ok=True)
