"""One attempt: sign the message, send it, hear what the receiver says.

An endpoint is the admin's own choice. Even so its name may resolve to an address inside (a typing error, somebody
else's DNS): addresses that are not public are refused, unless the endpoint allows them. Behind an HTTP proxy the proxy
resolves, and says what may be reached.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.helpers import get_env_proxy_for_url
from yarl import URL

from ..connecting import explain_connection
from ..core.public import is_public
from ..core.signature import sign
from ..parsing import decode_webhook_secret, is_loopback_host
from ..store.notifications import Message
from .schedule import Outcome, judge

SEND_SECONDS = 15.0  # for one attempt; Standard Webhooks asks for 15 to 30
_USER_AGENT = "tunerd-notifications/1"


class PrivateAddress(Exception):
    """Its text is shown to the admin."""


class Caller:
    """``async with Caller(clock) as caller``. ``clock`` gives unix seconds; ``resolver`` is for tests."""

    def __init__(self, clock: Callable[[], float], resolver: AbstractResolver | None = None) -> None:
        self._clock = clock
        self._resolver = resolver

    async def __aenter__(self) -> Self:
        inner = self._resolver or aiohttp.ThreadedResolver()
        self._public = _session(aiohttp.TCPConnector(resolver=_PublicOnly(inner), limit=0))
        self._any = _session(aiohttp.TCPConnector(resolver=inner, limit=0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._public.close()
        await self._any.close()

    async def call(self, url: str, secret: str, message: Message, *, allow_private: bool) -> Outcome:
        """Send it once. Total: whatever goes wrong is the outcome, without the URL, which may be a credential."""
        body = message.payload.encode()
        timestamp = str(int(self._clock()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": _USER_AGENT,
            "webhook-id": message.message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": sign(decode_webhook_secret(secret), message.message_id, timestamp, body),
        }
        try:
            session = self._session_for(url, allow_private=allow_private)
            async with (
                asyncio.timeout(SEND_SECONDS),
                session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                return judge(answer.status, answer.headers)
        except TimeoutError:
            return Outcome(f"no answer within {SEND_SECONDS:.0f} s")
        except PrivateAddress as refusal:
            return Outcome(str(refusal))
        except (aiohttp.ClientError, OSError) as problem:
            cause = problem.__cause__ if isinstance(problem.__cause__, PrivateAddress) else problem
            return Outcome(str(cause) if cause is not problem else explain_connection(problem))

    def _session_for(self, url: str, *, allow_private: bool) -> aiohttp.ClientSession:
        host = urlsplit(url).hostname or ""
        if allow_private or is_loopback_host(host) or _has_proxy(url):
            return self._any
        if _is_address(host) and not is_public(host):  # nothing is resolved that could be refused
            raise PrivateAddress(_refusal(host, host))
        return self._public


class _PublicOnly(AbstractResolver):
    """Hands on exactly the addresses that were checked."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for result in found:
            if not is_public(result["host"]):
                raise PrivateAddress(_refusal(host, result["host"]))
        return found

    async def close(self) -> None:
        """The inner one is closed by the other session."""


def _refusal(host: str, address: str) -> str:
    where = "is" if host == address else f"resolves to {address},"
    return f"{host} {where} not a public address; set allow_private for this endpoint if it is meant to be"


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=connector, trust_env=True, cookie_jar=aiohttp.DummyCookieJar())


def _is_address(host: str) -> bool:
    """Also one in a form that only a system's resolver reads (2130706433)."""
    return ":" in host or host.replace(".", "").isdigit()


def _has_proxy(url: str) -> bool:
    try:
        get_env_proxy_for_url(URL(url))
    except LookupError:
        return False
    return True
