"""Whom to tell, and the outbox of what they have not taken yet. (What is put into it: ``notices.py``.)"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from ..core.notices import Notice
from ..core.spend import LimitState
from ..errors import EndpointNotFound
from . import notices
from .database import Database
from .schema import notification_endpoints as endpoints
from .schema import notifications
from .text import storable

_T = TypeVar("_T")
KEEP_SECONDS = 7 * 86_400.0  # of what could not be sent: an endpoint that is enabled again gets it after all

_DUE = sa.and_(
    notifications.c.next_at <= sa.bindparam("now"),
    sa.or_(notifications.c.claimed_until.is_(None), notifications.c.claimed_until <= sa.bindparam("now")),
)
_DUE_ENDPOINTS = (
    sa.select(notifications.c.endpoint)
    .join(endpoints, endpoints.c.name == notifications.c.endpoint)
    .where(endpoints.c.enabled.is_(sa.true()), _DUE)
    .distinct()
)
_TAKE = (
    sa.select(*(notifications.c[name] for name in ("message_id", "type", "payload", "attempts", "created_at")))
    .where(notifications.c.endpoint == sa.bindparam("of"), _DUE)
    .order_by(notifications.c.next_at, notifications.c.message_id)
    .limit(sa.bindparam("most"))
)
_WAITING = sa.select(
    notifications.c.endpoint,
    sa.func.count(notifications.c.next_at).label("pending"),
    sa.func.count().label("all"),
).group_by(notifications.c.endpoint)
RELEASE_ALL = (
    notifications.update().where(notifications.c.claimed_by.is_not(None)).values(claimed_by=None, claimed_until=None)
)


class Message(msgspec.Struct, frozen=True):
    """One message to one endpoint, claimed by whoever holds this."""

    message_id: str
    type: str
    payload: str
    attempts: int  # before this one
    created_at: float


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``notification_endpoints``, and how many messages wait for it or were given up."""

    name: str
    shown_url: str
    events: list[str] | None
    allow_private: bool
    enabled: bool
    disabled_reason: str | None
    created_at: float
    delivered_at: float | None
    failing_since: float | None
    last_error: str | None
    pending: int = 0
    given_up: int = 0


class EndpointChange(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint as it is to be. ``shown_url`` ``None``: it stays."""

    name: str
    shown_url: str | None
    events: list[str] | None
    allow_private: bool
    enabled: bool


class Notifications:
    def __init__(self, database: Database, notify: Callable[[], None]) -> None:
        self._database = database
        self._notify = notify

    async def endpoints(self) -> list[Endpoint]:
        """All of them, by name."""
        names = [name for name in Endpoint.__struct_fields__ if name not in {"pending", "given_up"}]
        rows = await self._database.rows(sa.select(*(endpoints.c[name] for name in names)).order_by(endpoints.c.name))
        waiting = {row.endpoint: row for row in await self._database.rows(_WAITING)}
        found = []
        for row in rows:
            values = dict(zip(names, row, strict=True))
            values["events"] = None if row.events is None else msgspec.json.decode(row.events, type=list[str])
            of = waiting.get(row.name)
            counts = {} if of is None else {"pending": of.pending, "given_up": of.all - of.pending}
            found.append(Endpoint(**values, **counts))
        return found

    async def put_endpoints(self, changes: Sequence[EndpointChange], *, now: float) -> None:
        """Exactly these from now on. What waits for one that is gone is dropped.

        One that is enabled again is sent what was given up for it, if it is not too old.
        """

        def transaction(connection: sa.Connection) -> None:
            before = {row.name: row for row in connection.execute(sa.select(endpoints))}
            for name in before.keys() - {change.name for change in changes}:
                connection.execute(notifications.delete().where(notifications.c.endpoint == name))
                connection.execute(endpoints.delete().where(endpoints.c.name == name))
            for change in changes:
                _put(connection, change, before.get(change.name) is not None, now)
                old = before.get(change.name)
                if change.enabled and old is not None and not old.enabled:
                    _revive(connection, change.name, now)

        await self._change(transaction)

    async def due_endpoints(self, *, now: float) -> list[str]:
        """Endpoints for which something can be sent."""
        return [row.endpoint for row in await self._database.rows(_DUE_ENDPOINTS, {"now": now})]

    async def claim(self, endpoint: str, owner: str, *, now: float, until: float, most: int) -> list[Message]:
        """Take up to ``most`` due messages; nobody else does until then, unless they are released."""

        def transaction(connection: sa.Connection) -> list[Message]:
            found = connection.execute(_TAKE, {"of": endpoint, "now": now, "most": most}).fetchall()
            if found:
                connection.execute(
                    notifications.update()
                    .where(notifications.c.endpoint == endpoint)
                    .where(notifications.c.message_id.in_([row.message_id for row in found]))
                    .values(claimed_by=owner, claimed_until=until)
                )
            return [Message(*row) for row in found]

        return await self._database.write(transaction)

    async def taken(self, endpoint: str, message_id: str, *, now: float) -> None:
        """The endpoint has it."""

        def transaction(connection: sa.Connection) -> None:
            connection.execute(notifications.delete().where(_is(endpoint, message_id)))
            connection.execute(
                endpoints.update()
                .where(endpoints.c.name == endpoint)
                .values(delivered_at=now, failing_since=None, last_error=None)
            )

        await self._database.write(transaction)

    async def refused(
        self, endpoint: str, message_id: str, owner: str, error: str, *, now: float, next_at: float | None
    ) -> float:
        """It was not taken: try again at ``next_at`` (``None``: give it up). Since when the endpoint has been failing.

        Nothing changes for a message that another process has claimed since.
        """
        error = storable(error)

        def transaction(connection: sa.Connection) -> float:
            connection.execute(
                notifications.update()
                .where(_is(endpoint, message_id), notifications.c.claimed_by == owner)
                .values(
                    attempts=notifications.c.attempts + 1,
                    next_at=next_at,
                    last_error=error,
                    claimed_by=None,
                    claimed_until=None,
                )
            )
            connection.execute(
                endpoints.update()
                .where(endpoints.c.name == endpoint)
                .values(failing_since=sa.func.coalesce(endpoints.c.failing_since, now), last_error=error)
            )
            since = sa.select(endpoints.c.failing_since).where(endpoints.c.name == endpoint)
            return float(connection.execute(since).scalar() or now)

        return await self._database.write(transaction)

    async def release(self, owner: str) -> None:
        """Give back what this process has claimed, for the next one to send."""
        statement = (
            notifications.update()
            .where(notifications.c.claimed_by == owner)
            .values(claimed_by=None, claimed_until=None)
        )
        await self._database.write(lambda connection: connection.execute(statement))

    async def disable(self, endpoint: str, reason: str) -> None:
        """Send nothing there any more, until somebody enables it."""
        change = (
            endpoints.update()
            .where(endpoints.c.name == endpoint)
            .values(enabled=False, disabled_reason=storable(reason))
        )
        await self._change(lambda connection: connection.execute(change))

    async def send(self, endpoint: str, notice: Notice, *, now: float) -> str:
        """Put one message to one endpoint into the outbox; its id. Raises ``EndpointNotFound``."""

        def transaction(connection: sa.Connection) -> str:
            there = sa.select(endpoints.c.enabled).where(endpoints.c.name == endpoint)
            if connection.execute(there).scalar() is None:
                raise EndpointNotFound(f"There is no endpoint {endpoint!r}. GET /api/cloud/notifications lists them.")
            message_id = notices.tell(connection, notice, now, to=endpoint)
            assert message_id is not None, "it is told to one endpoint"
            return message_id

        return await self._change(transaction)

    async def limit_reached(self, state: LimitState, *, now: float) -> bool:
        """Tell that the cost limit was reached; once for each period and amount. Whether it is new."""
        return await self._change(lambda connection: notices.limit_reached(connection, state, now))

    async def prune(self, *, now: float) -> None:
        """Forget what could not be sent and has become too old."""
        old = notifications.c.created_at < now - KEEP_SECONDS
        await self._database.write(lambda connection: connection.execute(notifications.delete().where(old)))

    async def _change(self, transaction: Callable[[sa.Connection], _T]) -> _T:
        result = await self._database.write(transaction)
        self._notify()
        return result


def _is(endpoint: str, message_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(notifications.c.endpoint == endpoint, notifications.c.message_id == message_id)


def _put(connection: sa.Connection, change: EndpointChange, exists: bool, now: float) -> None:
    values = {
        "events": None if change.events is None else msgspec.json.encode(change.events).decode(),
        "allow_private": change.allow_private,
        "enabled": change.enabled,
    }
    if change.shown_url is not None:
        values["shown_url"] = change.shown_url
    if exists:
        connection.execute(endpoints.update().where(endpoints.c.name == change.name).values(values))
    else:
        connection.execute(endpoints.insert(), {**values, "name": change.name, "created_at": now})


def _revive(connection: sa.Connection, name: str, now: float) -> None:
    connection.execute(
        endpoints.update()
        .where(endpoints.c.name == name)
        .values(disabled_reason=None, failing_since=None, last_error=None)
    )
    connection.execute(
        notifications.update()
        .where(notifications.c.endpoint == name, notifications.c.created_at >= now - KEEP_SECONDS)
        .values(attempts=0, next_at=now)
    )
