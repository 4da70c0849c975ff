"""Text that both stores take."""

from __future__ import annotations


def storable(text: str) -> str:
    """``text`` with what a database refuses written out: NUL (PostgreSQL) and lone surrogates (both).

    Bodies never come through here: they are bytes and stay what they are.
    """
    if "\x00" in text:
        text = text.replace("\x00", "\\x00")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def storable_or_none(text: str | None) -> str | None:
    return None if text is None else storable(text)
