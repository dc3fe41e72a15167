"""The nodes that are about to go, for all lives that are served: who asks, and who is woken when there is another."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

log = structlog.get_logger("going_nodes")


class GoingNodes:
    """A sink for `sources.nodes_watch.NodesWatch`.

    Attributes:
        names: of the nodes; another object whenever they change.
    """

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._listeners: list[Callable[[], None]] = []
        self.names: frozenset[str] = frozenset()

    def reason(self, node: str) -> str:
        """Why it is about to go; "" when it is not."""
        return self._reasons.get(node, "")

    def replace_all(self, reasons: dict[str, str]) -> None:
        """The whole picture."""
        self._become(dict(reasons))

    def update(self, node: str, reason: str) -> None:
        """News of one node."""
        if self._reasons.get(node, "") != reason:
            others = {name: each for name, each in self._reasons.items() if name != node}
            self._become(others | ({node: reason} if reason else {}))

    @contextmanager
    def subscription(self, changed: Callable[[], None]) -> Iterator[None]:
        """While inside, ``changed`` is called when some node is about to go, or is not any more."""
        self._listeners.append(changed)
        try:
            yield
        finally:
            self._listeners.remove(changed)

    def _become(self, reasons: dict[str, str]) -> None:
        for name in reasons.keys() - self._reasons.keys():
            log.info("node_going", node=name, reason=reasons[name])
        for name in self._reasons.keys() - reasons.keys():
            log.info("node_not_going", node=name)
        self._reasons = reasons
        names = frozenset(reasons)
        if names != self.names:
            self.names = names
            for changed in tuple(self._listeners):
                changed()
