"""Files that config maps put into a driver pod, found as the driver's container sees them.

A path leads through a mount to a volume, and through the volume's items to a key of a config map. A file that no mount
explains (a relative path, a directory that the image links elsewhere) is looked for by its name alone, and taken only
when exactly one of the pod's config maps has it: two files of one name are not guessed between.

Contents are never logged.
"""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from spark_allocation.kube.objects_api import ObjectsApi

Document = Mapping[str, Any]


class MountedFiles:
    """The config maps of one pod; each is read once, when it is first needed."""

    def __init__(self, pod: Document, container: Document, objects: ObjectsApi) -> None:
        """
        Args:
            pod: as the API server has it.
            container: of this pod: whose paths are meant.
        """
        spec = pod.get("spec") or {}
        self._volumes: dict[str, list[Document]] = {
            volume.get("name", ""): list(_config_maps(volume))
            for volume in spec.get("volumes") or ()
        }
        self._mounts: list[Document] = list(container.get("volumeMounts") or ())
        self._namespace = str(pod["metadata"]["namespace"])
        self._objects = objects
        self._read: dict[str, Mapping[str, str]] = {}

    async def text(self, path: str) -> str | None:
        """The file at this path or ``file:`` URL, or None when no config map tells it.

        Raises:
            ApiUnavailable: the API server did not answer.
        """
        file = PurePosixPath(urlsplit(path).path if ":" in path else path)
        for volume, inside in self._ways_to(file):
            for source in self._volumes.get(volume, ()):
                key = _key_of(source, inside)
                found = (await self._data(source)).get(key) if key is not None else None
                if found is not None:
                    return found
        named = [
            found
            for sources in self._volumes.values()
            for source in sources
            if (found := (await self._data(source)).get(file.name)) is not None
        ]
        return named[0] if len(named) == 1 else None

    def _ways_to(self, file: PurePosixPath) -> Iterator[tuple[str, str]]:
        """Volumes whose mount leads to this file, and where in the volume it is; the innermost mount first."""
        ways: list[tuple[int, str, str]] = []
        for mount in self._mounts:
            directory = PurePosixPath(str(mount.get("mountPath", "")))
            below = str(mount.get("subPath") or "")
            name = str(mount.get("name", ""))
            if file == directory and below:
                ways.append((len(directory.parts), name, below))
            elif directory in file.parents:
                place = PurePosixPath(below) / file.relative_to(directory)
                ways.append((len(directory.parts), name, str(place)))
        for _, volume, inside in sorted(ways, reverse=True):
            yield volume, inside

    async def _data(self, source: Document) -> Mapping[str, str]:
        name = str(source.get("name", ""))
        if name not in self._read:
            config_map = await self._objects.get(self._namespace, "configmaps", name)
            self._read[name] = (config_map or {}).get("data") or {}
        return self._read[name]


def _config_maps(volume: Document) -> Iterator[Document]:
    sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
    for source in sources:
        config_map = source.get("configMap") or {}
        if config_map.get("name"):
            yield config_map


def _key_of(source: Document, inside: str) -> str | None:
    """The key whose value is the file at this place in the volume."""
    chosen = source.get("items")
    if not chosen:
        return inside
    return next((str(item["key"]) for item in chosen if item.get("path") == inside), None)
