"""The addresses that the IP rule lately turned away. The first page tells of them."""

from __future__ import annotations

from collections import OrderedDict

import msgspec
from aiohttp import web

MOST = 100  # addresses remembered; anybody can knock, so the one not seen for longest is forgotten
LATELY_SECONDS = 24 * 3600


class Rejected(msgspec.Struct, frozen=True):
    """``count`` requests from ``address`` since it was first seen; ``last_at`` in unix seconds."""

    address: str
    count: int
    last_at: float
    path: str  # what it asked for last


class RejectedAddresses:
    """In memory, of this process: a restart forgets them."""

    most = MOST

    def __init__(self) -> None:
        self._found: OrderedDict[str, Rejected] = OrderedDict()

    def note(self, address: str | None, now: float, path: str) -> None:
        """Count one request that the rule turned away, or would have (log-only)."""
        name = address or "unknown"
        before = self._found.pop(name, None)
        self._found[name] = Rejected(name, 1 if before is None else before.count + 1, now, path)
        if len(self._found) > MOST:
            self._found.popitem(last=False)

    def lately(self, now: float) -> list[Rejected]:
        """Those of the last day, newest first."""
        return [one for one in reversed(self._found.values()) if now - one.last_at < LATELY_SECONDS]


REJECTED: web.AppKey[RejectedAddresses] = web.AppKey("rejected")
