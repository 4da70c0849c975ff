"""Replicate's prediction object, read from the bytes of a webhook or an API answer.

Shapes: the API's OpenAPI schema (Prediction, Training). Replicate adds fields and statuses without notice, so
unknown keys are ignored here (the journal keeps the bytes) and only ``id`` and ``status`` must have the right type.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec


class _Wire(msgspec.Struct):
    id: str
    status: str
    model: Any = None
    version: Any = None
    input: msgspec.Raw = msgspec.Raw(b"null")
    output: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None
    logs: Any = None
    metrics: Any = None
    created_at: Any = None
    started_at: Any = None
    completed_at: Any = None
    data_removed: Any = None
    webhook: Any = None
    urls: Any = None


class Prediction(msgspec.Struct, frozen=True):
    """One prediction or training as the provider tells it at one moment.

    ``status`` is the provider's word (``starting``, ``processing``, ``succeeded``, ``failed``, ``canceled``,
    ``aborted``, or one we do not know). Times are unix seconds. ``output`` is the raw JSON, ``None`` where null.
    """

    id: str
    status: str
    model: str | None
    version: str | None
    output: bytes | None
    error: str | None
    logs: str
    predict_time: float | None  # seconds billed, from metrics
    created_at: float | None
    started_at: float | None
    completed_at: float | None
    data_removed: bool
    webhook: str | None  # the URL given at create, where the provider echoes it
    urls_get: str | None


_YEAR_10000 = 253_402_300_800.0  # unix seconds; beyond it, and before 1970, nothing can show it as a date
_SURROGATE = re.compile("[\ud800-\udfff]")
_decoder = msgspec.json.Decoder(_Wire)


def parse_prediction(body: bytes) -> Prediction | None:
    """Read a prediction object; ``None`` for anything else. Total: any bytes give an answer.

    An ``id`` is kept only where it could be one (1 to 200 characters, no control characters): it becomes a key.
    """
    wire = _decode(body) or _decode(_mended(body))
    if wire is None or not 1 <= len(wire.id) <= 200 or not wire.id.isprintable() or not wire.status:
        return None
    output = bytes(wire.output)
    metrics = wire.metrics if isinstance(wire.metrics, dict) else {}
    urls = wire.urls if isinstance(wire.urls, dict) else {}
    return Prediction(
        id=wire.id,
        status=wire.status,
        model=_text(wire.model),
        version=_text(wire.version),
        output=None if output == b"null" else output,
        error=_error_text(wire.error),
        logs=wire.logs if isinstance(wire.logs, str) else "",
        predict_time=_number(metrics.get("predict_time")),
        created_at=parse_time(wire.created_at),
        started_at=parse_time(wire.started_at),
        completed_at=parse_time(wire.completed_at),
        data_removed=wire.data_removed is True,
        webhook=_text(wire.webhook),
        urls_get=_text(urls.get("get")),
    )


def _decode(body: bytes) -> _Wire | None:
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return None


def _mended(body: bytes) -> bytes:
    """The same object in strict JSON, where it is only nearly that; else nothing.

    Python's writers put out NaN, and lone surrogates where a log was cut inside a character; others a byte order mark,
    or numbers that no float holds. A paid job's end must not go unrecognized for that.
    """
    text = body.decode("utf-8-sig", "replace")
    if not text.lstrip().startswith("{"):
        return b""
    try:
        loose = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return b""
    return _SURROGATE.sub("\ufffd", json.dumps(loose, ensure_ascii=False)).encode()


def parse_time(value: Any) -> float | None:
    """Unix seconds of an RFC 3339 text with 0 to 9 fractional digits; ``None`` where it is not one."""
    return _unix_seconds(value) if isinstance(value, str) else None


@lru_cache(maxsize=1024)  # the events of a job all repeat its times
def _unix_seconds(text: str) -> float | None:
    try:
        when = datetime.fromisoformat(text)
        seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < _YEAR_10000 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    except OverflowError:  # JSON knows no largest integer
        return None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _error_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
