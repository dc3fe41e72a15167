"""One stream of log lines: structlog for ours, the same renderer for kopf's and aiohttp's.

Lines are data: an event name that does not change and keys for the values. Where Spark has a sentence for the same
moment, the line carries it in ``message``, so that a search that finds it in a driver's log finds it here.
"""

import logging
import sys
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

from spark_allocation.controller.hidden_values import event_without_hidden

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logging(*, log_format: str, log_level: str) -> None:
    """Set up structlog and the standard library's logging, once a process."""
    level = _LEVELS[log_level]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        event_without_hidden,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(serializer=_json)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                *shared[:1],
                structlog.stdlib.add_log_level,
                _logger_name,
                *shared[2:],
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.INFO))
    # kopf tells of every object and watch at INFO; what it does for us is told by our own lines
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def _logger_name(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    if record is not None:
        event["logger"] = record.name
    return event


def _json(event: Any, default: Any, **_: Any) -> str:
    return orjson.dumps(event, default=default, option=orjson.OPT_NON_STR_KEYS).decode()
