"""YAML that somebody else wrote: an annotation, a pod template in a config map.

A few hundred bytes of YAML can stand for gigabytes, because an alias repeats what it names, and what it names may hold
aliases. So the text is bounded, and so are the values that it stands for, before anybody copies or prints them.

What comes out can be sent as JSON. YAML knows more: sets, bytes, dates. What looks like a date is the text that it is
written as; whoever asks for one of the others by its tag is told that it is not taken.
"""

import math
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PREFIX = "tag:yaml.org,2002:"
_TEXT = f"{_PREFIX}str"
_AS_WRITTEN = frozenset({f"{_PREFIX}timestamp", f"{_PREFIX}value"})
_NUMBER = f"{_PREFIX}float"
_TAKEN = frozenset(
    _PREFIX + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map", "merge")
)


def load_bounded_yaml(text: str, *, longest: int, most_values: int) -> Any:
    """Read one document.

    Args:
        text: the document.
        longest: characters that it may have.
        most_values: keys, items and plain values that it may stand for, aliases counted as often as they are used.

    Raises:
        ValueError: it is too long, stands for too much, or is nothing that JSON can say; the message is half a sentence.
    """
    if len(text) > longest:
        raise ValueError(f"longer than {longest} characters")
    try:
        root = yaml.compose(text, Loader=_LOADER)
        if root is None:
            return None
        _check(root, most_values)
        return yaml.constructor.SafeConstructor().construct_document(root)
    except (yaml.YAMLError, RecursionError, LookupError) as error:
        # a LookupError: PyYAML's own constructors stumble over "!!bool z" and "!!int ''"
        raise ValueError(f"no YAML: {str(error)[:200]}") from error


def _check(root: yaml.Node, most_values: int) -> None:
    """Count what the document stands for, and see that each part of it is of a kind that JSON has."""
    nodes = [root]
    left = most_values
    while nodes:
        node = nodes.pop()
        left -= 1
        if left < 0:
            raise ValueError(f"stands for more than {most_values} values")
        if node.tag in _AS_WRITTEN and isinstance(node, yaml.ScalarNode):
            node.tag = _TEXT
        if node.tag not in _TAKEN:
            raise ValueError(f"no YAML that JSON could say: a value of the kind {node.tag[:60]}")
        if isinstance(node, yaml.ScalarNode) and node.tag == _NUMBER and not _is_finite(node):
            raise ValueError(f"{node.value[:60]} is no number of JSON")
        if isinstance(node, yaml.SequenceNode):
            nodes.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            nodes.extend(part for pair in node.value for part in pair)


def _is_finite(node: yaml.ScalarNode) -> bool:
    return math.isfinite(yaml.constructor.SafeConstructor().construct_yaml_float(node))
