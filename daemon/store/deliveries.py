"""Deliveries: which finished job goes where, and how far that is. (Many at once: ``dead_letters.py``.)"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from ..core.apply import OUTPUT_LIFETIME
from ..core.jobs import JobStatus
from ..core.notices import CANCELLED_BY_YOU
from ..errors import JobNotFound, NothingToCancel, NothingToDeliver
from . import completion, notices
from .database import AnyRow, Database
from .records import Artifact, Delivery
from .schema import artifacts, deliveries, jobs
from .text import storable

_T = TypeVar("_T")
GOING_ON = ("pending", "running")
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
    sa.select(jobs.c.status, jobs.c.destinations, jobs.c.delivery_generation)
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

    async def due(self) -> list[tuple[str, int]]:
        """``(job id, generation)`` of everything that is not over."""
        return list(dict.fromkeys((job_id, generation) for job_id, generation, _ in await self.active()))

    async def update(self, job_id: str, destination: str, *, generation: int, now: float, **columns: Any) -> bool:
        """Change a delivery's columns. ``False``: the generation is no longer the row's, nothing was changed.

        That is the fence: a run that was thought dead and comes back cannot write over its successor.
        """
        if unknown := columns.keys() - _CHANGEABLE:
            raise TypeError(f"a delivery has no changeable column {sorted(unknown)}")
        values = {key: storable(value) if isinstance(value, str) else value for key, value in columns.items()}
        statement = (
            deliveries.update()
            .where(deliveries.c.job_id == job_id)
            .where(deliveries.c.destination == destination)
            .where(deliveries.c.generation == generation)
            .values(updated_at=now, **values)
        )
        ends = columns.get("status") in {"delivered", "failed"}

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
    return Delivery(**dict(zip(Delivery.__struct_fields__, row, strict=True)))


def redeliver(connection: sa.Connection, job_id: str, names: Sequence[str] | None, now: float) -> int:
    """See ``Deliveries.redeliver``. Within a writing transaction."""
    job = _require(connection, job_id)
    if job.status != JobStatus.COMPLETED.value:
        raise NothingToDeliver(f"Job {job_id} is {job.status}: only a completed job has something to deliver.")
    there = {row.destination for row in connection.execute(_OF_JOBS, {"ids": [job_id]})}
    chosen = names if names is not None else completion.chosen_names(connection, job.destinations)
    generation = int(job.delivery_generation) + 1
    rows = completion.delivery_rows(connection, job_id, chosen, now + OUTPUT_LIFETIME, now, generation)
    lost = [row["destination"] for row in rows if row["type"] == "unknown"]
    if not rows or (names is not None and lost):
        raise NothingToDeliver(
            f"There is no destination named {', '.join(map(repr, lost))}." if lost else "There is no destination."
        )
    again = [row["destination"] for row in rows if row["destination"] in there]
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
