"""Every file of one run into its staging folder: several at once, each resumed and retried on its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog

from ..core.outputs import OutputFile
from ..errors import NotReady
from ..store.records import Artifact
from ..store.store import Store
from . import limits
from .at_hand import staged_already, take_over
from .data_uri import shortened
from .destinations.base import StagedFile
from .errors import Gone, Permanent, Retry, Slow
from .fetch import Fetcher
from .limits import Slots
from .names import unique_names
from .rows import Rows
from .sources import Sources
from .staging import BLOCK, Fetched, Part
from .stores.allowed import Stores
from .threads import ended

REPORT_SECONDS = 0.5  # between two writes of the progress
REASONS = 5  # of files that could not be had, told in full

T = TypeVar("T")

log = structlog.get_logger()


class Retrying(Protocol):
    """``retrying.persist`` with this run's deadline, which is later the later ``hopeful_at`` is."""

    async def __call__(
        self,
        attempt: Callable[[], Awaitable[Fetched]],
        note: Callable[[str], Awaitable[None]],
        hopeful_at: Callable[[], float],
    ) -> Fetched: ...


class Transfer:
    """One run's fetching. Files are the output's, in order; ``known`` are the artifacts of earlier runs."""

    def __init__(
        self,
        fetcher: Fetcher,
        store: Store,
        rows: Rows,
        folder: Path,
        slots: Slots,
        retrying: Retrying,
        awake: Callable[[], float],
        stores: Stores,
    ) -> None:
        self._fetcher = fetcher
        self._store = store
        self._rows = rows
        self._folder = folder  # <output dir>/.tunerd-staging/<job_id>/<generation>
        self._slots = slots
        self._retrying = retrying
        self._awake = awake  # seconds that the machine was not asleep
        self._stores = stores
        self._parts: dict[int, Part] = {}  # of the files under way, by their place in the output
        self._whole: dict[int, int] = {}  # bytes of those that are here

    async def run(self, job_id: str, files: list[OutputFile], sources: Sources) -> list[StagedFile]:
        """The staged files.

        Raises ``Superseded``, and ``Permanent`` where one of them cannot be had: not before each of the others has come
        to its own end. They stay here for another try, when the provider may have them no longer.
        """
        names = unique_names(file.name for file in files)
        known = {artifact.name: artifact for artifact in await self._store.deliveries.artifacts(job_id)}
        found = await gather_or_cancel(
            [
                self._one_or_reason(job_id, index, file, name, known.get(name), sources)
                for index, (file, name) in enumerate(zip(files, names, strict=True))
            ],
            self._report(len(files)),
        )
        staged = [file for file in found if isinstance(file, StagedFile)]
        if len(staged) < len(files):
            raise Permanent(self._told([reason for reason in found if isinstance(reason, Permanent)], staged))
        if known.keys() - set(names):  # of an output that this run no longer has
            await self._store.deliveries.clear_artifacts(job_id)
            for file in staged:
                await self._store.deliveries.put_artifact(job_id, _artifact(file))
        size = sum(file.bytes for file in staged)
        await self._rows.update(bytes_done=size, bytes_total=size, error=None)
        return staged

    def _told(self, reasons: Sequence[Permanent], staged: Sequence[StagedFile]) -> str:
        """What could not be had, and what was all the same."""
        more = [f"and {len(reasons) - REASONS} more"] if len(reasons) > REASONS else []
        told = "; ".join([*map(str, reasons[:REASONS]), *more])
        if not staged:
            return told
        kept = f"{len(staged)} of the {len(reasons) + len(staged)} files"
        return f"{told}. {kept} came and are kept for another try, in {self._folder}"

    async def _one_or_reason(
        self, job_id: str, index: int, file: OutputFile, name: str, known: Artifact | None, sources: Sources
    ) -> StagedFile | Permanent:
        try:
            return await self._one(job_id, index, file, name, known, sources)
        except Permanent as reason:
            return reason

    async def _one(
        self, job_id: str, index: int, file: OutputFile, name: str, known: Artifact | None, sources: Sources
    ) -> StagedFile:
        path, source_url = self._folder / name, shortened(file.url)
        if known is not None and known.source_url != source_url:
            known = None
        at_hand = partial(staged_already, path, known, job_id)
        fetched = await self._fetch(index, file.url, path, sources, at_hand)
        self._whole[index] = fetched.bytes
        staged = StagedFile(name, path, fetched.bytes, fetched.sha256, source_url)
        await self._store.deliveries.put_artifact(job_id, _artifact(staged))
        return staged

    async def _fetch(
        self, index: int, url: str, path: Path, sources: Sources, at_hand: Callable[[], Fetched | None]
    ) -> Fetched:
        in_thread = self._fetcher.in_thread
        hope = _Hope(self._awake)

        async def attempt() -> Fetched:
            nonlocal url
            async with self._slots.taken(self._rows.deadline):
                if index not in self._parts and (whole := await in_thread(at_hand)) is not None:
                    return whole
                self._fetcher.check(url, self._stores)
                hope.seen(0)
                while True:
                    if index not in self._parts:
                        self._parts[index] = await self._open(path, url)
                    part = self._parts[index]
                    before = part.done
                    try:
                        return await self._unless_slow(part, self._fetcher.attempt(url, part, self._stores))
                    except Retry as reason:
                        hope.seen(part.done)
                        if isinstance(reason, Slow) or reason.after is not None or part.done < before + BLOCK:
                            raise
                        log.info("download_continues", file=path.name, bytes_done=part.done, reason=str(reason))
                    except Gone as gone:
                        url = await sources.fresh(index, gone, url)
                        self._fetcher.check(url, self._stores)
                        await self._close(index)

        async def note(reason: str) -> None:
            await self._rows.attempt(f"{path.name}: {reason}")

        try:
            return await self._retrying(attempt, note, lambda: hope.at)
        except Permanent as reason:
            raise Permanent(f"{path.name}: {reason}") from None
        finally:
            if index in self._parts:  # kept from one attempt to the next: its hash goes on
                await self._close(index)

    async def _unless_slow(self, part: Part, attempt: Coroutine[Any, Any, Fetched]) -> Fetched:
        """The result of ``attempt``. ``Slow`` where next to nothing comes while others wait for its turn."""
        running = asyncio.ensure_future(attempt)
        try:
            while True:
                before = part.done
                done, _ = await asyncio.wait([running], timeout=limits.SLOW_SECONDS)
                came = part.done - before if part.done >= before else part.done  # less: it had to begin anew
                # One that is whole is being hashed, for minutes where a restart found a large one here.
                drips = not part.whole and came < self._fetcher.limits.slowest * limits.SLOW_SECONDS
                if done or (drips and self._slots.wanted):
                    break
        finally:
            running.cancel()
            await ended(running)
        if running.cancelled():
            raise Slow(f"only {came} bytes came in {limits.SLOW_SECONDS / 60:g} minutes, and other files wait")
        return running.result()

    async def _open(self, path: Path, url: str) -> Part:
        """A thread cannot be cancelled: what it opens for nobody is closed, or the next try would find it locked."""
        opening = asyncio.ensure_future(self._fetcher.in_thread(_open_part, path, url))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            raise

    async def _close(self, index: int) -> None:
        await asyncio.shield(asyncio.ensure_future(self._fetcher.in_thread(self._parts.pop(index).close)))

    async def _report(self, count: int) -> None:
        """Write the progress while there is some. It is for display: a failure to write it ends nothing."""
        written: tuple[int, int | None] | None = None
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            parts = list(self._parts.values())
            done = sum(self._whole.values()) + sum(part.done for part in parts)
            sizes = [*self._whole.values(), *(part.state.total for part in parts)]
            known = len(sizes) == count and None not in sizes
            now = done, sum(size or 0 for size in sizes) if known else None
            if now != written:
                written = now
                with contextlib.suppress(NotReady):
                    await self._rows.update(bytes_done=now[0], bytes_total=now[1])


class _Hope:
    """When something last spoke for going on with a file: its first turn, or more of it than had ever been here."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._most = -1  # bytes
        self.at = 0.0

    def seen(self, done: int) -> None:
        if done > self._most:
            self._most, self.at = done, self._clock()


async def gather_or_cancel(work: list[Coroutine[Any, Any, T]], beside: Coroutine[Any, Any, None]) -> list[T]:
    """All results in order; ``beside`` runs until then. The first failure cancels the rest, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            companion = group.create_task(beside)
            tasks = [group.create_task(one) for one in work]
            await asyncio.gather(*tasks)
            companion.cancel()
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _open_part(path: Path, url: str) -> Part:
    take_over(path)
    return Part(path, url)


def _close_opened(opening: asyncio.Future[Part]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _artifact(file: StagedFile) -> Artifact:
    return Artifact(file.name, file.bytes, file.sha256, file.source_url)
