"""One connection: webhooks that are all right go the short way (express.py), everything else aiohttp's.

aiohttp's parser reads the bytes of both. While a webhook is being stored, what comes after it on its connection waits.
"""

from __future__ import annotations

from typing import Any

import structlog
from aiohttp import StreamReader, hdrs
from aiohttp.http import RawRequestMessage

from .address import named
from .deadlines import DeadlineHandler
from .express import ARRIVING_BYTES, Express, Taken

log = structlog.get_logger()


class Connection(DeadlineHandler):
    """Without ``express`` everything goes aiohttp's way."""

    __slots__ = ("_express", "_held", "_kept", "_reserved", "_taken")

    def __init__(self, *args: Any, express: Express | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._express = express
        self._kept: tuple[RawRequestMessage, StreamReader] | None = None  # not decided: its body may be on its way
        self._reserved = 0  # of ``Express.arriving``
        self._taken: Taken | None = None  # in the journal's queue
        self._held: list[bytes] = []  # what came meanwhile
        if express is not None:
            self._parser: Any = _Parser(self._parser, self)

    def close(self) -> None:
        if self._taken is None:
            super().close()
        else:  # aiohttp's task stays: where the store fails it has the answer
            self._close = True

    def connection_lost(self, exc: BaseException | None) -> None:
        self._kept = None
        self._release()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._taken is not None:
            if data:
                self._held.append(data)
                self._pause_reading_for_buffer()
            return
        super().data_received(data)
        if self._kept is not None:
            message, payload = self._kept
            if payload.is_eof() or payload.exception() is not None:
                self._kept = None
                self._release()
                self._decide(message, payload)

    def keeps(self, message: Any, payload: StreamReader) -> bool:
        """Whether the connection itself sees to what the parser has just read. Otherwise aiohttp does."""
        express = self._express
        if (
            express is None
            or not self._is_free()
            or not isinstance(message, RawRequestMessage)
            or not express.wants(message)
        ):
            return False
        if not payload.is_eof():
            size = int(message.headers[hdrs.CONTENT_LENGTH])
            if express.arriving + size > ARRIVING_BYTES:
                return False
            self._reserved = size
            express.arriving += size
        self._kept = message, payload
        self._request_count += 1
        return True

    def _is_free(self) -> bool:
        """Nothing is being read, is waiting or is being answered, and more may come."""
        if self._kept is not None or self._messages or self._close:
            return False
        # Without a waiter aiohttp is at work on a request; or it has not begun, where the first one came at once.
        return not self._request_count or (self._waiter is not None and not self._waiter.done())

    def _release(self) -> None:
        if self._express is not None:
            self._express.arriving -= self._reserved
            self._reserved = 0

    def _decide(self, message: RawRequestMessage, payload: StreamReader) -> None:
        assert self._express is not None
        if self._messages or payload.exception() is not None:
            self._go_the_long_way(message, payload)
            return
        body = payload.read_nowait()
        try:
            taken = self._express.take(message, body, named(self.peername))
        except Exception:  # a fault of ours must not cost the connection: the long way has an answer for it
            log.exception("a webhook goes the long way")
            taken = None
        if taken is None:
            self._go_the_long_way(message, self._again(body))
            return
        self._taken = taken
        self._request_in_progress = True  # a stop waits for it
        assert self._manager is not None
        self._manager.requests_count += 1
        self._keep_open()
        taken.appended.add_done_callback(lambda _: self._stored(taken, message, body))

    def _go_the_long_way(self, message: RawRequestMessage, payload: StreamReader) -> None:
        """Before anything that came after it."""
        self._messages.appendleft((message, payload))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _again(self, body: bytes) -> StreamReader:
        """A body that was read, to be read once more."""
        reader = StreamReader(self, self._read_bufsize, loop=self._loop)
        if body:
            reader.feed_data(body)
        reader.feed_eof()
        return reader

    def _stored(self, taken: Taken, message: RawRequestMessage, body: bytes) -> None:
        """It is on disk, or cannot be put there."""
        self._taken = None
        self._request_in_progress = False
        waiter, self._handler_waiter = self._handler_waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if not taken.appended.cancelled() and taken.appended.exception() is None:
            self._answer(taken)
        elif self.transport is not None:
            assert self._express is not None
            self._express.give_back(taken)
            self._go_the_long_way(message, self._again(body))
        if self._held and self.transport is not None:
            held, self._held = b"".join(self._held), []
            self._resume_reading_for_buffer()
            self.data_received(held)

    def _answer(self, taken: Taken) -> None:
        assert self._express is not None
        last = self._force_close or self._close or getattr(self._manager, "leaving", False)
        answer = self._express.answer(taken, last=last)
        if self.transport is None:
            return  # the client has gone; its event is here
        self._parser.message_consumed()
        self.transport.write(answer)
        self._keepalive = True
        if last:
            self.force_close()
        else:
            self._keep_open()

    def _keep_open(self) -> None:
        """Until it has been idle for ``keepalive_timeout`` from now on; the connection's timer looks."""
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)

    def _process_keepalive(self) -> None:
        if self._force_close or (self._taken is None and self._kept is None):
            super()._process_keepalive()
        else:  # it is not idle, though aiohttp's task is
            self._keepalive_handle = None
            self._keep_open()

    def _arriving(self) -> StreamReader | None:
        # The kept one has all arrived where another came after it.
        return self._kept[1] if self._kept is not None and not self._messages else super()._arriving()

    def _waits(self) -> bool:
        return self._taken is None and self._kept is None and super()._waits()


class _Parser:
    """aiohttp's parser. What it has read is shown to the connection first."""

    def __init__(self, parser: Any, connection: Connection) -> None:
        self._parser = parser
        self._connection = connection

    def feed_data(self, data: bytes) -> tuple[Any, bool, bytes]:
        messages, upgraded, tail = self._parser.feed_data(data)
        if len(messages) == 1 and not upgraded and self._connection.keeps(*messages[0]):
            messages = ()
        return messages, upgraded, tail

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)
