"""JSON from outside that need not be any."""

from __future__ import annotations

from typing import Any

import msgspec

UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)  # all that ``msgspec.json.decode`` raises


def value(text: bytes | str, default: Any = None) -> Any:
    """What ``text`` says, or ``default`` where it is not JSON, or is nested deeper than can be read. Total."""
    try:
        return msgspec.json.decode(text)
    except UNREADABLE:
        return default


def object_(text: bytes | str) -> dict[str, Any]:
    """The same for an object; anything else is an empty one."""
    found = value(text)
    return found if isinstance(found, dict) else {}
