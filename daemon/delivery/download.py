"""One attempt to bring what is missing of one file: in pieces over several connections, or in one go.

Pieces only where the server says that it gives them and a strong ETag proves, in each answer, that it is the same file.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .answers import agrees, announced, check_status, gives_pieces, range_of, validator
from .errors import Gone, Permanent, Retry
from .limits import MAX_BYTES, Room, Throttle
from .opening import Opener
from .spans import Span
from .staging import Part, State
from .threads import Threads, ended
from .wire import Broken, Connection, Reply

# Bytes of one request: so many that the way to the next one costs little, so few that they can be hashed along.
PIECE = 32 * 1024 * 1024
# Another connection is added while those there bring less than so many bytes a second each: one that is quicker is not
# what holds the download up, and each costs threads that keep others waiting.
ENOUGH = 100e6
WIDEN_SECONDS = 0.25  # between two looks; the connections double then
FLUSH_SECONDS = 1.0  # a slow download is written at least this often, so that progress shows
HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "tunerd"}


class Anew(Exception):
    """What has come is not the beginning of what the server has now: all of it is to be fetched again."""


class Piece:
    """Bytes from ``at`` to ``end`` (``None``: to the end of the body), still to come; ``at`` moves on as they do."""

    def __init__(self, at: int, end: int | None) -> None:
        self.at = at
        self.end = end

    @property
    def missing(self) -> bool:
        return self.end is None or self.at < self.end


class Download:
    """Used once. ``connections``: at most so many for this file."""

    def __init__(self, opener: Opener, threads: Threads, throttle: Throttle, part: Part, connections: int) -> None:
        self._opener = opener
        self._threads = threads
        self._throttle = throttle
        self._part = part
        self._connections = connections
        self._todo: list[Span] = []  # a heap: what is in front comes first, so that it can be hashed along
        self._working = 0

    async def run(self, url: str, room: Room) -> None:
        """Raises ``Retry``, ``Gone``, ``Permanent``, ``Broken`` or ``TimeoutError``; what has come is kept."""
        part, first = self._part, self._plan()
        reply, final = await self._opener.open(url, self._headers(first) if part.done else HEADERS)
        try:
            if await self._begin(reply, first):
                first = self._plan()
            await self._threads.start(room.check, part)
            moved = final != url
            async with along(self._threads, part), asyncio.TaskGroup() as group:
                self._working = 1
                self._widening = group.create_task(self._widen(group, final, moved))
                group.create_task(self._work(final, moved, reply, first))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            reply.connection.close()

    @property
    def _in_pieces(self) -> bool:
        return self._part.state.pieces and not self._part.no_pieces

    def _plan(self) -> Piece:
        """Cut what is missing; the first piece, the others are ``_todo``."""
        part, self._todo = self._part, []
        if part.state.total is None or not self._in_pieces:
            return Piece(part.prefix, part.state.total)
        spans = [(at, min(at + PIECE, end)) for start, end in part.gaps() for at in range(start, end, PIECE)]
        self._todo = spans[1:]
        return Piece(*spans[0]) if spans else Piece(0, 0)

    def _headers(self, piece: Piece) -> dict[str, str]:
        proof = self._part.state.validator
        assert proof is not None
        last = piece.end - 1 if piece.end is not None and self._in_pieces else ""
        return {**HEADERS, "Range": f"bytes={piece.at}-{last}", "If-Range": proof}

    async def _begin(self, reply: Reply, asked: Piece) -> bool:
        """Judge the first answer; ``True``: it begins the file, whatever was there before."""
        part, continued = self._part, self._part.done > 0
        if continued and reply.status == 416:
            raise Anew("the server has no such part of the file")
        check_status(reply)
        if reply.status == 206:
            if not continued:
                raise Anew("the server answered with a part that was not asked for")
            self._check_range(reply, asked)
            return False
        proof = validator(reply)
        if continued and proof == part.state.validator:
            part.no_pieces = True  # it was asked for a part of this very file
        await self._threads.start(part.restart)
        part.begin(State(part.state.url, [], proof, reply.length, announced(reply), gives_pieces(reply)))
        return True

    def _check_range(self, reply: Reply, asked: Piece) -> None:
        """A 206 has to be exactly what was asked for, of the file that we know."""
        state, given = self._part.state, range_of(reply)
        if given is not None and state.total in {None, given.total} and agrees(reply, state.validator):
            end = asked.end if asked.end is not None and self._in_pieces else given.total
            if (given.first, given.last) == (asked.at, end - 1):
                state.total, asked.end = given.total, end
                return
        self._part.no_pieces = True
        raise Anew("the server answered with another part than asked for")

    async def _widen(self, group: asyncio.TaskGroup, url: str, moved: bool) -> None:
        while self._todo and self._working < self._connections:
            done, since = self._part.done, time.monotonic()
            await asyncio.sleep(WIDEN_SECONDS)
            speed = (self._part.done - done) / max(time.monotonic() - since, 1e-3)
            if speed < ENOUGH * self._working:
                for _ in range(min(self._working, self._connections - self._working, len(self._todo))):
                    self._working += 1
                    group.create_task(self._work(url, moved))

    async def _work(self, url: str, moved: bool, reply: Reply | None = None, piece: Piece | None = None) -> None:
        """One connection: piece after piece until none is left. What fails goes back, for the others to try."""
        kept: Connection | None = None
        try:
            while piece is not None or self._todo:
                piece = piece or Piece(*heapq.heappop(self._todo))
                began = piece.at
                try:
                    reply = reply or await self._ask(url, moved, piece, kept)
                    kept = reply.connection
                    await self._threads.run(kept.abort, self._pump, reply, piece)
                    if piece.end is not None and piece.at < piece.end:
                        raise Broken(f"it ended after {piece.at} of {self._part.state.total} bytes")
                except (Broken, TimeoutError, Retry):
                    if self._working == 1:
                        raise
                    if piece.end is not None:
                        heapq.heappush(self._todo, (piece.at, piece.end))
                    if piece.at == began:  # perhaps one connection more than the server likes
                        self._connections = self._working - 1
                        return
                if kept is not None and not (reply is not None and reply.finished()):
                    kept.close()
                    kept = None
                reply = piece = None
        finally:
            self._working -= 1
            if self._working == 0:
                self._widening.cancel()
            if kept is not None:
                kept.close()

    async def _ask(self, url: str, moved: bool, piece: Piece, kept: Connection | None) -> Reply:
        reply, _final = await self._opener.open(url, self._headers(piece), kept)
        try:
            check_status(reply)
            if reply.status == 200:
                same = validator(reply) == self._part.state.validator
                self._part.no_pieces |= same
                raise Anew("the server ignores ranges" if same else "the file has changed meanwhile")
            self._check_range(reply, piece)
        except Gone as gone:
            reply.connection.close()
            if moved:  # where the first request was sent on to; the address itself may be good
                raise Retry(f"{gone}, at the address that it was redirected to") from None
            raise
        except BaseException:
            reply.connection.close()
            raise
        return reply

    def _pump(self, reply: Reply, piece: Piece) -> None:
        """Body to disk until the piece is there, or the body ends."""
        view = memoryview(bytearray(self._throttle.block))
        while piece.missing and (count := self._one_block(reply, piece, view)):
            if piece.at > MAX_BYTES:
                raise Permanent(f"refused: longer than {MAX_BYTES} bytes")
            if pause := self._throttle.spent(count):
                reply.connection.aborted.wait(pause)

    def _one_block(self, reply: Reply, piece: Piece, view: memoryview) -> int:
        """Bytes that came; 0 at the end. What came before a cut is written too: it need not come again."""
        wanted = len(view) if piece.end is None else min(len(view), piece.end - piece.at)
        filled, until = 0, time.monotonic() + FLUSH_SECONDS
        try:
            while filled < wanted and time.monotonic() < until:
                count = reply.read_into(view[filled:wanted])
                filled += count
                if count == 0:
                    break
        finally:
            if filled:
                self._part.write(piece.at, view[:filled])
                piece.at += filled
        return filled


@asynccontextmanager
async def along(threads: Threads, part: Part) -> AsyncIterator[None]:
    """Hashing and syncing, in threads of their own, from before the first byte to after the last."""
    part.start()
    running = threads.start(part.hash_along), threads.start(part.sync_along)
    whole = False
    try:
        yield
        whole = True
    finally:
        part.end(whole=whole)
        await ended(*running)
