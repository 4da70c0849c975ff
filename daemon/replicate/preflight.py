"""Before a job is paid for: does the webhook URL lead to this daemon? A signed probe is sent through it.

Only what is certain is refused: a redirect (Replicate follows none), a program there that is not this daemon, a
certificate that nobody trusts. A proxy that lets Replicate's addresses in and ours not, or a network that does not lead
back to itself, proves nothing; and a loopback URL is one for development, which Replicate never sees: then the job is
submitted, its answer says so, and polling finds what webhooks do not bring.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog
from aiohttp import hdrs

from .. import parsing
from ..connecting import explain_connection
from ..core import lenient_json, probe
from ..core.signature import sign
from ..errors import NotReady, WebhookUrlInvalid
from .webhook_secret import WebhookSecrets

log = structlog.get_logger()

_PROBE_SECONDS = 5.0  # Replicate wants its answer "within a few seconds"
_FRESH_SECONDS = 60.0  # how long a URL that led to us is taken to do so
_MOST_BYTES = 64 * 1024  # read of an answer; ours has a hundred
# Answered by whoever guards the way, and by a daemon that is busy or stopping: they do not say where the way leads.
_GUARDS = frozenset({403, 407, 429})


class Tried(msgspec.Struct, frozen=True):
    """How a probe ended. ``problem``: why it did not come to us, ``None`` where it did; ``certain``: it cannot."""

    base: str
    at: float  # unix seconds
    problem: str | None
    certain: bool = True


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
        self._last: Tried | None = None

    async def check(self, base: str, *, fresh: bool = False) -> str | None:
        """``None``: ``base`` leads to us; a text: that cannot be told from here, and why.

        ``fresh``: send a probe even if the last one was a moment ago.
        Raises ``WebhookUrlInvalid`` where it certainly does not.
        """
        async with self._lock:
            last = self.last(base)
            if not fresh and last is not None and last.problem is None and 0 <= self._now() - last.at < _FRESH_SECONDS:
                return None
            try:
                keys = await self._secrets.get()
                daemon_id = await self._daemon_id()
            except NotReady:
                doubt: str | None = "not tried: the webhook secret is not known now."
            else:
                doubt = await self._tried(base, keys, daemon_id)
            if doubt is not None:
                log.warning("preflight.untold", webhook_url=base, reason=doubt)
            return doubt

    def last(self, base: str) -> Tried | None:
        """How the last probe ended, if it was sent to ``base``."""
        return self._last if self._last is not None and self._last.base == base else None

    async def _tried(self, base: str, keys: Sequence[bytes], daemon_id: str) -> str | None:
        try:
            doubt = await self._check(base, keys, daemon_id)
        except _Elsewhere as refused:
            self._last = Tried(base, self._now(), f"{refused.reason}.")
            if parsing.is_loopback_host(urlsplit(base).hostname):
                return self._last.problem
            raise
        self._last = Tried(base, self._now(), doubt, certain=doubt is None)
        return doubt

    async def _check(self, base: str, keys: Sequence[bytes], daemon_id: str) -> str | None:
        try:
            status, headers, body = await self._send(base, keys[0])
        except aiohttp.ClientConnectorCertificateError as problem:
            raise _Elsewhere(base, f"its certificate is not trusted ({problem.certificate_error})") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            if isinstance(problem, aiohttp.ClientConnectorError) and parsing.is_loopback_host(urlsplit(base).hostname):
                raise _Elsewhere(base, "nothing listens there") from None
            return f"it could not be reached from this machine: {explain_connection(problem, _PROBE_SECONDS)}."
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
    said = lenient_json.object_(body)
    if status == 200 and said.get("daemon") == daemon_id:
        return None
    if 300 <= status < 400:
        target = str(headers.get(hdrs.LOCATION, "elsewhere"))[:200]
        raise _Elsewhere(base, f"it redirects to {target!r}, and Replicate follows no redirect. Enter the final URL")
    if status in _GUARDS or said.get("code") == NotReady.code:
        return f"a test from this machine was answered {status}: {said.get('detail') or 'it is not let through'}"
    if status >= 500:
        raise _Elsewhere(base, f"the proxy or tunnel there answers {status}: it does not reach this daemon")
    raise _Elsewhere(base, f"another program answers there (status {status})")


class _Elsewhere(WebhookUrlInvalid):
    """``reason``: where it leads instead."""

    def __init__(self, base: str, reason: str) -> None:
        super().__init__(
            f"The webhook URL {base} does not lead to this daemon: {reason}. Is the tunnel or proxy running, and is "
            "this its URL? Nothing was sent. Without a webhook URL jobs are followed by polling.",
            field="webhook_url",
        )
        self.reason = reason
