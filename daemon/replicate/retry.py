"""When to ask Replicate again, and what its refusals say. No I/O: bytes and headers in, seconds and words out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import msgspec

from ..core import lenient_json
from ..core.prediction import parse_time

# Longest wait a throttled answer can plausibly mean; anything beyond is an error or an attack. Seconds.
_SANEST_WAIT = 86_400.0
_MOST_AHEAD = 86_400.0  # seconds; more is no clock that is off: nothing that checks certificates would work
_DETAIL_CHARS = 600  # of the provider's words; enough for its validation messages, short enough for one log line
_TOKEN = re.compile(r"\br8_[A-Za-z0-9_-]+")
_TILDE_SECONDS = re.compile(r"~\s*(\d{1,6}(?:\.\d{1,6})?)\s*s\b")
_HTML_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often one call is tried and how long it waits in between. Seconds."""

    attempts: int = 5
    first: float = 0.5  # doubles with each attempt: 0.5, 1, 2, 4
    longest: float = 30.0  # of our own backoff
    obey: float = 60.0  # the longest wait that an answer's own "when" is followed; beyond it the caller hears of it


NO_RETRY = RetryPolicy(attempts=1)


def backoff(policy: RetryPolicy, attempt: int, jitter: float) -> float:
    """Seconds before attempt ``attempt + 1`` (counted from 1); ``jitter`` is 0 to 1 and spreads the upper half."""
    whole = min(policy.longest, policy.first * 2.0 ** (attempt - 1))
    return whole / 2 + whole / 2 * jitter


def retry_after(headers: Mapping[str, str], body: bytes, now: float) -> float | None:
    """Seconds to wait as a throttled answer says: body number, header (seconds or HTTP date), ``~30s`` in the text.

    ``None`` where it says nothing that can be read. In this order, as the newer answers are the more exact ones.
    """
    problem = lenient_json.value(body)
    said = problem.get("retry_after") if isinstance(problem, dict) else None
    if isinstance(said, (int, float)) and not isinstance(said, bool):
        return _sane(float(said))
    header = headers.get("Retry-After", "").strip()
    if header:
        seconds = _header_seconds(header, now)
        if seconds is not None:
            return _sane(seconds)
    detail = problem.get("detail") if isinstance(problem, dict) else None
    found = _TILDE_SECONDS.search(detail if isinstance(detail, str) else body[:4096].decode("utf-8", "replace"))
    return _sane(float(found[1])) if found else None


def _header_seconds(header: str, now: float) -> float | None:
    try:
        return float(header)
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(header)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        pass
    moment = parse_time(header)  # the provider's own client reads ISO dates here too
    return None if moment is None else moment - now


def clock_ahead(headers: Mapping[str, str], now: float) -> float:
    """Seconds, 0 to a day, by which ``now`` is ahead of an answer's own time; 0 where that is not told.

    What comes out of a cache has the time of its making, and its ``Age`` since then.
    """
    try:
        when = parsedate_to_datetime(headers.get("Date", ""))
        told = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() + int(headers.get("Age", "0"))
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, now - told), _MOST_AHEAD)


def _sane(seconds: float) -> float | None:
    if seconds != seconds or seconds > _SANEST_WAIT:  # noqa: PLR0124 - NaN is the one value unequal to itself
        return None
    return max(0.0, seconds)


def provider_words(status: int, body: bytes) -> str:
    """What an error answer says, in one line without secrets: problem+json, other JSON, HTML, text or nothing."""
    said = _words(body) or _reason(status)
    line = " ".join(_TOKEN.sub("r8_…", said).split())
    return line if len(line) <= _DETAIL_CHARS else line[: _DETAIL_CHARS - 1] + "…"


def _words(body: bytes) -> str:
    problem = lenient_json.value(body)
    if isinstance(problem, dict):
        title, detail = problem.get("title"), problem.get("detail")
        parts = [part.strip() for part in (title, detail) if isinstance(part, str) and part.strip()]
        if parts:
            return ": ".join(parts)
        other = problem.get("error") or problem.get("message") or detail
        return other if isinstance(other, str) else msgspec.json.encode(problem).decode()
    if isinstance(problem, str):
        return problem
    text = body[:65_536].decode("utf-8", "replace")
    title_tag = _HTML_TITLE.search(text)
    if title_tag:
        return title_tag[1]
    return "" if text.lstrip().startswith("<") else text


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP status {status}"
