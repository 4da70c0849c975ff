"""From an address to an answer: every hop is checked, connected to the very address that was checked, then asked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urljoin

import aiohappyeyeballs
import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.helpers import get_env_proxy_for_url
from yarl import URL

from .errors import Permanent
from .origins import Origins
from .threads import Threads
from .wire import Broken, Connection, Reply, Tunnel

MAX_REDIRECTS = 3
CONNECT_SECONDS = 30.0
EYEBALLS_SECONDS = 0.25  # before the next of a name's addresses is tried beside the first (RFC 8305)
REDIRECTS = frozenset({301, 302, 303, 307, 308})

AddrInfo = tuple[int, int, int, str, tuple[Any, ...]]  # as getaddrinfo() gives it
TokenSource = Callable[[], Awaitable[str | None]]


class Opener:
    """``resolver`` gives only addresses that may be connected to. Behind a proxy it is the proxy that resolves."""

    def __init__(
        self,
        origins: Origins,
        resolver: AbstractResolver,
        token: TokenSource,
        threads: Threads,
        *,
        trust_env: bool,
        idle_seconds: float,
    ) -> None:
        self._origins = origins
        self._resolver = resolver
        self._system = aiohttp.ThreadedResolver()  # for proxies: where they stand is the user's own choice
        self._token = token
        self._threads = threads
        self._trust_env = trust_env
        self.idle_seconds = idle_seconds

    async def open(self, url: str, headers: Mapping[str, str], kept: Connection | None = None) -> tuple[Reply, str]:
        """The answer to GET, redirects followed, and the address that gave it. Only the API is sent the token.

        ``kept`` is a connection to the host of ``url``. Raises ``Broken``, ``TimeoutError`` or ``Permanent``.
        """
        for _hop in range(MAX_REDIRECTS + 1):
            reply = await self._ask(url, headers, kept)
            if reply.status not in REDIRECTS:
                return reply, url
            location = reply.header("Location")
            reply.connection.close()  # its body is of no interest, however long it is
            kept = None
            if not location:
                raise Permanent(f"answered {reply.status} without saying where to")
            url = urljoin(url, location)
        raise Permanent(f"more than {MAX_REDIRECTS} redirects")

    async def _ask(self, url: str, headers: Mapping[str, str], kept: Connection | None) -> Reply:
        target = self._origins.check(url)
        token = await self._token() if target.is_api else None
        sent = {"Host": _host_header(target.url), **headers}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        proxy, login = self._proxy(target.url)
        what = target.url.raw_path_qs
        if proxy is not None and target.url.scheme == "http":
            what, sent = str(target.url.with_fragment(None)), sent | login
        if kept is not None:
            try:
                return await self._get(kept, what, sent)
            except Broken:
                kept.close()  # closed by the server since its last answer, as any server may
        connection = await self._connect(proxy or target.url, self._system if proxy else self._resolver)
        try:
            if proxy is not None and target.url.scheme == "https":
                tunnel = Tunnel(_host(target.url), target.url.port or 443, login)
                await self._threads.run(connection.abort, connection.tunnel, tunnel)
            if target.url.scheme == "https":
                await self._threads.run(connection.abort, connection.encrypt, _host(target.url))
            return await self._get(connection, what, sent)
        except BaseException:
            connection.close()
            raise

    async def _get(self, connection: Connection, what: str, headers: dict[str, str]) -> Reply:
        return await self._threads.run(connection.abort, connection.get, what, headers)

    def _proxy(self, url: URL) -> tuple[URL | None, dict[str, str]]:
        """The proxy that the environment names for ``url``, and the header that it is to be shown."""
        if not self._trust_env:
            return None, {}
        try:
            proxy, login = get_env_proxy_for_url(url)
        except LookupError:
            return None, {}
        return proxy, {} if login is None else {"Proxy-Authorization": login.encode()}

    async def _connect(self, url: URL, resolver: AbstractResolver) -> Connection:
        host, port = _host(url), url.port or 80
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connected = await aiohappyeyeballs.start_connection(
                    await _addresses(resolver, host, port), happy_eyeballs_delay=EYEBALLS_SECONDS, interleave=1
                )
        except TimeoutError:
            raise Broken(f"{host} does not answer within {CONNECT_SECONDS:g} s") from None
        except OSError as problem:
            raise Broken(f"{host}:{port}: {problem.strerror or problem}") from None
        return Connection(connected, seconds=self.idle_seconds)


async def _addresses(resolver: AbstractResolver, host: str, port: int) -> list[AddrInfo]:
    """What ``host`` stands for. An address stands for itself: only the user's own settings may name one."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        found = await resolver.resolve(host, port, socket.AF_UNSPEC)
        return [_info(result["host"], port) for result in found]
    return [_info(host, port)]


def _info(address: str, port: int) -> AddrInfo:
    if ":" in address:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)


def _host(url: URL) -> str:
    return url.raw_host or ""


def _host_header(url: URL) -> str:
    host = f"[{url.raw_host}]" if ":" in _host(url) else _host(url)
    return host if url.is_default_port() else f"{host}:{url.port}"
