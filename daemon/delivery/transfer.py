"""Every file of one run into its staging folder: several at once, each resumed and retried on its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog

from ..core.outputs import OutputFile
from ..errors import NotReady
from ..store.records import Artifact
from ..store.store import Store
from .data_uri import shortened
from .destinations.base import StagedFile
from .errors import Gone, Permanent, Retry
from .fetch import Fetcher
from .limits import Slots
from .names import unique_names
from .rows import Rows
from .sources import Sources
from .staging import BLOCK, Fetched, Part, hash_file
from .stores.allowed import NO_STORES, Stores

REPORT_SECONDS = 0.5  # between two writes of the progress

T = TypeVar("T")

log = structlog.get_logger()


class Retrying(Protocol):
    """``retrying.persist`` with this run's deadline."""

    async def __call__(
        self, attempt: Callable[[], Awaitable[Fetched]], note: Callable[[str], Awaitable[None]]
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
        stores: Stores = NO_STORES,
    ) -> None:
        self._fetcher = fetcher
        self._store = store
        self._rows = rows
        self._folder = folder  # <output dir>/.tunerd-staging/<job_id>/<generation>
        self._slots = slots
        self._retrying = retrying
        self._stores = stores
        self._parts: dict[int, Part] = {}  # of the files under way, by their place in the output
        self._whole: dict[int, int] = {}  # bytes of those that are here

    async def run(self, job_id: str, files: list[OutputFile], sources: Sources) -> list[StagedFile]:
        """The staged files. Raises ``Permanent`` or ``Superseded``; then the other files are given up too."""
        names = unique_names(file.name for file in files)
        known = {artifact.name: artifact for artifact in await self._store.deliveries.artifacts(job_id)}
        staged = await gather_or_cancel(
            [
                self._one(job_id, index, file, name, known.get(name), sources)
                for index, (file, name) in enumerate(zip(files, names, strict=True))
            ],
            self._report(len(files)),
        )
        if known.keys() - set(names):  # of an output that this run no longer has
            await self._store.deliveries.clear_artifacts(job_id)
            for file in staged:
                await self._store.deliveries.put_artifact(job_id, _artifact(file))
        size = sum(file.bytes for file in staged)
        await self._rows.update(bytes_done=size, bytes_total=size, error=None)
        return staged

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

        async def attempt() -> Fetched:
            nonlocal url
            async with self._slots.taken(self._rows.deadline):
                if index not in self._parts and (whole := await in_thread(at_hand)) is not None:
                    return whole
                while True:
                    if index not in self._parts:
                        self._parts[index] = await in_thread(Part, path, url)
                    part = self._parts[index]
                    before = part.done
                    try:
                        return await self._fetcher.attempt(url, part, self._stores)
                    except Retry as reason:
                        if reason.after is not None or part.done < before + BLOCK:
                            raise
                        log.info("download_continues", file=path.name, bytes_done=part.done, reason=str(reason))
                    except Gone as gone:
                        url = await sources.fresh(index, gone, url)
                        self._fetcher.check(url, self._stores)
                        await in_thread(self._parts.pop(index).close)

        try:
            return await self._retrying(attempt, lambda reason: self._rows.attempt(f"{path.name}: {reason}"))
        except Permanent as reason:
            raise Permanent(f"{path.name}: {reason}") from None
        finally:
            if index in self._parts:  # kept from one attempt to the next: its hash goes on
                await in_thread(self._parts.pop(index).close)

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


def staged_already(path: Path, known: Artifact | None, job_id: str) -> Fetched | None:
    """What need not be fetched: left whole by an interrupted run, or by an earlier delivery that still has it.

    The latter is what makes a second delivery work when the provider has removed the output long since.
    """
    if (whole := hash_file(path)) is not None:  # it gets this name only when it is whole and checked
        return whole
    if known is None:
        return None
    staging = path.parents[2]
    for candidate in [*path.parents[1].glob(f"*/{_glob_escaped(path.name)}"), staging.parent / job_id / path.name]:
        found = hash_file(candidate)
        if found == Fetched(known.bytes, known.sha256):
            path.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(candidate, path)
            return found
    return None


def _glob_escaped(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def _link_or_copy(source: Path, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(path)


def _artifact(file: StagedFile) -> Artifact:
    return Artifact(file.name, file.bytes, file.sha256, file.source_url)
