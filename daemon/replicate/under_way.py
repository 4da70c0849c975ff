"""How far a submit is whose answer is still to come: what its caller watches meanwhile, by its idempotency key."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import msgspec

from ..core import lenient_json
from ..core.jobs import JobStatus
from ..store.records import Job
from ..store.store import Store
from .dataset.archive import Packing

_MIB = 2**20  # a step of an upload's progress


class SubmitProgress(msgspec.Struct, frozen=True):
    """``stage``: null where nothing is known of the key; bytes are null where they are not known yet."""

    stage: Literal["packing", "uploading", "sending", "submitted"] | None = None
    job_id: str | None = None
    bytes_done: int | None = None
    bytes_total: int | None = None


class UnderWay:
    """What this process packs is in its memory; what comes after it is in the job's row, for every daemon to see."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._packing: dict[str, Packing] = {}

    @contextlib.contextmanager
    def packing(self, key: str | None) -> Iterator[Packing]:
        """What the packing of a submit with ``key`` is counted in."""
        packing = Packing()
        if key is not None:
            self._packing[key] = packing
        try:
            yield packing
        finally:
            if key is not None and self._packing.get(key) is packing:
                del self._packing[key]

    async def look(self, key: str) -> SubmitProgress:
        packing = self._packing.get(key)
        if packing is not None and packing.going_on:
            return SubmitProgress("packing", None, packing.done, packing.total)
        job = await self._store.jobs.of_key(key)
        return SubmitProgress() if job is None else _of(job)


def _of(job: Job) -> SubmitProgress:
    if job.status is JobStatus.UPLOADING:
        told = lenient_json.object_(job.progress or "")
        done, total = told.get("step"), told.get("total_steps")
        if isinstance(done, int) and isinstance(total, int):
            return SubmitProgress("uploading", job.job_id, done * _MIB, total * _MIB)
        return SubmitProgress("uploading", job.job_id)
    return SubmitProgress("sending" if job.status is JobStatus.PENDING else "submitted", job.job_id)
