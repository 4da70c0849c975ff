"""Bodies in the database: choosing how each one is kept, and giving it back byte for byte.

A chain is a whole body and the growth of the events after it, all of one job and in the order of their sequence
numbers, so one query over the job's index reads it. Writing needs the job's last body: those are kept in memory up
to a limit in bytes and rebuilt from the database after a miss.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from ..errors import BodyPruned, JournalDamaged
from . import growth
from .database import AnyRow
from .schema import events

CACHE_BYTES = 64 * 1024 * 1024  # of last bodies: six jobs with logs of 10 MB, or thousands of small ones
_ENTRY_BYTES = 512  # what an entry costs beside its body
CHAIN_EVENTS = 2048  # a chain is ended here, too: each event in it costs 10 µs when a body is read back

_COLUMNS = (events.c.seq, events.c.whole_seq, events.c.body_bytes, events.c.head, events.c.tail, events.c.middle)
_TAIL_OF_CHAIN = (*_COLUMNS, events.c.body_crc32)
ONE = sa.select(*_TAIL_OF_CHAIN, events.c.job_id).where(events.c.seq == sa.bindparam("seq"))
CHAIN = (
    sa.select(*_COLUMNS)
    .where(events.c.job_id == sa.bindparam("job_id"))
    .where(events.c.seq.between(sa.bindparam("whole_seq"), sa.bindparam("last_seq")))
    .order_by(events.c.seq.desc())
)


class LastBody(msgspec.Struct, frozen=True):
    """A job's newest body, and what its chain has cost so far (compressed bytes)."""

    seq: int
    body: bytes
    whole_seq: int
    whole_middle: int
    whole_body: int  # uncompressed, to know how well this job's bodies pack
    added: int  # by all growth since the whole one
    events: int  # in the chain


class LastBodies:
    """Newest bodies by job, least recently used first out. Used by the writer's thread and the loop."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, LastBody] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0

    def get(self, job_id: str, seq: int) -> LastBody | None:
        """The job's last body, if it is the one of event ``seq``: another node may have gone on meanwhile."""
        with self._lock:
            entry = self._entries.get(job_id)
            if entry is None or entry.seq != seq:
                return None
            self._entries.move_to_end(job_id)
            return entry

    def keep(self, entries: Mapping[str, LastBody]) -> None:
        with self._lock:
            for job_id, entry in entries.items():
                self._forget(job_id)
                self._entries[job_id] = entry
                self.bytes += len(entry.body) + _ENTRY_BYTES
            while self.bytes > self._limit:
                self._forget(next(iter(self._entries)))

    def _forget(self, job_id: str) -> None:
        old = self._entries.pop(job_id, None)
        if old is not None:
            self.bytes -= len(old.body) + _ENTRY_BYTES


def encode(seq: int, body: bytes, last: LastBody | None) -> tuple[dict[str, Any], LastBody]:
    """The body's columns, and the job's last body from now on.

    Growth, until what was added since the last whole body outweighs a whole body: then it is worth less to keep the
    chain than to begin a new one. What a whole one would weigh is told by how well the last one packed.
    """
    stored = growth.encode_growth(last.body, body) if last is not None else growth.encode_whole(body)
    if last is not None:
        added = last.added + len(stored.middle)
        outweighs = added * last.whole_body > last.whole_middle * len(body)
        if outweighs or last.events >= CHAIN_EVENTS:
            stored = growth.encode_whole(body)
    columns: dict[str, Any] = {
        "body_bytes": stored.body_bytes,
        "head": stored.head,
        "tail": stored.tail,
        "middle": stored.middle,
        "body_crc32": zlib.crc32(body),
        "base_seq": None,
        "whole_seq": None,
    }
    if last is None or stored.whole:
        return columns, LastBody(seq, body, seq, len(stored.middle), len(body), 0, 1)
    columns["base_seq"], columns["whole_seq"] = last.seq, last.whole_seq
    grown = msgspec.structs.replace(last, seq=seq, body=body, added=added, events=last.events + 1)
    return columns, grown


def load_last(connection: sa.Connection, job_id: str, seq: int) -> LastBody | None:
    """The body of the job's event ``seq`` for a chain to go on from; ``None`` where it cannot be read.

    Old damage must not cost a new event: it is then kept whole.
    """
    row = connection.execute(ONE, {"seq": seq}).first()
    if row is None:
        return None
    chain: Sequence[AnyRow] = [row]
    if row.whole_seq is not None:
        chain = connection.execute(CHAIN, {"job_id": job_id, "whole_seq": row.whole_seq, "last_seq": seq}).fetchall()
    try:
        body = decode(chain, row.body_crc32)
    except JournalDamaged:
        return None
    whole = chain[-1]
    added = sum(len(entry.middle) for entry in chain[:-1])
    return LastBody(seq, body, whole.seq, len(whole.middle), whole.body_bytes, added, len(chain))


def decode(chain: Sequence[AnyRow], crc32: int) -> bytes:
    """The body of the chain's first row (the rows newest first). Raises ``JournalDamaged`` unless it is intact."""
    seq = chain[0].seq if chain else None
    try:
        body = growth.rebuild(
            [
                growth.Stored(body_bytes, head, tail, middle, whole_seq is None)
                for _, whole_seq, body_bytes, head, tail, middle, *_ in chain
            ]
        )
    except (ValueError, IndexError) as problem:
        raise damaged(seq, str(problem)) from None
    if zlib.crc32(body) != crc32:
        raise damaged(seq, "its checksum does not match")
    return body


def damaged(seq: int | None, reason: str) -> JournalDamaged:
    return JournalDamaged(
        f"The body of event {seq} cannot be given back: {reason}. The database file is damaged; check the disk and "
        "restore a backup."
    )


def pruned(seq: int, when: float) -> BodyPruned:
    day = datetime.fromtimestamp(when, UTC).date().isoformat()
    return BodyPruned(f"The body of event {seq} was pruned on {day}. The job's last body and its log are kept.")
