"""Deliveries: which finished job goes where, and how far that is. (Many at once: ``dead_letters.py``.)"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from ..core.apply import OUTPUT_LIFETIME, is_deliverable
from ..core.deliveries import GOING_ON, OVER, DeliveryStatus
from ..core.jobs import JobStatus
from ..core.notices import CANCELLED_BY_YOU
from ..core.times import rfc3339
from ..errors import JobNotFound, NothingToCancel, NothingToDeliver
from . import completion, notices
from .database import AnyRow, Database
from .records import Artifact, Delivery
from .schema import artifacts, deliveries, jobs
from .text import storable

_T = TypeVar("_T")
CANCELLED = CANCELLED_BY_YOU

COLUMNS = tuple(deliveries.c[name] for name in Delivery.__struct_fields__)
_OF_JOBS = (
    sa.select(*COLUMNS)
    .where(deliveries.c.job_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(deliveries.c.job_id, deliveries.c.destination)
)
_ACTIVE = (
    sa.select(deliveries.c.job_id, deliveries.c.generation, deliveries.c.destination)
    .where(deliveries.c.status.in_(GOING_ON))
    .order_by(deliveries.c.job_id, deliveries.c.generation, deliveries.c.destination)
)
_ARTIFACTS = (
    sa.select(*(artifacts.c[name] for name in Artifact.__struct_fields__))
    .where(artifacts.c.job_id == sa.bindparam("job_id"))
    .order_by(artifacts.c.name)
)
_JOB = (
    sa.select(
        jobs.c.status,
        jobs.c.provider_status,
        jobs.c.output.is_not(None).label("has_output"),
        jobs.c.destinations,
        jobs.c.delivery_generation,
    )
    .where(jobs.c.job_id == sa.bindparam("job_id"))
    .with_for_update()
)
# What a delivery may change about its row.
_CHANGEABLE = frozenset({"status", "url", "attempts", "error", "bytes_done", "bytes_total", "deadline", "fetched_at"})


class Deliveries:
    def __init__(self, database: Database, notify: Callable[[], None]) -> None:
        self._database = database
        self._notify = notify

    async def of_job(self, job_id: str) -> list[Delivery]:
        return (await self.of_jobs([job_id]))[job_id]

    async def of_jobs(self, job_ids: Sequence[str]) -> dict[str, list[Delivery]]:
        """Every id is a key; by destination name."""
        found: dict[str, list[Delivery]] = {job_id: [] for job_id in job_ids}
        if found:
            for row in await self._database.rows(_OF_JOBS, {"ids": [storable(job_id) for job_id in found]}):
                found[row.job_id].append(delivery_of(row))
        return found

    async def active(self) -> list[tuple[str, int, str]]:
        """``(job id, generation, destination)`` of everything that is not over."""
        return [(row.job_id, row.generation, row.destination) for row in await self._database.rows(_ACTIVE)]

    async def update(self, job_id: str, destination: str, *, generation: int, now: float, **columns: Any) -> bool:
        """Change a delivery's columns. ``False``: it is over, or of another generation; nothing was changed.

        That is the fence: a run that was thought dead and comes back cannot write over its successor, nor over what
        that has made of it.
        """
        if unknown := columns.keys() - _CHANGEABLE:
            raise TypeError(f"a delivery has no changeable column {sorted(unknown)}")
        values = {key: storable(str(value)) if isinstance(value, str) else value for key, value in columns.items()}
        statement = (
            deliveries.update()
            .where(deliveries.c.job_id == job_id)
            .where(deliveries.c.destination == destination)
            .where(deliveries.c.generation == generation)
            .where(deliveries.c.status.in_(GOING_ON))
            .values(updated_at=now, **values)
        )
        ends = columns.get("status") in OVER

        def transaction(connection: sa.Connection) -> bool:
            changed = connection.execute(statement).rowcount > 0
            if changed and ends:
                notices.deliveries_ended(connection, [(job_id, destination)], now)
            return changed

        return await self._change(transaction)

    async def redeliver(self, job_id: str, names: Sequence[str] | None, *, now: float) -> int:
        """Deliver again, to the named destinations (``None``: to each); the new generation.

        It has an hour from now: whoever asks again has mended something. What runs for other destinations goes on,
        what runs for these is superseded. Raises ``JobNotFound``, and ``NothingToDeliver`` where the job has not
        completed or a name is no destination.
        """
        return await self._change(lambda connection: redeliver(connection, job_id, names, now))

    async def cancel(self, job_id: str, names: Sequence[str] | None, *, now: float) -> list[str]:
        """End the deliveries that are not over, to the named destinations (``None``: to each); the names ended.

        They have failed, with ``CANCELLED`` as the reason. Raises ``JobNotFound``, and ``NothingToCancel`` where
        none of them goes on or a name has no delivery of this job.
        """
        return await self._change(lambda connection: _cancel(connection, job_id, names, now))

    async def artifacts(self, job_id: str) -> list[Artifact]:
        """The files that were fetched, by name."""
        return [Artifact(*row) for row in await self._database.rows(_ARTIFACTS, {"job_id": job_id})]

    async def put_artifact(self, job_id: str, artifact: Artifact) -> None:
        """Note a fetched file; one of the same name is replaced."""
        row = {
            "job_id": job_id,
            "name": storable(artifact.name),
            "bytes": artifact.bytes,
            "sha256": artifact.sha256,
            "source_url": None if artifact.source_url is None else storable(artifact.source_url),
        }

        def transaction(connection: sa.Connection) -> None:
            connection.execute(
                artifacts.delete().where(artifacts.c.job_id == job_id).where(artifacts.c.name == row["name"])
            )
            connection.execute(artifacts.insert(), row)

        await self._database.write(transaction)

    async def clear_artifacts(self, job_id: str) -> None:
        await self._database.write(
            lambda connection: connection.execute(artifacts.delete().where(artifacts.c.job_id == job_id)).rowcount
        )

    async def _change(self, transaction: Callable[[sa.Connection], _T]) -> _T:
        result = await self._database.write(transaction)
        self._notify()
        return result


def delivery_of(row: AnyRow) -> Delivery:
    """A row of ``COLUMNS``."""
    found = dict(zip(Delivery.__struct_fields__, row, strict=True))
    return Delivery(**found | {"status": DeliveryStatus(found["status"])})


def redeliver(connection: sa.Connection, job_id: str, names: Sequence[str] | None, now: float) -> int:
    """See ``Deliveries.redeliver``. Within a writing transaction."""
    job = _require(connection, job_id)
    if not is_deliverable(JobStatus(job.status), job.provider_status, has_output=bool(job.has_output)):
        raise NothingToDeliver(f"Job {job_id} is {job.status}: only a completed job has something to deliver.")
    chosen = names if names is not None else completion.chosen_names(connection, job.destinations)
    rows = _next_rows(connection, job_id, job, chosen, now)
    lost = [row["destination"] for row in rows if row["type"] == "unknown"]
    if not rows or (names is not None and lost):
        raise NothingToDeliver(
            f"There is no destination named {', '.join(map(repr, lost))}." if lost else "There is no destination."
        )
    there = {row.destination: row for row in connection.execute(_OF_JOBS, {"ids": [job_id]})}
    for row in rows:
        row["delivered_before"] = _delivered_before(there.get(row["destination"]))
    return _replace(connection, job_id, rows, now)


def renew(connection: sa.Connection, job_id: str, now: float) -> None:
    """Deliver a finished job whose output came only now: what went out before was empty. Within a writing transaction.

    To wherever it goes or went, but not where somebody has ended the delivery; nothing where there is no destination.
    """
    job = _require(connection, job_id)
    there = {row.destination: row for row in connection.execute(_OF_JOBS, {"ids": [job_id]})}
    configured = completion.configured_names(connection)
    names = [*completion.chosen_names(connection, job.destinations), *(name for name in there if name in configured)]
    wanted = [name for name in names if name not in there or there[name].error != CANCELLED]
    rows = _next_rows(connection, job_id, job, wanted, now)
    if rows:
        _replace(connection, job_id, rows, now)


def _delivered_before(row: AnyRow | None) -> str | None:
    """Where and when, as far as ``row`` knows: it is about to be replaced."""
    if row is None or row.status != DeliveryStatus.DELIVERED:
        return None if row is None else row.delivered_before
    where = (row.url or "").partition("?")[0]  # the rest of a link lets anyone in
    return f"{where} at {rfc3339(row.updated_at)}".lstrip()


def _next_rows(
    connection: sa.Connection, job_id: str, job: AnyRow, names: Sequence[str], now: float
) -> list[dict[str, Any]]:
    """Fresh rows of the job's next generation; they have an hour from now."""
    generation = int(job.delivery_generation) + 1
    return completion.delivery_rows(connection, job_id, names, now + OUTPUT_LIFETIME, now, generation)


def _replace(connection: sa.Connection, job_id: str, rows: Sequence[dict[str, Any]], now: float) -> int:
    """Put ``rows``, of one generation, in the place of what was there for their destinations; the generation."""
    generation = int(rows[0]["generation"])
    again = [row["destination"] for row in rows]
    connection.execute(
        deliveries.delete().where(deliveries.c.job_id == job_id).where(deliveries.c.destination.in_(again))
    )
    completion.insert_rows(connection, rows, now)
    connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(delivery_generation=generation))
    return generation


def _cancel(connection: sa.Connection, job_id: str, names: Sequence[str] | None, now: float) -> list[str]:
    job = _require(connection, job_id)
    rows = {row.destination: row for row in connection.execute(_OF_JOBS, {"ids": [job_id]})}
    for name in names or ():
        if name not in rows:
            there = ", ".join(rows) or "none"
            raise NothingToCancel(f"Job {job_id} has no delivery to {name!r}. There is: {there}.")
    ending = [name for name in (rows if names is None else names) if rows[name].status in GOING_ON]
    if not ending:
        told = ", ".join(f"{name} {row.status}" for name, row in rows.items()) or "there is none yet"
        raise NothingToCancel(f"No delivery of job {job_id} goes on ({told}).")
    # The new generation is what ends the run: it finds that the rows are no longer its own.
    generation = int(job.delivery_generation) + 1
    connection.execute(
        deliveries.update()
        .where(deliveries.c.job_id == job_id, deliveries.c.destination.in_(ending))
        .values(status="failed", error=CANCELLED, generation=generation, updated_at=now)
    )
    connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(delivery_generation=generation))
    notices.deliveries_ended(connection, [(job_id, name) for name in ending], now)
    return ending


def _require(connection: sa.Connection, job_id: str) -> AnyRow:
    job = connection.execute(_JOB, {"job_id": storable(job_id)}).first()
    if job is None:
        raise JobNotFound(f"There is no job {job_id!r}. `tunerd jobs` lists them.")
    return job
