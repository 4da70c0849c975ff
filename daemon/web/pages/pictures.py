"""The pictures among a job's files."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import msgspec
from aiohttp import web

from ...store.records import Artifact, Job
from ..api.files import picture_type
from ..local_files import local_folder
from .rendering import job_path

MOST = 24  # on a page


class Picture(msgspec.Struct, frozen=True):
    """``url`` is ours: the page takes pictures from nowhere else."""

    name: str
    url: str


async def pictures_of(request: web.Request, job: Job, artifacts: Sequence[Artifact]) -> tuple[list[Picture], bool]:
    """``(pictures, whether the job's files are on this machine)``."""
    local = await local_folder(request, job) is not None
    if not local:
        return [], False
    named = [artifact.name for artifact in artifacts if picture_type(artifact.name)]
    return [Picture(name, file_path(job.job_id, name)) for name in named[:MOST]], True


def file_path(job_id: str, name: str) -> str:
    """The address of a delivered file."""
    return f"/api/cloud{job_path(job_id)}/file?name={quote(name, safe='')}"
