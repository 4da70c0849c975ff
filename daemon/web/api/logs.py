"""A job's log: as text with ranges, as a live stream, and as the curves that can be read in it."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left
from collections import OrderedDict

import msgspec
from aiohttp import web

from ... import keys
from ...core.training_log import Progress, read_progress, read_series
from ...errors import InvalidRequest, JobNotFound, RangeNotSatisfiable
from ...store.records import Job
from ..answers import json_answer, query_int
from ..endpoint import Answer, Endpoint, Param
from ..jobs_access import find_job
from ..problem import problem
from ..stream import LogChunk, stream_logs

CACHED_CURVES = 32  # jobs; a page asks again with every event, the log is read once for all
TAIL_CHARS = 65_536  # the newest progress stands in here


class Metrics(msgspec.Struct):
    """Curves by name, as ``[step, value]`` in order of step; a value is null where the log says nan or inf."""

    series: dict[str, list[tuple[int, float | None]]]
    progress: Progress | None


_CURVES: web.AppKey[OrderedDict[tuple[str, int], Metrics]] = web.AppKey("curves")


def set_up(app: web.Application) -> None:
    """Make the cache of curves."""
    app[_CURVES] = OrderedDict()


async def get_logs(request: web.Request) -> web.Response:
    job = await find_job(request)
    log = (await request.app[keys.STORE].journal.logs(job.job_id)).encode("utf-8", "replace")
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    wanted = None
    # No validator is sent, so an If-Range cannot hold: the whole log is the right answer to it.
    if request.method == "GET" and "If-Range" not in request.headers:
        wanted = parse_range(request.headers.get("Range"), len(log))
    if wanted is None:
        return _text(log, 200, headers)
    if not wanted:
        refusal = problem(RangeNotSatisfiable(f"The log has {len(log)} bytes so far; ask for a byte below that."))
        refusal.headers["Content-Range"] = f"bytes */{len(log)}"
        return refusal
    headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{len(log)}"
    return _text(log[wanted.start : wanted.stop], 206, headers)


def _text(body: bytes, status: int, headers: dict[str, str]) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type="text/plain", charset="utf-8")


def parse_range(header: str | None, size: int) -> range | None:
    """The bytes that a Range header asks for (RFC 9110, 14.1.2), empty where it cannot be satisfied.

    ``None`` stands for the whole: no header, several ranges, another unit, or not well formed.
    """
    found = re.fullmatch(r"\s*bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", header or "", re.ASCII | re.IGNORECASE)
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if first == "":
        return range(max(0, size - int(last)), size)
    if last != "" and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1) if last else size)


async def get_metrics(request: web.Request) -> web.Response:
    since = query_int(request, "since", 0, low=0, high=10**12)
    found = await job_metrics(request, await find_job(request))
    if since:
        later = {name: points[bisect_left(points, (since,)) :] for name, points in found.series.items()}
        found = Metrics(later, found.progress)
    return json_answer(found)


async def job_metrics(request: web.Request, job: Job) -> Metrics:
    """Progress and curves of ``job``'s log."""
    cache, key = request.app[_CURVES], (job.job_id, job.logs_chars)
    if key not in cache:
        log = await request.app[keys.STORE].journal.logs(job.job_id)
        cache[key] = await asyncio.to_thread(_read, log)  # regular expressions over megabytes
        while len(cache) > CACHED_CURVES:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]


def _read(log: str) -> Metrics:
    series: dict[str, list[tuple[int, float | None]]] = {
        name: [(step, value) for step, value in points] for name, points in read_series(log).items()
    }
    return Metrics(series, read_progress(log[-TAIL_CHARS:]))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/jobs/{job_id}/logs",
        get_logs,
        "The job's log so far",
        {
            200: Answer("The whole log", {"type": "string"}, content="text/plain"),
            206: Answer(
                "The bytes asked for",
                {"type": "string"},
                content="text/plain",
                headers={"Content-Range": "bytes FIRST-LAST/SIZE"},
            ),
        },
        params=(Param("Range", "One range of bytes; of several, all is sent", {"type": "string"}, "header"),),
        errors=(JobNotFound, RangeNotSatisfiable),
    ),
    Endpoint(
        "GET",
        "/api/cloud/jobs/{job_id}/logs/stream",
        stream_logs,
        "The log as it grows, as Server-Sent Events",
        {
            200: Answer(
                "event = log, data = {offset, text} with text as JSON string, id = the byte offset after text; "
                "then event = end with data {offset, status} once the job is finished and all was sent",
                LogChunk,
                content="text/event-stream",
            )
        },
        params=(
            Param(
                "Last-Event-ID",
                "Continue at this byte of the UTF-8 text; wins over offset",
                {"type": "integer", "minimum": 0},
                where="header",
            ),
            Param("offset", "Continue at this byte of the UTF-8 text", {"type": "integer", "minimum": 0, "default": 0}),
        ),
        errors=(InvalidRequest, JobNotFound),
    ),
    Endpoint(
        "GET",
        "/api/cloud/jobs/{job_id}/metrics",
        get_metrics,
        "Progress, loss and other curves, read from the log",
        {200: Answer("The curves", Metrics)},
        params=(Param("since", "Only points of this step and later ones", {"type": "integer", "minimum": 0}),),
        errors=(InvalidRequest, JobNotFound),
    ),
)
