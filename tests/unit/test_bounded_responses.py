"""What an API server answers is cut off where it is nested deeper than anybody can follow, and is untouched otherwise."""

import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.kube.api_client import ApiAnswer
from spark_allocation.kube.bounded_responses import DEEPEST, BoundedResponse, bounded

plain = st.none() | st.booleans() | st.integers() | st.text()
values = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)  # fmt: skip


def nested(value: Any, depth: int) -> Any:
    for number in range(depth):
        value = {"{[": value, "b": "]}"} if number % 2 else ["\\", '"{', value]
    return value


def cut(value: Any, depth: int = 1) -> Any:
    """The same, by recursion."""
    if not isinstance(value, dict | list):
        return value
    if depth > DEEPEST:
        return None
    if isinstance(value, dict):
        return {key: cut(inner, depth + 1) for key, inner in value.items()}
    return [cut(inner, depth + 1) for inner in value]


def text_of(value: Any, *, spaces: bool = False) -> bytes:
    return json.dumps(value, indent=1 if spaces else None, ensure_ascii=not spaces).encode()


@given(values, st.integers(0, 140), st.booleans())
def test_what_is_too_deep_is_null_and_everything_else_is_as_it_was(
    value: Any, depth: int, spaces: bool
) -> None:
    deep = nested(value, depth)
    text = text_of(deep, spaces=spaces)
    assert json.loads(bounded(text)) == cut(deep)
    if deep == cut(deep):
        assert bounded(text) is text


@given(st.binary(max_size=400))
def test_what_is_no_json_harms_nobody(text: bytes) -> None:
    bounded(text * 50)


@pytest.mark.parametrize("depth", [900, 9_900])
def test_an_answer_beyond_the_decoder_is_read(depth: int) -> None:
    body = b'{"metadata":{"name":"a"},"x":' + b'{"y":' * depth + b"1" + b"}" * depth + b"}"
    assert ApiAnswer(200, body).json()["metadata"] == {"name": "a"}


async def test_lists_and_watches_of_a_session_are_bounded() -> None:
    deep = b'{"x":' * 5000 + b"1" + b"}" * 5000
    lines = [b'{"type":"ADDED","object":' + deep + b"}", b'{"type":"BOOKMARK"}', b'{"type":"AD']

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.Response(body=b'{"items":[' + deep + b"]}", content_type="application/json")
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"\n".join(lines))
        return response

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        async with aiohttp.ClientSession(response_class=BoundedResponse) as session:
            async with session.get(url) as response:
                assert "items" in await response.json()
            async with session.get(url, params={"watch": "true"}) as response:
                chunks = [chunk async for chunk in response.content.iter_chunked(1000)]
    finally:
        await runner.cleanup()
    whole, bookmark, rest = b"".join(chunks).split(b"\n")
    assert json.loads(whole)["type"] == "ADDED"
    assert bookmark == lines[1]
    assert rest == lines[2], "a line that was cut off stays one"
