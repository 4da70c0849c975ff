"""Jobs: list, one, its files, and what can be asked of it."""

from __future__ import annotations

import msgspec
from aiohttp import web

from ... import keys
from ...core.jobs import JobStatus
from ...errors import InvalidRequest, JobFinished, JobNotFound, NothingToDeliver
from ...store.records import Job
from ..answers import decode_json, json_answer, query_choice, query_int, query_text, read_body
from ..endpoint import Answer, Endpoint, Param
from ..jobs_access import find_job
from ..render import ArtifactView, JobView, artifact_view, job_view

MAX_PAGE = 500


class JobPage(msgspec.Struct):
    """Newest first; ``total`` counts all jobs that match."""

    jobs: list[JobView]
    next_cursor: str | None
    total: int


class OneJob(msgspec.Struct):
    job: JobView


class Artifacts(msgspec.Struct):
    """The files that were fetched; empty until a delivery has fetched one."""

    artifacts: list[ArtifactView]


class Accepted(msgspec.Struct):
    """The order was taken; the job shows when it is carried out."""

    success: bool
    job_id: str
    job: JobView


class Redeliver(msgspec.Struct, forbid_unknown_fields=True):
    """Names of destinations; none = all."""

    destinations: list[str] | None = None


async def list_jobs(request: web.Request) -> web.Response:
    store = request.app[keys.STORE]
    word = query_choice(request, "status", JobStatus)
    jobs, next_cursor, total = await store.jobs.list(
        status=None if word is None else JobStatus(word),
        provider=query_text(request, "provider"),
        limit=query_int(request, "limit", 50, low=1, high=MAX_PAGE),
        cursor=query_text(request, "cursor"),
    )
    return json_answer(JobPage(await job_views(request, jobs), next_cursor, total))


async def job_views(request: web.Request, jobs: list[Job]) -> list[JobView]:
    """``jobs`` with their deliveries, as the API shows them now."""
    deliveries = await request.app[keys.STORE].deliveries.of_jobs([job.job_id for job in jobs])
    now = request.app[keys.CLOCK]()
    return [job_view(job, deliveries.get(job.job_id, []), now=now) for job in jobs]


async def get_job(request: web.Request) -> web.Response:
    return json_answer(OneJob(await _view(request, await find_job(request))))


async def _view(request: web.Request, job: Job) -> JobView:
    return (await job_views(request, [job]))[0]


async def get_artifacts(request: web.Request) -> web.Response:
    job = await find_job(request)
    artifacts = await request.app[keys.STORE].deliveries.artifacts(job.job_id)
    return json_answer(Artifacts([artifact_view(artifact) for artifact in artifacts]))


async def cancel_job(request: web.Request) -> web.Response:
    job = await find_job(request)
    job = await request.app[keys.SUBMITTER].cancel(job.job_id)
    return json_answer(Accepted(True, job.job_id, await _view(request, job)), status=202)


async def redeliver_job(request: web.Request) -> web.Response:
    body = await read_body(request)
    job = await find_job(request)
    order = decode_json(body, Redeliver) if body.strip() else Redeliver()
    names = list(dict.fromkeys(order.destinations or [])) or None
    if names is not None:
        await _refuse_unknown(request, names)
    store = request.app[keys.STORE]
    await store.deliveries.redeliver(job.job_id, names, now=request.app[keys.CLOCK]())
    request.app[keys.WAKE_DELIVERY]()
    store.journal.notify()
    return json_answer(Accepted(True, job.job_id, await _view(request, job)), status=202)


async def _refuse_unknown(request: web.Request, names: list[str]) -> None:
    configured = {destination.name for destination in await request.app[keys.STORE].settings.destinations()}
    for name in names:
        if name not in configured:
            known = ", ".join(sorted(configured)) or "none"
            raise InvalidRequest(f"destinations: there is no {name!r}; configured: {known}.", field="destinations")


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/jobs",
        list_jobs,
        "List jobs, newest first",
        {200: Answer("One page of jobs", JobPage)},
        params=(
            Param("status", "Only jobs in this state", {"type": "string", "enum": [str(one) for one in JobStatus]}),
            Param("provider", "Only jobs of this provider", {"type": "string", "minLength": 1, "maxLength": 1000}),
            Param("limit", "Jobs a page", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": 50}),
            Param("cursor", "next_cursor of the page before", {"type": "string", "minLength": 1, "maxLength": 1000}),
        ),
        errors=(InvalidRequest,),
    ),
    Endpoint(
        "GET",
        "/api/cloud/jobs/{job_id}",
        get_job,
        "One job, by our id or the provider's",
        {200: Answer("The job", OneJob)},
        errors=(JobNotFound,),
        route="/api/cloud/jobs/{job_id:(?!submit$)[^{}/]+}",  # GET …/submit is the wrong method, not a job
    ),
    Endpoint(
        "GET",
        "/api/cloud/jobs/{job_id}/artifacts",
        get_artifacts,
        "The files that the job's output was fetched into",
        {200: Answer("The files", Artifacts)},
        errors=(JobNotFound,),
    ),
    Endpoint(
        "POST",
        "/api/cloud/jobs/{job_id}/cancel",
        cancel_job,
        "Cancel the job",
        {202: Answer("The provider was told; its event moves the job", Accepted)},
        errors=(JobNotFound, JobFinished),
    ),
    Endpoint(
        "POST",
        "/api/cloud/jobs/{job_id}/redeliver",
        redeliver_job,
        "Fetch and deliver the output again",
        {202: Answer("The deliveries are pending", Accepted)},
        body=Redeliver,
        body_required=False,
        errors=(JobNotFound, InvalidRequest, NothingToDeliver),
    ),
)
