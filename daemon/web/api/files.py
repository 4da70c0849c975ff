"""Delivered files, from this machine's disk."""

from __future__ import annotations

from pathlib import PurePath
from urllib.parse import quote

from aiohttp import web

from ...errors import InvalidRequest, JobNotFound, NotFound
from ..answers import query_text
from ..endpoint import Answer, Endpoint, Param
from ..jobs_access import find_job
from ..local_files import local_file

# What a browser may show as a picture. Not SVG: it can hold scripts.
PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".avif": "image/avif",
}

_BYTES = "application/octet-stream"


def picture_type(name: str) -> str | None:
    """The media type of a file that is shown as a picture; ``None`` for any other."""
    return PICTURES.get(PurePath(name).suffix.lower())


async def get_file(request: web.Request) -> web.StreamResponse:
    job = await find_job(request)
    name = query_text(request, "name")
    if name is None:
        raise InvalidRequest("name: which file? GET …/artifacts lists them.", field="name")
    path = await local_file(request, job, name)
    return web.FileResponse(
        path,
        headers={
            "Content-Type": picture_type(name) or _BYTES,
            # Always a download, whatever is in it: it comes from outside and would be of our origin.
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Cache-Control": "private, no-cache",
        },
    )


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/jobs/{job_id}/file",
        get_file,
        "Download a file that was delivered to this machine",
        {
            200: Answer(
                "The file", {"type": "string"}, content="application/octet-stream", also=tuple(set(PICTURES.values()))
            ),
            206: Answer("The bytes that a Range asked for", {"type": "string"}, content=_BYTES),
            304: Answer("Not changed", content=None),
        },
        params=(Param("name", "One of the job's artifacts", {"type": "string", "minLength": 1}),),
        errors=(InvalidRequest, JobNotFound, NotFound),
    ),
)
