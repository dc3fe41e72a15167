"""One object for equal texts that are kept many times: names of nodes, keys of Spark's configuration.

Not `sys.intern`, which from Python 3.12 on keeps each text for as long as the process lives: they are written by tenants, and
new ones come with every application.
"""

from functools import lru_cache

LONGEST_SHARED = 253
"""Characters: the longest name that Kubernetes has. Longer texts are hardly ever equal."""
MOST_SHARED = 16_384


def shared(text: str) -> str:
    """An equal text; the same object as for one that was asked for lately."""
    return _one_of(text) if len(text) <= LONGEST_SHARED else text


@lru_cache(maxsize=MOST_SHARED)
def _one_of(text: str) -> str:
    return text
