"""The curves of several jobs on one plot."""

from __future__ import annotations

import msgspec
from aiohttp import web

from ... import keys
from ...core.jobs import FINISHED
from ...errors import JobNotFound
from ...store.job_search import JobSearch
from ...store.records import Job
from ..api.jobs import job_views
from ..endpoint import Answer, Endpoint, Param
from ..jobs_access import find_job
from .rendering import job_path, page

MOST = 6  # as many colours as can be told apart
OFFERED = 50  # of the newest jobs, to choose from


class Curve(msgspec.Struct, frozen=True):
    """What the page's script needs of one job."""

    id: str
    name: str
    metrics: str
    live: bool


def curve(job: Job) -> dict[str, object]:
    """One job's entry of ``data-curves``."""
    name = job.config_name or job.model or job.job_id
    path = f"/api/cloud{job_path(job.job_id)}/metrics"
    return msgspec.structs.asdict(Curve(job.job_id, name, path, job.status not in FINISHED))


async def compare_page(request: web.Request) -> web.Response:
    asked = list(dict.fromkeys(request.query.getall("job", [])))[:MOST]
    jobs = [await find_job(request, key) for key in asked]
    chosen = {job.job_id for job in jobs}
    newest, _ = await request.app[keys.STORE].job_searches.page(JobSearch(limit=OFFERED))
    context = {
        "jobs": await job_views(request, jobs),
        "curves": _told_apart([curve(job) for job in jobs]),
        "curves_title": "Curves",
        "others": [job for job in newest if job.job_id not in chosen] if len(jobs) < MOST else [],
    }
    return await page(request, "compare.html", context, here="/")


def _told_apart(curves: list[dict[str, object]]) -> list[dict[str, object]]:
    """Jobs of one configuration have one name: each then carries the end of its id."""
    names = [entry["name"] for entry in curves]
    return [
        entry | {"name": f"{entry['name']} {str(entry['id'])[-6:]}"} if names.count(entry["name"]) > 1 else entry
        for entry in curves
    ]


ENDPOINTS = (
    Endpoint(
        "GET",
        "/compare",
        compare_page,
        "The page that compares the curves of jobs",
        {200: Answer("The curves on one plot", {"type": "string"}, content="text/html")},
        params=(Param("job", f"A job's id; given again for each, {MOST} at most", {"type": "string"}),),
        errors=(JobNotFound,),
    ),
)
