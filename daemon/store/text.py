"""Text that both stores take."""

from __future__ import annotations

import hashlib

KEY_CHARS = 500  # no real id comes near it; at four bytes each they fit into an index


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


def storable_key(text: str) -> str:
    """``text`` for a unique column. PostgreSQL's index takes 2,700 bytes; a longer one ends in its own digest."""
    key = storable(text)
    if len(key) <= KEY_CHARS:
        return key
    return f"{key[: KEY_CHARS - 33]}#{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"


def storable_or_none(text: str | None) -> str | None:
    return None if text is None else storable(text)


def id_as_sent(key: str, sent: bytes | None) -> str:
    """The text of a ``webhook-id`` header: the event's key, unless that is only made from it."""
    return key if sent is None else sent.decode("utf-8", "surrogateescape")
