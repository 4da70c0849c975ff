"""Who works on an intent: of several daemons over one database, one at a time. A claim that is not renewed runs out."""

from __future__ import annotations

import sqlalchemy as sa

from .database import Database
from .schema import jobs
from .text import storable

# Nothing may have two owners: taken only where it is free, has run out or is one's own already.
_TAKE = (
    jobs.update()
    .where(
        jobs.c.job_id == sa.bindparam("id"),
        jobs.c.provider_job_id.is_(None),
        sa.or_(
            jobs.c.claimed_by.is_(None),
            jobs.c.claimed_by == sa.bindparam("owner"),
            jobs.c.claimed_until <= sa.bindparam("now"),
        ),
    )
    .values(claimed_by=sa.bindparam("owner"), claimed_until=sa.bindparam("until"))
)
_RELEASE = (
    jobs.update()
    .where(jobs.c.job_id == sa.bindparam("id"), jobs.c.claimed_by == sa.bindparam("owner"))
    .values(claimed_by=None, claimed_until=None)
)
RELEASE_ALL = jobs.update().where(jobs.c.claimed_by.is_not(None)).values(claimed_by=None, claimed_until=None)
_IS_LIVE = sa.select(jobs.c.job_id).where(
    jobs.c.job_id == sa.bindparam("id"),
    jobs.c.provider_job_id.is_(None),
    jobs.c.claimed_until > sa.bindparam("now"),
)


class Claims:
    """``owner`` names a process. Times are unix seconds; the clocks of the machines must agree to some seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, job_id: str, owner: str, *, now: float, until: float) -> bool:
        """Claim the intent, or renew the claim. ``False``: another owner has it, or it has a provider id by now."""
        place = {"id": storable(job_id), "owner": owner, "now": now, "until": until}

        def transaction(connection: sa.Connection) -> bool:
            return connection.execute(_TAKE, place).rowcount > 0

        return await self._database.write(transaction)

    async def release(self, job_id: str, owner: str) -> None:
        """Give it back; what is not one's own stays."""
        place = {"id": storable(job_id), "owner": owner}
        await self._database.write(lambda connection: connection.execute(_RELEASE, place))

    async def is_live(self, job_id: str, *, now: float) -> bool:
        """Whether somebody works on the intent."""
        return await self._database.first(_IS_LIVE, {"id": storable(job_id), "now": now}) is not None
