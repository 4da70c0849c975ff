"""The address of a receiver, as ``trigger`` and ``events replay`` take it."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from ..parsing import WEBHOOK_PATH
from .exits import Usage


def receiver_url(url: str, command: str) -> str:
    """``url`` with the receiver's path where it has none; ``Usage`` in the name of ``command`` if it is not a URL."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise Usage(f"{command}: {url!r} is not a URL; http://HOST:PORT or https://… is expected.")
    return url if parts.path.strip("/") else urlunsplit(parts._replace(path=WEBHOOK_PATH))
