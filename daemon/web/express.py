"""The short way of a webhook: judged as it arrives, put into the journal's queue, answered when it is on disk.

A request, a task and a response are made for whatever else comes in, and cost more than judging a webhook. One that
is alone on its connection and all right needs none of them (measured: 80 of 200 µs). Here nothing is refused: whatever
is not plainly good goes the long way (receiver.py), which judges it anew and has the words for it.
"""

from __future__ import annotations

import asyncio
import time

import msgspec
from aiohttp import hdrs, web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11, RawRequestMessage

from .. import keys, tracing
from ..core.addresses import Malformed
from ..core.signature import Verdict
from ..errors import NotReady
from ..store.records import Appended
from . import request_id
from .address import CLIENTS, Client
from .allowlist import ALLOWLIST
from .incoming import incoming_event, is_plain_webhook, read_job_hint, read_signed
from .problem import SECURITY_HEADERS
from .receiver import RECEIVER
from .verifying import examine

# Of a body; more is read in several pieces, with a pause wherever the next one is not asked for.
MOST_BYTES = 64 * 1024
# Of bodies on their way in, all together: anyone can open connections and send slowly.
ARRIVING_BYTES = 64 * 1024 * 1024

_FIXED = "".join(f"{name}: {value}\r\n" for name, value in SECURITY_HEADERS.items())
_HEAD = (
    f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{_FIXED}Server: {SERVER_SOFTWARE}\r\n"
    "Date: {date}\r\nX-Request-ID: {request_id}\r\nContent-Length: {length}\r\n{more}\r\n"
)
_LAST = "Connection: close\r\n"


class Taken(msgspec.Struct, frozen=True):
    """A webhook that is in the journal's queue. ``appended`` is done when it is on disk."""

    appended: asyncio.Future[Appended]
    client: Client
    request_id: str
    began: float  # time.perf_counter()


class Express:
    """Judges; one for each application."""

    def __init__(self, app: web.Application) -> None:
        self._receiver = app[RECEIVER]
        self._clients = app[CLIENTS]
        self._allowlist = app[ALLOWLIST]
        self._effective = app[keys.EFFECTIVE]
        self._secrets = app[keys.WEBHOOK_SECRETS]
        self._journal = app[keys.STORE].journal
        self._clock = app[keys.CLOCK]
        self._closing = app[keys.CLOSING]
        self.arriving = 0  # bytes of bodies that are waited for

    def wants(self, message: RawRequestMessage) -> bool:
        """Whether ``message`` may be a webhook for the short way, by its head."""
        return (
            int(message.headers.get(hdrs.CONTENT_LENGTH, MOST_BYTES + 1)) <= MOST_BYTES
            and is_plain_webhook(message.method, message.path, message.headers)
            and message.version == HttpVersion11
            and not message.should_close
            and not message.upgrade
            and not tracing.is_on()
            and not self._closing.is_set()
        )

    def take(self, message: RawRequestMessage, body: bytes, peer: str | None) -> Taken | None:
        """Put it in the journal's queue. ``None``: not taken, and nothing is changed."""
        began, headers = time.perf_counter(), message.headers
        client, signed, live = self._clients.find(peer, headers), read_signed(headers), self._secrets.at_hand()
        if (
            live is None
            or isinstance(client, Malformed)
            or not self._effective.webhook_require_signature
            or not self._allowlist.lists(client)
            or self._receiver.is_over(client)
            or not self._receiver.fits(len(body))
            or signed.missing
            or signed.repeated
        ):
            return None
        now = self._clock()
        verdict, prediction = examine(live, signed, body, now)
        # What is no prediction may be a probe of our own.
        if verdict is not Verdict.OK or prediction is None:
            return None
        event = incoming_event(
            signed,
            body,
            received_at=now,
            source_ip=client.text,
            verified=True,
            traceparent=tracing.checked(headers.get(tracing.HEADER)),
            job_hint=read_job_hint(message.path, message.url),
        )
        try:
            appended = self._journal.submit(event, prediction)
        except NotReady:
            return None
        self._receiver.excess(client)  # counted once: the long way counts what was not taken
        return Taken(appended, client, request_id.choose(peer, headers, self._clients), began)

    def give_back(self, taken: Taken) -> None:
        """It could not be stored and goes the long way, which counts it anew."""
        self._receiver.give_back(taken.client)

    def answer(self, taken: Taken, *, last: bool) -> bytes:
        """The whole answer, once it is on disk. ``last``: of its connection."""
        body = self._receiver.settle(taken.appended.result(), taken.began)
        head = _HEAD.format(
            date=rfc822_formatted_time(),
            request_id=taken.request_id,
            length=len(body),
            more=_LAST if last else "",
        )
        return head.encode() + body
