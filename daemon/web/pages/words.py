"""Numbers as people read them. Each takes ``None`` and gives a dash for it."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

NONE = "\N{EN DASH}"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400  # seconds


def size(count: int | None) -> str:
    """``1.4 MiB``."""
    if count is None:
        return NONE
    value = float(count)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def duration(seconds: float | None) -> str:
    """``2 h 05 min``, ``3 min 20 s``, ``8 s``: the two largest units."""
    if seconds is None:
        return NONE
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def usd(amount: float | None) -> str:
    """``$2.41``; below a cent, which is still more than nothing, ``<$0.01``."""
    if amount is None:
        return NONE
    return "<$0.01" if 0 < amount < 0.01 else f"${amount:,.2f}"


def number(count: float | None) -> str:
    """``10,000``."""
    return NONE if count is None else f"{count:,}"


def short(text: str | None, characters: int = 12) -> str:
    """The beginning of an id or hash."""
    if text is None:
        return NONE
    return text if len(text) <= characters + 1 else f"{text[:characters]}…"


def code(text: str) -> Markup:
    """``text`` with what stands in backticks as code; everything else stays text."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped just before
