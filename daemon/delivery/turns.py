"""One delivery's way through its destination's lane, attempt by attempt, and out of it when it is no longer wanted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any

import structlog

from ..core.deliveries import DeliveryStatus
from ..store.records import DestinationConfig
from .errors import Superseded
from .lanes import Lanes
from .rows import Rows

log = structlog.get_logger()

InThread = Callable[..., Awaitable[Any]]


def paused_note(destination: str) -> str:
    """What a waiting delivery says of itself."""
    return f"the destination {destination!r} is paused; tunerd destinations resume {destination} lets it go on"


class Turns:
    """Of one delivery. What it waits, for its turn or while its destination is paused, costs it no time to deliver.

    ``read_config`` reads the destination anew: what was mended meanwhile counts from the next attempt on.
    """

    def __init__(
        self,
        lanes: Lanes,
        rows: Rows,
        job_id: str,
        read_config: Callable[[], Awaitable[DestinationConfig]],
        clock: Callable[[], float],
    ) -> None:
        self._lanes = lanes
        self._rows = rows
        self._job_id = job_id
        self._read_config = read_config
        self._now = clock
        self._waited = 0.0
        self.config: DestinationConfig | None = None
        self.in_thread: InThread | None = None

    def clock(self) -> float:
        """Its seconds, less what was spent waiting."""
        return self._now() - self._waited

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        """Around one attempt. Meanwhile ``config`` and ``in_thread`` are what it is to use."""
        began, waits = self._now(), True
        try:
            while True:
                lane = self._lanes.of(await self._open())
                async with lane.turn(self._job_id) as self.in_thread:
                    self.config = await self._read_config()
                    if self.config.paused:  # while this one waited for its turn
                        continue
                    self._waited += self._now() - began
                    waits = False
                    yield
                    return
        finally:
            if waits:  # the store was away for a moment: it has waited all the same
                self._waited += self._now() - began

    async def _open(self) -> DestinationConfig:
        """The destination, once it is not paused."""
        told = False
        while (config := await self._read_config()).paused:
            if not told:
                log.info("delivery_held", job_id=self._job_id, destination=config.name, reason="paused")
                await self._rows.update(status=DeliveryStatus.PENDING, error=paused_note(config.name))
                told = True
            await self._lanes.of(config).open.wait()
        if self._rows.pending:
            await self._rows.update(status=DeliveryStatus.RUNNING, error=None)
        return config


class Runs:
    """The steps that go on in this process, by what they work for.

    A row that a newer generation has taken, or that was cancelled, fences its run: it can write nothing more. A step
    would notice that at its next write; ``end`` makes it notice now.
    """

    def __init__(self) -> None:
        self._runs: set[_Run] = set()

    @contextlib.asynccontextmanager
    async def working(self, job_id: str, generation: int, destinations: Collection[str]) -> AsyncIterator[None]:
        """Around the work for these deliveries. Raises ``Superseded`` once none of them is wanted any more."""
        task = asyncio.current_task()
        assert task is not None
        run = _Run(task, {(job_id, generation, name) for name in destinations})
        before = task.cancelling()
        self._runs.add(run)
        try:
            yield
        except asyncio.CancelledError:
            if run.ended and task.uncancel() <= before:
                raise Superseded from None
            raise
        finally:
            self._runs.discard(run)

    def snapshot(self) -> list[_Run]:
        """What goes on now. Taken before the store is asked: a run that starts later is newer than its answer."""
        return list(self._runs)

    def end(self, runs: Collection[_Run], wanted: set[tuple[str, int, str]]) -> None:
        """Of ``runs``, cancel those that work for nothing in ``wanted``."""
        for run in runs:
            if run in self._runs and not run.ended and run.keys.isdisjoint(wanted):
                run.ended = True
                run.task.cancel()


class _Run:
    def __init__(self, task: asyncio.Task[object], keys: set[tuple[str, int, str]]) -> None:
        self.task = task
        self.keys = keys
        self.ended = False
