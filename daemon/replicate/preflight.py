"""Before a job is paid for: does the webhook URL lead to this daemon? A signed probe is sent through it.

Only what is certain is refused: a redirect (Replicate follows none), a program there that is not this daemon, a
certificate that nobody trusts, a port of this machine that nobody listens on. A proxy that lets Replicate's addresses
in and ours not, or a network that does not lead back to itself, proves nothing: then the job is submitted, its answer
says so, and polling finds what webhooks do not bring.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog
from aiohttp import hdrs

from .. import parsing
from ..core import probe
from ..core.signature import sign
from ..errors import NotReady, WebhookUrlInvalid
from .webhook_secret import WebhookSecrets

log = structlog.get_logger()

_PROBE_SECONDS = 5.0  # Replicate wants its answer "within a few seconds"
_FRESH_SECONDS = 60.0  # how long a URL that led to us is taken to do so
_MOST_BYTES = 64 * 1024  # read of an answer; ours has a hundred
# Answered by whoever guards the way, and by a daemon that is busy or stopping: they do not say where the way leads.
_GUARDS = frozenset({403, 407, 429})


class Preflight:
    """``session`` is borrowed; ``daemon_id`` tells our own name, the same for all nodes of one database."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        webhook_secrets: WebhookSecrets,
        daemon_id: Callable[[], Awaitable[str]],
        *,
        now: Callable[[], float],
    ) -> None:
        self._session = session
        self._secrets = webhook_secrets
        self._daemon_id = daemon_id
        self._now = now
        self._lock = asyncio.Lock()  # submits at once send one probe
        self._reached: dict[str, float] = {}  # base URL → when it led to us

    async def check(self, base: str, *, fresh: bool = False) -> str | None:
        """``None``: ``base`` leads to us; a text: that cannot be told from here, and why.

        ``fresh``: send a probe even if the last one was a moment ago.
        Raises ``WebhookUrlInvalid`` where it certainly does not.
        """
        async with self._lock:
            if not fresh and 0 <= self._now() - self._reached.get(base, float("-inf")) < _FRESH_SECONDS:
                return None
            doubt = await self._check(base)
            if doubt is None:
                self._reached = {base: self._now()}
            else:
                log.warning("preflight.untold", webhook_url=base, reason=doubt)
            return doubt

    async def _check(self, base: str) -> str | None:
        try:
            keys = await self._secrets.get()
            daemon_id = await self._daemon_id()
        except NotReady:
            return "not tried: the webhook secret is not known now."
        try:
            status, headers, body = await self._send(base, keys[0])
        except aiohttp.ClientConnectorCertificateError as problem:
            raise _refused(base, f"its certificate is not trusted ({problem.certificate_error})") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            if isinstance(problem, aiohttp.ClientConnectorError) and parsing.is_loopback_host(urlsplit(base).hostname):
                raise _refused(base, "nothing listens there") from None
            return f"it could not be reached from this machine: {_why(problem)}."
        return _judge(base, daemon_id, status, headers, body)

    async def _send(self, base: str, key: bytes) -> tuple[int, Any, bytes]:
        webhook_id, timestamp = probe.probe_id(secrets.token_hex(8)), str(int(self._now()))
        headers = {
            hdrs.CONTENT_TYPE: "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": sign(key, webhook_id, timestamp, probe.BODY),
        }
        async with (
            asyncio.timeout(_PROBE_SECONDS),
            self._session.post(
                base + parsing.WEBHOOK_PATH, data=probe.BODY, headers=headers, allow_redirects=False
            ) as answer,
        ):
            return answer.status, answer.headers, await answer.content.read(_MOST_BYTES)


def _judge(base: str, daemon_id: str, status: int, headers: Any, body: bytes) -> str | None:
    said = _object(body)
    if status == 200 and said.get("daemon") == daemon_id:
        return None
    if 300 <= status < 400:
        target = str(headers.get(hdrs.LOCATION, "elsewhere"))[:200]
        raise _refused(base, f"it redirects to {target!r}, and Replicate follows no redirect. Enter the final URL")
    if status in _GUARDS or said.get("code") == NotReady.code:
        return f"a test from this machine was answered {status}: {said.get('detail') or 'it is not let through'}"
    if status >= 500:
        raise _refused(base, f"the proxy or tunnel there answers {status}: it does not reach this daemon")
    raise _refused(base, f"another program answers there (status {status})")


def _refused(base: str, reason: str) -> WebhookUrlInvalid:
    return WebhookUrlInvalid(
        f"The webhook URL {base} does not lead to this daemon: {reason}. Is the tunnel or proxy running, and is this "
        "its URL? Nothing was sent. Without a webhook URL jobs are followed by polling.",
        field="webhook_url",
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _why(problem: Exception) -> str:
    if isinstance(problem, TimeoutError):
        return f"no answer within {_PROBE_SECONDS:g} s"
    return (problem.strerror if isinstance(problem, OSError) else None) or type(problem).__name__
