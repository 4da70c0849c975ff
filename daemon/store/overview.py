"""What a dashboard asks of the store: a handful of figures, each one statement, none longer with the journal."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from ..core.deliveries import GOING_ON
from ..core.jobs import UNFINISHED, JobStatus
from .database import Database
from .schema import deliveries, events, jobs

_JOBS = sa.select(jobs.c.status, sa.func.count().label("number")).group_by(jobs.c.status)
_QUEUED_SINCE = sa.func.coalesce(jobs.c.queued_at, jobs.c.created_at)
_OLDEST = sa.select(
    sa.func.min(jobs.c.created_at).label("created_at"),
    sa.func.min(sa.case((jobs.c.status == JobStatus.QUEUED.value, _QUEUED_SINCE))).label("queued_at"),
).where(jobs.c.status.in_(sorted(status.value for status in UNFINISHED)))
_DELIVERIES = sa.select(deliveries.c.type, deliveries.c.status, sa.func.count().label("number")).group_by(
    deliveries.c.type, deliveries.c.status
)
_DEADLINE = sa.select(sa.func.min(deliveries.c.deadline)).where(deliveries.c.status.in_(GOING_ON))
_LAST_SEQ = sa.select(sa.func.max(events.c.seq))


class Overview(msgspec.Struct, frozen=True):
    """Times are unix seconds; ``None``: there is no such job or delivery."""

    jobs: dict[str, int]  # by status
    oldest_unfinished: float | None  # when it was created
    oldest_queued: float | None  # since when the provider has it waiting
    deliveries: dict[tuple[str, str], int]  # by destination type and status
    next_deadline: float | None  # of the most urgent output that is not delivered
    last_seq: int
    database_bytes: int


async def read_overview(database: Database) -> Overview:
    """Raises ``NotReady`` where the store cannot be read."""
    counted = await database.rows(_JOBS)
    (oldest,) = await database.rows(_OLDEST)
    delivering = await database.rows(_DELIVERIES)
    ((deadline,),) = await database.rows(_DEADLINE)
    ((last_seq,),) = await database.rows(_LAST_SEQ)
    return Overview(
        jobs={row.status: row.number for row in counted},
        oldest_unfinished=oldest.created_at,
        oldest_queued=oldest.queued_at,
        deliveries={(row.type, row.status): row.number for row in delivering},
        next_deadline=deadline,
        last_seq=int(last_seq or 0),
        database_bytes=await database.size(),
    )
