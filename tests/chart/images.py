"""The operator's image under a second tag, to upgrade to."""

import io
import json
import tarfile
from pathlib import Path

from tests.images.archive import write_completely


def with_tag(archive: Path, name: str, copy: Path) -> Path:
    """A copy of a docker-archive whose image has another full name."""

    def fill(file: Path) -> None:
        with tarfile.open(archive) as source, tarfile.open(file, "w") as target:
            for member in source:
                content = source.extractfile(member) if member.isfile() else None
                if member.name == "manifest.json" and content is not None:
                    manifest = json.load(content)
                    manifest[0]["RepoTags"] = [name]
                    text = json.dumps(manifest).encode()
                    member.size = len(text)
                    content = io.BytesIO(text)
                target.addfile(member, content)

    write_completely(copy, fill)
    return copy
