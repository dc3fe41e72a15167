"""Which series a PromQL query may read: every selector in it has to carry the matchers that a policy demands.

Theory of operation
-------------------
A query is a tenant's text, and the server that it goes to may hold everybody's series. Adding a matcher to a text is
easy to escape (``or``, a second selector in an argument, a comment), so nothing is added. The query is parsed, and every
vector selector in it, wherever it stands, has to have an equality matcher with the demanded value. What the parser does
not know is refused: PromQL of a later Prometheus, dialects (``or`` within braces, ``WITH``), comments, functions that
read series which no selector names (``info``).

Keywords are operators only where PromQL expects one; elsewhere an identifier is the name of a metric, as in PromQL
itself, where a metric may be called ``sum`` or ``by``.

Source: ``promql/parser/{lex.go,generated_parser.y,functions.go}`` of Prometheus 2.42 to 3.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

LONGEST_QUERY = 2048
DEEPEST = 40

_AGGREGATIONS = frozenset(
    {
        *("sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk"),
        *("count_values", "quantile", "limitk", "limit_ratio"),
    }
)
_FUNCTIONS = frozenset(
    {
        *("abs", "ceil", "clamp", "clamp_max", "clamp_min", "exp", "floor", "ln", "log10", "log2"),
        *("round", "sgn", "sqrt", "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh"),
        *("sin", "sinh", "tan", "tanh", "deg", "rad", "pi", "absent", "scalar", "vector", "time"),
        *("timestamp", "day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour"),
        *("minute", "month", "year", "changes", "delta", "deriv", "idelta", "increase", "irate"),
        *("rate", "resets", "predict_linear", "holt_winters", "double_exponential_smoothing"),
        *("label_join", "label_replace", "sort", "sort_desc", "sort_by_label"),
        *("sort_by_label_desc", "histogram_avg", "histogram_count", "histogram_fraction"),
        *("histogram_quantile", "histogram_stddev", "histogram_stdvar", "histogram_sum"),
        *("absent_over_time", "avg_over_time", "count_over_time", "first_over_time"),
        *("last_over_time", "mad_over_time", "max_over_time", "min_over_time"),
        *("present_over_time", "quantile_over_time", "stddev_over_time", "stdvar_over_time"),
        *("sum_over_time", "ts_of_first_over_time", "ts_of_last_over_time"),
        *("ts_of_max_over_time", "ts_of_min_over_time"),
    }
)
_NO_METRIC = frozenset({"bool", "on", "ignoring", "group_left", "group_right"})
"""Words that no metric can be called by (``metric_identifier`` of the grammar)."""
_COMPARISONS = frozenset({"==", "!=", ">=", "<=", ">", "<"})
_SIGNS = frozenset({"+", "-", "*", "/", "%", "^", "==", "!=", ">=", "<=", ">", "<"})
_WORDS = frozenset({"and", "or", "unless", "atan2"})
_MATCHES = frozenset({"=", "!=", "=~", "!~"})

_DURATION = r"[0-9]+(?:ms|[smhdwy])(?:[0-9]+(?:ms|[smhdwy]))*"
_NUMBER = r"(?:0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
_TOKEN = re.compile(
    rf"""
    (?P<space>[ \t\r\n]+)
  | (?P<range>\[[ \t\r\n]*(?:{_DURATION}|{_NUMBER})[ \t\r\n]*(?::[ \t\r\n]*(?:(?:{_DURATION}|{_NUMBER})[ \t\r\n]*)?)?\])
  | (?P<number>(?:{_DURATION}|{_NUMBER})(?![A-Za-z0-9_:.]))
  | (?P<word>[A-Za-z_:][A-Za-z0-9_:]*)
  | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
  | (?P<sign>==|!=|>=|<=|=~|!~|[-+*/%^<>=(){{}},@])
    """,
    re.VERBOSE,
)


class _Refused(Exception):  # noqa: N818
    pass


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.lower() in words

    def is_sign(self, *signs: str) -> bool:
        return self.kind == "sign" and self.text in signs


_END = _Token("end", "")


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition of a selector; ``value`` None when the text of it has escapes, which nobody here resolves."""

    label: str
    operator: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Selector:
    """A vector selector: the name of a metric, "" when only braces are there, and its matchers."""

    metric: str
    matchers: tuple[Matcher, ...]

    def demands(self, label: str, value: str) -> bool:
        """Only series with this value of the label are selected."""
        return Matcher(label, "=", value) in self.matchers

    def __str__(self) -> str:
        return f"{self.metric or '{…}'}"[:80]


def query_problem(query: str, required: Mapping[str, str]) -> str:
    """Why a query is not asked, in a sentence; "" when it may be.

    Args:
        required: label -> value that every selector has to demand.
    """
    try:
        selectors = selectors_of(query)
    except ValueError as error:
        return str(error)
    for selector in selectors:
        for label, value in required.items():
            if not selector.demands(label, value):
                return (
                    f'selector {selector} lacks the matcher {label}="{value}", which the cluster policy demands of every '
                    "selector of a query"
                )
    return ""


def selectors_of(query: str) -> tuple[Selector, ...]:
    """All vector selectors of a query, in order.

    Raises:
        ValueError: with a sentence, for what is no PromQL or PromQL that is not known here.
    """
    if len(query) > LONGEST_QUERY:
        raise ValueError(f"the query is longer than {LONGEST_QUERY} characters")
    try:
        return _Parser(_tokens(query)).selectors()
    except _Refused as error:
        raise ValueError(f"the query cannot be read: {error}") from None


def _tokens(query: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(query):
        match = _TOKEN.match(query, at)
        if match is None:
            what = "comments are not" if query[at] == "#" else "that is not"
            raise _Refused(f"{what} understood: {query[at : at + 20]!r}")
        at = match.end()
        if match.lastgroup != "space":
            found.append(_Token(str(match.lastgroup), match.group()))
    return found


class _Parser:
    """One pass over the tokens; precedence does not matter for what is selected."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._found: list[Selector] = []

    def selectors(self) -> tuple[Selector, ...]:
        self._expression()
        if self._next is not _END:
            raise _Refused(f"{self._next.text!r} was not expected")
        return tuple(self._found)

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else _END

    @property
    def _after_next(self) -> _Token:
        return self._tokens[self._at + 1] if self._at + 1 < len(self._tokens) else _END

    def _take(self) -> _Token:
        token = self._next
        self._at += 1
        return token

    def _demand(self, sign: str) -> None:
        token = self._take()
        if not token.is_sign(sign):
            raise _Refused(f"{sign!r} was expected where {token.text or 'the end'!r} is")

    def _expression(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise _Refused(f"it is nested deeper than {DEEPEST}")
        self._operand()
        while self._next.is_sign(*_SIGNS) or self._next.is_word(*_WORDS):
            self._matching(self._take())
            self._operand()
        self._depth -= 1

    def _matching(self, operator: _Token) -> None:
        """``bool``, ``on (…)``, ``group_left (…)`` behind an operator."""
        if operator.is_sign(*_COMPARISONS) and self._next.is_word("bool"):
            self._take()
        if self._next.is_word("on", "ignoring"):
            self._take()
            self._labels()
            if self._next.is_word("group_left", "group_right"):
                self._take()
                if self._next.is_sign("("):
                    self._labels()

    def _operand(self) -> None:
        while self._next.is_sign("+", "-"):
            self._take()
        self._primary()
        while True:
            if self._next.kind == "range":
                self._take()
            elif self._next.is_word("offset"):
                self._take()
                self._signed_number()
            elif self._next.is_sign("@"):
                self._take()
                self._moment()
            else:
                return

    def _moment(self) -> None:
        if self._next.is_word("start", "end"):
            self._take()
            self._demand("(")
            self._demand(")")
        else:
            self._signed_number()

    def _signed_number(self) -> None:
        if self._next.is_sign("+", "-"):
            self._take()
        token = self._take()
        if token.kind != "number":
            raise _Refused(f"a number was expected where {token.text or 'the end'!r} is")

    def _primary(self) -> None:
        token = self._take()
        if token.kind in ("number", "text"):
            return
        if token.is_sign("("):
            self._expression()
            self._demand(")")
        elif token.is_sign("{"):
            self._found.append(Selector("", self._matchers()))
        elif token.kind == "word":
            self._named(token)
        else:
            raise _Refused(f"{token.text or 'the end'!r} was not expected")

    def _named(self, token: _Token) -> None:
        name = token.text
        if name.lower() in _NO_METRIC:
            raise _Refused(f"{name!r} was not expected")
        grouped = self._next.is_word("by", "without") and self._after_next.is_sign("(")
        if name.lower() in _AGGREGATIONS and (grouped or self._next.is_sign("(")):
            self._grouping()
            self._arguments()
            self._grouping()
        elif self._next.is_sign("("):
            if name not in _FUNCTIONS:
                raise _Refused(f"{name[:80]} is no function that is known here")
            self._arguments()
        elif self._next.is_sign("{"):
            self._take()
            self._found.append(Selector(name, self._matchers()))
        elif name.lower() not in ("inf", "nan"):
            self._found.append(Selector(name, ()))

    def _grouping(self) -> None:
        if self._next.is_word("by", "without"):
            self._take()
            self._labels()

    def _arguments(self) -> None:
        self._demand("(")
        if not self._next.is_sign(")"):
            self._expression()
            while self._next.is_sign(","):
                self._take()
                self._expression()
        self._demand(")")

    def _labels(self) -> None:
        self._demand("(")
        while not self._next.is_sign(")"):
            token = self._take()
            if token.kind not in ("word", "text"):
                raise _Refused(f"a label was expected where {token.text or 'the end'!r} is")
            if not self._next.is_sign(","):
                break
            self._take()
        self._demand(")")

    def _matchers(self) -> tuple[Matcher, ...]:
        """Up to the closing brace; the opening one is taken."""
        found: list[Matcher] = []
        while not self._next.is_sign("}"):
            found.append(self._matcher())
            if not self._next.is_sign(","):
                break
            self._take()
        self._demand("}")
        return tuple(found)

    def _matcher(self) -> Matcher:
        label = self._take()
        if label.kind == "text" and not self._next.is_sign(*_MATCHES):
            return Matcher("__name__", "=", _plain(label.text))
        operator, value = self._take(), self._take()
        named = label.text if label.kind == "word" else _plain(label.text)
        if label.kind not in ("word", "text") or named is None or ":" in named:
            raise _Refused(f"{label.text[:80]!r} is no label")
        if not operator.is_sign(*_MATCHES) or value.kind != "text":
            raise _Refused(f"label {named[:80]} has no comparison with a text")
        return Matcher(named, operator.text, _plain(value.text))


def _plain(text: str) -> str | None:
    """What stands between quotes; None when it has escapes."""
    inner = text[1:-1]
    return None if "\\" in inner and not text.startswith("`") else inner
