"""The address of a request's client, with what this server believes about its connection."""

from __future__ import annotations

from aiohttp import web

from .. import keys
from ..core.addresses import Address, AddressSet, Malformed, client_address
from ..errors import ForwardedInvalid

# Compiled once for each application, from the setting.
TRUSTED_PROXIES: web.AppKey[AddressSet] = web.AppKey("trusted_proxies")


def set_up(app: web.Application) -> None:
    app[TRUSTED_PROXIES] = AddressSet(app[keys.SETTINGS].trusted_proxies)


def peer_of(request: web.BaseRequest) -> str | None:
    """The other end's address as text; ``None`` for a unix socket."""
    name = request.get_extra_info("peername")
    return name[0] if isinstance(name, tuple) and name else None


def address_of(request: web.Request) -> Address | None:
    """Who sent it; ``None`` where that is unknown (a unix socket whose proxy does not say).

    Raises ``ForwardedInvalid`` where a trusted proxy's ``X-Forwarded-For`` cannot be read.
    """
    forwarded_for = request.headers.getall("X-Forwarded-For", ())
    found = client_address(peer_of(request), forwarded_for, request.app[TRUSTED_PROXIES])
    if isinstance(found, Malformed):
        raise ForwardedInvalid(
            f"X-Forwarded-For holds {found.entry[:80]!r}, which is no address. The proxy in front of tunerd must append"
            " the address of its client, and should drop what the client itself sent."
        )
    return found
