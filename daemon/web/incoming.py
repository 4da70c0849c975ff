"""Reading one webhook request: its body under the limit, and the headers that sign it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
from aiohttp import hdrs, web
from aiohttp.web_protocol import RequestPayloadError
from multidict import CIMultiDictProxy, istr
from yarl import URL

from ..errors import BodyTooLarge, InvalidRequest, NotReady
from ..parsing import WEBHOOK_PATH
from ..store.records import IncomingEvent
from ..store.text import KEY_CHARS

MIB = 1024 * 1024
# Of bodies that are still on their way in: anyone can open connections and send slowly. More are asked to come again.
HELD_MIB = 256
_BUSY_RETRY_SECONDS = 2
_LONGEST_HINT = 200

_ID, _TIMESTAMP, _SIGNATURE = istr("webhook-id"), istr("webhook-timestamp"), istr("webhook-signature")
_NONE: tuple[str, ...] = ()
_SIGNING = (_ID, _TIMESTAMP, _SIGNATURE)


_WITH_QUERY = WEBHOOK_PATH + "?"


def is_plain_webhook(method: str, path: str, headers: CIMultiDictProxy[str]) -> bool:
    """Whether a request is a webhook as it was sent, with nothing for a router to interpret.

    Another spelling of the path and an ``Expect`` header are: such a one reaches the receiver through the router.
    """
    return (
        (path == WEBHOOK_PATH or path.startswith(_WITH_QUERY))
        and method == hdrs.METH_POST
        and hdrs.EXPECT not in headers
    )


class Bodies:
    """Reads bodies of up to ``limit_mib``; all that are being read at once share ``HELD_MIB``, or twice the limit."""

    def __init__(self, limit_mib: int) -> None:
        self._limit = limit_mib * MIB
        self._most_held = max(HELD_MIB * MIB, 2 * self._limit)
        self._held = 0

    def fits(self, size: int) -> bool:
        return size <= self._limit

    async def read(self, request: web.Request) -> bytes:
        """The bytes on the wire, whatever their Content-Encoding. Raises ``BodyTooLarge``, ``NotReady``."""
        try:
            if request.content.is_eof():  # it came with the headers, as small ones do
                body = request.content.read_nowait()
                if not self.fits(len(body)):
                    raise self._too_large()
                return body
            return await self._read_rest(request)
        except RequestPayloadError:
            raise InvalidRequest("The body is not valid HTTP: its chunks or its length do not add up.") from None

    async def _read_rest(self, request: web.Request) -> bytes:
        if not self.fits(request.content_length or 0):
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        try:
            while chunk := await request.content.readany():
                parts.append(chunk)
                size += len(chunk)
                self._held += len(chunk)
                if not self.fits(size):
                    raise self._too_large()
                if self._held > self._most_held:
                    raise NotReady("Too many bodies arrive at once. Send it again.", retry_after=_BUSY_RETRY_SECONDS)
            return b"".join(parts)
        finally:
            self._held -= size

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"A webhook body may have {self._limit} bytes at most. Raise TUNERD_MAX_BODY_MIB if this was a real event."
        )


class Signed(msgspec.Struct, frozen=True):
    """The three signing headers as text; ``None`` where one is absent, empty or sent more than once."""

    id: str | None
    timestamp: str | None
    signature: str | None
    missing: tuple[str, ...] = ()
    repeated: str | None = None


def read_signed(headers: CIMultiDictProxy[str]) -> Signed:
    ids, timestamps = headers.getall(_ID, _NONE), headers.getall(_TIMESTAMP, _NONE)
    signature = " ".join(headers.getall(_SIGNATURE, _NONE))  # several lines are one list
    if len(ids) == len(timestamps) == 1 and ids[0] and timestamps[0] and signature:
        return Signed(ids[0], timestamps[0], signature)
    # Which of two ids or times was signed could only be guessed.
    repeated = _ID if len(ids) > 1 else _TIMESTAMP if len(timestamps) > 1 else None
    found = (_only(ids), _only(timestamps), signature or None)
    missing = tuple(name for name, value in zip(_SIGNING, found, strict=True) if value is None and name != repeated)
    return Signed(*found, missing, repeated)


def _only(values: Sequence[str]) -> str | None:
    return values[0] or None if len(values) == 1 else None


def incoming_event(
    signed: Signed,
    body: bytes,
    *,
    received_at: float,
    source_ip: str | None,
    verified: bool,
    traceparent: str | None,
    job_hint: str | None,
) -> IncomingEvent:
    webhook_id = _journal_id(signed, body)
    return IncomingEvent(
        webhook_id=webhook_id,
        id_sent=None if webhook_id == signed.id else signed.id,
        timestamp=signed.timestamp,
        signature=signed.signature,
        body=body,
        received_at=received_at,
        source="webhook",
        source_ip=source_ip,
        verified=verified,
        traceparent=traceparent,
        job_hint=job_hint,
    )


def _journal_id(signed: Signed, body: bytes) -> str:
    """The id under which the journal keeps the event once: the sender's, where it can be a key.

    Replicate's have about 30 characters. Without one (only where signatures are not required) the same body is the
    same event.
    """
    if signed.id is None:
        return f"unsigned_{_digest(body)}"
    if len(signed.id) <= KEY_CHARS and signed.id.isprintable():
        return signed.id
    return f"hashed_{_digest(signed.id.encode('utf-8', 'backslashreplace'))}"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=20).hexdigest()


def read_job_hint(path: str, url: URL) -> str | None:
    """``?job=`` of the URL that a submit gave to Replicate. It is not signed: a hint. ``path``: as it was sent."""
    if "?" not in path:
        return None
    hint = url.query.get("job")
    return hint if hint and len(hint) <= _LONGEST_HINT and hint.isprintable() else None
