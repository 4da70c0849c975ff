"""Throws away what has grown old, a little at a time, so that a daemon beside it is never held up.

Three classes. ``bodies``: of finished jobs, all event bodies but the newest, the first final one and the one with the
longest log; the rows stay. ``jobs``: finished jobs with all that belongs to them. ``unrecognized``: events of no job.
What an unfinished job or an unfinished delivery needs is never touched.

A later body may be stored as growth upon an earlier one. The bodies that stay are therefore stored whole first, and
the others go newest first: at no moment does a body stand on one that has gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from ...core.deliveries import GOING_ON
from ...core.events import EventKind
from ...core.jobs import FINISHED
from ...errors import JournalDamaged
from .. import bodies
from ..bodies import CHAIN, ONE
from ..schema import artifacts, deliveries, events, jobs

PruneClass = Literal["bodies", "jobs", "unrecognized"]
DAY = 86_400.0
# A cost limit counts the jobs of a month: those must be there to be counted. Days.
JOBS_LEAST_DAYS = 31
BATCH_EVENTS = 200  # bodies in one transaction: it holds the writer for some 10 ms
BATCH_ROWS = 2000  # of events whose bodies have gone already
BATCH_JOBS = 20

_FINAL = tuple(kind.value for kind in (EventKind.COMPLETED, EventKind.FAILED, EventKind.CANCELLED))
_DELIVERING = sa.exists().where(deliveries.c.job_id == jobs.c.job_id, deliveries.c.status.in_(GOING_ON))
_OLD = sa.and_(
    jobs.c.status.in_(sorted(status.value for status in FINISHED)),
    jobs.c.completed_at < sa.bindparam("before"),
    jobs.c.updated_at < sa.bindparam("before"),
    ~_DELIVERING,
)
_other = events.alias("other")
_FIRST_FINAL = (
    sa.select(sa.func.min(_other.c.seq))
    .where(_other.c.job_id == jobs.c.job_id, _other.c.kind.in_(_FINAL))
    .scalar_subquery()
)
_GOES = sa.and_(
    events.c.job_id == jobs.c.job_id,
    events.c.pruned_at.is_(None),
    *(events.c.seq != sa.func.coalesce(kept, 0) for kept in (jobs.c.last_seq, jobs.c.logs_seq, _FIRST_FINAL)),
)
_WITH_EVENTS = jobs.join(events, events.c.job_id == jobs.c.job_id)
# For counting over all jobs: the first final event of each, found in one pass.
_first = (
    sa.select(_other.c.job_id, sa.func.min(_other.c.seq).label("seq"))
    .where(_other.c.kind.in_(_FINAL))
    .group_by(_other.c.job_id)
    .subquery()
)
_WITH_FIRST = _WITH_EVENTS.outerjoin(_first, _first.c.job_id == jobs.c.job_id)
_ALL_THAT_GO = sa.and_(
    events.c.pruned_at.is_(None),
    *(events.c.seq != sa.func.coalesce(kept, 0) for kept in (jobs.c.last_seq, jobs.c.logs_seq, _first.c.seq)),
)
_KEPT = sa.select(jobs.c.last_seq, jobs.c.logs_seq, _FIRST_FINAL.label("first")).where(
    jobs.c.job_id == sa.bindparam("job_id")
)
_STRAY = sa.and_(events.c.job_id.is_(None), events.c.received_at < sa.bindparam("before"))
_SIZE = sa.func.coalesce(sa.func.sum(sa.func.length(events.c.middle)), 0)
_COUNT = sa.select(sa.func.count(), _SIZE)


class Pruned(msgspec.Struct):
    """What went, or would go. True where there was something."""

    bodies: int = 0
    jobs: int = 0
    events: int = 0  # whole rows
    # Of stored bodies: the file shrinks by about as much. Less what those that stay have grown by standing alone, of
    # which a mere count knows nothing.
    bytes: int = 0

    def add(self, other: Pruned) -> None:
        for name in ("bodies", "jobs", "events", "bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def __bool__(self) -> bool:
        return bool(self.bodies or self.jobs or self.events)


class Pruner:
    """Prunes one class. ``before`` (unix seconds): what ended (or arrived, where it is of no job) earlier than that."""

    def __init__(self, which: PruneClass, *, before: float, now: float) -> None:
        self.which = which
        self._now = now
        self._place = {"before": before}
        self._reached = ""  # jobs before this one have nothing left to go
        self.damaged: set[str] = set()  # jobs that are left as they are: a body to be kept cannot be read

    def count(self, connection: sa.Connection) -> Pruned:
        """What would go, if nothing changes meanwhile."""
        if self.which == "bodies":
            found, size = self._sum(connection, _COUNT.select_from(_WITH_FIRST), _OLD, _ALL_THAT_GO)
            return Pruned(bodies=found, bytes=size)
        if self.which == "unrecognized":
            found, size = self._sum(connection, _COUNT.select_from(events), _STRAY)
            return Pruned(events=found, bytes=size)
        found, size = self._sum(connection, _COUNT.select_from(_WITH_EVENTS), _OLD)
        bodies_first, _ = self._sum(connection, _COUNT.select_from(_WITH_FIRST), _OLD, _ALL_THAT_GO)
        old = connection.execute(sa.select(sa.func.count()).select_from(jobs).where(_OLD), self._place).scalar_one()
        return Pruned(bodies=bodies_first, jobs=old, events=found, bytes=size)

    def some(self, connection: sa.Connection) -> Pruned:
        """Throw a little away within the caller's writing transaction; false when there is no more."""
        if self.which == "unrecognized":
            oldest = sa.select(events.c.seq).where(_STRAY).order_by(events.c.seq).limit(BATCH_EVENTS)
            return _delete_events(connection, events.c.seq.in_(connection.execute(oldest, self._place).scalars().all()))
        # A whole job goes in one transaction, so that nobody sees half of it; its bodies go before, some at a time.
        return self._some_bodies(connection) or (self._some_jobs(connection) if self.which == "jobs" else Pruned())

    def _sum(
        self, connection: sa.Connection, statement: sa.Select[*tuple[Any, ...]], *where: sa.ColumnElement[bool]
    ) -> tuple[int, int]:
        found, size = connection.execute(statement.where(*where), self._place).one()
        return int(found), int(size)

    def _some_bodies(self, connection: sa.Connection) -> Pruned:
        here = sa.and_(_OLD, jobs.c.job_id >= self._reached, jobs.c.job_id.not_in(self.damaged))
        with_bodies = sa.select(jobs.c.job_id).where(here, sa.exists().where(_GOES)).order_by(jobs.c.job_id).limit(1)
        while (job_id := connection.execute(with_bodies, self._place).scalar()) is not None:
            self._reached = job_id
            try:
                return _prune_bodies(connection, job_id, self._now)
            except JournalDamaged:
                self.damaged.add(job_id)
                with_bodies = with_bodies.where(jobs.c.job_id != job_id)
        return Pruned()

    def _some_jobs(self, connection: sa.Connection) -> Pruned:
        old = sa.select(jobs.c.job_id, jobs.c.events).where(_OLD).order_by(jobs.c.job_id).limit(BATCH_JOBS)
        taken: list[str] = []
        rows = 0
        for job_id, count in connection.execute(old, self._place).fetchall():
            rows += count
            if taken and rows > BATCH_ROWS:
                break
            taken.append(job_id)
        pruned = _delete_events(connection, events.c.job_id.in_(taken))
        for table in (deliveries, artifacts, jobs):
            connection.execute(table.delete().where(table.c.job_id.in_(taken)))
        pruned.jobs = len(taken)
        return pruned


def _prune_bodies(connection: sa.Connection, job_id: str, now: float) -> Pruned:
    """Some of one job's. Raises ``JournalDamaged`` before anything was changed."""
    kept = [seq for seq in connection.execute(_KEPT, {"job_id": job_id}).one() if seq is not None]
    staying = sa.select(events.c.seq, events.c.body_crc32).where(
        events.c.seq.in_(kept), events.c.whole_seq.is_not(None)
    )
    whole = [_whole(connection, job_id, row.seq, row.body_crc32) for row in connection.execute(staying).fetchall()]
    alone = [seq for seq, _ in whole]
    before = _stored(connection, alone)
    for seq, columns in whole:
        connection.execute(events.update().where(events.c.seq == seq).values(**columns))
    there = sa.and_(events.c.job_id == job_id, events.c.pruned_at.is_(None), events.c.seq.not_in(kept))
    newest_first = sa.select(events.c.seq).where(there).order_by(events.c.seq.desc()).limit(BATCH_EVENTS)
    going = connection.execute(newest_first).scalars().all()
    size = _stored(connection, going) + before - _stored(connection, alone)
    gone = {"pruned_at": now, "middle": b"", "base_seq": None, "whole_seq": None, "head": 0, "tail": 0}
    # Written anew rather than updated: rows that shrink in their place would leave SQLite's pages nearly empty.
    these = events.c.seq.in_(going)
    rows = [{**row, **gone} for row in connection.execute(sa.select(events).where(these)).mappings()]
    connection.execute(events.delete().where(these))
    connection.execute(events.insert(), rows)
    return Pruned(bodies=len(going), bytes=size)


def _whole(connection: sa.Connection, job_id: str, seq: int, crc32: int) -> tuple[int, dict[str, Any]]:
    """A body's columns when it stands by itself."""
    row = connection.execute(ONE, {"seq": seq}).one()
    chain = connection.execute(CHAIN, {"job_id": job_id, "whole_seq": row.whole_seq, "last_seq": seq}).fetchall()
    columns, _ = bodies.encode(seq, bodies.decode(chain, crc32), None)
    return seq, columns


def _stored(connection: sa.Connection, seqs: Sequence[int]) -> int:
    return int(connection.execute(sa.select(_SIZE).where(events.c.seq.in_(seqs))).scalar_one())


def _delete_events(connection: sa.Connection, which: sa.ColumnElement[bool]) -> Pruned:
    found, size = connection.execute(_COUNT.select_from(events).where(which)).one()
    connection.execute(events.delete().where(which))
    return Pruned(events=int(found), bytes=int(size))
