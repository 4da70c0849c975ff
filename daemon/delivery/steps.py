"""The three steps of a delivery: fetch every file, publish to one destination, tidy up. A crash may repeat each.

A step does not raise what is to be expected: the outcome is in the deliveries' rows, and its answer is what the next
step needs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import structlog

from .. import tracing
from ..config import Settings
from ..core.deliveries import GOING_ON, DeliveryStatus
from ..errors import NotReady
from ..metrics import Metrics
from ..store.records import DestinationConfig, Job
from ..store.store import Store
from .checking import destination_secrets
from .destinations.base import Package, Place, StagedFile, find
from .errors import Permanent, StagedGone, Superseded
from .fetch import Fetcher
from .lanes import Lanes
from .leftovers import Leftovers, remove_if_empty
from .limits import Slots
from .names import check_component
from .packing import package_of
from .progress import Progress
from .removed import REMOVED, output_removed
from .retrying import Backoff, persist
from .rows import Rows
from .sources import FreshOutput, Sources, files_of
from .staging import Fetched
from .stores.allowed import STORES, Folder, Repository, Stores, of_destination
from .transfer import Transfer
from .turns import Runs, Turns, paused_note

log = structlog.get_logger()

Attempt = Callable[[], Awaitable[Fetched]]
Note = Callable[[str], Awaitable[None]]

LATE_SECONDS = 3600.0  # for publishing what has been fetched
# For a fetch that begins after the deadline, and for one that still brought something: expired files do not come back,
# but some outputs never expire.
LATE_RETRY_SECONDS = 300.0


class Steps:
    """Bound to one process; everything here runs on its main event loop."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        fetcher: Fetcher,
        fresh_output: FreshOutput,
        clock: Callable[[], float],
        awake: Callable[[], float],
        backoff: Backoff,
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._settings = settings
        self._store = store
        self.leftovers = Leftovers(store, settings.output_dir, fetcher.in_thread)
        self.lanes = Lanes()
        self.runs = Runs()
        self._fetcher = fetcher
        self._fresh_output = fresh_output
        self._clock = clock  # unix seconds
        self._awake = awake  # seconds that the machine was not asleep
        self._backoff = backoff
        self._slots = Slots(fetcher.limits.files)  # what pauses before a retry has none
        self._fetching_again: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()

    async def fetch(self, job_id: str, generation: int) -> dict[str, Any]:
        """Fetch all. What to publish: ``{"destinations": [name], "files": [{name, bytes, sha256, source_url}]}``."""
        nothing: dict[str, Any] = {"destinations": [], "files": []}
        job, rows = await self._store.jobs.get(job_id), await self._rows(job_id, generation)
        if job is None or not rows.destinations:
            return nothing
        try:
            with _step("delivery fetch", job, generation) as span:
                async with self.runs.working(job_id, generation, rows.destinations):
                    staged = await self._fetch(job, generation, rows)
                size = sum(file.bytes for file in staged)
                span.set(files=len(staged), bytes=size)
            self._metrics.fetched_bytes.inc(size)
            await rows.update(fetched_at=self._clock())
        except Superseded:
            await self.leftovers.finish(job_id)
            return nothing
        except Permanent as reason:
            await self._fail(rows, job_id, reason)
            await self._fetcher.in_thread(remove_if_empty, self.leftovers.folder(job_id, generation))
            return nothing
        return {"destinations": rows.destinations, "files": _listed(staged)}

    async def _fetch(self, job: Job, generation: int, rows: Rows) -> list[StagedFile]:
        check_component(job.job_id)
        if await output_removed(self._store.journal, job):
            raise Permanent(REMOVED)
        files = await self._fetcher.in_thread(files_of, job)
        stores = await self._stores(job, rows)
        await rows.attempt(None)
        began = self._awake()
        patience = max(rows.deadline - self._clock(), LATE_RETRY_SECONDS)

        async def retrying(attempt: Attempt, note: Note, hopeful_at: Callable[[], float]) -> Fetched:
            return await persist(
                attempt,
                note,
                clock=self._awake,
                no_retry_after=lambda: max(began + patience, hopeful_at() + LATE_RETRY_SECONDS),
                backoff=self._backoff,
            )

        folder = self.leftovers.folder(job.job_id, generation)
        transfer = Transfer(self._fetcher, self._store, rows, folder, self._slots, retrying, self._awake, stores)
        return await transfer.run(job.job_id, files, Sources(job, files, self._fresh_output, self._clock))

    async def _stores(self, job: Job, rows: Rows) -> Stores:
        """The repositories and buckets that the job's own destinations name, and the settings."""
        found = []
        for config in await self._store.settings.destinations():
            if config.name in rows.destinations and config.type in STORES:
                with contextlib.suppress(Permanent, NotReady):  # one that is set up wrongly is told when it publishes
                    _, options = find(config, await destination_secrets(self._store, config))
                    found.append(of_destination(options, package_of(job, Path(), [])))
        return Stores(
            [one for one in found if isinstance(one, Repository)],
            [one for one in found if isinstance(one, Folder)],
            self._settings.output_origins,
        )

    async def publish(self, job_id: str, generation: int, destination: str, files: list[dict[str, Any]]) -> bool:
        """Publish to one destination; whether it has been delivered."""
        job, rows = await self._store.jobs.get(job_id), await self._rows(job_id, generation, destination)
        if job is None or not rows.destinations:
            return False
        try:
            with _step("delivery publish", job, generation, destination=destination):
                async with self.runs.working(job_id, generation, [destination]):
                    url, files = await self._publish_files(rows, destination, job, generation, files)
            size = sum(file["bytes"] for file in files)
            await rows.update(status=DeliveryStatus.DELIVERED, url=url, error=None, bytes_done=size, bytes_total=size)
        except Superseded:
            return False
        except Permanent as reason:
            await self._fail(rows, job_id, reason)
            return False
        self._count(rows, DeliveryStatus.DELIVERED, size)
        shown = url.partition("?")[0]  # the rest of a pre-signed link lets anyone in
        log.info("delivered", job_id=job_id, destination=destination, url=shown, files=len(files))
        return True

    async def _publish_files(
        self, rows: Rows, destination: str, job: Job, generation: int, files: list[dict[str, Any]]
    ) -> tuple[str, list[dict[str, Any]]]:
        """Where they are, and what they were: fetched again where they are not here.

        They were thrown away, or the worker that had fetched them is another machine's and this one has taken over.
        """
        folder = self.leftovers.folder(job.job_id, generation)
        try:
            return await self._publish(rows, destination, package_of(job, folder, files)), files
        except StagedGone as gone:
            log.warning("delivery_fetches_again", destination=destination, reason=str(gone))
            try:
                # One after another: the run's other destinations miss the same files.
                async with self._fetching_again.setdefault((job.job_id, generation), asyncio.Lock()):
                    files = _listed(await self._fetch(job, generation, rows))
            except Permanent as reason:
                raise Permanent(f"{gone}, and it cannot be fetched again: {reason}") from None
        return await self._publish(rows, destination, package_of(job, folder, files)), files

    async def _publish(self, rows: Rows, destination: str, package: Package) -> str:
        progress = Progress(rows)
        turns = Turns(self.lanes, rows, package.job_id, lambda: self._config(destination), self._awake)
        until = turns.clock() + max(rows.deadline - self._clock(), LATE_SECONDS)

        async def attempt() -> str:
            assert turns.config is not None, "an attempt has a turn"
            assert turns.in_thread is not None
            module, options = find(turns.config, await destination_secrets(self._store, turns.config))
            place, in_thread = Place(self._settings, progress.note), turns.in_thread
            try:
                return await progress.beside(lambda: in_thread(module.publish, package, options, place))
            finally:
                place.stopping.set()  # its threads outlive a cancelled step otherwise

        return await persist(
            attempt,
            rows.attempt,
            clock=turns.clock,
            no_retry_after=lambda: until,
            backoff=self._backoff,
            turn=turns,
        )

    async def _rows(self, job_id: str, generation: int, destination: str | None = None) -> Rows:
        """The unfinished deliveries of this run (of one destination, where it is named)."""
        rows = [
            row
            for row in await self._store.deliveries.of_job(job_id)
            if row.generation == generation and row.status in GOING_ON and destination in {None, row.destination}
        ]
        paused = [one.name for one in await self._store.settings.destinations() if one.paused]
        held = {} if destination else {name: paused_note(name) for name in paused}  # its output is fetched all the same
        return Rows(self._store, rows, self._clock, held)

    async def _fail(self, rows: Rows, job_id: str, reason: Permanent) -> None:
        log.warning("delivery_failed", job_id=job_id, destinations=rows.destinations, reason=str(reason))
        try:
            await rows.fail(str(reason))
        except Superseded:
            return
        self._count(rows, DeliveryStatus.FAILED)

    def _count(self, rows: Rows, outcome: str, size: int = 0) -> None:
        for kind in rows.types:
            self._metrics.delivery_outcomes.labels(kind, outcome).inc()
            self._metrics.published_bytes.labels(kind).inc(size)

    async def _config(self, destination: str) -> DestinationConfig:
        for config in await self._store.settings.destinations():
            if config.name == destination:
                return config
        raise Permanent(f"the destination {destination!r} is no longer configured")


def _listed(staged: Iterable[StagedFile]) -> list[dict[str, Any]]:
    """As a step's answer, which is kept as JSON."""
    return [
        {"name": file.name, "bytes": file.bytes, "sha256": file.sha256, "source_url": file.source_url}
        for file in staged
    ]


@contextlib.contextmanager
def _step(name: str, job: Job, generation: int, *, destination: str | None = None) -> Iterator[tracing.Span]:
    """One step as a block of the job's trace; every line that is logged within names its job."""
    with (
        structlog.contextvars.bound_contextvars(job_id=job.job_id, generation=generation),
        tracing.span(
            name, parent=job.traceparent, job_id=job.job_id, generation=generation, destination=destination
        ) as span,
    ):
        yield span
