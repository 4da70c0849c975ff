"""``POST /api/webhooks/replicate``: check, store, and only then answer.

The order of checks is part of the contract: IP rule and rate, size, headers, signature, timestamp. Replicate repeats
only a job's final event, for about a minute: whatever may be a good event is answered 503 and never 4xx while it
cannot be judged or stored.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

import msgspec
from aiohttp import web
from multidict import istr

from .. import keys, tracing
from ..config import Settings
from ..core.events import EventKind
from ..core.prediction import Prediction, parse_prediction
from ..core.probe import is_probe
from ..core.signature import LARGE_BYTES, TOLERANCE_SECONDS, Verdict, verify
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
from .incoming import Bodies, Signed, job_hint, journal_id, read_signed
from .problem import SECURITY_HEADERS
from .rate import RateLimit
from .refusals import REFUSALS

THREADS = 2  # of our own: the default ones may all be waiting for uploads
_DRAIN_RETRY_SECONDS = 5  # about the time of a restart

T = TypeVar("T")

RECEIVER: web.AppKey[Receiver] = web.AppKey("receiver")

_TRACEPARENT = istr("traceparent")
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
        self._secrets = app[keys.WEBHOOK_SECRETS]
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
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook")

    def limit_to(self, settings: Settings) -> None:
        self._rate = RateLimit(settings.webhook_rate_per_second)
        self._bodies = Bodies(settings.max_body_mib)

    async def receive(self, request: web.Request) -> web.Response:
        traceparent = tracing.checked(request.headers.get(_TRACEPARENT))
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
            self._refusals.note(refused, path=WEBHOOK_PATH, client=client and client.text)
            raise
        except Exception:
            self._outcomes.labels(TunerdError.code).inc()  # internal_error
            raise
        self._seconds.observe(time.perf_counter() - began)
        if span is not None:
            span.set(seq=appended.seq, event=appended.kind.value, job_id=appended.job_id, duplicate=appended.duplicate)
        return self._answer(appended)

    async def _probed(self) -> web.Response:
        self._outcomes.labels("probe").inc()
        answer = Probed("probe", await self._settings.daemon_id(self._clock()))
        return web.Response(body=_encoder.encode(answer), headers=_HEADERS)

    def close(self) -> None:
        self._threads.shutdown(wait=False)

    def _answer(self, appended: Appended) -> web.Response:
        if appended.duplicate:
            self._duplicate.inc()
        else:
            self._accepted[appended.kind].inc()
            if appended.kind is EventKind.COMPLETED:
                self._wake_delivery()
        received = Received("duplicate" if appended.duplicate else "accepted", appended.kind, appended.job_id)
        return web.Response(body=_encoder.encode(received), headers=_HEADERS)

    def _admit(self, client: Client) -> None:
        """The IP rule, the rate, and whether anything is taken at all."""
        self._allowlist.admit(client)
        excess = self._rate.excess(client.address, asyncio.get_running_loop().time())
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
        signed, now = read_signed(request), self._clock()
        required = self._effective.webhook_require_signature
        if required:
            prediction = await self._verified(signed, body, now)
        else:
            prediction = await self._heavy(len(body), parse_prediction, body)
        event = IncomingEvent(
            webhook_id=journal_id(signed, body),
            timestamp=signed.timestamp,
            signature=signed.signature,
            body=body,
            received_at=now,
            source="webhook",
            source_ip=client.text,
            verified=required,
            traceparent=traceparent,
            job_hint=job_hint(request),
        )
        return event, prediction

    async def _verified(self, signed: Signed, body: bytes, now: float) -> Prediction | None:
        """What the body says, once its signature holds."""
        if signed.repeated:
            raise SignatureInvalid(f"{signed.repeated} was sent more than once: which one was signed cannot be known.")
        if signed.missing:
            raise _missing(signed.missing)
        live = await self._secrets.get()
        verdict, prediction = await self._heavy(len(body), _examine, live, signed, body, now)
        if verdict is Verdict.INVALID:
            renewed = await self._secrets.refetch(live)
            if renewed is not None:
                verdict, prediction = await self._heavy(len(body), _examine, renewed, signed, body, now)
        if verdict is Verdict.STALE:
            raise _stale(signed, now)
        if verdict is not Verdict.OK:
            raise SignatureInvalid(
                "No v1 entry of webhook-signature matches. Is the body passed on unchanged, and is the secret that of "
                "the account which runs the job? (TUNERD_WEBHOOK_SECRET, or REPLICATE_API_TOKEN to fetch it.)"
            )
        return prediction

    async def _heavy(self, size: int, work: Callable[..., T], *arguments: object) -> T:
        """``work(*arguments)``, off the loop where ``size`` bytes are too many for it."""
        if size < LARGE_BYTES:
            return work(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def _examine(live: tuple[bytes, ...], signed: Signed, body: bytes, now: float) -> tuple[Verdict, Prediction | None]:
    """Verify and parse in one go: one hop to a thread."""
    verdict = verify(live, signed.id, signed.timestamp, signed.signature, body, now=now)
    return verdict, parse_prediction(body) if verdict is Verdict.OK else None


def _missing(names: tuple[str, ...]) -> SignatureMissing:
    return SignatureMissing(
        f"The endpoint was reached and answers, but the request is not signed: {', '.join(names)} missing. "
        "Replicate sends all three headers; to try by hand, use 'tunerd trigger'."
    )


def _stale(signed: Signed, now: float) -> TimestampOutOfTolerance:
    return TimestampOutOfTolerance(
        f"The signature holds, but webhook-timestamp {str(signed.timestamp)[:30]!r} is not within "
        f"{TOLERANCE_SECONDS:g} s of this machine's clock ({now:.0f}). If that repeats, set the clock (NTP)."
    )


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
