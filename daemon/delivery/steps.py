"""The three steps of a delivery: fetch every file, publish to one destination, tidy up. A crash may repeat each.

A step does not raise what is to be expected: the outcome is in the deliveries' rows, and its answer is what the next
step needs.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog

from .. import tracing
from ..config import Settings
from ..errors import NotReady
from ..metrics import Metrics
from ..replicate import outgoing
from ..store.deliveries import CANCELLED
from ..store.records import DestinationConfig, Job
from ..store.store import Store
from .checking import destination_secrets
from .destinations.base import Package, Place, StagedFile, find
from .errors import Permanent, Superseded
from .fetch import Fetcher
from .lanes import Lanes
from .limits import Slots
from .names import check_component, is_component
from .progress import Progress
from .retrying import Backoff, persist
from .rows import Rows
from .sources import FreshOutput, Sources, files_of
from .stores.allowed import STORES, Folder, Repository, Stores, of_destination
from .transfer import Transfer
from .turns import Runs, Turns, paused_note

log = structlog.get_logger()

STAGING = ".tunerd-staging"  # under the output folder: a rename must not cross file systems
LATE_SECONDS = 3600.0  # for a fetch that begins after the deadline, and for publishing what has been fetched
LATE_RETRY_SECONDS = 300.0  # of that fetch: expired files do not come back, but some outputs never expire


class Steps:
    """Bound to one process; everything here runs on its main event loop."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        fetcher: Fetcher,
        fresh_output: FreshOutput,
        clock: Callable[[], float],
        backoff: Backoff,
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._settings = settings
        self._output_dir = settings.output_dir
        self._store = store
        self.lanes = Lanes()
        self.runs = Runs()
        self._fetcher = fetcher
        self._fresh_output = fresh_output
        self._clock = clock
        self._backoff = backoff
        self._slots = Slots(fetcher.limits.files)  # what pauses before a retry has none

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
            await self.finish(job_id)
            return nothing
        except Permanent as reason:
            await self._fail(rows, job_id, reason)
            await self._fetcher.in_thread(_remove, self._staging(job_id) / str(generation))
            return nothing
        files = [
            {"name": file.name, "bytes": file.bytes, "sha256": file.sha256, "source_url": file.source_url}
            for file in staged
        ]
        return {"destinations": rows.destinations, "files": files}

    async def _fetch(self, job: Job, generation: int, rows: Rows) -> list[StagedFile]:
        check_component(job.job_id)
        files = await self._fetcher.in_thread(files_of, job)
        stores = await self._stores(job, rows)
        for file in files:
            self._fetcher.check(file.url, stores)  # one that is refused fails the delivery before anything is fetched
        await rows.attempt(None)
        now = self._clock()
        retrying = partial(
            persist,
            clock=self._clock,
            no_retry_after=max(rows.deadline, now + LATE_RETRY_SECONDS),
            stop_at=rows.deadline if rows.deadline > now else now + LATE_SECONDS,
            backoff=self._backoff,
        )
        folder = self._staging(job.job_id) / str(generation)
        transfer = Transfer(self._fetcher, self._store, rows, folder, self._slots, retrying, stores)
        return await transfer.run(job.job_id, files, Sources(job, files, self._fresh_output))

    async def _stores(self, job: Job, rows: Rows) -> Stores:
        """The repositories and buckets that the job's own destinations name, and the settings."""
        found = []
        for config in await self._store.settings.destinations():
            if config.name in rows.destinations and config.type in STORES:
                with contextlib.suppress(Permanent, NotReady):  # one that is set up wrongly is told when it publishes
                    _, options = find(config, await destination_secrets(self._store, config))
                    found.append(of_destination(options, self._package(job, 0, [])))
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
        size = sum(file["bytes"] for file in files)
        try:
            with _step("delivery publish", job, generation, destination=destination):
                async with self.runs.working(job_id, generation, [destination]):
                    url = await self._publish(rows, destination, self._package(job, generation, files))
            await rows.update(status="delivered", url=url, error=None, bytes_done=size, bytes_total=size)
        except Superseded:
            return False
        except Permanent as reason:
            await self._fail(rows, job_id, reason)
            return False
        self._count(rows, "delivered", size)
        shown = url.partition("?")[0]  # the rest of a pre-signed link lets anyone in
        log.info("delivered", job_id=job_id, destination=destination, url=shown, files=len(files))
        return True

    async def _publish(self, rows: Rows, destination: str, package: Package) -> str:
        progress = Progress(rows)
        turns = Turns(self.lanes, rows, package.job_id, lambda: self._config(destination), self._clock)

        async def attempt() -> str:
            assert turns.config is not None, "an attempt has a turn"
            assert turns.in_thread is not None
            module, options = find(turns.config, await destination_secrets(self._store, turns.config))
            place = Place(self._settings, turns.in_thread, progress.note)
            try:
                return await progress.beside(lambda: module.publish(package, options, place))
            finally:
                place.stopping.set()  # its threads outlive a cancelled step otherwise

        return await persist(
            attempt,
            rows.attempt,
            clock=turns.clock,
            no_retry_after=max(rows.deadline, self._clock() + LATE_SECONDS),
            stop_at=math.inf,  # a slow line may need hours; what stands still is ended by the progress
            backoff=self._backoff,
            turn=turns,
        )

    async def finish(self, job_id: str) -> None:
        """Throw away what was staged for the job, once none of its deliveries needs it any more.

        What could not be published stays for another try. A run that begins meanwhile has a folder of its own.
        """
        job = await self._store.jobs.get(job_id)
        generation = job.delivery_generation if job else 0
        deliveries = await self._store.deliveries.of_job(job_id)
        if all(delivery.status == "delivered" or delivery.error == CANCELLED for delivery in deliveries):
            for staged in await self._fetcher.in_thread(_folders, self._staging(job_id)):
                if staged.isdecimal() and int(staged) <= generation:
                    await self._fetcher.in_thread(_remove, self._staging(job_id) / staged)

    async def tidy(self) -> None:
        """What a crash kept ``finish`` from throwing away. For the start, when no delivery runs."""
        for job_id in await self._fetcher.in_thread(_folders, self._output_dir / STAGING):
            await self.finish(job_id)

    async def _rows(self, job_id: str, generation: int, destination: str | None = None) -> Rows:
        """The unfinished deliveries of this run (of one destination, where it is named)."""
        rows = [
            row
            for row in await self._store.deliveries.of_job(job_id)
            if row.generation == generation
            and row.status in {"pending", "running"}
            and destination in {None, row.destination}
        ]
        paused = [one.name for one in await self._store.settings.destinations() if one.paused]
        held = {} if destination else {name: paused_note(name) for name in paused}  # its output is fetched all the same
        return Rows(self._store, rows, self._clock, held)

    async def _fail(self, rows: Rows, job_id: str, reason: Permanent) -> None:
        log.warning("delivery_failed", job_id=job_id, destinations=rows.destinations, reason=str(reason))
        try:
            await rows.update(status="failed", error=str(reason))
        except Superseded:
            return
        self._count(rows, "failed")

    def _count(self, rows: Rows, outcome: str, size: int = 0) -> None:
        for kind in rows.types:
            self._metrics.delivery_outcomes.labels(kind, outcome).inc()
            self._metrics.published_bytes.labels(kind).inc(size)

    async def _config(self, destination: str) -> DestinationConfig:
        for config in await self._store.settings.destinations():
            if config.name == destination:
                return config
        raise Permanent(f"the destination {destination!r} is no longer configured")

    def _package(self, job: Job, generation: int, files: list[dict[str, Any]]) -> Package:
        folder = self._staging(job.job_id) / str(generation)
        return Package(
            job_id=job.job_id,
            provider_job_id=job.provider_job_id,
            model=job.model,
            version=job.version,
            completed_at=job.completed_at,
            files=tuple(StagedFile(path=folder / file["name"], **file) for file in files),
            output=_decoded(job.output) if not files else None,
            config_name=job.config_name,
            hardware=job.hardware,
            metadata=_object(job.metadata),
            input=_input(job.request),
        )

    def _staging(self, job_id: str) -> Path:
        return self._output_dir / STAGING / job_id


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


def _decoded(output: str | None) -> Any:
    try:
        return None if output is None else msgspec.json.decode(output)
    except (msgspec.DecodeError, RecursionError):
        return output


def _object(text: str | None) -> dict[str, Any]:
    found = _decoded(text)
    return found if isinstance(found, dict) else {}


def _input(request: str | None) -> dict[str, Any]:
    """What we sent to the model; secrets are redacted in it since it was written down."""
    try:
        return {} if request is None else outgoing.decode(request).input
    except msgspec.MsgspecError:  # another version of this program wrote it
        return {}


def _folders(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir() if is_component(path.name)]
    except OSError:
        return []


def _remove(folder: Path) -> None:
    """``folder`` (one run's), and those above it if that leaves them empty."""
    shutil.rmtree(folder, ignore_errors=True)
    for parent in folder.parents[:2]:
        with contextlib.suppress(OSError):  # something else is in it
            parent.rmdir()
