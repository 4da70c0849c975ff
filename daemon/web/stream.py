"""The two live streams: the journal's events by sequence number, and one job's log by byte offset."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from aiohttp import web

from .. import keys
from ..core.events import EventKind
from ..core.jobs import FINISHED
from .answers import query_choice, query_text
from .jobs_access import find_job
from .render import event_view
from .sse import EventStream, frame, open_stream, resume_point

BATCH_ROWS = 200  # about 60 KB of frames: one write fills the socket's buffer once
LOG_CHUNK_CHARS = 32_768  # a long log goes out in pieces, so that a slow client can resume in its middle


class LogChunk(msgspec.Struct):
    """The log from byte ``offset`` on. The event's id is the offset after ``text``."""

    offset: int
    text: str


class LogEnd(msgspec.Struct):
    """The job is finished and its whole log, ``offset`` bytes, was sent."""

    offset: int
    status: str


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Every event once, in order of ``seq``, after the point given or, where none is, from now on."""
    store = request.app[keys.STORE]
    word = query_choice(request, "event", EventKind)
    kind = None if word is None else EventKind(word)
    job_key = query_text(request, "job")
    job_id = None if job_key is None else (await find_job(request, job_key)).job_id
    cursor = resume_point(request, "after")
    response = web.StreamResponse()
    async with store.journal.subscribe() as subscription:
        newest = await store.journal.last_seq()
        # A point beyond the end is of a journal that was restored from a backup since: its events would never come.
        cursor = newest if cursor is None else min(cursor, newest)
        async with open_stream(request, response) as stream:
            if request.method == "HEAD":
                return response
            # An id without data is no event, but where to resume if the connection is lost before the first one.
            await stream.send(b": events after %d\nid: %d\n\n" % (cursor, cursor))
            while stream.goes_on():
                rows = await store.journal.events(after=cursor, limit=BATCH_ROWS, job_id=job_id, kind=kind)
                if rows:
                    await stream.send(
                        b"".join(frame(event_view(row), event_id=row.seq, event=row.kind) for row in rows)
                    )
                    cursor = rows[-1].seq
                if len(rows) < BATCH_ROWS:
                    await stream.wait(subscription)
    return response


async def stream_logs(request: web.Request) -> web.StreamResponse:
    """One job's log as it grows, from the offset given; ``event: end`` after the last byte of a finished job."""
    store = request.app[keys.STORE]
    job = await find_job(request)
    tail = LogTail(resume_point(request, "offset") or 0)
    response = web.StreamResponse()
    async with store.journal.subscribe() as subscription, open_stream(request, response) as stream:
        if request.method == "HEAD":
            return response
        await stream.send(b": log of %s\n\n" % job.job_id.encode())
        while stream.goes_on():
            # The job first, then its log: what a finished job says, its log holds already.
            job = await store.jobs.get(job.job_id) or job
            if tail.behind(job.logs_chars):
                await _send_growth(stream, tail, await store.journal.logs(job.job_id))
            if not stream.goes_on():
                break
            if job.status in FINISHED:
                await stream.send(frame(LogEnd(tail.offset, job.status), event_id=tail.offset, event="end"))
                break
            await stream.wait(subscription)
    return response


async def _send_growth(stream: EventStream, tail: LogTail, text: str) -> None:
    for chunk in tail.growth(text):
        await stream.send(frame(chunk, event_id=tail.offset, event="log"))
        if not stream.goes_on():
            break


class LogTail:
    """A position in a growing text, in bytes of UTF-8 (for the client) and in characters (for slicing)."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self._chars: int | None = None if offset else 0  # known once the text has reached the offset
        self._seen = -1

    def behind(self, logs_chars: int) -> bool:
        """Whether a text of ``logs_chars`` may hold something new."""
        return logs_chars != self._seen

    def growth(self, text: str) -> Iterator[LogChunk]:
        """What of ``text`` lies after the position, in chunks; each moves the position when it is taken.

        An offset inside a character steps back to the character's first byte, and the chunk says so.
        """
        self._seen = len(text)
        if self._chars is None:
            encoded = text.encode("utf-8", "replace")
            if self.offset > len(encoded):
                return
            while self.offset and self.offset < len(encoded) and encoded[self.offset] & 0xC0 == 0x80:
                self.offset -= 1  # 10xxxxxx continues a character
            self._chars = len(encoded[: self.offset].decode("utf-8"))
        while self._chars < len(text):
            piece = text[self._chars : self._chars + LOG_CHUNK_CHARS]
            chunk = LogChunk(self.offset, piece)
            self._chars += len(piece)
            self.offset += len(piece.encode("utf-8", "replace"))
            yield chunk
