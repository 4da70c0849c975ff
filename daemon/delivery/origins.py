"""Which addresses an output may be fetched from. An output is text that a model's code chose: it is not trusted.

Two gates, on the first address and on every redirect: the *name* (``Origins.check``), and the *addresses* it resolves
to (``PublicResolver``), which are the ones that are then connected to. Behind an HTTP proxy the proxy resolves: there
only the first gate is ours.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from urllib.parse import quote

import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from ..core.public import is_public
from ..parsing import origin_of
from .errors import Permanent

MAX_URL = 16_384  # characters; signed storage URLs reach about 2,000

_PUBLIC_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*replicate\.delivery")
_STORAGE = "https://storage.googleapis.com"
_STORAGE_PATH = "/replicate-files/"
_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]+)(?P<path>/[^?#]*)?(?:\?[^#]*)?(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")


class Target(msgspec.Struct, frozen=True):
    """An address that passed: the URL exactly as it was given, and whether it is the API's own origin."""

    url: URL
    is_api: bool  # only this origin is ever sent the API token


class Origins:
    """The allowed origins: Replicate's file hosts, the API's own origin, and those the user added."""

    def __init__(self, base_url: str, added: Iterable[str]) -> None:
        self._api = origin_of(base_url)
        self._explicit = frozenset({self._api, *added})

    def check(self, url: str) -> Target:
        """``url`` as a target, or ``Permanent`` with the reason."""
        shown = url if len(url) <= 200 else url[:200] + "…"
        if len(url) > MAX_URL:
            raise Permanent(f"refused {shown!r}: longer than {MAX_URL} characters")
        url = re.sub(r"[^\x00-\x7f]+", lambda found: quote(found[0], errors="replace"), url)  # the host takes no "%"
        if re.search(r"[^\x21-\x7e]|\\", url):
            raise Permanent(f"refused {shown!r}: a URL holds no blanks, backslashes or control characters")
        parts = _URL.fullmatch(url)
        if parts is None:
            raise Permanent(f"refused {shown!r}: only https URLs are fetched")
        authority = _AUTHORITY.fullmatch(parts["authority"].lower())
        if authority is None or ".." in authority["host"] or int(authority["port"] or 0) > 65535:
            raise Permanent(f"refused {shown!r}: the host is not plainly written")
        parsed = URL(url, encoded=True)  # untouched: a signature may cover how it is written
        origin = origin_of(f"{parts['scheme'].lower()}://{authority[0]}")
        if origin_of(str(parsed.origin())) != origin:
            raise Permanent(f"refused {shown!r}: the host is ambiguous")
        if origin not in self._explicit and not _is_replicates(origin, parts["path"] or "/"):
            raise Permanent(
                f"refused {shown!r}: {origin} is not an origin that outputs may come from; "
                "add it to TUNERD_OUTPUT_ORIGINS if it is meant to be"
            )
        return Target(parsed, origin == self._api)

    def is_explicit(self, host: str, port: int) -> bool:
        """Whether the user's own settings name this host and port: it may then be a private address."""
        name = f"[{host}]" if ":" in host else host.lower()
        return any(origin_of(f"{scheme}://{name}:{port}") in self._explicit for scheme in ("http", "https"))


def _is_replicates(origin: str, path: str) -> bool:
    scheme, _, host = origin.partition("://")
    if scheme == "https" and _PUBLIC_HOST.fullmatch(host):
        return True
    # Other people's buckets live on that host too: no way up out of the folder, however it is written.
    climbs = re.search(r"(?:^|/|%2f)(?:\.|%2e){1,2}(?:/|%2f|$)", path, re.IGNORECASE)
    return origin == _STORAGE and path.startswith(_STORAGE_PATH) and not climbs


class PublicResolver(AbstractResolver):
    """Resolves once, refuses what is not public, and hands on exactly the addresses that were checked."""

    def __init__(self, origins: Origins, inner: AbstractResolver) -> None:
        self._origins = origins
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if not self._origins.is_explicit(host, port):
            for result in found:
                if not is_public(result["host"]):
                    raise Permanent(f"refused: {host} resolves to {result['host']}, which is not a public address")
        return found

    async def close(self) -> None:
        await self._inner.close()
