"""Files that a delivery to this machine's disk has put there, found by the job and a name that the store knows."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from aiohttp import web

from .. import keys
from ..core.deliveries import DeliveryStatus
from ..errors import NotFound
from ..store.records import Delivery, Job


async def local_folder(request: web.Request, job: Job) -> Path | None:
    """The folder of ``job`` on this machine, where one was delivered."""
    for delivery in await request.app[keys.STORE].deliveries.of_job(job.job_id):
        folder = folder_of(delivery)
        if folder is not None:
            return folder
    return None


def folder_of(delivery: Delivery) -> Path | None:
    """Where a delivery to the disk has put its files; ``None`` for another kind, and before it is delivered."""
    if delivery.type != "local" or delivery.status != DeliveryStatus.DELIVERED or delivery.url is None:
        return None
    parts = urlsplit(delivery.url)
    return Path(unquote(parts.path)) if parts.scheme == "file" and not parts.netloc else None


async def local_file(request: web.Request, job: Job, name: str) -> Path:
    """The delivered file ``name`` of ``job``. Raises ``NotFound`` where it is not one, or not here any more."""
    artifacts = await request.app[keys.STORE].deliveries.artifacts(job.job_id)
    if name not in {artifact.name for artifact in artifacts}:
        raise NotFound("This job has no file of this name. GET …/artifacts lists them.")
    folder = await local_folder(request, job)
    path = None if folder is None else await asyncio.to_thread(_inside, folder, name)
    if path is None:
        raise NotFound("The file is not on this machine: see the deliveries for where it is.")
    return path


def _inside(folder: Path, name: str) -> Path | None:
    """A plain file directly in ``folder``; no link leads out of it, whoever may have put one there."""
    path = folder / name
    try:
        plain = stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return None
    return path if plain and path.parent == folder and path.resolve().parent == folder.resolve() else None
