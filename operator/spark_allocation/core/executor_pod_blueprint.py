"""Executor pods that differ in their id alone, made from one that was built.

Theory of operation
-------------------
An application asks for hundreds of executors of one kind. The builder takes the driver's settings apart anew for each,
and the limit compares each with the driver pod; what comes out differs in the executor's id. So a pod is built for two
ids that are unlikely to be written anywhere else, and where these two differ is where the id stands. Later pods are
copies with another id in these places.

Nothing is taken for granted of the builder. A place counts only when replacing the one id by the other turns the one
text into the other, and only where no limit judges what is written there (`_UNJUDGED`). What the builder does with
long names depends on how long the id is; so the first id of each length is built in whole, and compared with its copy.
Where any of this fails, where a pod cannot be built, and where objects are made along with it (claims, whose names hold
the id and are judged), each pod is built in whole.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

from spark_allocation.core.executor_pod_builder import ExecutorPodManifest
from spark_allocation.core.executor_pods import ExecutorId

T = TypeVar("T")
Path = tuple[str | int, ...]
_ONE, _OTHER = ExecutorId(1_234_567_809), ExecutorId(2_098_765_431)
_UNJUDGED = (
    ("metadata", "name"),
    ("metadata", "labels", "spark-exec-id"),
    ("spec", "hostname"),
    ("spec", "containers", "*", "env", "*", "value"),
)
_IN_WHOLE = 2
"""Pods that are built in whole before it is worth while to look for places: that costs two more."""


class _Differs(Exception):  # noqa: N818
    """Two pods differ in more than the id."""


class ExecutorPodBlueprint(Generic[T]):
    """Builds the executor pods of one kind.

    Args:
        build: builds and judges one in whole, or says why there is none. Everything but the id is the same each time.
    """

    def __init__(self, build: Callable[[ExecutorId], ExecutorPodManifest | T]) -> None:
        self._build = build
        self._built = 0
        self._pattern: ExecutorPodManifest | None = None
        self._places: dict[str | int, Any] = {}
        self._lengths: set[int] = set()

    def manifest(self, executor_id: ExecutorId) -> ExecutorPodManifest | T:
        """The pod of this executor, or why there is none. It shares parts with others: change none of it."""
        text = str(executor_id)
        if self._pattern is not None and len(text) in self._lengths:
            return self._copy(self._pattern, text)
        manifest = self._build(executor_id)
        self._built += 1
        if self._built == _IN_WHOLE:
            self._look_for_places()
        if self._pattern is not None and manifest == self._copy(self._pattern, text):
            self._lengths.add(len(text))
        return manifest

    def _look_for_places(self) -> None:
        one, other = self._build(_ONE), self._build(_OTHER)
        if not isinstance(one, ExecutorPodManifest) or not isinstance(other, ExecutorPodManifest):
            return
        if one.resources or replace(one, pod={}) != replace(other, pod={}):
            return
        try:
            found = list(_differences(one.pod, other.pod, ()))
        except _Differs:
            return
        if all(_is_unjudged(path) for path, _ in found):
            self._pattern, self._places = one, _tree(found)

    def _copy(self, pattern: ExecutorPodManifest, text: str) -> ExecutorPodManifest:
        return replace(pattern, pod=_filled(pattern.pod, self._places, text))


def _differences(one: Any, other: Any, path: Path) -> Iterator[tuple[Path, list[str]]]:
    """Where two documents have an id, and the text around it.

    Raises:
        _Differs: they differ otherwise.
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if list(one) != list(other):
            raise _Differs
        for key in one:
            yield from _differences(one[key], other[key], (*path, key))
    elif isinstance(one, list | tuple) and type(one) is type(other):
        if len(one) != len(other):
            raise _Differs
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differences(left, right, (*path, index))
    elif one != other or type(one) is not type(other):
        if not isinstance(one, str):
            raise _Differs
        around = one.split(str(_ONE))
        if str(_OTHER).join(around) != other:
            raise _Differs
        yield path, around


def _is_unjudged(path: Path) -> bool:
    pattern = tuple("*" if isinstance(step, int) else step for step in path)
    return pattern in _UNJUDGED


def _tree(found: list[tuple[Path, list[str]]]) -> dict[str | int, Any]:
    root: dict[str | int, Any] = {}
    for path, around in found:
        node = root
        for step in path[:-1]:
            node = node.setdefault(step, {})
        node[path[-1]] = around
    return root


def _filled(document: Any, places: Any, text: str) -> Any:
    """The document with this id in its places; what has none of them is shared."""
    if isinstance(places, list):
        return text.join(places)
    copy = dict(document) if isinstance(document, Mapping) else list(document)
    for step, inner in places.items():
        copy[step] = _filled(document[step], inner, text)
    return copy
