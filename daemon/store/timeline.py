"""Events from the newest on: of the whole journal, and a job's with what each of them added to the one before."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from ..core.events import EventKind
from .database import Database
from .records import EventRow
from .schema import events
from .text import storable

_NEWEST = (
    sa.select(*(events.c[name] for name in EventRow.__struct_fields__))
    .where(events.c.job_id == sa.bindparam("job_id"))
    .order_by(events.c.seq.desc())
    .limit(sa.bindparam("count"))
)


class Grown(msgspec.Struct, frozen=True):
    """``grew``: bytes by which the body is longer than that of the job's event before; negative where it is shorter."""

    event: EventRow
    grew: int


class Timeline:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self, job_id: str, count: int) -> tuple[list[Grown], bool]:
        """``(events, newest first; whether there are older ones)``."""
        rows = await self._database.rows(_NEWEST, {"job_id": storable(job_id), "count": count + 1})
        found = [_event(tuple(row)) for row in rows]
        before = [event.body_bytes for event in found[1:]] + [0]
        grown = [Grown(event, event.body_bytes - size) for event, size in zip(found, before, strict=False)]
        return grown[:count], len(found) > count

    async def before(
        self, seq: int | None, count: int, *, job_id: str | None = None, kind: EventKind | None = None
    ) -> list[EventRow]:
        """The newest events, newest first; with ``seq`` only those with a lower number."""
        statement = sa.select(*(events.c[name] for name in EventRow.__struct_fields__))
        if seq is not None:
            statement = statement.where(events.c.seq < seq)
        if job_id is not None:
            statement = statement.where(events.c.job_id == storable(job_id))
        if kind is not None:
            statement = statement.where(events.c.kind == kind.value)
        rows = await self._database.rows(statement.order_by(events.c.seq.desc()).limit(count))
        return [_event(tuple(row)) for row in rows]


def _event(values: tuple[object, ...]) -> EventRow:
    named = dict(zip(EventRow.__struct_fields__, values, strict=True))
    return msgspec.convert(named | {"kind": EventKind(str(named["kind"]))}, EventRow, strict=False)
