"""Deliveries of all jobs together: pages of them, the failed ones and trying them again, those about to expire."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ..core.deliveries import GOING_ON, DeliveryStatus
from ..errors import InvalidRequest, NothingToDeliver
from . import completion, notices
from .database import Database
from .deliveries import CANCELLED, COLUMNS, delivery_of, redeliver
from .records import Delivery
from .schema import deliveries
from .text import storable

# The deadline is a delivery's place in time that stays: an hour after its job ended, or after it was asked for again.
_NEWEST_FIRST = (
    sa.func.coalesce(deliveries.c.deadline, 0.0).desc(),
    deliveries.c.job_id.desc(),
    deliveries.c.destination.desc(),
)
_FAILED = DeliveryStatus.FAILED.value
_PLACE = sa.tuple_(sa.func.coalesce(deliveries.c.deadline, 0.0), deliveries.c.job_id, deliveries.c.destination)
# Whoever cancels a delivery knows of it: it is no dead letter.
_DEAD = sa.and_(deliveries.c.status == _FAILED, sa.func.coalesce(deliveries.c.error, "") != CANCELLED)
_COUNTS = sa.select(deliveries.c.destination, deliveries.c.status, sa.func.count().label("deliveries")).group_by(
    deliveries.c.destination, deliveries.c.status
)
_EXPIRING = (
    sa.select(*COLUMNS)
    .where(deliveries.c.status.in_(GOING_ON), deliveries.c.deadline <= sa.bindparam("before"))
    .order_by(deliveries.c.deadline, deliveries.c.job_id, deliveries.c.destination)
)


class Redriven(msgspec.Struct, frozen=True):
    """What ``redrive`` did; keys are (job id, destination). ``more``: failed deliveries it did not come to."""

    redriven: list[tuple[str, str]]
    skipped: list[tuple[str, str, str]]  # with the reason
    more: bool


class DeadLetters:
    def __init__(self, database: Database, notify: Callable[[], None]) -> None:
        self._database = database
        self._notify = notify

    async def page(
        self,
        *,
        status: str | None = None,
        destination: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Delivery], str | None, int]:
        """Newest first: ``(deliveries, cursor of the next page or None, how many there are under the filters)``.

        Raises ``InvalidRequest`` for a cursor that is not one of ours.
        """
        wanted = _filters(status=status, destination=destination)
        total = await self._database.first(sa.select(sa.func.count()).select_from(deliveries).where(*wanted))
        if cursor is not None:
            place = sa.tuple_(*_read_cursor(cursor))
            wanted.append(place > _PLACE)
        page = sa.select(*COLUMNS).where(*wanted).order_by(*_NEWEST_FIRST).limit(limit + 1)
        found = [delivery_of(row) for row in await self._database.rows(page)]
        following = _write_cursor(found[limit - 1]) if len(found) > limit else None
        return found[:limit], following, int(total[0]) if total else 0

    async def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Destination → status → how many deliveries."""
        found: dict[str, dict[str, int]] = {}
        for row in await self._database.rows(_COUNTS):
            found.setdefault(row.destination, {})[row.status] = row.deliveries
        return found

    async def dead(self, *, limit: int) -> tuple[list[Delivery], int]:
        """The newest failed deliveries that nobody cancelled, and how many there are."""
        total = await self._database.first(sa.select(sa.func.count()).select_from(deliveries).where(_DEAD))
        rows = await self._database.rows(sa.select(*COLUMNS).where(_DEAD).order_by(*_NEWEST_FIRST).limit(limit))
        return [delivery_of(row) for row in rows], int(total[0]) if total else 0

    async def redrive(
        self, *, destination: str | None, job_ids: Sequence[str] | None, now: float, limit: int
    ) -> Redriven:
        """Try failed deliveries again, at most ``limit``, the newest first.

        Those that were cancelled are left alone, unless their job is named.
        """
        wanted = _filters(status=_FAILED, destination=destination)
        if job_ids is not None:
            wanted.append(deliveries.c.job_id.in_([storable(job_id) for job_id in job_ids]))
        else:
            wanted.append(_DEAD)
        newest = sa.select(deliveries.c.job_id, deliveries.c.destination).where(*wanted).order_by(*_NEWEST_FIRST)
        rows = await self._database.rows(newest.limit(limit + 1))
        by_job: dict[str, list[str]] = {}
        for row in rows[:limit]:
            by_job.setdefault(row.job_id, []).append(row.destination)
        redriven: list[tuple[str, str]] = []
        skipped: list[tuple[str, str, str]] = []
        for job_id, names in by_job.items():  # a transaction each: events are not kept waiting
            again, not_again = await self._database.write(_redrive_one(job_id, names, now))
            redriven += again
            skipped += not_again
        self._notify()
        return Redriven(redriven, skipped, len(rows) > limit)

    async def expiring(self, *, before: float) -> list[Delivery]:
        """What is not over and has its deadline before that time, the most urgent first."""
        return [delivery_of(row) for row in await self._database.rows(_EXPIRING, {"before": before})]

    async def warn_expiring(self, *, before: float, now: float) -> list[Delivery]:
        """As ``expiring``, those that were not warned of before: they are now, and whoever listens is told."""

        def transaction(connection: sa.Connection) -> list[Delivery]:
            found = connection.execute(_EXPIRING.where(deliveries.c.expiring_at.is_(None)), {"before": before})
            warned = [delivery_of(row) for row in found]
            for delivery in warned:
                connection.execute(
                    deliveries.update()
                    .where(deliveries.c.job_id == delivery.job_id, deliveries.c.destination == delivery.destination)
                    .values(expiring_at=now)
                )
            notices.deliveries_expiring(connection, [(one.job_id, one.destination) for one in warned], now)
            return warned

        if not any(one.expiring_at is None for one in await self.expiring(before=before)):
            return []  # the usual case writes nothing
        warned = await self._database.write(transaction)
        self._notify()
        return warned


def _redrive_one(
    job_id: str, names: Sequence[str], now: float
) -> Callable[[sa.Connection], tuple[list[tuple[str, str]], list[tuple[str, str, str]]]]:
    def transaction(connection: sa.Connection) -> tuple[list[tuple[str, str]], list[tuple[str, str, str]]]:
        there = completion.configured_names(connection)
        known = [name for name in names if name in there]
        skipped = [(job_id, name, "it is no longer configured") for name in names if name not in there]
        failed = sa.select(deliveries.c.destination).where(
            deliveries.c.job_id == job_id,
            deliveries.c.destination.in_(known),
            deliveries.c.status == _FAILED,
        )
        still = [row.destination for row in connection.execute(failed)]  # somebody else may have been faster
        if not still:
            return [], skipped
        try:
            redeliver(connection, job_id, still, now)
        except NothingToDeliver as problem:
            return [], skipped + [(job_id, name, problem.detail) for name in still]
        return [(job_id, name) for name in still], skipped

    return transaction


def _filters(**columns: Any) -> list[sa.ColumnElement[bool]]:
    return [deliveries.c[name] == storable(value) for name, value in columns.items() if value is not None]


def _write_cursor(last: Delivery) -> str:
    raw = msgspec.json.encode((last.deadline or 0.0, last.job_id, last.destination))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _read_cursor(cursor: str) -> tuple[float, str, str]:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        deadline, job_id, destination = msgspec.json.decode(raw, type=tuple[float, str, str])
    except (binascii.Error, ValueError):
        raise InvalidRequest(
            "The cursor is not one this daemon gave out. Begin again without one.", field="cursor"
        ) from None
    return deadline, storable(job_id), storable(destination)
