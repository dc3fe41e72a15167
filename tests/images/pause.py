"""The sandbox container's image: a static busybox that sleeps and reaps."""

import tarfile
import tempfile
from pathlib import Path

from tests.images.archive import (
    ImageConfiguration,
    add_file,
    add_folder,
    add_link,
    content_key,
    write_image,
)
from tests.machine.cache import cache_folder

PAUSE_IMAGE = "localhost/spark-allocation/pause:1"

_BUSYBOX = Path("/bin/busybox")
_LAYOUT = "2"


def pause_archive() -> Path:
    """The docker-archive of the pause image, written if the cache does not hold it.

    It doubles as a small image for tests: `sh`, `sleep`, `wget`, `httpd` and the like are there.
    """
    busybox = _BUSYBOX.read_bytes()
    archive = cache_folder() / "images" / f"pause-{content_key(busybox, _LAYOUT)}.tar"
    if archive.exists():
        return archive
    with tempfile.NamedTemporaryFile(suffix=".tar") as layer:
        with tarfile.open(fileobj=layer, mode="w") as tar:
            for folder in ("bin", "etc", "proc", "sys", "dev"):
                add_folder(tar, folder)
            add_folder(tar, "tmp", mode=0o1777)
            add_file(tar, "bin/busybox", busybox, mode=0o755)
            for applet in ("sh", "sleep", "cat", "echo", "env", "wget", "httpd", "kill", "ps"):
                add_link(tar, f"bin/{applet}", "busybox")
            for applet in ("ls", "nc", "true", "false", "date", "id", "touch", "grep", "seq"):
                add_link(tar, f"bin/{applet}", "busybox")
        layer.flush()
        write_image(
            archive,
            name=PAUSE_IMAGE,
            layers=[Path(layer.name)],
            configuration=ImageConfiguration(
                entrypoint=("/bin/sleep", "2147483647"), environment={"PATH": "/bin"}
            ),
        )
    return archive
