"""``POST /api/webhooks/replicate``: check, store, and only then answer.

The order of checks is part of the contract: IP rule and rate, size, headers, signature, timestamp. Replicate repeats
only a job's final event, for about a minute: whatever may be a good event is answered 503 and never 4xx while it
cannot be judged or stored.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Literal

import msgspec
from aiohttp import web

from .. import keys, tracing
from ..config import Settings
from ..core.events import EventKind
from ..core.prediction import Prediction
from ..core.probe import is_probe
from ..errors import (
    IpNotAllowed,
    NotReady,
    RateLimited,
    SignatureInvalid,
    SignatureMissing,
    TimestampOutOfTolerance,
    TunerdError,
)
from ..parsing import WEBHOOK_PATH
from ..store.records import Appended, IncomingEvent
from .address import CLIENTS, Client
from .allowlist import ALLOWLIST
from .endpoint import Answer, Endpoint, Param
from .incoming import Bodies, incoming_event, read_job_hint, read_signed
from .problem import SECURITY_HEADERS
from .rate import RateLimit
from .refusals import REFUSALS, named
from .verifying import Verifier

_DRAIN_RETRY_SECONDS = 5  # about the time of a restart

RECEIVER: web.AppKey[Receiver] = web.AppKey("receiver")

_encoder = msgspec.json.Encoder()
_HEADERS = {"Content-Type": "application/json", **SECURITY_HEADERS}


class Received(msgspec.Struct):
    """``job_id`` is null for an event that is no prediction object."""

    status: Literal["accepted", "duplicate"]
    event: EventKind
    job_id: str | None


class Probed(msgspec.Struct):
    """The answer to a probe of our own, which is not stored: it came to the daemon of this name."""

    status: Literal["probe"]
    daemon: str


async def receive(request: web.Request) -> web.Response:
    return await request.app[RECEIVER].receive(request)


class Receiver:
    """One for each application; holds what is made once and used by every request."""

    def __init__(self, app: web.Application) -> None:
        settings = app[keys.SETTINGS]
        self._clients = app[CLIENTS]
        self._effective = app[keys.EFFECTIVE]
        self._verifier = Verifier(app[keys.WEBHOOK_SECRETS])
        self._settings = app[keys.STORE].settings
        self._journal = app[keys.STORE].journal
        self._clock = app[keys.CLOCK]
        self._closing = app[keys.CLOSING]
        self._wake_delivery = app[keys.WAKE_DELIVERY]
        self._refusals = app[REFUSALS]
        self._allowlist = app[ALLOWLIST]
        self._seconds = app[keys.METRICS].webhook_receive_seconds
        self._outcomes = app[keys.METRICS].webhook_requests
        self._accepted = {kind: self._outcomes.labels(kind.value) for kind in EventKind}
        self._duplicate = self._outcomes.labels("duplicate")
        self.limit_to(settings)

    def limit_to(self, settings: Settings) -> None:
        self._rate = RateLimit(settings.webhook_rate_per_second)
        self._bodies = Bodies(settings.max_body_mib)

    async def receive(self, request: web.Request) -> web.Response:
        traceparent = tracing.checked(request.headers.get(tracing.HEADER))
        if not tracing.is_on():
            return await self._receive(request, traceparent)
        with tracing.span("webhook receive", parent=traceparent, kind="server") as span:
            return await self._receive(request, span.traceparent, span)

    async def _receive(
        self, request: web.Request, traceparent: str | None, span: tracing.Span | None = None
    ) -> web.Response:
        began = time.perf_counter()
        client = None
        try:
            client = self._clients.of(request)
            self._admit(client)
            body = await self._bodies.read(request)
            event, prediction = await self._judge(request, body, client, traceparent)
            if prediction is None and is_probe(event.webhook_id, body):
                if span is not None:
                    span.set(event="probe")
                return await self._probed()
            with tracing.span("journal append", body_bytes=len(body)):
                appended = await self._journal.append(event, prediction)
        except TunerdError as refused:
            self._outcomes.labels(refused.code).inc()
            self._refusals.note(refused, path=WEBHOOK_PATH, client=client and client.text, **named(request.headers))
            raise
        except Exception:
            self._outcomes.labels(TunerdError.code).inc()  # internal_error
            raise
        if span is not None:
            span.set(seq=appended.seq, event=appended.kind.value, job_id=appended.job_id, duplicate=appended.duplicate)
        return web.Response(body=self.settle(appended, began), headers=_HEADERS)

    async def _probed(self) -> web.Response:
        self._outcomes.labels("probe").inc()
        answer = Probed("probe", await self._settings.daemon_id(self._clock()))
        return web.Response(body=_encoder.encode(answer), headers=_HEADERS)

    def close(self) -> None:
        self._verifier.close()

    def settle(self, appended: Appended, began: float) -> bytes:
        """The answer's body for what is on disk now. ``began``: when it came in, in ``time.perf_counter()``."""
        self._seconds.observe(time.perf_counter() - began)
        if appended.duplicate:
            self._duplicate.inc()
        else:
            self._accepted[appended.kind].inc()
            if appended.kind is EventKind.COMPLETED:
                self._wake_delivery()
        received = Received("duplicate" if appended.duplicate else "accepted", appended.kind, appended.job_id)
        return _encoder.encode(received)

    def excess(self, client: Client) -> float:
        """Count a request of the client. Not 0: the seconds until one would be let in."""
        return self._rate.excess(client.address, asyncio.get_running_loop().time())

    def is_over(self, client: Client) -> bool:
        """Whether one more request of the client would be refused; counts nothing."""
        return self._rate.is_over(client.address, asyncio.get_running_loop().time())

    def give_back(self, client: Client) -> None:
        """Take back what ``excess`` counted."""
        self._rate.give_back(client.address)

    def fits(self, size: int) -> bool:
        """Whether a body of so many bytes is taken."""
        return self._bodies.fits(size)

    def _admit(self, client: Client) -> None:
        """The IP rule, the rate, and whether anything is taken at all."""
        self._allowlist.admit(client)
        excess = self.excess(client)
        if excess:
            raise RateLimited(
                "More requests came from this address than webhook_rate_per_second lets in. Send it again later.",
                retry_after=math.ceil(excess),
            )
        if self._closing.is_set():
            raise NotReady("The daemon is stopping. Send it again.", retry_after=_DRAIN_RETRY_SECONDS)

    async def _judge(
        self, request: web.Request, body: bytes, client: Client, traceparent: str | None
    ) -> tuple[IncomingEvent, Prediction | None]:
        signed, now = read_signed(request.headers), self._clock()
        required = self._effective.webhook_require_signature
        prediction = await (self._verifier.verified(signed, body, now) if required else self._verifier.unverified(body))
        event = incoming_event(
            signed,
            body,
            received_at=now,
            source_ip=client.text,
            verified=required,
            traceparent=traceparent,
            job_hint=read_job_hint(request.raw_path, request.rel_url),
        )
        return event, prediction


def settings_changed(app: web.Application) -> None:
    app[RECEIVER].limit_to(app[keys.SETTINGS])


def set_up(app: web.Application) -> None:
    """Make the receiver, when the application has its parts; its threads end with the application."""
    receiver = app[RECEIVER] = Receiver(app)

    async def close(_app: web.Application) -> None:
        receiver.close()

    app.on_cleanup.append(close)


def _header(name: str, says: str) -> Param:
    return Param(name, says, {"type": "string"}, where="header")


ENDPOINT = Endpoint(
    "POST",
    WEBHOOK_PATH,
    receive,
    "Where Replicate sends its events",
    {200: Answer("The event is on disk, now or already; or it was a probe of our own", (Received, Probed))},
    body={"description": "A prediction or training object. Kept byte for byte, whatever it is."},
    params=(
        _header("webhook-id", "Unique for each event, the same when it is sent again"),
        _header("webhook-timestamp", "Unix seconds"),
        _header("webhook-signature", "v1,<base64 of HMAC-SHA256>, several separated by blanks"),
    ),
    errors=(
        IpNotAllowed,
        RateLimited,
        SignatureMissing,
        SignatureInvalid,
        TimestampOutOfTolerance,
        NotReady,
    ),
    description="Standard Webhooks. Needs no admin token: the signature is the authentication.",
    public=True,
)
