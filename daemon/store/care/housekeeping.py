"""Prunes by the settings once a day, beside everything else. By default nothing is set, and everything is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

import sqlalchemy as sa
import structlog

from ...config import Settings
from ...errors import NotReady
from ..database import Database
from .prune import DAY, PruneClass, Pruned, Pruner
from .space import release_some

log = structlog.get_logger()

LOOK_SECONDS = 86_400.0
RETRY_SECONDS = 600.0  # after a store that was not ready
PAUSE_SECONDS = 0.05  # between two batches: what waits for the writer comes first

_T = TypeVar("_T")


def kept_days(settings: Settings) -> dict[PruneClass, float]:
    """How many days each class of data is kept, for those that do not stay for ever."""
    days: dict[PruneClass, int | None] = {
        "bodies": settings.keep_bodies_days,
        "jobs": settings.keep_days,
        "unrecognized": settings.keep_days,
    }
    return {which: float(kept) for which, kept in days.items() if kept is not None}


class Housekeeper:
    """``keep``: class → days. ``now`` gives unix seconds."""

    def __init__(self, database: Database, keep: Mapping[PruneClass, float], now: Callable[[], float]) -> None:
        self._database = database
        self._keep = dict(keep)
        self._now = now

    async def run(self) -> None:
        """Never ends. Sleeps where there is nothing to keep an eye on."""
        while True:
            pause = LOOK_SECONDS
            try:
                await self.tidy()
            except NotReady as problem:
                log.warning("housekeeping is put off", reason=problem.detail)
                pause = RETRY_SECONDS
            await asyncio.sleep(pause)

    async def tidy(self) -> dict[PruneClass, Pruned]:
        """Prune all that is due; what went."""
        done: dict[PruneClass, Pruned] = {}
        for which, days in self._keep.items():
            now = self._now()
            pruner = Pruner(which, before=now - days * DAY, now=now)
            pruned = done[which] = Pruned()
            while some := await self._gently(pruner.some):
                pruned.add(some)
            if pruned or pruner.damaged:
                log.info(
                    "pruned",
                    kind=which,
                    bodies=pruned.bodies,
                    jobs=pruned.jobs,
                    events=pruned.events,
                    bytes=pruned.bytes,
                    left_because_damaged=sorted(pruner.damaged),
                )
        if any(done.values()):
            while await self._gently(release_some):
                pass
        return done

    async def _gently(self, transaction: Callable[[sa.Connection], _T]) -> _T:
        result = await self._database.write(transaction)
        await asyncio.sleep(PAUSE_SECONDS)
        return result
