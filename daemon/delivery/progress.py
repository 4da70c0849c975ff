"""How far a publish is: noted from its threads, written to the delivery's row now and then, watched for standstill."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import NotReady
from .errors import Retry
from .rows import Rows

REPORT_SECONDS = 0.5  # between two writes of the progress
# Without a byte moved. Not shorter: a server may take minutes to put together the parts of a large object.
STALL_SECONDS = 900.0

T = TypeVar("T")


class Progress:
    """Of one delivery over all its attempts. ``note`` may be called from any thread."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._now: tuple[int, int | None] | None = None
        self._written: tuple[int, int | None] | None = None
        self.moved_at = time.monotonic()

    def note(self, done: int, total: int | None) -> None:
        """``done`` bytes of ``total`` are there."""
        if self._now != (done, total):
            self._now = (done, total)
            self.moved_at = time.monotonic()

    async def beside(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of ``work``, its progress written meanwhile. ``Retry`` where it stands still too long."""
        self.moved_at = time.monotonic()
        running = asyncio.ensure_future(work())
        try:
            while True:
                done, _ = await asyncio.wait([running], timeout=REPORT_SECONDS)
                if done:
                    return running.result()
                await self._write()
                if self._under_way() and time.monotonic() - self.moved_at > STALL_SECONDS:
                    raise Retry(f"nothing has moved for {STALL_SECONDS / 60:.0f} minutes")
        finally:
            running.cancel()

    def _under_way(self) -> bool:
        """Between the first byte and the last. Xet tells nothing in between: it watches itself."""
        return self._now is not None and self._now[0] not in {0, self._now[1]}

    async def _write(self) -> None:
        """It is for display: a failure to write it ends nothing."""
        now = self._now
        if now is not None and now != self._written:
            self._written = now
            with contextlib.suppress(NotReady):
                await self._rows.update(bytes_done=now[0], bytes_total=now[1])
