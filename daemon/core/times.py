"""Moments as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(seconds: float | None) -> str | None:
    """Unix seconds as ``2026-01-05T10:00:00.000Z``; ``None`` for none, and for what no calendar holds."""
    if seconds is None:
        return None
    try:
        when = _EPOCH + timedelta(milliseconds=round(seconds * 1000))
    except (OverflowError, ValueError):
        return None
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
