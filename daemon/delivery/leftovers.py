"""The staging folders: ``<output dir>/.tunerd-staging/<job_id>/<generation>``, and when they are thrown away.

What is in them may be the only copy of a model that was paid for: the provider's is gone after an hour.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import structlog

from ..core.deliveries import DeliveryStatus
from ..store.deliveries import CANCELLED
from ..store.store import Store
from .names import is_component

log = structlog.get_logger()

STAGING = ".tunerd-staging"  # under the output folder: a rename must not cross file systems
# Since anything changed in the folder of a job that is not known here: pruned long ago, or somebody else's.
ABANDONED_SECONDS = 30 * 86_400.0


class Leftovers:
    def __init__(self, store: Store, output_dir: Path, in_thread: Callable[..., Awaitable[Any]]) -> None:
        self._store = store
        self._staging = output_dir / STAGING
        self._in_thread = in_thread

    def folder(self, job_id: str, generation: int) -> Path:
        """One run's."""
        return self._staging / job_id / str(generation)

    async def finish(self, job_id: str) -> None:
        """Throw away what was staged for the job, once none of its deliveries needs it any more.

        What could not be published stays for another try. A run that begins meanwhile has a folder of its own.
        Of a job that the store does not know nothing is thrown away that is not very old: an older database may have
        been restored, or another daemon may share the output folder.
        """
        job = await self._store.jobs.get(job_id)
        deliveries = await self._store.deliveries.of_job(job_id)
        if job is None:
            await self._in_thread(_remove_abandoned, self._staging / job_id)
        elif deliveries and all(one.status == DeliveryStatus.DELIVERED or one.error == CANCELLED for one in deliveries):
            for staged in await self._in_thread(_folders, self._staging / job_id):
                if staged.isdecimal() and int(staged) <= job.delivery_generation:
                    await self._in_thread(_remove, self._staging / job_id / staged)

    async def tidy(self) -> None:
        """What a crash kept ``finish`` from throwing away. For the start, when no delivery runs."""
        for job_id in await self._in_thread(_folders, self._staging):
            await self.finish(job_id)


def remove_if_empty(folder: Path) -> None:
    """``folder`` (one run's) where not a byte has come into it. Blocks."""
    for part in folder.glob(".*.part"):
        with contextlib.suppress(OSError):
            if part.stat().st_size == 0:
                part.unlink()
    _remove_empty(folder)


def _folders(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir() if is_component(path.name)]
    except OSError:
        return []


def _remove(folder: Path) -> None:
    """``folder`` (one run's), and those above it if that leaves them empty."""
    shutil.rmtree(folder, ignore_errors=True)
    _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    for one in [folder, *folder.parents[:2]]:
        with contextlib.suppress(OSError):  # something is in it
            one.rmdir()


def _remove_abandoned(folder: Path) -> None:
    """A job's."""
    if time.time() - max(_changes(folder), default=0.0) < ABANDONED_SECONDS:
        log.info("staging_kept", folder=str(folder), reason="its job is not known here")
        return
    log.warning("staging_removed", folder=str(folder), reason="its job is not known here, and it is very old")
    shutil.rmtree(folder, ignore_errors=True)


def _changes(folder: Path) -> Iterator[float]:
    """When each thing in ``folder`` was last changed: written, or given its name there."""
    for path in [folder, *folder.rglob("*")]:
        with contextlib.suppress(OSError):
            found = path.lstat()
            yield max(found.st_mtime, found.st_ctime)
