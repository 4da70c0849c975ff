"""Every stored event with its body, job by job: what verifying and rebuilding both go over.

A body is made from the one before it, so a job's bodies cost one pass over what is stored of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import msgspec
import sqlalchemy as sa

from ..database import AnyRow
from ..growth import Stored, grow
from ..schema import events
from ..text import id_as_sent

BATCH_ROWS = 200
_BY_JOB = sa.select(events).order_by(events.c.job_id, events.c.seq).execution_options(yield_per=BATCH_ROWS)


class Entry(msgspec.Struct, frozen=True):
    """One event. ``body`` is ``None`` where it was pruned, and where it is damaged: ``problem`` says how."""

    seq: int
    webhook_id: str  # as sent
    timestamp: str | None
    signature: str | None
    job_id: str | None
    kind: str
    received_at: float
    source: str
    verified: bool
    pruned: bool
    body: bytes | None
    problem: str | None = None


def walk(connection: sa.Connection) -> Iterator[Entry]:
    """All events, ordered by job and sequence number; those of no job come together, too."""
    before: Entry | None = None  # the job's last event whose body is there
    for row in connection.execute(_BY_JOB):
        if before is not None and before.job_id != row.job_id:
            before = None
        entry = _entry(row, before)
        yield entry
        if entry.body is not None:
            before = entry


def _entry(row: AnyRow, before: Entry | None) -> Entry:
    body, problem = None, None
    if row.pruned_at is None:
        try:
            body = _body(row, before)
        except ValueError as reason:
            problem = str(reason)
    return Entry(
        seq=row.seq,
        webhook_id=id_as_sent(row.webhook_id, row.webhook_id_sent),
        timestamp=row.webhook_timestamp,
        signature=row.webhook_signature,
        job_id=row.job_id,
        kind=row.kind,
        received_at=row.received_at,
        source=row.source,
        verified=row.verified,
        pruned=row.pruned_at is not None,
        body=body,
        problem=problem,
    )


def _body(row: AnyRow, before: Entry | None) -> bytes:
    base = b""
    if row.base_seq is not None:
        if before is None or before.seq != row.base_seq or before.body is None:
            raise ValueError(f"the body it grew from, that of event {row.base_seq}, is not there")
        base = before.body
    body = grow(base, Stored(row.body_bytes, row.head, row.tail, row.middle, row.base_seq is None))
    if zlib.crc32(body) != row.body_crc32:
        raise ValueError("its checksum does not match")
    return body
