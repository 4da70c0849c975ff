"""The pictures among a job's outputs, while they are still at the provider: fetched through us, from where outputs may
come from, and given out only where they really are pictures."""

from __future__ import annotations

import asyncio
import hashlib
import re

from aiohttp import web

from ... import keys
from ...core.outputs import OutputFile, find_files
from ...errors import InvalidRequest, JobNotFound, NotFound
from ...store.records import Job
from ..answers import query_int
from ..endpoint import Answer, Endpoint, Param
from ..jobs_access import find_job
from .files import PICTURES, picture_type

MAX_BYTES = 8 * 1024 * 1024  # of one picture
AT_ONCE = 4  # fetched; a page asks for all of them together
MOST_INDEX = 10_000
_DIGEST_CHARS = 12

# What a picture begins with. The name and the sender's word for it may be wrong.
_MAGIC = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb".{4}ftypavi[fs]", re.DOTALL), "image/avif"),
)

_FETCHING: web.AppKey[asyncio.Semaphore] = web.AppKey("pictures_being_fetched")


def set_up(app: web.Application) -> None:
    """Bound how many are fetched at once."""
    app[_FETCHING] = asyncio.Semaphore(AT_ONCE)


def remote_pictures(job: Job) -> list[tuple[int, OutputFile]]:
    """``(index among the output's files, file)`` of those that are pictures by their name."""
    files = enumerate(find_files(job.output or "null"))
    return [(index, file) for index, file in files if picture_type(file.name)]


def version_of(file: OutputFile) -> str:
    """Changes with the file's address: so browsers may keep the picture."""
    return hashlib.sha256(file.url.encode("utf-8", "replace")).hexdigest()[:_DIGEST_CHARS]


async def get_picture(request: web.Request) -> web.Response:
    job = await find_job(request)
    index = query_int(request, "index", 0, low=0, high=MOST_INDEX)
    preview = request.app[keys.PREVIEW]
    file = next((file for place, file in remote_pictures(job) if place == index), None)
    if file is None or preview is None:
        raise NotFound("This job's output has no picture there that can be shown from here.")
    async with request.app[_FETCHING]:
        body = await preview(file.url, MAX_BYTES)
    media_type = next((media_type for pattern, media_type in _MAGIC if pattern.match(body)), None)
    if media_type is None:
        raise NotFound(f"{file.name[:100]} is not a picture, whatever its name says.")
    return web.Response(
        body=body,
        content_type=media_type,
        headers={
            "Cache-Control": "private, max-age=3600" if request.query.get("v") == version_of(file) else "no-store",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "X-Content-Type-Options": "nosniff",
        },
    )


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/jobs/{job_id}/picture",
        get_picture,
        "A picture of the job's output, before it is delivered",
        {
            200: Answer(
                "The picture",
                {"type": "string"},
                content="image/png",
                also=tuple(sorted({*PICTURES.values()} - {"image/png"})),
            )
        },
        params=(
            Param("index", "Which file of the output", {"type": "integer", "minimum": 0, "maximum": MOST_INDEX}),
            Param("v", "Of the address, so that a browser may keep it", {"type": "string"}),
        ),
        errors=(InvalidRequest, JobNotFound, NotFound),
    ),
)
