"""What an API server answers comes without ``metadata.managedFields``, and is untouched otherwise."""

import json
from typing import Any

import aiohttp
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.kube.api_client import ApiAnswer
from spark_allocation.kube.bounded_responses import BoundedResponse
from spark_allocation.kube.managed_fields import without_managed_fields

MANAGED = [{"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {"f:phase": {}}}}]
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.just("managedFields")  # fmt: skip
values = st.recursive(
    plain,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("managedFields"), inner),
    max_leaves=12,
)
metadata = st.dictionaries(st.text().filter(lambda name: name != "managedFields"), values)
objects = st.fixed_dictionaries(
    {"kind": st.just("Pod"), "metadata": metadata}, optional={"spec": values, "status": values}
)


def managed(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "metadata": {"managedFields": MANAGED, **found["metadata"]}}


def leaner(found: object) -> Any:
    return json.loads(without_managed_fields(json.dumps(found).encode()))


@given(objects)
def test_an_object_comes_without_it_and_is_the_same_otherwise(found: dict[str, Any]) -> None:
    assert leaner(managed(found)) == leaner(found) == found


@given(st.lists(objects, max_size=4))
def test_so_does_a_list(found: list[dict[str, Any]]) -> None:
    head = {"kind": "PodList", "metadata": {"resourceVersion": "7", "continue": "x"}}
    assert leaner({**head, "items": [managed(each) for each in found]}) == {**head, "items": found}


@given(objects)
def test_so_does_a_change_of_a_watch(found: dict[str, Any]) -> None:
    assert leaner({"type": "ADDED", "object": managed(found)}) == {"type": "ADDED", "object": found}


@given(values)
def test_what_somebody_else_calls_so_stays(found: Any) -> None:
    spec = {"spec": {"template": {"metadata": {"managedFields": found}}}, "managedFields": 1}
    assert leaner(spec) == spec


@given(st.binary(max_size=60))
def test_what_is_no_object_of_an_api_is_handed_through(text: bytes) -> None:
    for whole in (text, b'"managedFields"' + text, b'{"metadata":["managedFields"]}' + text):
        assert without_managed_fields(whole) == whole


def test_numbers_stay_as_they_are_written() -> None:
    text = b'{"metadata":{"managedFields":[]},"spec":{"a":1.50,"b":123456789012345678901234567890}}'
    assert without_managed_fields(text).endswith(b'"a":1.50,"b":123456789012345678901234567890}}')


def test_an_answer_is_read_without_it() -> None:
    found = {"kind": "Pod", "metadata": {"name": "driver"}}
    assert ApiAnswer(200, json.dumps(managed(found)).encode()).json() == found


async def test_lists_and_watches_of_a_session_are_read_without_it() -> None:
    pod = {"kind": "Pod", "metadata": {"name": "driver"}}

    async def answer(request: web.Request) -> web.Response:
        change = {"type": "ADDED", "object": managed(pod)}
        told = change if "watch" in request.query else {"items": [managed(pod)]}
        return web.json_response(text=json.dumps(told) + "\n")

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        async with aiohttp.ClientSession(response_class=BoundedResponse) as session:
            async with session.get(url) as listed:
                assert await listed.json() == {"items": [pod]}
            async with session.get(url, params={"watch": "true"}) as watched:
                lines = [line async for line in watched.content.iter_chunked(1024)]
    finally:
        await runner.cleanup()
    assert [json.loads(line) for line in lines] == [{"type": "ADDED", "object": pod}]
