"""Who is the admin: the owner of the admin token, or somebody on this very machine.

Behind a proxy or a tunnel everybody arrives from loopback. So without the token only a request counts that shows no
sign of either: loopback peer, loopback ``Host`` (which also stops DNS rebinding: a browser sends the name it was told),
no forwarding header. A request over a unix socket needs the token always: the only reason for one is a proxy, and a
proxy that sends no forwarding headers would otherwise open everything.
"""

from __future__ import annotations

import hmac
import re
from urllib.parse import urlsplit

from aiohttp import web

from .. import keys
from ..core.addresses import parse_address
from ..errors import CrossSite, Unauthorized
from ..parsing import is_loopback_host
from .address import peer_of
from .proxied import ProxiedHandler

# In lower case. The contract's list, and what else proxies and tunnels add on their way.
_FORWARDING = frozenset(
    {"forwarded", "x-real-ip", "cf-connecting-ip", "true-client-ip", "x-client-ip", "fly-client-ip", "via"}
)
_FORWARDING_PREFIXES = ("x-forwarded-", "x-original-", "cf-", "ngrok-", "tailscale-")
_DEFAULT_PORTS = (":80", ":443")
_HOST = re.compile(r"[\w.:\[\]-]+", re.ASCII)  # nothing that a URL parser could take for more than host and port


def require_admin(request: web.Request) -> None:
    """Return if the request may do everything; raises ``CrossSite`` or ``Unauthorized``."""
    refuse_cross_site(request)
    token = request.app[keys.SETTINGS].admin_token
    given = _bearer(request)
    if token is not None and given is not None:
        if hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode()):
            return
        raise Unauthorized("The bearer token is not the configured TUNERD_ADMIN_TOKEN.")
    if straight_from_loopback(request):
        return
    if token is None:
        raise Unauthorized(
            "From anywhere but this machine, and over a unix socket or through a proxy, an admin token is needed, "
            "and none is configured: set TUNERD_ADMIN_TOKEN and send it as 'Authorization: Bearer …'."
        )
    raise Unauthorized("Send the configured TUNERD_ADMIN_TOKEN as 'Authorization: Bearer …'.")


def straight_from_loopback(request: web.Request) -> bool:
    """Whether a program on this machine sent it, with no proxy or tunnel between."""
    if isinstance(request.protocol, ProxiedHandler):
        return False  # a proxy sent it, whomever it speaks for
    peer = peer_of(request)
    address = parse_address(peer) if peer else None
    if address is None or not address.is_loopback or not is_loopback_host(_host_name(request)):
        return False
    for name in request.headers:
        lower = name.lower()
        if lower in _FORWARDING or lower.startswith(_FORWARDING_PREFIXES):
            return False
    return True


def refuse_cross_site(request: web.Request) -> None:
    """Raise ``CrossSite`` for what another site's page makes a browser send.

    A link that somebody follows passes: it is a GET, changes nothing, and the other site cannot read the page.
    """
    origin = request.headers.get("Origin")
    if origin is not None and not _same_host(origin, request):
        raise CrossSite(
            f"The request comes from a page of {origin[:100]!r}. Only tunerd's own pages may call it from a browser; "
            "a proxy in front must pass the Host header on."
        )
    site = request.headers.get("Sec-Fetch-Site")
    if site in {"cross-site", "same-site"} and not _is_navigation(request):
        raise CrossSite(
            "The request comes from another site's page. Only tunerd's own pages may call it from a browser."
        )


def _bearer(request: web.Request) -> str | None:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None


def _host_name(request: web.Request) -> str | None:
    """The ``Host`` header's name or address, without port and brackets."""
    host = request.headers.get("Host", "")
    if not _HOST.fullmatch(host):
        return None
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _same_host(origin: str, request: web.Request) -> bool:
    """Whether ``Origin`` names this server. Schemes are not compared: a proxy may end TLS."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    host = request.headers.get("Host", "")
    return parts.scheme in {"http", "https"} and bool(parts.netloc) and _plain(parts.netloc) == _plain(host)


def _plain(host: str) -> str:
    lower = host.lower()
    for port in _DEFAULT_PORTS:
        lower = lower.removesuffix(port)
    return lower


def _is_navigation(request: web.Request) -> bool:
    headers = request.headers
    return (
        request.method in {"GET", "HEAD"}
        and headers.get("Sec-Fetch-Mode") == "navigate"
        and headers.get("Sec-Fetch-Dest", "document") == "document"
    )
