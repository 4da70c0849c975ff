"""Makes the jobs' rows anew from the journal: what events decide is derived again, what only the row knows stays."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import sqlalchemy as sa

from .. import completion
from ..batch import UPDATE_JOBS, Draft, job_row, update_row
from ..schema import deliveries, events, jobs
from .derive import Deriving, differences
from .verify import job_draft_row
from .walk import walk

_DELIVERED = sa.select(deliveries.c.job_id).where(deliveries.c.job_id == sa.bindparam("job_id")).limit(1)


class Rebuilt(msgspec.Struct, frozen=True):
    """One job that was not as its events tell. ``columns`` were mended; none: the whole row was missing, or a kind."""

    job_id: str
    columns: list[str]
    kinds: int  # events whose kind was mended


class Rebuild(msgspec.Struct):
    jobs: int = 0  # with events
    kept: int = 0  # as they are: some of their bodies were pruned or are damaged
    mended: list[Rebuilt] = []


def rebuild(connection: sa.Connection, *, dry_run: bool) -> Rebuild:
    """Mend every row within the caller's transaction; with ``dry_run`` only say what would be mended."""
    result = Rebuild()
    for deriving in list(_derived(connection)) if not dry_run else _derived(connection):
        result.jobs += 1
        told = deriving.finish()
        if told is None:
            result.kept += 1
            continue
        columns = [] if deriving.known is None else differences(deriving.known, told)
        if deriving.known is not None and not columns and not deriving.other_kinds:
            continue
        result.mended.append(Rebuilt(deriving.job_id, columns, len(deriving.other_kinds)))
        if not dry_run:
            _write(connection, deriving, told)
    return result


def _derived(connection: sa.Connection) -> Iterator[Deriving]:
    deriving: Deriving | None = None
    for entry in walk(connection):
        if entry.job_id is None:
            continue
        if deriving is None or deriving.job_id != entry.job_id:
            if deriving is not None:
                yield deriving
            deriving = Deriving(entry.job_id, job_draft_row(connection, entry.job_id))
        deriving.take(entry)
    if deriving is not None:
        yield deriving


def _write(connection: sa.Connection, deriving: Deriving, told: Draft) -> None:
    if deriving.known is None:
        connection.execute(jobs.insert(), job_row(told))
    else:
        UPDATE_JOBS.execute(connection, [update_row(told)])
    for seq, kind in deriving.other_kinds.items():
        connection.execute(events.update().where(events.c.seq == seq).values(kind=kind))
    if told.completed and connection.execute(_DELIVERED, {"job_id": told.job_id}).first() is None:
        state = told.state
        completion.insert_deliveries(connection, told.job_id, told.destinations, state.completed_at, state.updated_at)
