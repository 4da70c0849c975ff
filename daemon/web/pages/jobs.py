"""Two plain pages: the jobs, and one job. They work without scripts; what comes from outside is only ever text."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote

import aiohttp_jinja2
import jinja2
import msgspec
from aiohttp import web

from ... import keys
from ...errors import InvalidRequest, JobNotFound, NotFound
from ..answers import query_text
from ..api.jobs import job_views
from ..endpoint import Answer, Endpoint, Param
from ..jobs_access import find_job
from ..render import JobView
from . import static

JOBS_A_PAGE = 50
LOG_TAIL_CHARS = 20_000  # of the log on a job's page; the whole is a link
OUTPUT_CHARS = 4_000

# Nothing but our own files, and no inline script or style: text that slips through escaping still cannot run.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def set_up(app: web.Application) -> None:
    """Load templates and static files."""
    app[static.ASSETS] = static.load()
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.PackageLoader("daemon.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = partial(static.asset_path, app[static.ASSETS])
    environment.globals["job_path"] = job_path


def job_path(job_id: str) -> str:
    """The address of a job's page."""
    return f"/jobs/{quote(job_id, safe='')}"


async def jobs_page(request: web.Request) -> web.Response:
    store = request.app[keys.STORE]
    after = await store.journal.last_seq()  # before the jobs: what comes meanwhile is shown by the reload
    jobs, next_cursor, total = await store.jobs.list(limit=JOBS_A_PAGE, cursor=query_text(request, "cursor"))
    context = {"jobs": await job_views(request, jobs), "next_cursor": next_cursor, "total": total}
    return _page("jobs.html", request, {**context, "job": None, "after": after})


async def job_page(request: web.Request) -> web.Response:
    store = request.app[keys.STORE]
    after = await store.journal.last_seq()
    job = await find_job(request)
    log = await store.journal.logs(job.job_id)
    view = (await job_views(request, [job]))[0]
    context = {
        "job": view,
        "facts": _facts(view),
        "artifacts": await store.deliveries.artifacts(job.job_id),
        "log": log[-LOG_TAIL_CHARS:],
        "cut": len(log) > LOG_TAIL_CHARS,
        "logs_path": f"/api/cloud/jobs/{quote(job.job_id, safe='')}/logs",
        "after": after,
    }
    return _page("job.html", request, context)


def _page(template: str, request: web.Request, context: dict[str, Any]) -> web.Response:
    response = aiohttp_jinja2.render_template(template, request, context)
    response.headers.update(_HEADERS)
    return response


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


_HTML = "text/html"

ENDPOINTS = (
    Endpoint(
        "GET",
        "/",
        jobs_page,
        "The page of jobs",
        {200: Answer("The newest jobs", {"type": "string"}, content=_HTML)},
        params=(Param("cursor", "Of the page before", {"type": "string", "minLength": 1, "maxLength": 1000}),),
        errors=(InvalidRequest,),
    ),
    Endpoint(
        "GET",
        "/jobs/{job_id}",
        job_page,
        "The page of one job",
        {200: Answer("State, deliveries, files, the log's end", {"type": "string"}, content=_HTML)},
        errors=(JobNotFound,),
    ),
    Endpoint(
        "GET",
        "/static/{name}",
        static.get_asset,
        "A file that pages need",
        {
            200: Answer("The file", {"type": "string"}, content="text/css", also=("text/javascript",)),
            304: Answer("Not changed", content=None),
        },
        errors=(NotFound,),
    ),
)
