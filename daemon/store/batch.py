"""One transaction of the journal: events in, the jobs they move with them. Runs in the writer's thread.

Statements are counted here, not rows: whatever the size of the batch, it is two or three selects, one insert of all
events, one insert and one update of all jobs they touch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ..core.apply import Applied, JobState, apply
from ..core.events import EventKind
from ..core.jobs import FINISHED, JobStatus
from ..core.prediction import Prediction
from . import bodies, completion, deliveries, notices
from .bodies import LastBodies, LastBody
from .compiled import Bulk, Lookup
from .job_ids import hashed_id, hinted_job_id, job_id_for
from .records import Appended, IncomingEvent
from .schema import events, jobs
from .sequence import reserve_sequence
from .text import storable, storable_key, storable_or_none

STATE_COLUMNS = JobState.__struct_fields__
_PLACE = ("job_id", "provider_job_id", "submitted", "destinations", "last_seq", "logs_seq", "traceparent")
JOB_COLUMNS = tuple(jobs.c[name] for name in (*_PLACE, *STATE_COLUMNS))

_KNOWN = Lookup(sa.select(events.c.webhook_id, events.c.seq, events.c.kind, events.c.job_id), key=events.c.webhook_id)
_BY_PROVIDER_ID = Lookup(sa.select(*JOB_COLUMNS).with_for_update(), key=jobs.c.provider_job_id)
_BY_JOB_ID = Lookup(sa.select(*JOB_COLUMNS).with_for_update(), key=jobs.c.job_id)
_INSERT_EVENTS = Bulk(events.insert(), [column.name for column in events.c if column.name != "pruned_at"])
_CREATED = (
    *("job_id", "provider", "provider_job_id", "api_kind", "submitted", "created_at", "metadata", "last_seq"),
    *("logs_seq", "cancel_requested", "delivery_generation", "traceparent", *STATE_COLUMNS),
)
_INSERT_JOBS = Bulk(jobs.insert(), _CREATED)
_UPDATED = ("provider_job_id", "last_seq", "logs_seq", "traceparent", *STATE_COLUMNS)
UPDATE_JOBS = Bulk(
    jobs.update()
    .where(jobs.c.job_id == sa.bindparam("of_job_id"))
    .values({name: sa.bindparam(f"new_{name}") for name in _UPDATED}),
    _UPDATED,
)


class Arrival(msgspec.Struct, frozen=True):
    """An event and what its body was read as; ``None``: not a prediction object."""

    event: IncomingEvent
    prediction: Prediction | None


class Draft(msgspec.Struct):
    """A job while a batch is applied to it."""

    job_id: str
    provider_job_id: str | None
    state: JobState
    destinations: str | None = None
    last_seq: int | None = None
    logs_seq: int | None = None
    traceparent: str | None = None
    submitted: bool = False
    created: Prediction | None = None  # the one that made this row; None: the row was there
    created_at: float = 0.0
    completed: bool = False
    output_came: bool = False  # in this batch, to a job that an earlier one completed
    finished: bool = False  # in this batch
    found: bool = False  # ... and reconciliation came upon it


class Written(msgspec.Struct, frozen=True):
    """What a batch did; ``last_bodies`` are to be kept once the transaction is committed."""

    results: list[Appended]
    last_bodies: dict[str, LastBody]


def write_batch(connection: sa.Connection, arrivals: Sequence[Arrival], cache: LastBodies) -> Written:
    """Store every event that is new, in the order given, and move its job. One result for each arrival."""
    ids = [storable_key(arrival.event.webhook_id) for arrival in arrivals]
    known = {
        webhook_id: Appended(seq, EventKind(kind), job_id, duplicate=True)
        for webhook_id, seq, kind, job_id in _KNOWN.execute(connection, list(dict.fromkeys(ids)))
    }
    fresh = {key: arrival for key, arrival in zip(reversed(ids), reversed(arrivals), strict=True) if key not in known}
    order = [key for key in dict.fromkeys(ids) if key in fresh]
    if not order:
        return Written([known[key] for key in ids], {})
    batch = _Batch(connection, cache, _load_jobs(connection, [fresh[key] for key in order]))
    first_seq = reserve_sequence(connection, len(order))
    new = {key: batch.take(first_seq + index, key, fresh[key]) for index, key in enumerate(order)}
    batch.flush()
    results: list[Appended] = []
    for key in ids:
        appended = new.get(key) or known[key]
        results.append(appended)
        if key in new:  # whoever brings the same id after the first one in this batch is a duplicate, too
            known[key] = msgspec.structs.replace(new.pop(key), duplicate=True)
    return Written(results, batch.last_bodies)


class _Batch:
    """Rows being gathered."""

    def __init__(self, connection: sa.Connection, cache: LastBodies, drafts: dict[str, Draft]) -> None:
        self._connection = connection
        self._cache = cache
        self._drafts = drafts  # by provider id
        self._touched: dict[str, Draft] = {}  # by job id
        self._rows: list[dict[str, Any]] = []
        self.last_bodies: dict[str, LastBody] = {}

    def take(self, seq: int, webhook_id: str, arrival: Arrival) -> Appended:
        event, prediction = arrival.event, arrival.prediction
        if prediction is None:
            columns, _ = bodies.encode(seq, event.body, None)
            self._add_row(seq, webhook_id, event, None, EventKind.UNRECOGNIZED, columns)
            return Appended(seq, EventKind.UNRECOGNIZED, None, duplicate=False)
        draft = self._drafts.get(prediction.id)
        if draft is None:
            draft = self._drafts[prediction.id] = new_draft(prediction, event.received_at)
        columns, last = bodies.encode(seq, event.body, self._last_body(draft))
        applied = apply(draft.state, prediction, event.received_at)
        self._update(draft, seq, applied, event)
        self.last_bodies[draft.job_id] = last
        self._add_row(seq, webhook_id, event, draft.job_id, applied.kind, columns)
        return Appended(seq, applied.kind, draft.job_id, duplicate=False)

    def flush(self) -> None:
        touched = self._touched.values()
        _INSERT_EVENTS.execute(self._connection, self._rows)
        _INSERT_JOBS.execute(self._connection, [job_row(draft) for draft in touched if draft.created is not None])
        UPDATE_JOBS.execute(self._connection, [update_row(draft) for draft in touched if draft.created is None])
        finished = [draft for draft in touched if draft.finished]
        if finished:
            found = [draft.job_id for draft in finished if draft.found]
            now = finished[0].state.updated_at
            notices.jobs_finished(self._connection, [draft.job_id for draft in finished], now, found=found)
        for draft in touched:
            if draft.completed:
                completion.insert_deliveries(
                    self._connection, draft.job_id, draft.destinations, draft.state.completed_at, draft.state.updated_at
                )
            elif draft.output_came:
                deliveries.renew(self._connection, draft.job_id, draft.state.updated_at)

    def _update(self, draft: Draft, seq: int, applied: Applied, event: IncomingEvent) -> None:
        if draft.state.status not in FINISHED and applied.state.status in FINISHED:
            draft.finished, draft.found = True, event.missed
        draft.state, draft.last_seq = applied.state, seq
        draft.completed = draft.completed or applied.completed
        draft.output_came = draft.output_came or applied.output_came
        if applied.completed and draft.traceparent is None:
            draft.traceparent = event.traceparent
        if applied.logs_grew:
            draft.logs_seq = seq
        self._touched[draft.job_id] = draft

    def _last_body(self, draft: Draft) -> LastBody | None:
        if draft.last_seq is None:
            return None
        staged = self.last_bodies.get(draft.job_id) or self._cache.get(draft.job_id, draft.last_seq)
        return staged or bodies.load_last(self._connection, draft.job_id, draft.last_seq)

    def _add_row(
        self, seq: int, key: str, event: IncomingEvent, job_id: str | None, kind: EventKind, body: dict[str, Any]
    ) -> None:
        row = body
        row["seq"] = seq
        row["webhook_id"] = key
        row["webhook_id_sent"] = None if event.id_sent is None else event.id_sent.encode("utf-8", "surrogateescape")
        row["webhook_timestamp"] = storable_or_none(event.timestamp)
        row["webhook_signature"] = storable_or_none(event.signature)
        row["job_id"] = job_id
        row["kind"] = kind.value
        row["received_at"] = event.received_at
        row["source"] = event.source
        row["source_ip"] = storable_or_none(event.source_ip)
        row["verified"] = event.verified
        row["traceparent"] = event.traceparent
        self._rows.append(row)


def _load_jobs(connection: sa.Connection, arrivals: Sequence[Arrival]) -> dict[str, Draft]:
    """The jobs that the events belong to, by the provider's id. Absent: to be created."""
    predictions = {arrival.prediction.id: arrival for arrival in arrivals if arrival.prediction is not None}
    if not predictions:
        return {}
    drafts = [draft_of(row) for row in _BY_PROVIDER_ID.execute(connection, list(predictions))]
    found = {draft.provider_job_id: draft for draft in drafts if draft.provider_job_id is not None}
    unknown = [arrival for provider_id, arrival in predictions.items() if provider_id not in found]
    if unknown:
        found.update(_bind_or_name(connection, unknown))
    return found


def _bind_or_name(connection: sa.Connection, arrivals: Iterable[Arrival]) -> dict[str, Draft]:
    """Jobs for provider ids that no row has: the submitted job that the event's URL names, else a new one."""
    hints: dict[str, tuple[Prediction, str | None, float]] = {}
    for arrival in arrivals:
        if arrival.prediction is not None:
            hint = hinted_job_id(arrival.prediction, arrival.event.job_hint)
            hints[arrival.prediction.id] = (arrival.prediction, hint, arrival.event.received_at)
    wanted = {hint for _, hint, _ in hints.values() if hint} | {job_id_for(provider_id) for provider_id in hints}
    there = {draft.job_id: draft for draft in map(draft_of, _BY_JOB_ID.execute(connection, sorted(wanted)))}
    found: dict[str, Draft] = {}
    for provider_id, (prediction, hint, received_at) in hints.items():
        named = there.get(hint or "")
        if named is not None and named.submitted and named.provider_job_id is None:
            named.provider_job_id = provider_id
            found[provider_id] = named
        elif job_id_for(provider_id) in there:  # one of our own ids happens to be spelled like that
            draft = new_draft(prediction, received_at)
            draft.job_id = hashed_id(provider_id)
            found[provider_id] = draft
    return found


def new_draft(prediction: Prediction, received_at: float) -> Draft:
    return Draft(
        job_id_for(prediction.id),
        prediction.id,
        JobState(status=JobStatus.PENDING, updated_at=received_at),
        created=prediction,
        created_at=received_at,
    )


def draft_of(row: Sequence[Any]) -> Draft:
    """``row``: the values of ``JOB_COLUMNS``."""
    place = dict(zip(_PLACE, row, strict=False))
    state: dict[str, Any] = dict(zip(STATE_COLUMNS, row[len(_PLACE) :], strict=True))
    state["status"] = JobStatus(state["status"])
    return Draft(state=JobState(**state), **place)


def state_columns(state: JobState) -> dict[str, Any]:
    """The state as column values, free of what a text column refuses."""
    columns = msgspec.structs.asdict(state)
    columns["status"] = state.status.value
    for name in ("provider_status", "model", "version", "error", "output"):
        if columns[name] is not None:
            columns[name] = storable(columns[name])
    return columns


def update_row(draft: Draft) -> dict[str, Any]:
    columns = {f"new_{name}": value for name, value in state_columns(draft.state).items()}
    columns["of_job_id"] = draft.job_id
    columns["new_provider_job_id"] = draft.provider_job_id
    columns["new_last_seq"], columns["new_logs_seq"] = draft.last_seq, draft.logs_seq
    columns["new_traceparent"] = draft.traceparent
    return columns


def job_row(draft: Draft) -> dict[str, Any]:
    """A whole row for a job that was first seen in an event."""
    training = draft.created is not None and "/trainings/" in (draft.created.urls_get or "")
    return {
        "job_id": draft.job_id,
        "provider": "replicate",
        "provider_job_id": draft.provider_job_id,
        "api_kind": "training" if training else "prediction",
        "submitted": False,
        "created_at": draft.created_at,
        "metadata": "{}",
        "last_seq": draft.last_seq,
        "logs_seq": draft.logs_seq,
        "cancel_requested": False,
        "delivery_generation": 0,
        "traceparent": draft.traceparent,
        **state_columns(draft.state),
    }
