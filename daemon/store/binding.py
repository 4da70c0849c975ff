"""Giving a submitted job its provider id, also when an event was faster than the create call's answer."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from ..core.apply import JobState, advance, output_came
from ..core.costs import cost_usd
from ..core.jobs import FINISHED, JobStatus, Moved, Signal, step
from ..core.prediction import Prediction
from ..errors import JobNotFound, ProviderError
from . import completion, notices
from .batch import JOB_COLUMNS, UPDATE_JOBS, Draft, draft_of, update_row
from .deliveries import renew
from .schema import artifacts, deliveries, events, jobs
from .text import storable

_BY_EITHER_ID = (
    sa.select(*JOB_COLUMNS)
    .where(sa.or_(jobs.c.job_id == sa.bindparam("job_id"), jobs.c.provider_job_id == sa.bindparam("provider_job_id")))
    .with_for_update()
)


def bind(
    connection: sa.Connection, job_id: str, provider_job_id: str, prediction: Prediction | None, now: float
) -> None:
    """See ``Jobs.bind_provider``. Within a writing transaction."""
    ids = {"job_id": storable(job_id), "provider_job_id": storable(provider_job_id)}
    found = {row.job_id: draft_of(row) for row in connection.execute(_BY_EITHER_ID, ids)}
    ours = found.pop(job_id, None)
    if ours is None:
        raise JobNotFound(f"There is no job {job_id!r}.")
    early = next(iter(found.values()), None)
    if ours.provider_job_id not in {None, provider_job_id} or (early is not None and early.submitted):
        other = ours.provider_job_id if early is None else early.job_id
        raise ProviderError(
            f"Job {job_id} cannot be bound to Replicate's {provider_job_id}: one of them belongs to {other} already."
        )
    known, before = ours.state, ours.state.status
    if early is not None:
        _take_over(connection, ours, early)
    ours.provider_job_id = provider_job_id
    ours.state = _accepted(ours.state, now) if prediction is None else advance(ours.state, prediction, now)
    UPDATE_JOBS.execute(connection, [update_row(ours)])
    told = early is not None and early.state.status in FINISHED  # when the early row ended
    if ours.state.status in FINISHED and before not in FINISHED and not told:
        notices.jobs_finished(connection, [job_id], now)
    if ours.state.status is JobStatus.COMPLETED and before is not JobStatus.COMPLETED:
        completion.insert_deliveries(connection, job_id, ours.destinations, ours.state.completed_at, now)
    elif output_came(known, ours.state):
        renew(connection, job_id, now)


def _take_over(connection: sa.Connection, ours: Draft, early: Draft) -> None:
    """Make the early row's events and state ours and remove it. What is being delivered for it finds itself fenced."""
    connection.execute(events.update().where(events.c.job_id == early.job_id).values(job_id=ours.job_id))
    for table in (deliveries, artifacts, jobs):
        connection.execute(table.delete().where(table.c.job_id == early.job_id))
    mine, told = ours.state, early.state
    status = mine.status if mine.status in FINISHED else told.status
    ours.state = msgspec.structs.replace(
        told,
        status=status,
        model=mine.model or told.model,
        version=mine.version or told.version,
        hardware=mine.hardware,
        usd_per_second=mine.usd_per_second,
        cost_usd=cost_usd(mine.hardware, told.predict_time, mine.usd_per_second) if status in FINISHED else None,
    )
    ours.last_seq, ours.logs_seq = early.last_seq, early.logs_seq
    ours.traceparent = ours.traceparent or early.traceparent


def _accepted(state: JobState, now: float) -> JobState:
    moved = step(state.status, Signal.ACCEPTED)
    status = moved.status if isinstance(moved, Moved) else state.status
    queued_at = now if state.queued_at is None else state.queued_at
    return msgspec.structs.replace(state, status=status, queued_at=queued_at, updated_at=now)
