"""Logins of the web page: who is logged in, since when, from where. The page's secret itself is never stored."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from .database import Database
from .schema import sessions
from .text import storable


class Session(msgspec.Struct, frozen=True):
    """A row of ``sessions``. Times are unix seconds."""

    digest: str
    created_at: float
    expires_at: float
    last_used_at: float
    address: str | None
    user_agent: str


_COLUMNS = tuple(sessions.c[name] for name in Session.__struct_fields__)
_ONE = sa.select(*_COLUMNS).where(
    sessions.c.digest == sa.bindparam("wanted"), sessions.c.expires_at > sa.bindparam("now")
)
_ALL = sa.select(*_COLUMNS).where(sessions.c.expires_at > sa.bindparam("now")).order_by(sessions.c.last_used_at.desc())


class Sessions:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, session: Session) -> None:
        """Keep it; those that have expired by its beginning are removed."""
        row = {
            name: storable(value) if isinstance(value, str) else value
            for name, value in msgspec.structs.asdict(session).items()
        }

        def transaction(connection: sa.Connection) -> None:
            connection.execute(sessions.delete().where(sessions.c.expires_at <= session.created_at))
            connection.execute(sessions.insert(), row)

        await self._database.write(transaction)

    async def get(self, digest: str, *, now: float) -> Session | None:
        """The session, unless it has expired."""
        row = await self._database.first(_ONE, {"wanted": digest, "now": now})
        return None if row is None else Session(*row)

    async def all(self, *, now: float) -> list[Session]:
        """Those that have not expired, the one used last first."""
        return [Session(*row) for row in await self._database.rows(_ALL, {"now": now})]

    async def touch(self, digest: str, *, now: float, expires_at: float) -> None:
        """It was used at ``now`` and is good until ``expires_at``."""
        change = sessions.update().where(sessions.c.digest == digest).values(last_used_at=now, expires_at=expires_at)
        await self._database.write(lambda connection: connection.execute(change))

    async def delete(self, digest: str) -> bool:
        """``False``: there is none."""
        statement = sessions.delete().where(sessions.c.digest == digest)
        return await self._database.write(lambda connection: connection.execute(statement).rowcount) > 0

    async def delete_others(self, digest: str | None) -> int:
        """End every session but this one; how many that were."""
        statement = sessions.delete()
        if digest is not None:
            statement = statement.where(sessions.c.digest != digest)
        return await self._database.write(lambda connection: connection.execute(statement).rowcount)
