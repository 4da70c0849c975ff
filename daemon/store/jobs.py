"""Jobs: reading them, and what we ourselves do to them. (What events do to them is in ``batch.py``.)"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import msgspec
import sqlalchemy as sa

from ..core.jobs import FINISHED, UNFINISHED, JobStatus, Moved, Signal, step
from ..core.prediction import Prediction
from ..core.spend import Budget
from ..errors import CostLimitExceeded, InvalidRequest, JobFinished
from . import binding, completion, intents, notices
from .database import Database
from .job_rows import BY_ANY_ID, COLUMNS, job_of, require, update
from .records import Job, NewJob
from .schema import jobs
from .text import storable, storable_key

_T = TypeVar("_T")
JobList: TypeAlias = list[Job]  # within the class, ``list`` is the method
_UNFINISHED = (
    sa.select(*COLUMNS)
    .where(jobs.c.status.in_(sorted(status.value for status in UNFINISHED)))
    .order_by(jobs.c.created_at, jobs.c.job_id)
)
_ENDED_BADLY = (JobStatus.FAILED.value, JobStatus.CANCELLED.value)
_WITHOUT_OUTPUT = (
    sa.select(*COLUMNS)
    .where(
        jobs.c.completed_at > sa.bindparam("since"),
        jobs.c.status.not_in(_ENDED_BADLY),  # "is completed" would have SQLite read all that ever did: it is indexed
        jobs.c.output.is_(None),
        jobs.c.provider_job_id.is_not(None),
        sa.or_(jobs.c.checked_at.is_(None), jobs.c.checked_at < jobs.c.updated_at, jobs.c.check_after.is_not(None)),
    )
    .order_by(jobs.c.completed_at.desc())
)


class Jobs:
    def __init__(self, database: Database, notify: Callable[[], None]) -> None:
        self._database = database
        self._notify = notify

    async def get(self, any_id: str) -> Job | None:
        """By our id or the provider's. Ours wins where one job's id is another's provider id."""
        found = [job_of(row) for row in await self._database.rows(BY_ANY_ID, {"id": storable(any_id)})]
        return next((job for job in found if job.job_id == any_id), found[0] if found else None)

    async def list(
        self,
        *,
        status: str | None = None,
        provider: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[JobList, str | None, int]:
        """Newest first: ``(jobs, cursor of the next page or None, how many there are under the filters)``.

        Raises ``InvalidRequest`` for a cursor that is not one of ours.
        """
        wanted = [jobs.c[name] == value for name, value in (("status", status), ("provider", provider)) if value]
        total = await self._database.first(sa.select(sa.func.count()).select_from(jobs).where(*wanted))
        if cursor is not None:
            created_at, job_id = _read_cursor(cursor)
            wanted.append(sa.tuple_(jobs.c.created_at, jobs.c.job_id) < sa.tuple_(created_at, job_id))
        newest_first = (jobs.c.created_at.desc(), jobs.c.job_id.desc())
        page = sa.select(*COLUMNS).where(*wanted).order_by(*newest_first).limit(limit + 1)
        found = [job_of(row) for row in await self._database.rows(page)]
        following = _write_cursor(found[limit - 1]) if len(found) > limit else None
        return found[:limit], following, int(total[0]) if total else 0

    async def unfinished(self) -> JobList:
        """Every job that has not ended, oldest first."""
        return [job_of(row) for row in await self._database.rows(_UNFINISHED)]

    async def doubtful(self, *, since: float) -> JobList:
        """Submitted jobs, made after ``since``, that ended otherwise than well or whose create call went out twice."""
        wanted = sa.select(*COLUMNS).where(
            jobs.c.created_at > since,
            jobs.c.submitted.is_(sa.true()),
            jobs.c.request.is_not(None),
            sa.or_(jobs.c.status.in_(_ENDED_BADLY), jobs.c.sends > 1),
        )
        return [job_of(row) for row in await self._database.rows(wanted.order_by(jobs.c.created_at, jobs.c.job_id))]

    async def without_output(self, *, since: float) -> JobList:
        """Jobs that completed after ``since`` and told no output, and of which the provider has not answered since."""
        return [job_of(row) for row in await self._database.rows(_WITHOUT_OUTPUT, {"since": since})]

    async def of_key(self, key: str) -> Job | None:
        row = await self._database.first(intents.WITH_KEY, {"key": storable_key(key)})
        return None if row is None else job_of(row)

    async def with_key(self, key: str, request_digest: str) -> Job | None:
        """The job that was submitted under an idempotency key. Raises ``IdempotencyConflict``: with another request."""
        job = await self.of_key(key)
        return None if job is None else intents.same_request(job, key, request_digest)

    async def insert_intent(self, job: NewJob, budget: Budget | None = None) -> tuple[Job, bool]:
        """Write down that ``job`` is about to be submitted; nothing has been sent yet.

        ``(job, False)``, or ``(the earlier job, True)`` where its idempotency key was used for the same request.
        Raises ``IdempotencyConflict`` where it was used for another one, and what ``budget`` says to a new one:
        it is asked in the transaction that writes the row, and writing transactions come one after another, on
        PostgreSQL as well (``database.py``). So whoever asks next counts this job in.
        """

        def transaction(connection: sa.Connection) -> tuple[Job, bool] | CostLimitExceeded:
            try:
                result: tuple[Job, bool] | CostLimitExceeded = intents.insert(connection, job, budget)
            except CostLimitExceeded as refusal:  # raised before anything was written; what is written now is to stay
                result = refusal
            if budget is not None and budget.reached is not None:
                notices.limit_reached(connection, budget.reached, job.created_at)
            return result

        result = await self._change(transaction)
        if isinstance(result, CostLimitExceeded):
            raise result
        return result

    async def bind_provider(
        self, job_id: str, provider_job_id: str, *, now: float, prediction: Prediction | None
    ) -> Job:
        """The create call answered: the job has a provider id from now on, and what the answer tells.

        Where an event came before the answer and made a row of its own, that row's events and state become this
        job's. Binding the same id again changes nothing. Raises ``JobNotFound``; ``ProviderError`` where either id is
        bound otherwise already.
        """

        def transaction(connection: sa.Connection) -> Job:
            binding.bind(connection, job_id, provider_job_id, prediction, now)
            return require(connection, job_id)

        return await self._change(transaction)

    async def signal(self, job_id: str, signal: Signal, *, now: float, error: str | None = None) -> Job:
        """Tell the job something that no event tells. What the state machine ignores changes nothing.

        A failed job that cannot have reached the provider gives its idempotency key back.
        """

        def transaction(connection: sa.Connection) -> Job:
            job = require(connection, job_id)
            moved = step(job.status, signal)
            if not isinstance(moved, Moved):
                return job
            changes: dict[str, Any] = {"status": moved.status.value, "updated_at": now}
            if error is not None:
                changes["error"] = storable(error)
            if moved.status in FINISHED:
                changes["completed_at"] = now
            if moved.status is JobStatus.FAILED and job.provider_job_id is None and job.sent_at is None:
                changes["idempotency_key"] = None  # the provider cannot have it: the same key may try again
            update(connection, job_id, changes)
            if moved.status in FINISHED:
                notices.jobs_finished(connection, [job_id], now)
            if moved.status is JobStatus.COMPLETED:
                completion.insert_deliveries(connection, job_id, job.destinations, now, now)
            return require(connection, job_id)

        return await self._change(transaction)

    async def tell_doubled(self, job_id: str, other: str, *, cancelled: bool, sure: bool, now: float) -> None:
        """Replicate has a second job for ``job_id``, of that provider id: it is noted in a row, and told once.

        ``sure``: it is ours; else it is only like ours.
        """
        await self._change(lambda connection: _tell_doubled(connection, job_id, other, cancelled, sure, now))

    async def set_checked(self, job_id: str, *, now: float, check_after: float | None) -> None:
        """The provider was asked at ``now``; ask again no earlier than ``check_after``."""
        changes = {"checked_at": now, "check_after": check_after}
        await self._database.write(lambda connection: update(connection, job_id, changes))

    async def set_progress(self, job_id: str, progress: str | None, *, now: float) -> None:
        """How far the upload is (JSON of ``Progress``); of the training itself, the log tells."""
        change = (
            jobs.update()
            .where(jobs.c.job_id == job_id, jobs.c.status == JobStatus.UPLOADING.value)
            .values(progress=progress, updated_at=now)
        )
        await self._change(lambda connection: connection.execute(change))

    async def request_cancel(self, job_id: str, *, now: float) -> Job:
        """Remember that the job is to be cancelled. Raises ``JobNotFound``, ``JobFinished``."""

        def transaction(connection: sa.Connection) -> Job:
            job = require(connection, job_id)
            if job.status in FINISHED:
                raise JobFinished(f"Job {job_id} is {job.status} already; there is nothing to cancel.")
            update(connection, job_id, {"cancel_requested": True, "updated_at": now})
            return require(connection, job_id)

        return await self._change(transaction)

    async def _change(self, transaction: Callable[[sa.Connection], _T]) -> _T:
        result = await self._database.write(transaction)
        self._notify()
        return result


def _tell_doubled(connection: sa.Connection, job_id: str, other: str, cancelled: bool, sure: bool, now: float) -> None:
    if sure:
        text = f"A second job of {job_id}: the answer to its create call was lost, and it was asked for again."
        noted = connection.execute(BY_ANY_ID, {"id": storable(other)}).first()
    else:
        text = f"Replicate runs {other}, which may be this job: if nobody else started it, cancel it there."
        noted = connection.execute(BY_ANY_ID, {"id": storable(job_id)}).first()
    if noted is not None:
        if noted.error is not None and text in noted.error:
            return
        update(connection, noted.job_id, {"error": text if noted.error is None else f"{noted.error} {text}"})
    notices.job_doubled(connection, job_id, other, now, cancelled=cancelled, sure=sure)


def _write_cursor(job: Job) -> str:
    raw = msgspec.json.encode((job.created_at, job.job_id))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _read_cursor(cursor: str) -> tuple[float, str]:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        created_at, job_id = msgspec.json.decode(raw, type=tuple[float, str])
    except (binascii.Error, ValueError):
        raise InvalidRequest(
            "The cursor is not one this daemon gave out. Begin again without one.", field="cursor"
        ) from None
    return created_at, storable(job_id)
