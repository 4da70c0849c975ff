"""A job's row in the table: read as a ``Job``, and changed, within whoever's transaction."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ..core.jobs import JobStatus
from ..errors import JobNotFound
from .database import AnyRow
from .records import Job
from .schema import jobs
from .text import storable

COLUMNS = tuple(jobs.c[name] for name in Job.__struct_fields__)
BY_ANY_ID = sa.select(*COLUMNS).where(
    sa.or_(jobs.c.job_id == sa.bindparam("id"), jobs.c.provider_job_id == sa.bindparam("id"))
)
_ONE = sa.select(*COLUMNS).where(jobs.c.job_id == sa.bindparam("id")).with_for_update()


def job_of(row: AnyRow) -> Job:
    values: dict[str, Any] = dict(zip(Job.__struct_fields__, row, strict=True))
    values["status"] = JobStatus(values["status"])
    return Job(**values)


def require(connection: sa.Connection, job_id: str) -> Job:
    """By our id, locked until the transaction ends. Raises ``JobNotFound``."""
    row = connection.execute(_ONE, {"id": storable(job_id)}).first()
    if row is None:
        raise JobNotFound(f"There is no job {job_id!r}. `tunerd jobs` lists them.")
    return job_of(row)


def update(connection: sa.Connection, job_id: str, changes: dict[str, Any]) -> None:
    connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(changes))
