"""Finding the job that a request names."""

from __future__ import annotations

from aiohttp import web

from .. import keys
from ..errors import JobNotFound
from ..store.records import Job

MAX_ID_CHARS = 200  # a longer one was never given out, neither by us nor by a provider


async def find_job(request: web.Request, key: str | None = None) -> Job:
    """The job of ``key``, or of the path's ``job_id``: ours or the provider's. Raises ``JobNotFound``."""
    key = request.match_info["job_id"] if key is None else key
    if len(key) <= MAX_ID_CHARS and key.isprintable():
        job = await request.app[keys.STORE].jobs.get(key)
        if job is not None:
            return job
    raise JobNotFound(
        "No job has this id, ours or the provider's. It may be pruned; GET /api/cloud/jobs lists those there are."
    )
