"""The address of a request's client, with what this server believes about its connection."""

from __future__ import annotations

from functools import lru_cache

import msgspec
from aiohttp import web
from multidict import CIMultiDictProxy, istr

from .. import keys
from ..core.addresses import Address, AddressSet, Malformed, client_address, parse_address
from ..errors import ForwardedInvalid

Headers = CIMultiDictProxy[str]

_REMEMBERED = 1024  # connections' peers and headers; senders are few, and each sends often
_FORWARDED_FOR = istr("X-Forwarded-For")


class Client(msgspec.Struct, frozen=True):
    """Who sent a request; both ``None`` where that is unknown (a unix socket whose proxy does not say)."""

    address: Address | None
    text: str | None


class Clients:
    """Finds the client behind a request, believing ``trusted`` proxies."""

    def __init__(self, trusted: AddressSet) -> None:
        self.trust(trusted)

    def trust(self, trusted: AddressSet) -> None:
        """Believe these proxies from now on."""
        self._trusted = trusted
        self._find = lru_cache(_REMEMBERED)(self._find_anew)

    def trusts_peer(self, peer: str | None) -> bool:
        """Whether ``peer`` is a proxy that is believed; a unix socket (``None``) has only a proxy behind it."""
        address = parse_address(peer) if peer else None
        return peer is None or (address is not None and address in self._trusted)

    def find(self, peer: str | None, headers: Headers) -> Client | Malformed:
        """The client behind ``peer``; or what a trusted proxy's ``X-Forwarded-For`` says and nobody can read."""
        return self._find(peer, tuple(headers.getall(_FORWARDED_FOR, ())))

    def of(self, request: web.BaseRequest) -> Client:
        """Raises ``ForwardedInvalid`` where a trusted proxy's ``X-Forwarded-For`` cannot be read."""
        found = self.find(peer_of(request), request.headers)
        if isinstance(found, Malformed):
            raise ForwardedInvalid(
                f"X-Forwarded-For holds {found.entry[:80]!r}, which is no address. The proxy in front of tunerd must "
                "append the address of its client, and should drop what the client itself sent."
            )
        return found

    def trusts(self, request: web.BaseRequest) -> bool:
        """Whether the request's connection comes from a trusted proxy. A unix socket has no other use."""
        return self.trusts_peer(peer_of(request))

    def forwarded_proto(self, request: web.BaseRequest) -> str | None:
        """``http`` or ``https``, as the trusted proxy right before us says; ``None`` where none does."""
        if not self.trusts(request):
            return None
        told = ",".join(request.headers.getall("X-Forwarded-Proto", ()))
        return told.rpartition(",")[2].strip().lower() or None

    def _find_anew(self, peer: str | None, forwarded_for: tuple[str, ...]) -> Client | Malformed:
        found = client_address(peer, forwarded_for, self._trusted)
        return found if isinstance(found, Malformed) else Client(found, None if found is None else str(found))


def peer_of(request: web.BaseRequest) -> str | None:
    """The other end's address as text; ``None`` for a unix socket."""
    return named(request.protocol.peername)


def named(peername: object) -> str | None:
    """A connection's ``peername`` as ``peer_of`` gives it."""
    return peername[0] if isinstance(peername, tuple) else None


CLIENTS: web.AppKey[Clients] = web.AppKey("clients")


def set_up(app: web.Application) -> None:
    app[CLIENTS] = Clients(AddressSet(app[keys.SETTINGS].trusted_proxies))


def settings_changed(app: web.Application) -> None:
    app[CLIENTS].trust(AddressSet(app[keys.SETTINGS].trusted_proxies))
