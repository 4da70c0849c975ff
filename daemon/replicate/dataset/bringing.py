"""From local folders to the URL of an archive at Replicate: packed in a thread, sent once, given up when cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import msgspec
import structlog

from ...core.prediction import parse_time
from ...core.training_log import Progress
from ...errors import ProviderUnavailable, TunerdError
from ...store.records import Job
from ...store.store import Store
from ..client import ReplicateClient
from ..outgoing import Dataset, Outgoing
from .archive import Archive, Packing, Stopped, pack
from .known import KnownUploads, Upload
from .scratch import Scratch

log = structlog.get_logger()

_LOOK_SECONDS = 0.5  # between two looks at the upload: was the job cancelled, how far is it
_GRACE = 10.0  # seconds that a sent upload's answer is waited for after a cancel: its id is needed to delete it
_MIB = 2**20
_MOST_LISTED = 200  # left-out files in one answer; the log has them all


class Datasets:
    """``now`` gives unix seconds; ``scratch``: the folder that archives are packed in."""

    def __init__(self, store: Store, client: ReplicateClient, scratch: Path, *, now: Callable[[], float]) -> None:
        self._store = store
        self._client = client
        self._now = now
        self._scratch = Scratch(scratch)
        self._known = KnownUploads(store)
        self._packing = asyncio.Semaphore(1)  # it keeps a core and the disk busy
        # By content: the second of two equal archives is not needed.
        self._sending: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def packed(
        self, datasets: Sequence[Dataset], packing: Packing | None = None
    ) -> AsyncIterator[Archive | None]:
        """The folders as one archive, gone afterwards; ``None`` for no folders. Raises as ``archive.pack``.

        ``packing``: where it is told how far that is.
        """
        packing = packing or Packing()
        if not datasets:
            yield None
            return
        folder, stop = self._scratch.folder(), threading.Event()
        made = await asyncio.to_thread(folder.__enter__)
        try:
            packing.going_on = True
            try:
                async with self._packing:
                    archive = await self._pack(datasets, made / "dataset.zip", stop, packing)
            finally:
                packing.going_on = False
            yield archive
        finally:
            stop.set()
            await asyncio.to_thread(folder.__exit__, None, None, None)

    async def _pack(
        self, datasets: Sequence[Dataset], target: Path, stop: threading.Event, packing: Packing
    ) -> Archive:
        began = time.monotonic()
        log.info("dataset.packing", datasets=[dataset.name for dataset in datasets])
        thread = asyncio.create_task(asyncio.to_thread(pack, datasets, target, stop, packing))
        try:
            archive = await asyncio.shield(thread)
        except asyncio.CancelledError:
            stop.set()  # the thread ends at its next chunk; its folder must not vanish under it
            with contextlib.suppress(Stopped, TunerdError):
                await thread
            raise
        seconds = round(time.monotonic() - began, 2)
        log.info("dataset.packed", files=archive.files, bytes=archive.bytes, sha256=archive.sha256, seconds=seconds)
        for item in archive.left_out:
            log.info("dataset.left_out", name=item.name, reason=item.reason)
        for note in archive.notes:
            log.warning("dataset.note", note=note)
        return archive

    async def bring(self, job: Job, archive: Archive | None) -> Upload | None:
        """The archive at Replicate; ``None``: the job was cancelled meanwhile and nothing is left there.

        Raises what the client raises.
        """
        assert archive is not None, "a job with folders has an archive"
        async with self._sending.setdefault(archive.sha256, asyncio.Lock()):
            known = await self._reusable(archive)
            if known is not None:
                log.info("dataset.known", job_id=job.job_id, file=known.id, sha256=archive.sha256)
                return known
            answer = await self._send(job, archive)
            if answer is None:
                return None
            upload = _upload(answer, archive.sha256)
            if await self._cancelled(job):
                await self._discard(upload)
                return None
            await self._known.remember(upload, self._now())
        log.info("dataset.uploaded", job_id=job.job_id, file=upload.id, bytes=archive.bytes)
        return upload

    async def sweep(self) -> None:
        """Remove archives that a killed process left."""
        removed = await asyncio.to_thread(self._scratch.sweep)
        if removed:
            log.info("dataset.swept", folders=removed)

    async def _reusable(self, archive: Archive) -> Upload | None:
        known = await self._known.find(archive.sha256, self._now())
        if known is None or await self._client.file(known.id) is not None:
            return known
        await self._known.forget(archive.sha256, self._now())
        return None

    async def _send(self, job: Job, archive: Archive) -> dict[str, Any] | None:
        done = 0

        def count(read: int) -> None:
            nonlocal done
            done = read

        began = self._now()
        sending = asyncio.create_task(self._client.upload(archive.path, progress=count))
        try:
            while not (await asyncio.wait([sending], timeout=_LOOK_SECONDS))[0]:
                await self._tell(job, done, archive.bytes, began)
                if await self._cancelled(job):
                    if done >= archive.bytes:
                        await asyncio.wait([sending], timeout=_GRACE)
                    break
            return sending.result() if sending.done() else None
        finally:
            sending.cancel()
            await asyncio.wait([sending])
            await self._store.jobs.set_progress(job.job_id, None, now=self._now())

    async def _tell(self, job: Job, done: int, total: int, began: float) -> None:
        percent = round(100 * done / total, 1)
        seconds = self._now() - began
        eta = round(seconds * (total - done) / done, 1) if done else None
        progress = Progress(step=done // _MIB, total_steps=-(-total // _MIB), percent=percent, eta_seconds=eta)
        await self._store.jobs.set_progress(job.job_id, msgspec.json.encode(progress).decode(), now=self._now())
        log.info("dataset.uploading", job_id=job.job_id, bytes_done=done, bytes_total=total)

    async def _cancelled(self, job: Job) -> bool:
        current = await self._store.jobs.get(job.job_id)
        return current is not None and current.cancel_requested

    async def _discard(self, upload: Upload) -> None:
        try:
            await self._client.delete_file(upload.id)
        except TunerdError as problem:
            log.warning("dataset.not_deleted", file=upload.id, reason=problem.detail)


def described(outgoing: Outgoing, archive: Archive | None) -> Outgoing:
    """``outgoing`` with what its user is told of the archive."""
    if archive is None:
        return outgoing
    more = len(archive.left_out) - _MOST_LISTED
    notes = (*outgoing.notes, *archive.notes, *((f"{more} more files are left out.",) if more > 0 else ()))
    return msgspec.structs.replace(outgoing, left_out=archive.left_out[:_MOST_LISTED], notes=notes)


def _upload(answer: dict[str, Any], sha256: str) -> Upload:
    urls, id_ = answer.get("urls"), answer.get("id")
    url = urls.get("get") if isinstance(urls, dict) else None
    if not isinstance(url, str) or not isinstance(id_, str):
        raise ProviderUnavailable("Replicate's answer to the upload names no URL.")
    return Upload(sha256, id_, url, parse_time(answer.get("expires_at")) or 0.0)
