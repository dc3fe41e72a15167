"""YAML that somebody else wrote: an annotation, a pod template in a config map.

A few hundred bytes of YAML can stand for gigabytes, because an alias repeats what it names, and what it names may hold
aliases. So the text is bounded, and so are the values that it stands for, before anybody copies or prints them.
"""

from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_bounded_yaml(text: str, *, longest: int, most_values: int) -> Any:
    """Read one document.

    Args:
        text: the document.
        longest: characters that it may have.
        most_values: keys, items and plain values that it may stand for, aliases counted as often as they are used.

    Raises:
        ValueError: it is too long, stands for too much, or is no YAML; the message is half a sentence.
    """
    if len(text) > longest:
        raise ValueError(f"longer than {longest} characters")
    try:
        root = yaml.compose(text, Loader=_LOADER)
        left = most_values
        nodes = [root] if root is not None else []
        while nodes:
            node = nodes.pop()
            left -= 1
            if left < 0:
                raise ValueError(f"stands for more than {most_values} values")
            if isinstance(node, yaml.SequenceNode):
                nodes.extend(node.value)
            elif isinstance(node, yaml.MappingNode):
                nodes.extend(part for pair in node.value for part in pair)
        return yaml.load(text, Loader=_LOADER)  # noqa: S506  (a safe loader, in C where there is one)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"no YAML: {str(error)[:200]}") from error
