"""Container images as docker-archive files, written without a container engine.

An archive holds the layers (plain tar files), an image configuration that names them by digest,
and a manifest. `ctr images import`, `docker load` and `buildah` read it.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class ImageConfiguration:
    """What a Dockerfile's last lines would say.

    Attributes:
        entrypoint: ENTRYPOINT.
        environment: ENV.
        user: USER, as `uid` or `uid:gid`.
        working_directory: WORKDIR.
    """

    entrypoint: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    user: str = ""
    working_directory: str = "/"


def write_image(
    archive: Path, *, name: str, layers: Sequence[Path], configuration: ImageConfiguration
) -> None:
    """Write `archive` from layer tar files, bottom layer first; complete or not at all.

    Args:
        archive: the file to write.
        name: the image's full name with its tag.
        layers: uncompressed tar files.
        configuration: how a container of it starts.
    """
    digests = [_digest(layer) for layer in layers]
    config = json.dumps(
        {
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": list(configuration.entrypoint),
                "Env": [f"{key}={value}" for key, value in configuration.environment.items()],
                "User": configuration.user,
                "WorkingDir": configuration.working_directory,
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
            # buildah builds on an image only when its history accounts for every layer.
            "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
        },
        sort_keys=True,
    ).encode()
    config_file = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps(
        [
            {
                "Config": config_file,
                "RepoTags": [name],
                "Layers": [f"{digest}.tar" for digest in digests],
            }
        ]
    ).encode()

    def fill(file: Path) -> None:
        with tarfile.open(file, "w") as tar:
            for digest, layer in zip(digests, layers, strict=True):
                tar.add(layer, arcname=f"{digest}.tar", recursive=False)
            for member, content in ((config_file, config), ("manifest.json", manifest)):
                entry = tarfile.TarInfo(member)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))

    write_completely(archive, fill)


def write_completely(file: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write a temporary file beside `file`, then rename it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        fill(unfinished)
        unfinished.rename(file)
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()


def remove_older(archive: Path, pattern: str) -> None:
    """Remove what `pattern` matches beside `archive`: former builds, close to a gigabyte each."""
    for older in archive.parent.glob(pattern):
        if older != archive:
            older.unlink(missing_ok=True)


def add_file(
    tar: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644, uid: int = 0
) -> None:
    """Add a regular file with this content to a layer."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.uid, entry.gid = len(content), mode, uid, 0
    tar.addfile(entry, io.BytesIO(content))


def add_folder(tar: tarfile.TarFile, name: str, *, mode: int = 0o755, uid: int = 0) -> None:
    """Add an empty folder to a layer."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, uid, 0
    tar.addfile(entry)


def add_link(tar: tarfile.TarFile, name: str, target: str) -> None:
    """Add a symbolic link to a layer."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    tar.addfile(entry)


def content_key(*parts: str | bytes) -> str:
    """Twelve hex digits that change when any of `parts` does."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:12]


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def architecture() -> str:
    """This machine's architecture as images and Debian call it."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
