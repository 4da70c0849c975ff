"""One job: how far it is, its curves and log, what came in, what went out."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import msgspec
from aiohttp import web

from ... import keys
from ...core.advice import Advice, advice
from ...core.apply import is_deliverable
from ...core.jobs import FINISHED, JobStatus
from ...core.links import Link, link_of
from ...core.times import rfc3339
from ...errors import InvalidRequest, JobNotFound
from ...replicate.outgoing import decode
from ...store.records import Job
from ..answers import query_int
from ..api.jobs import job_views
from ..endpoint import Answer, Endpoint, Param
from ..jobs_access import find_job
from ..render import JobView, artifact_view, event_view
from .compare import curve
from .live import STREAM_ANSWER, STREAM_PARAMS, Part, View, stream_view
from .pictures import pictures_of
from .rendering import fragment, job_path, page

EVENTS_SHOWN, MOST_EVENTS = 12, 500
OUTPUT_CHARS = 4_000
TOLD_SHOWN = 6  # lines of what the submit had to say; the others fold
ADVICE_REMEMBERED = 100  # jobs

_ADVICE: web.AppKey[OrderedDict[tuple[str, int], Advice | None]] = web.AppKey("advice")


def set_up(app: web.Application) -> None:
    """Make room for what was found out about jobs that failed."""
    app[_ADVICE] = OrderedDict()


async def job_page(request: web.Request) -> web.Response:
    job, count = await find_job(request), _events(request)
    view = await _look(request, job.job_id, count)
    stream = f"/ui{job_path(job.job_id)}/stream?events={count}&seen={view.digest}"
    context = {
        "job_id": job.job_id,
        "title": job.config_name or job.model or job.job_id,
        "view": view,
        "told": _told(job),
        "told_shown": TOLD_SHOWN,
        "stream": stream,
        "api": _api(job),
        "curves": [curve(job)],
        "curves_title": "Curves",
    }
    return await page(request, "job.html", context, here="/")


async def job_stream(request: web.Request) -> web.StreamResponse:
    job_id = (await find_job(request)).job_id
    return await stream_view(request, partial(_look, request, job_id, _events(request)))


def _events(request: web.Request) -> int:
    return query_int(request, "events", EVENTS_SHOWN, low=1, high=MOST_EVENTS)


def _api(job: Job) -> str:
    return f"/api/cloud{job_path(job.job_id)}"


async def _look(request: web.Request, job_id: str, count: int) -> View:
    """Every live part. The log and the curves have streams of their own and are none."""
    store = request.app[keys.STORE]
    job = await find_job(request, job_id)
    view = (await job_views(request, [job]))[0]
    artifacts = await store.deliveries.artifacts(job_id)
    newest, older = await store.timeline.newest(job_id, count)
    pictures, local = await pictures_of(request, job, artifacts)
    everything = {
        "job": view,
        "api": _api(job),
        "finished": job.status in FINISHED,
        "again": job.status in FINISHED and job.request is not None,
        "links": _links(view, request.app[keys.CLOCK]()),
        "deliverable": is_deliverable(job.status, job.provider_status, has_output=job.output is not None),
        "status_page": _status_page(request) if job.status is JobStatus.QUEUED else None,
        "title": job.config_name or job.model or job_id,
        "advice": await _advice(request, job, view.queue_seconds),
        "facts": _facts(view),
        "output": _output(view),
        "artifacts": [artifact_view(artifact) for artifact in artifacts],
        "local": local,
        "pictures": pictures,
        "events": [(event_view(one.event), one.grew) for one in newest],
        "total_events": job.events,
        "more": min(count * 5, MOST_EVENTS) if older and count < MOST_EVENTS else None,
    }
    names = ("head", "state", "trouble", "pictures", "deliveries", "files", "facts", "timeline")
    return View([Part(f"job-{name}", fragment(request, f"parts/job_{name}.html", everything)) for name in names])


def _links(job: JobView, now: float) -> dict[str, tuple[Link, str | None]]:
    """Where each delivery is, by destination; with the end of a link that ends."""
    links = {one.destination: link_of(one.url, now) for one in job.deliveries if one.url}
    return {name: (link, rfc3339(link.until)) for name, link in links.items()}


def _status_page(request: web.Request) -> str:
    """The word of Replicate's status page, as far as it is known without waiting for it."""
    known = request.app[keys.STATUS_FEED].known()
    return "being asked" if known is None else known.description or known.error or "nothing is known"


async def _advice(request: web.Request, job: Job, queue_seconds: float | None) -> Advice | None:
    """What helps. The log is read for a job that failed, and once: every open page looks again and again."""
    known, key = request.app[_ADVICE], (job.job_id, job.logs_chars)
    if job.status is not JobStatus.FAILED:
        return advice(job.status, job.error, "", queue_seconds)
    if key not in known:
        log = await request.app[keys.STORE].journal.logs(job.job_id)
        known[key] = advice(job.status, job.error, log, queue_seconds)
        if len(known) > ADVICE_REMEMBERED:
            known.popitem(last=False)
    return known[key]


def _told(job: Job) -> list[str]:
    """What the submit's answer had to say: the page of the form has been left by then."""
    told = [] if job.cost_limit_warning is None else [job.cost_limit_warning]
    try:
        outgoing = None if job.request is None else decode(job.request)
    except msgspec.MsgspecError:
        outgoing = None
    if outgoing is None:
        return told
    left_out = (f"{item.name} was not sent: {item.reason}" for item in outgoing.left_out)
    return [*told, *([outgoing.webhook_doubt] if outgoing.webhook_doubt else ()), *outgoing.notes, *left_out]


def _facts(job: JobView) -> list[tuple[str, str | None]]:
    return [
        ("Provider's id", job.provider_job_id),
        ("Provider's status", job.provider_status),
        ("Model", job.model),
        ("Version", job.version),
        ("Hardware", job.hardware),
        ("Configuration", job.config_name),
        *((str(name), _text(value)) for name, value in sorted(job.metadata.items())),
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _output(job: JobView) -> str | None:
    """What the model answered, cut where it is long."""
    text = bytes(job.output).decode()
    return None if text == "null" else text[:OUTPUT_CHARS] + ("…" if len(text) > OUTPUT_CHARS else "")


_COUNT = Param("events", "So many of the newest events", {"type": "integer", "minimum": 1, "maximum": MOST_EVENTS})

ENDPOINTS = (
    Endpoint(
        "GET",
        "/jobs/{job_id}",
        job_page,
        "The page of one job",
        {200: Answer("Progress, curves, log, events, deliveries, files", {"type": "string"}, content="text/html")},
        params=(_COUNT,),
        errors=(InvalidRequest, JobNotFound),
    ),
    Endpoint(
        "GET",
        "/ui/jobs/{job_id}/stream",
        job_stream,
        "What changes on the page of one job",
        {200: STREAM_ANSWER},
        params=(_COUNT, *STREAM_PARAMS),
        errors=(InvalidRequest, JobNotFound),
    ),
)
