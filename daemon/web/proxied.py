"""Connections of a listener that asks for the PROXY protocol: a header first, and only then HTTP.

Without a header, with a malformed one, or from a peer that is no trusted proxy the connection is closed unanswered.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from ..core.proxy_protocol import BadHeader, ProxyHeader, read_header
from ..errors import ForwardedInvalid
from .address import CLIENTS
from .connection import Connection
from .refusals import REFUSALS

# The peer whose proxy does not say who it is. No address, so it is on no list and its forwarding headers count nothing.
UNKNOWN = "unknown"


class ProxiedHandler(Connection):
    """One connection. Its peer is whom the header names. The deadline for headers covers this one too."""

    __slots__ = ("_app", "_begun")

    def __init__(self, *args: Any, app: web.Application, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._app = app
        self._begun: bytes | None = b""  # the header's first bytes; None: it has been read

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._app[CLIENTS].trusts_peer(_peer(transport)):
            self._refuse(
                "This listener takes connections of trusted proxies only. "
                "List the proxy's address in TUNERD_TRUSTED_PROXIES."
            )

    def data_received(self, data: bytes) -> None:
        if self._begun is None:
            super().data_received(data)
            return
        if self._force_close:
            return
        self._begun += data
        match read_header(self._begun):
            case ProxyHeader() as header:
                rest, self._begun = self._begun[header.length :], None
                if not header.local:
                    self._cache["peername"] = (str(header.source or UNKNOWN), header.port)
                if rest:
                    super().data_received(rest)
            case BadHeader(reason):
                self._refuse(f"The PROXY header is not valid: {reason}.")

    def _refuse(self, reason: str) -> None:
        transport = self.transport
        peer = None if transport is None else _peer(transport)
        self._app[REFUSALS].note(ForwardedInvalid(reason), peer=peer)
        self.force_close()


def _peer(transport: asyncio.BaseTransport) -> str | None:
    """The proxy's own address; ``None`` for a unix socket."""
    name = transport.get_extra_info("peername")
    return name[0] if isinstance(name, tuple) else None
