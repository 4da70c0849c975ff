"""How much is fetched at once, and how fast: set by the user, shared by all downloads."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from ..config import Settings
from .errors import Permanent, Retry
from .staging import BLOCK, RESERVE, Part, free_bytes, total_bytes

MAX_BYTES = 512 * 1024**3  # of one file: no model is larger, and a lie about a length often is
BURST_SECONDS = 0.25  # of the bandwidth that may be taken at once
# Less than so many bytes a second, over so long, is no download while other files wait for its turn: at this speed a
# small model takes days, and the slowest line that is still sold has eight times as much.
SLOWEST = 1024.0
SLOW_SECONDS = 300.0


class Limits(msgspec.Struct, frozen=True):
    """What the user allows; see the settings ``download_…``."""

    files: int = 4  # at once
    connections: int = 8  # at most, for one large file
    bytes_per_second: float | None = None  # of all downloads together

    @property
    def slowest(self) -> float:
        """Bytes a second: half of what a file surely gets where the user allows so little."""
        if self.bytes_per_second is None:
            return SLOWEST
        return min(SLOWEST, self.bytes_per_second / (self.files * self.connections) / 2)


def limits_of(settings: Settings) -> Limits:
    rate = settings.download_mib_per_second
    return Limits(settings.downloads, settings.download_connections, rate * 1024 * 1024 if rate else None)


class Slots:
    """So many at once; of those that wait, the one with the earliest deadline is next."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = itertools.count()  # among equal deadlines, who came first

    @asynccontextmanager
    async def taken(self, deadline: float) -> AsyncIterator[None]:
        if self._free > 0:
            self._free -= 1
        else:
            turn = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (deadline, next(self._number), turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # it was given to us in the same moment
                    self._give_on()
                raise
        try:
            yield
        finally:
            self._give_on()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits."""
        return any(not turn.done() for _deadline, _number, turn in self._waiting)

    def _give_on(self) -> None:
        while self._waiting:
            _deadline, _number, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Throttle:
    """A bandwidth that all threads together keep to; ``None``: none."""

    def __init__(self, bytes_per_second: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = clock()

    @property
    def block(self) -> int:
        """Bytes to read at once: small steps where little is allowed."""
        return BLOCK if self._rate is None else max(4096, min(BLOCK, int(self._rate * BURST_SECONDS)))

    def spent(self, count: int) -> float:
        """``count`` bytes have come; the seconds to pause before more are read."""
        if self._rate is None:
            return 0.0
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now - BURST_SECONDS) + count / self._rate
            return max(0.0, self._free_at - now)


class Room:
    """The disk's free bytes, of which each file under way has its missing ones reserved."""

    def __init__(self) -> None:
        self._parts: list[Part] = []

    @asynccontextmanager
    async def used_by(self, part: Part) -> AsyncIterator[None]:
        self._parts.append(part)
        try:
            yield
        finally:
            self._parts.remove(part)

    def check(self, part: Part) -> None:
        """Blocks. ``Retry`` where ``part`` does not fit beside the others now, ``Permanent`` where it never will."""
        folder, total = part.path.parent, part.state.total
        if total is not None and (total > MAX_BYTES or total > total_bytes(folder)):
            raise Permanent(f"refused: the server announces {total} bytes, more than this disk could ever hold")
        others = sum(other.missing for other in self._parts if other is not part)
        free = free_bytes(folder)
        if part.missing > free - others - RESERVE:
            beside = f", {others} are needed by other downloads" if others else ""
            raise Retry(
                f"not enough disk space in {folder}: {part.missing} bytes are missing, {free} are free{beside} "
                f"(and {RESERVE} are kept in reserve)"
            )
