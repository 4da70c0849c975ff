"""Sends single signed events to a receiver and tells what it said; the scenarios are made of these."""

from __future__ import annotations

import io
import random
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import aiohttp
import msgspec

from ..connecting import explain_connection
from ..core.signature import sign
from ..parsing import decode_webhook_secret
from . import ids
from .encoders import encode
from .samples import make_event

_TIMEOUT = aiohttp.ClientTimeout(total=30)  # seconds; a receiver ought to answer within a few


class Answer(msgspec.Struct, frozen=True):
    """What the receiver said to one request. ``status`` 0: no answer, and ``text`` is the reason."""

    label: str
    webhook_id: str
    status: int
    text: str
    expected: tuple[int, ...]  # statuses that a right receiver gives
    seconds: float

    @property
    def ok(self) -> bool:
        return self.status in self.expected


class Clock(Protocol):
    def __call__(self) -> float: ...


class Scenario(Protocol):
    """``url`` is the whole endpoint, ``secret`` the ``whsec_…``, ``clock`` gives unix seconds.

    ``kind`` is the event that a scenario about one event is told with; by default ``logs``.
    """

    def __call__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        secret: str,
        *,
        clock: Clock = time.time,
        rng: random.Random | None = None,
        overrides: Mapping[str, Any] | None = None,
        kind: str | None = None,
    ) -> AsyncIterator[Answer]: ...


async def send_signed(
    session: aiohttp.ClientSession, url: str, secret: str, body: bytes, *, webhook_id: str, timestamp: int
) -> tuple[int, str]:
    """POST ``body`` with its three headers; status and text of the answer. ``(0, reason)`` where none came."""
    stamp = str(timestamp)
    signature = sign(decode_webhook_secret(secret), webhook_id, stamp, body)
    return await post(session, url, body, webhook_id, stamp, signature)


async def post(
    session: aiohttp.ClientSession, url: str, body: bytes, webhook_id: str, stamp: str, signature: str
) -> tuple[int, str]:
    """As ``send_signed`` with any three header values; an empty one is left out."""
    signed = {"webhook-id": webhook_id, "webhook-timestamp": stamp, "webhook-signature": signature}
    headers = {"content-type": "application/json"} | {name: value for name, value in signed.items() if value}
    try:
        async with session.post(
            url, data=io.BytesIO(body), headers=headers, allow_redirects=False, timeout=_TIMEOUT
        ) as answer:
            return answer.status, await answer.text(errors="replace")
    except (aiohttp.ClientError, TimeoutError, OSError) as problem:
        return 0, explain_connection(problem)


class Run:
    """One run of a scenario: one prediction, one receiver."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        secret: str,
        clock: Clock,
        rng: random.Random | None,
        overrides: Mapping[str, Any] | None,
        kind: str | None = None,
    ) -> None:
        self.kind = kind or "logs"
        self.session, self.url, self.secret, self.clock = session, url, secret, clock
        self.rng = rng or random.Random()
        self.overrides = overrides
        self.prediction_id = ids.prediction_id(self.rng)

    def body(self, kind: str, *, share: float | None = None, **more: Any) -> bytes:
        """Go style, as Replicate's own; ``more`` sets top-level keys."""
        event = make_event(
            kind,
            overrides=self.overrides,
            prediction_id=self.prediction_id,
            now=self.clock(),
            rng=self.rng,
            share=share,
        )
        return encode(event | more, "go")

    async def send(
        self,
        label: str,
        body: bytes,
        *,
        webhook_id: str | None = None,
        secret: str | None = None,
        age: float = 0,
        expected: tuple[int, ...] = (200,),
    ) -> Answer:
        message = webhook_id or ids.webhook_id(self.rng)
        begun = time.monotonic()
        status, text = await send_signed(
            self.session,
            self.url,
            secret or self.secret,
            body,
            webhook_id=message,
            timestamp=int(self.clock() - age),
        )
        return Answer(label, message, status, text, expected, time.monotonic() - begun)


async def send_event(
    session: aiohttp.ClientSession, url: str, secret: str, body: bytes, *, clock: Clock = time.time,
    rng: random.Random | None = None,
) -> Answer:  # fmt: skip
    """One correctly signed event with a webhook-id of its own."""
    return await Run(session, url, secret, clock, rng, None).send("event", body)
