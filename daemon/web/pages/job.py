"""One job: state, deliveries, files, and the end of its log."""

from __future__ import annotations

import msgspec
from aiohttp import web

from ... import keys
from ...errors import JobNotFound
from ..api.jobs import job_views
from ..endpoint import Answer, Endpoint
from ..jobs_access import find_job
from ..render import JobView
from .live import STREAM_ANSWER, STREAM_PARAMS, Part, View, stream_view
from .rendering import fragment, job_path, page

LOG_TAIL_CHARS = 20_000  # of the log on a job's page; the whole is a link
OUTPUT_CHARS = 4_000


async def job_page(request: web.Request) -> web.Response:
    job = await find_job(request)
    view = await _look(request, job.job_id)
    stream = f"/ui{job_path(job.job_id)}/stream?seen={view.digest}"
    return await page(request, "job.html", {"job_id": job.job_id, "view": view, "stream": stream}, here="/")


async def job_stream(request: web.Request) -> web.StreamResponse:
    job_id = (await find_job(request)).job_id
    return await stream_view(request, lambda: _look(request, job_id))


async def _look(request: web.Request, job_id: str) -> View:
    store = request.app[keys.STORE]
    job = await find_job(request, job_id)
    log = await store.journal.logs(job_id)
    view = (await job_views(request, [job]))[0]
    context = {
        "job": view,
        "facts": _facts(view),
        "artifacts": await store.deliveries.artifacts(job_id),
        "log": log[-LOG_TAIL_CHARS:],
        "cut": len(log) > LOG_TAIL_CHARS,
        "logs_path": f"/api/cloud{job_path(job_id)}/logs",
    }
    return View([Part("job", fragment(request, "parts/job.html", context))])


def _facts(job: JobView) -> list[tuple[str, object]]:
    output = bytes(job.output).decode()
    metadata = msgspec.json.encode(job.metadata).decode() if job.metadata else None
    return [
        ("Provider's id", job.provider_job_id),
        ("Provider's status", job.provider_status),
        ("Model", job.model),
        ("Version", job.version),
        ("Hardware", job.hardware),
        ("Configuration", job.config_name),
        ("Created", job.created_at),
        ("Started", job.started_at),
        ("Completed", job.completed_at),
        ("Waited (s)", job.queue_seconds),
        ("Ran (s)", job.duration_seconds),
        ("Cost (USD)", job.cost_usd),
        ("Estimate (USD)", job.cost_estimate_usd),
        ("Output", None if output == "null" else output[:OUTPUT_CHARS]),
        ("Metadata", metadata),
    ]


ENDPOINTS = (
    Endpoint(
        "GET",
        "/jobs/{job_id}",
        job_page,
        "The page of one job",
        {200: Answer("State, deliveries, files, the log's end", {"type": "string"}, content="text/html")},
        errors=(JobNotFound,),
    ),
    Endpoint(
        "GET",
        "/ui/jobs/{job_id}/stream",
        job_stream,
        "What changes on the page of one job",
        {200: STREAM_ANSWER},
        params=STREAM_PARAMS,
        errors=(JobNotFound,),
    ),
)
