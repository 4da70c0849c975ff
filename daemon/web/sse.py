"""One open Server-Sent Events answer: framing, heartbeats, stalled clients, and the end at a drain.

Format: WHATWG HTML, "Server-sent events". Data is JSON without line breaks, so no text from outside can end a frame.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import structlog
from aiohttp import web

from .. import keys
from ..errors import InvalidRequest
from ..store.wakeups import Subscription

HEARTBEAT_SECONDS = 15.0  # proxies close connections that are silent for 30 to 60 s
LOOK_AGAIN_SECONDS = 2.0  # what another node on the same database appended wakes nobody here
STALLED_SECONDS = 60.0  # a client that takes nothing for so long is gone
DRAIN_SECONDS = 1.0  # enough for a client that reads; one that does not must not hold up the stop
COALESCE_SECONDS = 0.05  # after a wake-up: appends come in bursts, one read serves them all

log = structlog.get_logger()
_encoder = msgspec.json.Encoder()


def frame(data: Any, *, event_id: int, event: str) -> bytes:
    """One event; ``event`` is a word of ours, ``data`` anything msgspec encodes."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event_id, event.encode(), _encoder.encode(data))


def resume_point(request: web.Request, parameter: str) -> int | None:
    """Where the client left off: ``Last-Event-ID``, else the query's ``parameter``. Raises ``InvalidRequest``.

    The header wins: a browser repeats the URL with its old parameter when it reconnects.
    """
    for name, text in (
        ("Last-Event-ID", request.headers.get("Last-Event-ID")),
        (parameter, request.query.get(parameter)),
    ):
        if text:
            if not (text.isascii() and text.isdigit() and len(text) <= 18):
                raise InvalidRequest(f"{name}: a whole number is expected.", field=name)
            return int(text)
    return None


class EventStream:
    """The sending half of one stream. ``send`` waits for the client: what it does not take is never piled up."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self._request = request
        self._response = response
        self._draining = request.app[keys.DRAINING]
        self._time = asyncio.get_running_loop().time
        self._sent_at = self._time()

    def goes_on(self) -> bool:
        """Whether to go on: false once the daemon drains or the client is gone."""
        return not self._draining.is_set() and self._request.transport is not None

    async def send(self, frames: bytes) -> None:
        """Write; ``TimeoutError`` when the client takes nothing for ``STALLED_SECONDS``."""
        async with asyncio.timeout(STALLED_SECONDS):
            await self._response.write(frames)
        self._sent_at = self._time()

    async def wait(self, subscription: Subscription) -> None:
        """Until something may have changed; keeps the connection alive meanwhile."""
        changed = await subscription.wait(min(LOOK_AGAIN_SECONDS, HEARTBEAT_SECONDS))
        if self._time() - self._sent_at >= HEARTBEAT_SECONDS:
            await self.send(b": keep-alive\n\n")
        if changed and self.goes_on():
            await asyncio.sleep(COALESCE_SECONDS)


@contextlib.asynccontextmanager
async def open_stream(request: web.Request, response: web.StreamResponse) -> AsyncIterator[EventStream]:
    """Send the headers and register the stream for the drain. A client that leaves ends the block quietly."""
    response.headers.update(
        {
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # nginx would hold events back
        }
    )
    await response.prepare(request)
    task = asyncio.current_task()
    streams = request.app[keys.STREAMS]
    if task is not None:
        streams.add(task)
    try:
        yield EventStream(request, response)
    except ConnectionError:
        pass  # the client left
    except Exception as problem:
        # The headers are out: no error answer can follow. An aborted connection makes the client come back.
        if not isinstance(problem, TimeoutError):
            log.exception("event stream failed", path=request.path)
        if request.transport is not None:
            request.transport.abort()
    finally:
        if task is not None:
            streams.discard(task)


async def end_streams(app: web.Application) -> None:
    """Tell every stream to end; those whose client does not read are cut off. For ``app.on_shutdown``."""
    app[keys.DRAINING].set()
    app[keys.STORE].journal.notify()
    streams: set[asyncio.Task[object]] = app[keys.STREAMS]
    if streams:
        _, held_up = await asyncio.wait(list(streams), timeout=DRAIN_SECONDS)
        for task in held_up:
            task.cancel()
