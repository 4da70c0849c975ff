"""Deliveries: which finished job goes where, and how far that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from ..core.apply import OUTPUT_LIFETIME
from ..core.jobs import JobStatus
from ..errors import JobNotFound, NothingToDeliver
from . import completion
from .database import Database
from .records import Artifact, Delivery
from .schema import artifacts, deliveries, jobs
from .text import storable

_COLUMNS = tuple(deliveries.c[name] for name in Delivery.__struct_fields__)
_OF_JOBS = (
    sa.select(*_COLUMNS)
    .where(deliveries.c.job_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(deliveries.c.job_id, deliveries.c.destination)
)
_DUE = (
    sa.select(deliveries.c.job_id, deliveries.c.generation)
    .where(deliveries.c.status.in_(["pending", "running"]))
    .distinct()
    .order_by(deliveries.c.job_id, deliveries.c.generation)
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
_CHANGEABLE = frozenset({"status", "url", "attempts", "error", "bytes_done", "bytes_total", "deadline"})


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
                found[row.job_id].append(Delivery(**dict(zip(Delivery.__struct_fields__, row, strict=True))))
        return found

    async def due(self) -> list[tuple[str, int]]:
        """``(job id, generation)`` of everything that is not over."""
        return [(row.job_id, row.generation) for row in await self._database.rows(_DUE)]

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
        changed = await self._database.write(lambda connection: connection.execute(statement).rowcount)
        self._notify()
        return changed > 0

    async def redeliver(self, job_id: str, names: Sequence[str] | None, *, now: float) -> int:
        """Deliver again, to the named destinations (``None``: to each); the new generation.

        It has an hour from now: whoever asks again has mended something. Raises ``JobNotFound``, and
        ``NothingToDeliver`` where the job has not completed or a name is no destination.
        """
        generation: int = await self._database.write(lambda connection: _redeliver(connection, job_id, names, now))
        self._notify()
        return generation

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


def _redeliver(connection: sa.Connection, job_id: str, names: Sequence[str] | None, now: float) -> int:
    job = connection.execute(_JOB, {"job_id": storable(job_id)}).first()
    if job is None:
        raise JobNotFound(f"There is no job {job_id!r}. `tunerd jobs` lists them.")
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
    connection.execute(deliveries.insert(), rows)
    connection.execute(jobs.update().where(jobs.c.job_id == job_id).values(delivery_generation=generation))
    return generation
