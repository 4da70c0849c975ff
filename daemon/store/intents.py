"""Writing down that a job is about to be submitted: once for each idempotency key, and within the budget."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from ..core.jobs import JobStatus
from ..core.spend import Budget
from ..errors import IdempotencyConflict
from .job_rows import COLUMNS, job_of, require
from .records import Job, NewJob
from .schema import jobs
from .spending import read_ledger
from .text import storable, storable_key

WITH_KEY = sa.select(*COLUMNS).where(jobs.c.idempotency_key == sa.bindparam("key"))
_BY_KEY = WITH_KEY.with_for_update()


def insert(connection: sa.Connection, job: NewJob, budget: Budget | None) -> tuple[Job, bool]:
    """See ``Jobs.insert_intent``. Within a writing transaction."""
    key = None if job.idempotency_key is None else storable_key(job.idempotency_key)
    if key is not None:
        row = connection.execute(_BY_KEY, {"key": key}).first()
        if row is not None:
            return same_request(job_of(row), job.idempotency_key, job.request_digest), True
    if budget is not None:
        budget.ask(read_ledger(connection, budget.since))
    values: dict[str, Any] = {
        name: storable(value) if isinstance(value, str) else value
        for name, value in msgspec.structs.asdict(job).items()
    }
    values.update(
        idempotency_key=key,
        provider="replicate",
        submitted=True,
        status=JobStatus.PENDING.value,
        updated_at=job.created_at,
        cost_limit_warning=None if budget is None else budget.warning,
        events=0,
        logs_chars=0,
        cancel_requested=False,
        delivery_generation=0,
    )
    connection.execute(jobs.insert(), values)
    return require(connection, job.job_id), False


def same_request(earlier: Job, key: str | None, request_digest: str) -> Job:
    """``earlier``. Raises ``IdempotencyConflict`` where its key was used for another request."""
    if earlier.request_digest != request_digest:
        raise IdempotencyConflict(
            f"The idempotency key {key!r} was used for another request (job {earlier.job_id}). "
            "Use a new key for a new request."
        )
    return earlier
