"""Logging: one JSON object a line on standard error, or plain lines where a person reads them.

What may be logged is everybody's duty; how is set here once.
"""

from __future__ import annotations

import logging
import sys

import structlog

OURS = ("server", "pipeline", "storage", "benchmarks")


def configure(level: str, *, plain: bool = False) -> None:
    """Send structlog's and the standard library's lines one way. JSON escapes what could forge a line.

    `plain` is for a terminal: time, level, event and the rest as key=value, escaped as well.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_trace,
                _line if plain else structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries tell of every connection, and a database's driver of every value: what people said, their numbers.
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    for ours in OURS:
        logging.getLogger(ours).setLevel(level.upper())


def _without_trace(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Of an exception only its kind: its text and its frames may hold what people said or a key."""
    info = event.pop("exc_info", None)
    if info is True:  # what `log.exception` says of the error being handled
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["kind"] = type(error).__name__
    event.pop("stack_info", None)
    return event


def _line(_logger: object, _name: str, event: structlog.typing.EventDict) -> str:
    at, level, what = (str(event.pop(key, "")) for key in ("timestamp", "level", "event"))
    event.pop("logger", None)
    line = " ".join([at[11:19], level, what, *(f"{key}={value}" for key, value in event.items())])
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
