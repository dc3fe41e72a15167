"""Which PromQL queries are asked, and what of an answer counts. A real server: test_promql_with_prometheus.py."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.prometheus_world import prometheus_serving

from spark_allocation.sources import promql
from spark_allocation.sources.driver_requests import open_driver_session
from spark_allocation.sources.promql import (
    LARGEST_ANSWER_BYTES,
    BacklogFault,
    PrometheusQueries,
    PrometheusServer,
    UnknownBacklog,
)
from spark_allocation.sources.promql_selectors import LONGEST_QUERY, query_problem, selectors_of

OWN = {"namespace": "jobs"}

ALLOWED = [
    'kafka_lag{namespace="jobs"}',
    'sum(kafka_lag{namespace="jobs",topic="orders"})',
    "sum by (topic) (kafka_lag{namespace='jobs'})",
    "sum(kafka_lag{namespace=`jobs`}) without (pod)",
    'kafka_lag{namespace="jobs", namespace=~".*"}',
    '{__name__="kafka_lag", namespace="jobs"}',
    '{"kafka.lag", "namespace"="jobs"}',
    'max_over_time(kafka_lag{namespace="jobs"}[5m])',
    'max_over_time(sum(kafka_lag{namespace="jobs"})[1h30m:5m])',
    'rate(rows_total{namespace="jobs"}[5m] offset -1h) * 60 - rows_total{namespace="jobs"} @ end()',
    'a{namespace="jobs"} - on (topic) group_left (pod) b{namespace="jobs"}',
    'a{namespace="jobs"} > bool 3 or vector(0)',
    'a{namespace="jobs"} or b{namespace="jobs"} unless c{namespace="jobs"}',
    'quantile(0.9, lag{namespace="jobs"}) + -0x1F + 1e3 + .5 + Inf',
    'label_replace(lag{namespace="jobs"}, "x", "$1", "pod", "(.*)")',
    'ns:lag:sum{namespace="jobs",}',
    'topk(3, lag{namespace="jobs"})',
    'sum{namespace="jobs"} + by{namespace="jobs"}',
    "vector(1)",
    "time()",
]

ESCAPES = [
    "kafka_lag",
    'kafka_lag{topic="orders"}',
    'kafka_lag{namespace="others"}',
    'kafka_lag{namespace=~"jobs"}',
    'kafka_lag{namespace!="jobs"}',
    'kafka_lag{namespace=~"jobs|others"}',
    'kafka_lag{namespace="jobs"} or kafka_lag',
    'kafka_lag{namespace="jobs"} OR kafka_lag{namespace="others"}',
    'sum(kafka_lag{namespace="jobs"} + secret)',
    'sum by (namespace) (secret) * 0 + sum(kafka_lag{namespace="jobs"})',
    'kafka_lag{namespace="jobs"} - on (namespace) group_left secret',
    'kafka_lag{namespace="jobs"} and on () secret',
    '{__name__=~".+"}',
    '{"secret"}',
    'max_over_time(secret[5m:1m]) + kafka_lag{namespace="jobs"}',
    'absent(secret) * kafka_lag{namespace="jobs"}',
    'vector(scalar(secret)) + kafka_lag{namespace="jobs"}',
    'by + kafka_lag{namespace="jobs"}',
    'kafka_lag{namespace="jobs"} + sum',
    'kafka_lag{namespace="jobs"} + bool + 1',
    'kafka_lag{label="namespace=\\"jobs\\""}',
    "kafka_lag{x='namespace=\"jobs\"'}",
    'kafka_lag{namespace="\\u006aobs"}',
    'kafka_lag{Namespace="jobs"}',
    'secret # {namespace="jobs"}',
    'secret #\n{namespace="jobs"}',
    'secret{namespace="others" or namespace="jobs"}',
    'info(kafka_lag{namespace="jobs"})',
    'WITH (x = {namespace="others"}) sum(x{namespace="jobs"})',
]

NO_PROMQL = [
    "",
    "(",
    ")",
    'lag{namespace="jobs"',
    'lag{namespace="jobs}',
    'lag{namespace="jobs"}}',
    'lag{namespace="jobs"} lag{namespace="jobs"}',
    'lag{namespace="jobs"}[5m',
    'lag{namespace="jobs"}[-5m]',
    'lag{namespace="jobs"} offset',
    'lag{namespace="jobs"} @ soon',
    "5mfoo",
    "sum by topic (x)",
    "topk(3, x,)",
    'lag{name:space="jobs"}',
    'lag{namespace="jobs"} * on topic x',
    "a; drop table",
    'lag\u00a0{namespace="jobs"}',
    "(" * 10_000,
    "(" * 100 + "1" + ")" * 100,
    "1" + "+1" * LONGEST_QUERY,
]


@pytest.mark.parametrize("query", ALLOWED)
def test_a_query_in_which_every_selector_has_the_matcher_is_asked(query: str) -> None:
    assert query_problem(query, OWN) == ""


@pytest.mark.parametrize("query", ESCAPES)
def test_a_query_that_reads_other_series_is_refused(query: str) -> None:
    assert query_problem(query, OWN)


@pytest.mark.parametrize("query", NO_PROMQL)
def test_what_is_no_promql_is_refused_whatever_is_demanded(query: str) -> None:
    assert query_problem(query, {})


def test_the_refusal_names_the_selector_and_the_matcher() -> None:
    problem = query_problem('lag{namespace="jobs"} or secret{topic="x"}', OWN)

    assert "selector secret" in problem
    assert 'namespace="jobs"' in problem


def test_without_a_demand_any_promql_is_asked() -> None:
    assert query_problem("sum(lag)", {}) == ""


_LABELS = st.sampled_from(["topic", "pod", "namespace"])
_SELECTOR = st.builds(
    lambda name, value: f'{name}{{namespace="{value}"}}' if value else name,
    st.sampled_from(["lag", "sum", "by", "offset", "ns:lag"]),
    st.sampled_from(["jobs", "others", ""]),
)
_QUERY = st.recursive(
    _SELECTOR,
    lambda inner: st.one_of(
        st.builds("({})".format, inner),
        st.builds("sum by (topic) ({})".format, inner),
        st.builds("abs({})".format, inner),
        st.builds("max_over_time(({})[5m:1m])".format, inner),
        st.builds("{} or on (topic) {}".format, inner, inner),
        st.builds("{} >= bool {}".format, inner, inner),
        st.builds("label_replace({}, 'a', '$1', 'b', 'x{{}}')".format, inner),
    ),
    max_leaves=6,
)  # fmt: skip


@given(_QUERY)
def test_every_selector_is_found_wherever_it_stands(query: str) -> None:
    """The generator knows what it wrote: no selector is lost, and none without the matcher gets through."""
    written = sum(query.count(f"{name}{{") for name in ("lag", "sum", "by", "offset"))
    bare = query_problem(query, {}) == "" and any(
        not selector.demands("namespace", "jobs") for selector in selectors_of(query)
    )

    assert len(selectors_of(query)) >= written
    assert bool(query_problem(query, OWN)) == bare


@given(st.text(max_size=60) | st.text("{}()\"'`=~!,abyon or[]5m:#\\", max_size=40))
def test_any_text_has_an_answer(text: str) -> None:
    query_problem(text, OWN)


# -- what a server answers -----------------------------------------------------------------------------------------------

QUERY = 'sum(lag{namespace="jobs"})'
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers on the loopback what a test says."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.body: object = {}
        self.handler: Handler | None = None
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.forms.append({key: str(value) for key, value in (await request.post()).items()})
        if self.handler is not None:
            return await self.handler(request)
        return web.json_response(self.body)

    def vector(self, *values: str) -> None:
        result = [{"metric": {}, "value": [1_795_268_150.5, value]} for value in values]
        self.body = {"status": "success", "data": {"resultType": "vector", "result": result}}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    async with prometheus_serving(made.answer, prefix="/prom") as made.url:
        yield made


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_driver_session() as opened:
        yield opened


async def ask(server: Server, session: aiohttp.ClientSession, query: str = QUERY) -> object:
    named = PrometheusServer("metrics", server.url, {"namespace": None})
    answer = await PrometheusQueries(session).rows(named, query, "jobs")
    return answer.fault if isinstance(answer, UnknownBacklog) else answer


async def test_the_one_number_is_the_backlog(
    server: Server, session: aiohttp.ClientSession
) -> None:
    server.vector("1234")

    assert await ask(server, session) == 1234.0
    assert server.forms == [{"query": QUERY, "timeout": "5s"}]


async def test_a_scalar_is_a_number_too(server: Server, session: aiohttp.ClientSession) -> None:
    server.body = {"status": "success", "data": {"resultType": "scalar", "result": [1.5, "7"]}}

    assert await ask(server, session) == 7.0


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ((), BacklogFault.NO_SERIES),
        (("1", "2"), BacklogFault.SEVERAL_SERIES),
        (("NaN",), BacklogFault.NOT_A_COUNT),
        (("-1",), BacklogFault.NOT_A_COUNT),
        (("+Inf",), BacklogFault.NOT_A_COUNT),
        (("many",), BacklogFault.BAD_ANSWER),
    ],
)
async def test_what_is_no_count_of_rows_is_told(
    server: Server, session: aiohttp.ClientSession, values: tuple[str, ...], fault: BacklogFault
) -> None:
    server.vector(*values)

    assert await ask(server, session) is fault


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "text",
        {"status": "error", "errorType": "bad_data", "error": "parse error"},
        {"status": "success", "data": {"resultType": "matrix", "result": []}},
        {"status": "success", "data": {"resultType": "vector", "result": {}}},
        {"status": "success", "data": {"resultType": "vector", "result": [{"histogram": [1, {}]}]}},
        {"status": "success", "data": {"resultType": "scalar", "result": [1]}},
    ],
)
async def test_what_is_no_answer_of_prometheus_is_told(
    server: Server, session: aiohttp.ClientSession, body: object
) -> None:
    server.body = body

    assert await ask(server, session) is BacklogFault.BAD_ANSWER


async def test_a_redirect_is_not_followed(server: Server, session: aiohttp.ClientSession) -> None:
    async def elsewhere(request: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect(f"{server.url}/api/v1/query")

    server.handler = elsewhere

    assert await ask(server, session) is BacklogFault.BAD_ANSWER
    assert len(server.forms) == 1


async def test_an_answer_without_end_is_cut(server: Server, session: aiohttp.ClientSession) -> None:
    async def much(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b" " * (LARGEST_ANSWER_BYTES + 2))

    server.handler = much

    assert await ask(server, session) is BacklogFault.BAD_ANSWER


async def test_the_words_of_an_error_are_told_in_part(
    server: Server, session: aiohttp.ClientSession
) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=422, text=json.dumps({"status": "error", "error": "too slow\x00" * 99})
        )

    server.handler = refuse
    named = PrometheusServer("metrics", server.url)

    answer = await PrometheusQueries(session).rows(named, QUERY, "jobs")

    assert isinstance(answer, UnknownBacklog)
    assert answer.message.startswith("Prometheus metrics answered 422: too slow ")
    assert len(answer.message) < 300
    assert "\x00" not in answer.message


async def test_a_server_that_is_slow_or_gone_is_told(
    server: Server, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    monkeypatch.setattr(promql, "REQUEST_TIMEOUT_SECONDS", 0.2)
    server.handler = slow
    assert await ask(server, session) is BacklogFault.NO_ANSWER

    server.url = "http://127.0.0.1:1"
    assert await ask(server, session) is BacklogFault.NO_ANSWER


async def test_a_refused_query_never_leaves_the_operator(
    server: Server, session: aiohttp.ClientSession
) -> None:
    assert await ask(server, session, "sum(lag)") is BacklogFault.QUERY_REFUSED
    assert server.forms == []


async def test_an_access_that_is_not_there_or_goes_without_tls_is_not_used(
    server: Server, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "token").write_text("secret")
    for access, told in (("missing", "no access 'missing'"), ("given", "TLS only")):
        named = PrometheusServer("metrics", server.url, access=access)

        answer = await PrometheusQueries(session, tmp_path).rows(named, QUERY, "jobs")

        assert isinstance(answer, UnknownBacklog)
        assert (answer.fault, told in answer.message) == (BacklogFault.NO_ACCESS, True)
    assert server.forms == []
