"""The table of jobs as people look at it: searched, filtered, sorted, page by page."""

from __future__ import annotations

from typing import Literal

import msgspec
import sqlalchemy as sa

from ..core.jobs import JobStatus
from .database import Database
from .job_rows import COLUMNS, job_of
from .records import Job
from .schema import deliveries, jobs
from .text import storable

SortKey = Literal["created", "updated", "status", "name", "cost"]

# Work in progress first, then what went wrong.
_RANK = ("running", "uploading", "queued", "pending", "failed", "cancelled", "completed")
_NAME = sa.func.lower(sa.func.coalesce(jobs.c.config_name, jobs.c.model, ""))
_SORTED: dict[SortKey, sa.ColumnElement[object]] = {
    "created": jobs.c.created_at,
    "updated": jobs.c.updated_at,
    "status": sa.case({word: place for place, word in enumerate(_RANK)}, value=jobs.c.status, else_=len(_RANK)),
    "name": _NAME,
    "cost": sa.func.coalesce(jobs.c.cost_usd, -1.0),
}
_SEARCHED = (jobs.c.job_id, jobs.c.provider_job_id, jobs.c.model, jobs.c.config_name, jobs.c.hardware)


class JobSearch(msgspec.Struct, frozen=True, kw_only=True):
    """``text``: every word of it is in an id, the model, the configuration's name or the hardware.

    ``delivery``: at least one delivery of the job has this status.
    """

    text: str = ""
    statuses: frozenset[JobStatus] = frozenset()  # empty: any
    delivery: str | None = None
    sort: SortKey = "created"
    descending: bool = True
    limit: int = 50
    offset: int = 0


class JobSearches:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, wanted: JobSearch) -> tuple[list[Job], int]:
        """``(the jobs of the page, how many there are under the filters)``."""
        conditions = _conditions(wanted)
        total = await self._database.first(sa.select(sa.func.count()).select_from(jobs).where(*conditions))
        key = _SORTED[wanted.sort]
        order = (key.desc(), jobs.c.created_at.desc(), jobs.c.job_id.desc())
        if not wanted.descending:
            order = (key.asc(), jobs.c.created_at.asc(), jobs.c.job_id.asc())
        # The keys alone are sorted: rows carry whole requests and outputs.
        ids = sa.select(jobs.c.job_id).where(*conditions).order_by(*order).limit(wanted.limit).offset(wanted.offset)
        wide = sa.select(*COLUMNS).where(jobs.c.job_id.in_(ids.scalar_subquery())).order_by(*order)
        return [job_of(row) for row in await self._database.rows(wide)], int(total[0]) if total else 0

    async def counts(self) -> dict[str, int]:
        """Jobs by status; a status that no job has is missing."""
        statement = sa.select(jobs.c.status, sa.func.count()).group_by(jobs.c.status)
        return {row[0]: int(row[1]) for row in await self._database.rows(statement)}

    async def failed_deliveries(self) -> int:
        """How many jobs have a delivery that failed."""
        statement = sa.select(sa.func.count(sa.distinct(deliveries.c.job_id))).where(deliveries.c.status == "failed")
        found = await self._database.first(statement)
        return int(found[0]) if found else 0


def _conditions(wanted: JobSearch) -> list[sa.ColumnElement[bool]]:
    words = storable(wanted.text).lower().split()
    found: list[sa.ColumnElement[bool]] = [
        sa.or_(*(sa.func.lower(column).contains(word, autoescape=True) for column in _SEARCHED)) for word in words
    ]
    if wanted.statuses:
        found.append(jobs.c.status.in_(sorted(status.value for status in wanted.statuses)))
    if wanted.delivery is not None:
        # Not EXISTS: SQLite would go through every delivery of this status once for each job.
        with_status = sa.select(deliveries.c.job_id).where(deliveries.c.status == wanted.delivery)
        found.append(jobs.c.job_id.in_(with_status))
    return found
