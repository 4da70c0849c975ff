"""Who works on an intent: of several daemons over one database, one at a time. A claim that is not renewed runs out."""

from __future__ import annotations

import sqlalchemy as sa

from ..core.jobs import UNFINISHED
from .database import Database
from .schema import jobs
from .text import storable

# Nothing may have two owners: taken only where it is free, has run out or is one's own already.
_TAKE = (
    jobs.update()
    .where(
        jobs.c.job_id == sa.bindparam("id"),
        jobs.c.provider_job_id.is_(None),
        jobs.c.status.in_(sorted(status.value for status in UNFINISHED)),
        sa.or_(
            jobs.c.claimed_by.is_(None),
            jobs.c.claimed_by == sa.bindparam("owner"),
            jobs.c.claimed_until <= sa.bindparam("now"),
        ),
    )
    .values(claimed_by=sa.bindparam("owner"), claimed_until=sa.bindparam("until"))
)
# Nobody sends without having looked for what was sent before: the number of calls is part of the question.
_SENDING = (
    jobs.update()
    .where(jobs.c.job_id == sa.bindparam("id"), sa.func.coalesce(jobs.c.sends, 0) == sa.bindparam("before"))
    .values(sent_at=sa.bindparam("now"), sends=sa.func.coalesce(jobs.c.sends, 0) + sa.bindparam("more"))
)
_UNSENT = (
    jobs.update()
    .where(jobs.c.job_id == sa.bindparam("id"), jobs.c.sends > 0)
    .values(sends=jobs.c.sends - 1, sent_at=sa.case((jobs.c.sends > 1, jobs.c.sent_at), else_=None))
)
_IS_OWNED = sa.select(jobs.c.job_id).where(
    jobs.c.job_id == sa.bindparam("id"), jobs.c.claimed_by == sa.bindparam("owner")
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
        """Claim the intent, or renew the claim. ``False``: another owner has it, it has a provider id, or has ended."""
        place = {"id": storable(job_id), "owner": owner, "now": now, "until": until}
        return await self._database.write(lambda connection: connection.execute(_TAKE, place).rowcount > 0)

    async def sending(
        self, job_id: str, owner: str, *, now: float, until: float, before: int, again: bool = False
    ) -> bool:
        """As ``take``, and its create call goes out now: that is on disk before it does.

        ``before``: how many calls may have had their effect as far as the caller knows. ``False`` also where there was
        another one since: what it made has to be looked for first. ``again``: in the place of the last one, which had
        no effect. Only its time is new: for some seconds after it, a job that is not listed may be there all the same.
        """
        place = {"id": storable(job_id), "owner": owner, "now": now, "until": until}
        call = {"id": place["id"], "now": now, "before": before, "more": 0 if again else 1}

        def transaction(connection: sa.Connection) -> bool:
            taken = connection.execute(_TAKE, place).rowcount > 0
            return taken and connection.execute(_SENDING, call).rowcount > 0

        return await self._database.write(transaction)

    async def unsent(self, job_id: str, owner: str) -> bool:
        """A call that was noted as sent certainly had no effect. Whether the claim is still the owner's."""
        place = {"id": storable(job_id), "owner": owner}

        def transaction(connection: sa.Connection) -> bool:
            connection.execute(_UNSENT, {"id": place["id"]})
            return connection.execute(_IS_OWNED, place).first() is not None

        return await self._database.write(transaction)

    async def release(self, job_id: str, owner: str) -> None:
        """Give it back; what is not one's own stays."""
        place = {"id": storable(job_id), "owner": owner}
        await self._database.write(lambda connection: connection.execute(_RELEASE, place))

    async def is_live(self, job_id: str, *, now: float) -> bool:
        """Whether somebody works on the intent."""
        return await self._database.first(_IS_LIVE, {"id": storable(job_id), "now": now}) is not None
