"""A lane for each destination: how many deliveries go on there at once, whether it is paused, threads of its own.

Nothing is shared between lanes, so a destination that is slow, failing or paused holds up no other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import Future
from typing import Any

from ..store.records import DestinationConfig
from .threads import worker_pool

THREADS = 32  # of one lane, made as they are needed; a publish may use several


class Lane:
    """One destination's. Turns are given in the order in which they were asked for."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = worker_pool(THREADS, f"publish-{name}")
        self._concurrency = 1
        self._busy: set[str] = set()  # job ids: no job goes twice at once to one place, whatever its generations
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self.open = asyncio.Event()  # not paused, as far as is known; the store knows for sure
        self.open.set()

    def set(self, *, concurrency: int, paused: bool) -> None:
        self._concurrency = concurrency
        (self.open.clear if paused else self.open.set)()
        self._admit()

    @contextlib.asynccontextmanager
    async def turn(self, job_id: str) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
        """Wait for a turn; gives ``in_thread``. The turn ends when the last thread of it does, if that is later."""
        await self._turn(job_id)
        threads: list[Future[Any]] = []

        async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
            work = self._pool.submit(function, *arguments)
            threads.append(work)
            return await asyncio.wrap_future(work)

        try:
            yield in_thread
        finally:
            self._end_after(job_id, [work for work in threads if not work.done()])

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, job_id: str) -> None:
        admitted: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((job_id, admitted))
        self._admit()
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled():  # both at once: the turn is given back
                self._end(job_id)
            else:
                self._waiting.remove((job_id, admitted))
            raise

    def _admit(self) -> None:
        """Give every turn that there is."""
        for waiting in list(self._waiting):
            if len(self._busy) >= self._concurrency:
                return
            job_id, admitted = waiting
            if job_id not in self._busy and not admitted.done():
                self._waiting.remove(waiting)
                self._busy.add(job_id)
                admitted.set_result(None)

    def _end(self, job_id: str) -> None:
        self._busy.discard(job_id)
        self._admit()

    def _end_after(self, job_id: str, threads: list[Future[Any]]) -> None:
        """A thread cannot be cancelled: whoever goes on with this job must not meet it at the destination."""
        if not threads:
            self._end(job_id)
            return
        left = len(threads)

        def one_ended() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._end(job_id)

        def tell(_work: Future[Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed: the daemon has stopped
                self._loop.call_soon_threadsafe(one_ended)

        for work in threads:
            work.add_done_callback(tell)


class Lanes:
    """All lanes of one process; ``refresh`` tells them what is configured."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}

    def of(self, config: DestinationConfig) -> Lane:
        """The destination's lane, as ``config`` wants it."""
        if config.name not in self._lanes:
            self._lanes[config.name] = Lane(config.name)
        lane = self._lanes[config.name]
        lane.set(concurrency=config.concurrency, paused=config.paused)
        return lane

    def refresh(self, configured: Iterable[DestinationConfig]) -> None:
        """Lanes of destinations that are gone are opened: what waits there finds out."""
        known = {config.name: config for config in configured}
        for name, lane in self._lanes.items():
            config = known.get(name)
            if config is not None:
                lane.set(concurrency=config.concurrency, paused=config.paused)
            else:
                lane.open.set()

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.close()
