"""JSON of an API server without ``metadata.managedFields``: who wrote which field of an object.

Nobody here asks for it, there is no way to be answered without it, and it makes as many objects in memory as all the rest of
a SparkAllocation or of a driver pod, which are kept for as long as they are served. So it is taken out of the text: that
costs less than decoding it would.
"""

from typing import Any

import msgspec

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_NAME = "managedFields"
_KEY = f'"{_NAME}"'.encode()


def without_managed_fields(text: bytes) -> bytes:
    """The same object, list of objects or change of a watch; what is none of them is handed through as it is.

    Everything else stays the same, byte by byte.
    """
    if _KEY not in text:
        return text
    try:
        return _object(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return text


def _object(text: bytes | msgspec.Raw) -> bytes:
    found = _OBJECT.decode(text)
    if "metadata" in found:
        metadata = _OBJECT.decode(found["metadata"])
        metadata.pop(_NAME, None)
        found["metadata"] = _raw(metadata)
    if "items" in found:  # a list
        found["items"] = _raw([msgspec.Raw(_object(item)) for item in _LIST.decode(found["items"])])
    if "object" in found:  # a change
        found["object"] = msgspec.Raw(_object(found["object"]))
    return msgspec.json.encode(found)


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
