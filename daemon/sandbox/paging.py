"""Pages of newest-first lists with opaque cursors, as Django REST framework makes them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlencode

from .answers import Problem

T = TypeVar("T")


def page(
    items: Sequence[T], position: Callable[[T], str], *, size: int, cursor: str | None, url: str
) -> dict[str, Any]:
    """``{"next", "previous", "results"}`` of ``items`` (newest first; positions unique and descending).

    ``url`` is the list's own address, with any other query in it.
    """
    backwards, mark = _read(cursor)
    if mark is None:
        chosen = list(items[:size])
    elif backwards:
        chosen = [item for item in items if position(item) > mark][-size:]
    else:
        chosen = [item for item in items if position(item) < mark][:size]
    first, last = (position(chosen[0]), position(chosen[-1])) if chosen else (None, None)
    newer = first is not None and any(position(item) > first for item in items)
    older = last is not None and any(position(item) < last for item in items)
    return {
        "previous": _link(url, {"r": "1", "p": first}) if newer else None,
        "next": _link(url, {"p": last}) if older else None,
        "results": chosen,
    }


def _link(url: str, place: dict[str, str | None]) -> str:
    cursor = base64.b64encode(urlencode(place).encode()).decode()
    return f"{url}{'&' if '?' in url else '?'}{urlencode({'cursor': cursor})}"


def _read(cursor: str | None) -> tuple[bool, str | None]:
    if cursor is None:
        return False, None
    try:
        place = parse_qs(base64.b64decode(cursor, validate=True).decode())
        return "r" in place, place["p"][0]
    except (binascii.Error, ValueError, KeyError):
        raise Problem(404, detail="Invalid cursor", status=404) from None
