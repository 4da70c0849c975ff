"""The secrets that sign webhooks: pinned by the settings, else fetched from Replicate and cached encrypted.

Replicate publishes no rotation procedure, so a failed match is the only sign of one: it fetches the secret anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable
from typing import Literal

import msgspec
import structlog

from ..errors import NotReady, TunerdError
from ..parsing import decode_webhook_secret
from ..store.secrets import Secrets
from .client import ReplicateClient
from .token import TokenSource

log = structlog.get_logger()

NAME = "webhook_secrets"  # in Secrets
_REFETCH_AFTER = 60.0  # seconds between two fetches: anyone can send a bad signature
# Seconds to leave Replicate alone after a failed fetch. Short: it repeats its final event for about a minute only.
_RETRY_AFTER = 5.0
_FETCH_TIMEOUT = 5.0  # seconds; Replicate wants its answer "within a few seconds"
_PREVIOUS_KEPT = 86_400.0  # seconds a replaced secret stays valid: events signed with it are in flight


class _Known(msgspec.Struct, frozen=True):
    secret: str  # whsec_…
    until: float | None = None  # unix seconds; None: the current one


class _Cached(msgspec.Struct, frozen=True):
    token: str  # digest of the API token it was fetched with: the secret is the account's
    fetched_at: float
    known: list[_Known]


def stored_keys(stored: str | None) -> list[bytes]:
    """The HMAC keys in what the store has under ``NAME``, those that were replaced too."""
    cached = _decode(stored) if stored else None
    return [] if cached is None else [decode_webhook_secret(known.secret) for known in cached.known]


class SecretState(msgspec.Struct, frozen=True):
    """``source`` ``None``: none is known, events are answered 503. ``known``: how many count now."""

    source: Literal["settings", "replicate"] | None
    known: int
    fetched_at: float | None  # unix seconds


class WebhookSecrets:
    """``now`` gives unix seconds."""

    def __init__(
        self,
        pinned: tuple[str, ...],
        client: ReplicateClient,
        tokens: TokenSource,
        secrets: Secrets,
        *,
        now: Callable[[], float],
    ) -> None:
        self.pin(pinned)
        self._client = client
        self._tokens = tokens
        self._secrets = secrets
        self._now = now
        self._cached: _Cached | None = None
        self._loaded = False
        self._failed_at: float | None = None
        self._fetching: asyncio.Task[tuple[bytes, ...]] | None = None

    def pin(self, secrets: tuple[str, ...]) -> None:
        """Use these from now on, and none of Replicate's; with none of these, Replicate's."""
        self._pinned = tuple(decode_webhook_secret(secret) for secret in secrets)

    async def get(self) -> tuple[bytes, ...]:
        """The HMAC keys, current one first. Raises ``NotReady`` where they cannot be known now."""
        if self._pinned:
            return self._pinned
        cached = await self._load(await self._token())
        return self._keys(cached) if cached is not None else await self._fetch()

    def at_hand(self) -> tuple[bytes, ...] | None:
        """As ``get``, where nobody has to be asked for it; else ``None``."""
        if self._pinned:
            return self._pinned
        token, cached = self._tokens.known, self._cached
        return self._keys(cached) if token and cached is not None and cached.token == _digest(token) else None

    async def state(self) -> SecretState:
        """What is known, without asking Replicate."""
        if self._pinned:
            return SecretState("settings", len(self._pinned), None)
        token = await self._tokens.get()
        cached = None if token is None else await self._load(_digest(token))
        if cached is None:
            return SecretState(None, 0, None)
        return SecretState("replicate", len(self._keys(cached)), cached.fetched_at)

    async def refetch(self, tried: tuple[bytes, ...] | None = None) -> tuple[bytes, ...] | None:
        """After a failed match: the keys to try again with.

        ``None``: there is nothing newer (pinned, or fetched less than a minute ago), so the signature is wrong.
        ``tried`` are the keys that failed: where others are known by now (a parallel event fetched them) those are
        the answer. Raises ``NotReady`` where the fetch failed.
        """
        if self._pinned:
            return None
        cached = await self._load(await self._token())
        if self._fetching is None and cached is not None:
            keys = self._keys(cached)
            if tried is not None and keys != tried:
                return keys
            if 0 <= self._now() - cached.fetched_at < _REFETCH_AFTER:
                return None
        return await self._fetch()

    async def _token(self) -> str:
        token = await self._tokens.get()
        if token is None:
            raise NotReady(
                "No webhook can be verified: neither a Replicate API token nor TUNERD_WEBHOOK_SECRET is set. "
                "Set one of them.",
                retry_after=math.ceil(_RETRY_AFTER),
            )
        return _digest(token)

    async def _load(self, token: str) -> _Cached | None:
        if not self._loaded:
            stored = await self._secrets.get(NAME)
            if not self._loaded:  # else another reader, or a fetch, was faster and knows more
                self._cached = _decode(stored) if stored else None
                self._loaded = True
        return self._cached if self._cached is not None and self._cached.token == token else None

    def _keys(self, cached: _Cached) -> tuple[bytes, ...]:
        now = self._now()
        return tuple(decode_webhook_secret(k.secret) for k in cached.known if k.until is None or k.until > now)

    async def _fetch(self) -> tuple[bytes, ...]:
        """One fetch for all who wait. Shielded: a sender that hangs up must not end it for the others."""
        if self._fetching is None:
            since = None if self._failed_at is None else self._now() - self._failed_at
            if since is not None and 0 <= since < _RETRY_AFTER:
                raise self._not_ready(_RETRY_AFTER - since)
            self._fetching = asyncio.create_task(self._fetch_and_store(), name="webhook-secret")
            self._fetching.add_done_callback(self._fetched)
        return await asyncio.shield(self._fetching)

    def _fetched(self, task: asyncio.Task[tuple[bytes, ...]]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # seen: whoever waited has it too

    async def _fetch_and_store(self) -> tuple[bytes, ...]:
        try:
            token = await self._token()
            async with asyncio.timeout(_FETCH_TIMEOUT):
                secret = await self._client.webhook_secret()
            decode_webhook_secret(secret)
        except (TunerdError, ValueError, TimeoutError) as problem:
            self._failed_at = self._now()
            log.warning("webhook_secret.fetch_failed", reason=getattr(problem, "detail", "") or str(problem))
            raise self._not_ready(_RETRY_AFTER) from problem
        self._failed_at = None
        now = self._now()
        before = await self._load(token)
        kept = [] if before is None else _aged(before.known, secret, now)
        self._cached = _Cached(token, now, [_Known(secret), *kept])
        await self._secrets.put(NAME, msgspec.json.encode(self._cached).decode(), now=now)
        log.info("webhook_secret.fetched", changed=bool(kept), valid=1 + len(kept))
        return self._keys(self._cached)

    def _not_ready(self, seconds: float) -> NotReady:
        return NotReady(
            "The webhook secret could not be fetched from Replicate, so this event cannot be verified now. "
            "Check the API token and the network; the event will be accepted when it is sent again.",
            retry_after=max(1, math.ceil(seconds)),
        )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _aged(known: list[_Known], current: str, now: float) -> list[_Known]:
    """The secrets before ``current`` that stay valid: the one it replaces for a day, older ones until their time."""
    aged = [_Known(k.secret, now + _PREVIOUS_KEPT if k.until is None else k.until) for k in known]
    return [k for k in aged if k.secret != current and k.until is not None and k.until > now]


def _decode(stored: str) -> _Cached | None:
    try:
        return msgspec.json.decode(stored, type=_Cached)
    except msgspec.MsgspecError:
        return None
