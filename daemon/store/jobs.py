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
from ..errors import CostLimitExceeded, IdempotencyConflict, InvalidRequest, JobFinished, JobNotFound
from . import binding, completion, notices
from .database import AnyRow, Database
from .records import Job, NewJob
from .schema import jobs
from .spending import read_ledger
from .text import storable, storable_key

_T = TypeVar("_T")
JobList: TypeAlias = list[Job]  # within the class, ``list`` is the method
COLUMNS = tuple(jobs.c[name] for name in Job.__struct_fields__)
_BY_ANY_ID = sa.select(*COLUMNS).where(
    sa.or_(jobs.c.job_id == sa.bindparam("id"), jobs.c.provider_job_id == sa.bindparam("id"))
)
_ONE = sa.select(*COLUMNS).where(jobs.c.job_id == sa.bindparam("id")).with_for_update()
_WITH_KEY = sa.select(*COLUMNS).where(jobs.c.idempotency_key == sa.bindparam("key"))
_BY_KEY = _WITH_KEY.with_for_update()
_UNFINISHED = (
    sa.select(*COLUMNS)
    .where(jobs.c.status.in_(sorted(status.value for status in UNFINISHED)))
    .order_by(jobs.c.created_at, jobs.c.job_id)
)


class Jobs:
    def __init__(self, database: Database, notify: Callable[[], None]) -> None:
        self._database = database
        self._notify = notify

    async def get(self, any_id: str) -> Job | None:
        """By our id or the provider's. Ours wins where one job's id is another's provider id."""
        found = [job_of(row) for row in await self._database.rows(_BY_ANY_ID, {"id": storable(any_id)})]
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

    async def with_key(self, key: str, request_digest: str) -> Job | None:
        """The job that was submitted under an idempotency key. Raises ``IdempotencyConflict``: with another request."""
        row = await self._database.first(_WITH_KEY, {"key": storable_key(key)})
        return None if row is None else _same_request(job_of(row), key, request_digest)

    async def insert_intent(self, job: NewJob, budget: Budget | None = None) -> tuple[Job, bool]:
        """Write down that ``job`` is about to be submitted; nothing has been sent yet.

        ``(job, False)``, or ``(the earlier job, True)`` where its idempotency key was used for the same request.
        Raises ``IdempotencyConflict`` where it was used for another one, and what ``budget`` says to a new one:
        it is asked in the transaction that writes the row, and writing transactions come one after another, on
        PostgreSQL as well (``database.py``). So whoever asks next counts this job in.
        """

        def transaction(connection: sa.Connection) -> tuple[Job, bool] | CostLimitExceeded:
            try:
                result: tuple[Job, bool] | CostLimitExceeded = _insert_intent(connection, job, budget)
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
            return _require(connection, job_id)

        return await self._change(transaction)

    async def signal(self, job_id: str, signal: Signal, *, now: float, error: str | None = None) -> Job:
        """Tell the job something that no event tells. What the state machine ignores changes nothing."""

        def transaction(connection: sa.Connection) -> Job:
            job = _require(connection, job_id)
            moved = step(job.status, signal)
            if not isinstance(moved, Moved):
                return job
            changes: dict[str, Any] = {"status": moved.status.value, "updated_at": now}
            if error is not None:
                changes["error"] = storable(error)
            if moved.status in FINISHED:
                changes["completed_at"] = now
            _update(connection, job_id, changes)
            if moved.status in FINISHED:
                notices.jobs_finished(connection, [job_id], now)
            if moved.status is JobStatus.COMPLETED:
                completion.insert_deliveries(connection, job_id, job.destinations, now, now)
            return _require(connection, job_id)

        return await self._change(transaction)

    async def set_checked(self, job_id: str, *, now: float, check_after: float | None) -> None:
        """The provider was asked at ``now``; ask again no earlier than ``check_after``."""
        changes = {"checked_at": now, "check_after": check_after}
        await self._database.write(lambda connection: _update(connection, job_id, changes))

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
            job = _require(connection, job_id)
            if job.status in FINISHED:
                raise JobFinished(f"Job {job_id} is {job.status} already; there is nothing to cancel.")
            _update(connection, job_id, {"cancel_requested": True, "updated_at": now})
            return _require(connection, job_id)

        return await self._change(transaction)

    async def _change(self, transaction: Callable[[sa.Connection], _T]) -> _T:
        result = await self._database.write(transaction)
        self._notify()
        return result


def job_of(row: AnyRow) -> Job:
    values: dict[str, Any] = dict(zip(Job.__struct_fields__, row, strict=True))
    values["status"] = JobStatus(values["status"])
    return Job(**values)


def _require(connection: sa.Connection, job_id: str) -> Job:
    row = connection.execute(_ONE, {"id": storable(job_id)}).first()
    if row is None:
        raise JobNotFound(f"There is no job {job_id!r}. `tunerd jobs` lists them.")
    return job_of(row)


def _update(connection: sa.Connection, job_id: str, changes: dict[str, Any]) -> None:
    connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(changes))


def _insert_intent(connection: sa.Connection, job: NewJob, budget: Budget | None) -> tuple[Job, bool]:
    key = None if job.idempotency_key is None else storable_key(job.idempotency_key)
    if key is not None:
        row = connection.execute(_BY_KEY, {"key": key}).first()
        if row is not None:
            return _same_request(job_of(row), job.idempotency_key, job.request_digest), True
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
        events=0,
        logs_chars=0,
        cancel_requested=False,
        delivery_generation=0,
    )
    connection.execute(jobs.insert(), values)
    return _require(connection, job.job_id), False


def _same_request(earlier: Job, key: str | None, request_digest: str) -> Job:
    if earlier.request_digest != request_digest:
        raise IdempotencyConflict(
            f"The idempotency key {key!r} was used for another request (job {earlier.job_id}). "
            "Use a new key for a new request."
        )
    return earlier


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
