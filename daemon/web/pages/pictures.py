"""The pictures among a job's files: from the provider, and from this machine's disk once they are delivered to it."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import msgspec
from aiohttp import web

from ... import keys
from ...store.records import Artifact, Job
from ..api.files import picture_type
from ..api.pictures import remote_pictures, version_of
from ..local_files import local_folder
from .rendering import job_path

MOST = 24  # on a page


class Picture(msgspec.Struct, frozen=True):
    """``url`` is ours: the page takes pictures from nowhere else."""

    name: str
    url: str


async def pictures_of(request: web.Request, job: Job, artifacts: Sequence[Artifact]) -> tuple[list[Picture], bool]:
    """``(pictures, whether the job's files are on this machine)``."""
    if await local_folder(request, job) is not None:
        named = [artifact.name for artifact in artifacts if picture_type(artifact.name)]
        return [Picture(name, _file_path(job.job_id, name)) for name in named[:MOST]], True
    if request.app[keys.PREVIEW] is None:
        return [], False
    api = f"/api/cloud{job_path(job.job_id)}/picture"
    remote = remote_pictures(job)[:MOST]
    return [Picture(file.name, f"{api}?index={index}&v={version_of(file)}") for index, file in remote], False


def _file_path(job_id: str, name: str) -> str:
    return f"/api/cloud{job_path(job_id)}/file?name={quote(name, safe='')}"
