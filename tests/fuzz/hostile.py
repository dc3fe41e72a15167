"""What somebody may write who wants to hurt, or who does not know better: texts, numbers, documents."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

Document = dict[str, Any]

REDACTED = "*********(redacted)"
TEXTS = (
    "", " ", "-", "-1", "0", "1", "2147483647", "2147483648", "-2147483649", "9" * 25, "9" * 5000, "1.5", "1.5g", "1g",
    "0x10", "1e3", "NaN", "Infinity", "-Infinity", "true", "TRUE", "maybe", "null", "10s", "-10s", "9" * 19 + "d",
    "soon", "١٢", "１", "\x00", "\n", "a\nb: c", "\u202eabc", "\ufeff", "é", "🙂", "a" * 10_000, "../..", "/", "//a", ",",
    ",,a,", ":", "a:b", "a:b:c", "=", "a=b", "{", "{}", "[]", "${", "${}", "${spark.app.name}", "${spark.a}", "${env:HOME}",
    "${system:user.dir}", "spark.executor", "default", "*", "-Xmx1g", "-Dspark.a=b", "'\"", "`id`", "$(id)", "; id", REDACTED,
    f"-Da=b {REDACTED}", "org.apache.spark.deploy.k8s.features.VolcanoFeatureStep", "local", "hostPath", "OnDemand", "SPARK-1",
)  # fmt: skip

texts = st.sampled_from(TEXTS) | st.text(max_size=40)
numbers = st.sampled_from(
    [-(2**63) - 1, -(2**31), -1, 0, 1, 7, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**63, 10**30, 0.5, -0.0, 1e300]
)  # fmt: skip
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def places(document: Any) -> list[tuple[Any, Any]]:
    """Each container and key below a document."""
    found: list[tuple[Any, Any]] = []
    pairs = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, value in list(pairs):
        found.append((document, key))
        found.extend(places(value))
    return found


@st.composite
def spoilt(draw: st.DrawFn, document: Any, *, most: int = 3) -> Any:
    """A document with up to so many of its parts replaced, taken away, doubled or added to."""
    result = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, most))):
        found = places(result)
        if not found:
            return draw(values)
        container, key = draw(st.sampled_from(found))
        match draw(st.sampled_from(["replace", "replace", "replace", "drop", "add", "many"])):
            case "replace":
                container[key] = draw(values)
            case "drop":
                del container[key]
            case "many":
                container[key] = [copy.deepcopy(container[key])] * draw(st.sampled_from([2, 300]))
            case _ if isinstance(container, dict):
                container[draw(texts)] = draw(values)
            case _:
                container.append(draw(values))
    return result


@st.composite
def spoilt_bytes(draw: st.DrawFn, document: Any) -> bytes:
    """The same on the wire, now and then spoilt as bytes too."""
    body = json.dumps(draw(spoilt(document) | st.just(document))).encode()
    match draw(st.sampled_from(["whole"] * 6 + ["cut", "raw", "surrogate", "twice", "nan"])):
        case "cut":
            return body[: draw(st.integers(0, len(body)))]
        case "raw":
            at = draw(st.integers(0, len(body)))
            return body[:at] + draw(st.binary(max_size=8)) + body[at:]
        case "surrogate":
            return body.replace(b'": "', b'": "\\ud800', draw(st.integers(1, 3)))
        case "twice":
            return body.replace(b"{", b'{"id": 1, "id": "2", "id": null, ', 1)
        case "nan":
            return body.replace(b": 0", b": NaN").replace(b": 1", b": 1e999")
        case _:
            return body
