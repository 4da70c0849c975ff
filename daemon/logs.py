"""Structured logs on standard error: one JSON object a line, or readable lines on a terminal. Secrets never pass."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog

_SECRET_KEY = re.compile(r"token|secret|password|authorization|cookie|api_key|access_key", re.IGNORECASE)
# Secrets are recognised by their own shape too: they also sit inside messages and tracebacks.
_SECRET_VALUE = re.compile(
    r"(?P<kind>\br8_|\bwhsec_|\bhf_)[A-Za-z0-9+/=_-]{6,}"
    r"|(?P<bearer>\b(?:Bearer|Token)\s+)[A-Za-z0-9._~+/=-]{6,}"
    r"|(?P<url>\b[a-z][a-z0-9+]*://[^\s:/@]*:)[^\s@/]+(?=@)"
)


# Of the request that is being answered; every line that is logged meanwhile carries it. A variable of our own, since
# structlog's cost a webhook ten times as much.
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)


def configure_logging(log_format: str, level: int = logging.INFO) -> None:
    """Set up structlog and the standard library's logging (aiohttp, DBOS, boto3 …) to write the same lines."""
    console = for_people(log_format)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: Any = (
        # Not structlog's default, which shows the variables of every frame: tokens are among them.
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer(default=str)
    )
    render = [structlog.processors.format_exc_info, redact, renderer]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def for_people(log_format: str) -> bool:
    """Whether lines are to be read by people rather than by programs."""
    return log_format == "console" or (log_format == "auto" and sys.stderr.isatty())


def add_request_id(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Name the request that a line belongs to."""
    request_id = REQUEST_ID.get()
    if request_id is not None:
        event.setdefault("request_id", request_id)
    return event


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace what looks like a secret, by its key or by its own shape, at any depth."""
    for key, value in event.items():
        event[key] = _redacted(key, value)
    return event


def _redacted(key: str, value: Any) -> Any:
    if isinstance(value, str):
        return "[redacted]" if _SECRET_KEY.search(key) and value else redact_text(value)
    if isinstance(value, dict):
        return {inner: _redacted(str(inner), item) for inner, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(key, item) for item in value]
    return value


def redact_text(text: str) -> str:
    """``text`` with tokens, webhook secrets, bearer headers and passwords in URLs replaced."""
    return _SECRET_VALUE.sub(lambda found: "".join(filter(None, found.groups())) + "[redacted]", text)
