"""Deadlines for clients that do not finish what they send, and our words for what aiohttp's parser refuses.

aiohttp alone leaves a client connected that trickles its headers or its body. Here one timer for each connection
watches whichever of the two is under way; a request that arrives in one piece, as webhooks do, never starts it.
An answer that takes long (an event stream, a slow handler) is nobody's deadline.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import termios
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from ..errors import InvalidRequest, TunerdError
from .problem import from_http, internal_error, problem

HEADERS_SECONDS = 15.0  # from the connection, or from a request's first byte, to the end of its headers
BODY_SECONDS = 60.0  # from the end of the headers to the end of the body


log = structlog.get_logger()


class DeadlineHandler(RequestHandler):
    """One connection."""

    __slots__ = ("_alarm", "_alarm_at", "_body", "_body_limit", "_headers_limit", "_heads", "_limit", "_since")

    def __init__(
        self, *args: Any, headers_seconds: float = HEADERS_SECONDS, body_seconds: float = BODY_SECONDS, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._headers_limit = headers_seconds
        self._body_limit = body_seconds
        self._heads = 0  # requests whose headers were complete, when last looked at
        self._body: StreamReader | None = None  # the one that is arriving
        self._since = 0.0  # loop.time() at which what is under way began
        self._limit = 0.0  # seconds it may take; 0: nothing is under way
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._watch(self._headers_limit)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._request_count != self._heads:
            self._heads = self._request_count
            body = self._arriving()
            if body is None or body.is_eof():
                self._body, self._limit = None, 0.0
            else:
                self._body = body
                self._watch(self._body_limit)
        elif self._body is not None:
            if self._body.is_eof():
                self._body, self._limit = None, 0.0
        elif data and not self._limit and not self._upgraded:
            self._watch(self._headers_limit)  # a request's first bytes, and not yet all of its headers

    def _arriving(self) -> StreamReader | None:
        """The body of the last request, of which all or a part has arrived."""
        return self._messages[-1][1] if self._messages else None

    def resume_reading(self, resume_parser: bool = True) -> None:
        # Called with every body that is read. Where nothing was paused aiohttp would run its parser on nothing.
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    def _watch(self, seconds: float) -> None:
        """Something begins now that may take ``seconds``. An alarm that comes early enough stays as it is."""
        self._since, self._limit = self._loop.time(), seconds
        due = self._since + seconds
        if self._alarm is None or self._alarm_at > due:
            self._set_alarm(due)

    def _set_alarm(self, due: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = self._loop.call_at(due, self._check), due

    def _check(self) -> None:
        self._alarm = None
        if not self._limit or self.transport is None:
            return
        now = self._loop.time()
        due = self._since + self._limit
        if self._is_ours():
            due = now + self._limit
        if now < due:
            self._set_alarm(due)
        else:
            self._drop()

    def _is_ours(self) -> bool:
        """Whether we hold things up: reading is paused, or headers wait behind a request that is being answered."""
        if self._reading_paused or self._buffer_paused:
            return True
        return self._body is None and (self._request_in_progress or bool(self._messages))

    def _drop(self) -> None:
        # No louder: anybody can cause this line.
        log.debug("connection closed: the client did not finish its request", part="body" if self._body else "headers")
        if self.transport is not None and self.transport.get_write_buffer_size():
            self.transport.abort()  # a client that does not read either would keep a closing connection open
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature; it quotes the client's bytes
    ) -> web.StreamResponse:
        """What never reached the application: the parser's refusals; and faults outside of its middlewares."""
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionResetError("The client has gone, or the answer has begun.") from exc
        if isinstance(exc, HttpProcessingError):
            return problem(_unreadable(exc), close=True)
        log.error("request failed outside of the application", status=status, exc_info=exc)
        return problem(internal_error(), close=True)

    def is_idle(self) -> bool:
        """Whether nothing is under way on it, between two requests."""
        return self._waits() and bool(self._heads) and not self._limit

    def is_new(self) -> bool:
        """Whether it has not brought a request yet: it was made to bring one."""
        return self._waits() and not self._heads

    def _waits(self) -> bool:
        if self._messages or self._waiter is None or self._waiter.done() or self.transport is None:
            return False
        arrived = array.array("i", [0])  # what the loop has not read yet
        fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.FIONREAD, arrived)
        return not arrived[0]

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if self._close or getattr(self._manager, "leaving", False):
            resp.force_close()
        if isinstance(resp, web.HTTPException) and resp.status >= web.HTTPBadRequest.status_code:
            resp = problem(from_http(resp, request.path))  # an Expect header that nobody meets
        return await super().finish_response(request, resp, start_time)


def _unreadable(error: HttpProcessingError) -> TunerdError:
    if isinstance(error, LineTooLong):
        return InvalidRequest("The request line or a header is too long: 8190 bytes are taken.")
    return InvalidRequest("This is not a valid HTTP/1.1 request.")
