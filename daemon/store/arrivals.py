"""When something last came by webhook, and when by asking the API."""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa

from .database import Database
from .schema import events

_NEWEST = (
    sa.select(events.c.seq, events.c.received_at)
    .where(events.c.source == sa.bindparam("source"), events.c.seq > sa.bindparam("after"))
    .order_by(events.c.seq.desc())
    .limit(1)
)
_LAST_SEQ = sa.select(sa.func.max(events.c.seq))


class Arrivals:
    """Asked again and again by every open page: what was looked through once is not looked through again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[int, float | None]] = {}  # source → looked through up to, the newest's time

    async def last(self, source: Literal["webhook", "poll"]) -> float | None:
        """Unix seconds; ``None``: nothing ever came that way."""
        upto, when = self._known.get(source, (0, None))
        end = await self._database.first(_LAST_SEQ)
        if end is None or not end[0] or end[0] <= upto:
            return when
        found = await self._database.first(_NEWEST, {"source": source, "after": upto})
        when = float(found.received_at) if found is not None else when
        self._known[source] = (int(end[0]), when)
        return when
