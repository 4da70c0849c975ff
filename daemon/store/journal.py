"""The journal: every event, once, in order, on disk before its sender is answered.

Group commit: ``append`` puts the event in a queue and waits. One task takes everything that waits, has it written in
one transaction with one sync, and answers all of it. While a batch is written the next one gathers by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
import structlog

from ..core.events import EventKind
from ..core.prediction import Prediction, parse_prediction
from ..errors import NotReady
from ..metrics import EVENT_SOURCES, Metrics
from . import bodies
from .batch import Arrival, Written, write_batch
from .bodies import LastBodies
from .database import RETRY_AFTER, AnyRow, Database
from .records import Appended, EventBody, EventRow, IncomingEvent
from .schema import events, jobs
from .text import id_as_sent
from .wakeups import Subscription, Wakeups

_T = TypeVar("_T")

log = structlog.get_logger()

BATCH_EVENTS = 256  # in one transaction: it holds the writer for about 15 ms
BATCH_BYTES = 32 * 1024 * 1024  # of bodies in one transaction
WAITING_BYTES = 256 * 1024 * 1024  # of bodies in the queue, while the disk hangs; more are asked to come again
THREAD_BYTES = 256 * 1024  # bodies from here on are unpacked and parsed off the loop

_ROW = tuple(events.c[name] for name in EventRow.__struct_fields__)
_HEADERS = sa.select(
    events.c.webhook_id,
    events.c.webhook_id_sent,
    events.c.webhook_timestamp,
    events.c.webhook_signature,
    events.c.job_id,
    events.c.whole_seq,
    events.c.body_crc32,
    events.c.pruned_at,
).where(events.c.seq == sa.bindparam("seq"))
_LAST_SEQ = sa.select(sa.func.max(events.c.seq))
_LOGS_SEQ = sa.select(jobs.c.logs_seq).where(jobs.c.job_id == sa.bindparam("job_id"))


class _Waiting(msgspec.Struct, frozen=True):
    arrival: Arrival
    result: asyncio.Future[Appended]


class Journal:
    """Made by ``Journal.open``; one for each process."""

    def __init__(self, database: Database, wakeups: Wakeups, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics
        self._counters = {
            (kind, source): metrics.events.labels(kind.value, source) for kind in EventKind for source in EVENT_SOURCES
        }
        self._wakeups = wakeups
        self._last_bodies = LastBodies()
        self._logs: tuple[str, int, str] | None = None  # (job id, seq, text): the log that is being followed
        self._queue: list[_Waiting] = []
        self._queued_bytes = 0
        self._filled = asyncio.Event()
        self.closing = False
        self.writer: asyncio.Task[None] = asyncio.create_task(self._write_forever(), name="journal writer")
        self.writer.add_done_callback(self._writer_ended)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, database: Database, wakeups: Wakeups, metrics: Metrics | None = None) -> AsyncIterator[Journal]:
        """Closing writes what is waiting."""
        journal = cls(database, wakeups, metrics or Metrics())
        try:
            yield journal
        finally:
            journal.closing = True
            journal._filled.set()
            await asyncio.wait([journal.writer])

    async def append(self, event: IncomingEvent, prediction: Prediction | None) -> Appended:
        """Store the event and move its job; returns after the sync. ``prediction``: what its body was read as.

        An id that is there already stores nothing and gives the first one's place. Raises ``NotReady`` where the
        store cannot be written now: the event was not taken, the sender is to come again.
        """
        return await self.submit(event, prediction)

    def submit(self, event: IncomingEvent, prediction: Prediction | None) -> asyncio.Future[Appended]:
        """As ``append``; the future is done after the sync."""
        if self.closing or self.writer.done():
            raise _stopped()
        if self._queued_bytes > WAITING_BYTES:
            raise NotReady("The store does not keep up. Send it again.", retry_after=RETRY_AFTER)
        result: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(Arrival(event, prediction), result))
        self._queued_bytes += len(event.body)
        self._filled.set()
        return result

    async def events(
        self, *, after: int = 0, limit: int = 100, job_id: str | None = None, kind: EventKind | None = None
    ) -> list[EventRow]:
        """Rows with a sequence number above ``after``, ascending."""
        statement = sa.select(*_ROW).where(events.c.seq > after).order_by(events.c.seq).limit(limit)
        if job_id is not None:
            statement = statement.where(events.c.job_id == job_id)
        if kind is not None:
            statement = statement.where(events.c.kind == kind.value)
        return [_event_row(row) for row in await self._database.rows(statement)]

    async def body(self, seq: int) -> EventBody | None:
        """The body exactly as received.

        Raises ``BodyPruned`` where it was thrown away, ``JournalDamaged`` where the database lost it.
        """
        head = await self._database.first(_HEADERS, {"seq": seq})
        if head is None:
            return None
        if head.pruned_at is not None:
            raise bodies.pruned(seq, head.pruned_at)
        last = self._last_bodies.get(head.job_id, seq) if head.job_id else None
        body = last.body if last is not None else await self._read_body(seq, head)
        webhook_id = id_as_sent(head.webhook_id, head.webhook_id_sent)
        return EventBody(seq, webhook_id, head.webhook_timestamp, head.webhook_signature, body)

    async def last_seq(self) -> int:
        """The newest event's number; 0 in an empty journal."""
        row = await self._database.first(_LAST_SEQ)
        return int(row[0] or 0) if row else 0

    async def logs(self, job_id: str) -> str:
        """The longest log that any of the job's events carried; empty if none did."""
        row = await self._database.first(_LOGS_SEQ, {"job_id": job_id})
        if row is None or row.logs_seq is None:
            return ""
        if self._logs is not None and self._logs[:2] == (job_id, row.logs_seq):
            return self._logs[2]
        found = await self.body(row.logs_seq)
        body = found.body if found is not None else b""
        prediction = await _off_loop(len(body), parse_prediction, body)
        logs = prediction.logs if prediction is not None else ""
        self._logs = (job_id, row.logs_seq, logs)
        return logs

    def subscribe(self) -> Subscription:
        return self._wakeups.subscribe()

    def notify(self) -> None:
        self._wakeups.notify()

    async def _read_body(self, seq: int, head: AnyRow) -> bytes:
        if head.whole_seq is None:
            chain = await self._database.rows(bodies.ONE, {"seq": seq})
        else:
            place = {"job_id": head.job_id, "whole_seq": head.whole_seq, "last_seq": seq}
            chain = await self._database.rows(bodies.CHAIN, place)
        size = chain[0].body_bytes if chain else 0
        return await _off_loop(size, bodies.decode, chain, head.body_crc32)

    # -- the writer ------------------------------------------------------------------------

    async def _write_forever(self) -> None:
        while not self.closing or self._queue:
            await self._filled.wait()
            self._filled.clear()
            while self._queue:
                batch = self._take()
                try:
                    await self._write(batch)
                finally:  # whatever happens to this task, nobody is left waiting
                    _fail(batch, _stopped())

    def _take(self) -> list[_Waiting]:
        """The next batch: everything, up to the limits, and one event at least."""
        size = count = 0
        for waiting in self._queue[:BATCH_EVENTS]:
            size += len(waiting.arrival.event.body)
            if count and size > BATCH_BYTES:
                break
            count += 1
        taken, self._queue = self._queue[:count], self._queue[count:]
        self._queued_bytes -= sum(len(waiting.arrival.event.body) for waiting in taken)
        return taken

    async def _write(self, batch: list[_Waiting]) -> None:
        try:
            written = await self._transact(batch)
        except NotReady as problem:
            _fail(batch, problem)
        except Exception as problem:  # noqa: BLE001 - any event may be bad in any way; its sender is told
            if len(batch) == 1:
                _fail(batch, problem)
                return
            for waiting in batch:  # one of them is bad: the others must not suffer for it
                await self._write([waiting])
        else:
            for waiting, appended in zip(batch, written.results, strict=True):
                if not waiting.result.done():  # done: its caller has gone
                    waiting.result.set_result(appended)
            self._wakeups.notify()
            self._count(batch, written)
            if log.is_enabled_for(logging.DEBUG):
                _tell(batch, written)

    async def _transact(self, batch: Sequence[_Waiting]) -> Written:
        arrivals = [waiting.arrival for waiting in batch]
        began = time.perf_counter()
        written = await self._database.write(lambda connection: write_batch(connection, arrivals, self._last_bodies))
        self._metrics.batch_seconds.observe(time.perf_counter() - began)
        self._last_bodies.keep(written.last_bodies)
        return written

    def _count(self, batch: Sequence[_Waiting], written: Written) -> None:
        self._metrics.batch_events.observe(len(batch))
        for waiting, appended in zip(batch, written.results, strict=True):
            if not appended.duplicate:
                self._counters[appended.kind, waiting.arrival.event.source].inc()

    def _writer_ended(self, writer: asyncio.Task[None]) -> None:
        if not writer.cancelled():
            writer.exception()  # looked at; ``Store.wait_failed`` passes it on
        _fail(self._queue, _stopped())
        self._queue = []


def _stopped() -> NotReady:
    return NotReady("The journal has stopped. Send it again.", retry_after=RETRY_AFTER)


def _tell(batch: Sequence[_Waiting], written: Written) -> None:
    """A line for each event that is new: about 30 µs each, which is why nobody gets them unasked."""
    for waiting, appended in zip(batch, written.results, strict=True):
        if not appended.duplicate:
            event = waiting.arrival.event
            log.debug(
                "event stored",
                seq=appended.seq,
                webhook_id=event.webhook_id,
                job_id=appended.job_id,
                kind=appended.kind.value,
                source=event.source,
            )


def _fail(batch: Sequence[_Waiting], problem: Exception) -> None:
    for waiting in batch:
        if not waiting.result.done():
            waiting.result.set_exception(problem)


def _event_row(row: AnyRow) -> EventRow:
    values: dict[str, Any] = dict(zip(EventRow.__struct_fields__, row, strict=True))
    values["kind"] = EventKind(values["kind"])
    return EventRow(**values)


async def _off_loop(size: int, work: Callable[..., _T], *arguments: Any) -> _T:
    return await asyncio.to_thread(work, *arguments) if size > THREAD_BYTES else work(*arguments)
