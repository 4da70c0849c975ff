"""Until when the certificate of an HTTPS server is good, asked as every call goes out: by the environment's proxy."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from aiohttp.helpers import get_env_proxy_for_url
from yarl import URL


class ProxyRefused(OSError):
    """The proxy does not connect us; the text is its status line."""


async def expiry(url: str) -> float:
    """Unix seconds. ``url`` is an ``https://`` one.

    Raises ``ssl.SSLCertVerificationError`` where the chain or the name is not trusted, ``ProxyRefused``, else
    ``OSError`` or ``ValueError`` where no TLS connection comes about. The caller limits the time.
    """
    target, context = URL(url), ssl.create_default_context()
    host, port = target.host or "", target.port or 443
    writer = await _connected(target, host, port)
    try:
        await writer.start_tls(context, server_hostname=host)
        found: Any = writer.get_extra_info("peercert") or {}
        return float(ssl.cert_time_to_seconds(found.get("notAfter", "")))
    finally:
        writer.transport.abort()  # nothing is under way: no goodbye to wait for


async def _connected(target: URL, host: str, port: int) -> asyncio.StreamWriter:
    """A plain connection to ``host``, through the proxy where the environment names one for it."""
    try:
        proxy, login = get_env_proxy_for_url(target)
    except LookupError:
        return (await asyncio.open_connection(host, port))[1]
    reader, writer = await asyncio.open_connection(proxy.host or "", proxy.port or 80)
    try:
        await _tunnel(reader, writer, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", login and login.encode())
    except BaseException:
        writer.transport.abort()
        raise
    return writer


async def _tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: str, login: str | None) -> None:
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}", *([f"Proxy-Authorization: {login}"] if login else [])]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise ProxyRefused("it closed the connection, or does not speak HTTP") from None
    status = head.split(b"\r\n", 1)[0].decode("latin-1")[:100]
    if status.split()[1:2] != ["200"]:
        raise ProxyRefused(f"it answered {status!r}")
