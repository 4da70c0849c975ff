"""The first page: the jobs as a table that moves by itself."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import get_args
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from ... import keys
from ...core.deliveries import DeliveryStatus
from ...core.jobs import JobStatus
from ...errors import InvalidRequest
from ...store.job_search import JobSearch, SortKey
from ..answers import query_choice, query_int
from ..api.jobs import job_views
from ..endpoint import Answer, Endpoint, Param
from ..render import JobView
from .guide import guide
from .live import STREAM_ANSWER, STREAM_PARAMS, Part, View, element_id, stream_view
from .rendering import fragment, page
from .strip import strip

JOBS_A_PAGE = 50
MAX_PAGE = 100_000
SEARCH_CHARS = 200
DELIVERY_STATUSES = tuple(status.value for status in DeliveryStatus)
ROWS_REMEMBERED = 1000  # about 2 MB; some pages' worth
# Several statuses as one choice: what people ask for.
GROUPS = {
    "active": frozenset({JobStatus.PENDING, JobStatus.UPLOADING, JobStatus.QUEUED, JobStatus.RUNNING}),
    "completed": frozenset({JobStatus.COMPLETED}),
    "failed": frozenset({JobStatus.FAILED}),
    "cancelled": frozenset({JobStatus.CANCELLED}),
}

_ROWS: web.AppKey[OrderedDict[bytes, Part]] = web.AppKey("job_rows")  # what is shown of a job → its row


def set_up(app: web.Application) -> None:
    """Make room for rows that are remembered."""
    app[_ROWS] = OrderedDict()


class Asked(msgspec.Struct, frozen=True):
    """What the address asks for; ``""`` is the default."""

    q: str
    status: str
    delivery: str
    sort: SortKey
    order: str
    page: int

    def query(self, **changes: object) -> str:
        """These choices, with ``changes``, as a query; what is the default is left out."""
        values = msgspec.structs.asdict(self) | changes
        given = {name: value for name, value in values.items() if value != getattr(_DEFAULT, name)}
        return "?" + urlencode(given) if given else ""

    def sorting(self, key: str) -> str:
        """The query of a click on a column's head: this column, or the other way round."""
        turned = "asc" if self.sort == key and self.order == "desc" else "desc"
        return self.query(sort=key, order=turned, page=1) or "?"

    def search(self) -> JobSearch:
        return JobSearch(
            text=self.q,
            statuses=GROUPS.get(self.status, frozenset()),
            delivery=self.delivery or None,
            sort=self.sort,
            descending=self.order == "desc",
            limit=JOBS_A_PAGE,
            offset=(self.page - 1) * JOBS_A_PAGE,
        )


_DEFAULT = Asked("", "", "", "created", "desc", 1)


def _asked(request: web.Request) -> Asked:
    text = request.query.get("q", "").strip()[:SEARCH_CHARS]
    return Asked(
        q=text if text.isprintable() else "",
        status=query_choice(request, "status", ("", *GROUPS)) or "",
        delivery=query_choice(request, "delivery", ("", *DELIVERY_STATUSES)) or "",
        sort=query_choice(request, "sort", get_args(SortKey)) or "created",  # type: ignore[arg-type]
        order=query_choice(request, "order", ("asc", "desc")) or "desc",
        page=query_int(request, "page", 1, low=1, high=MAX_PAGE),
    )


async def jobs_page(request: web.Request) -> web.Response:
    asked = _asked(request)
    view = await _look(request, asked)
    stream = f"/ui/jobs/stream{asked.query()}"
    stream += ("&" if "?" in stream else "?") + f"seen={view.digest}"
    context = {"asked": asked, "view": view, "stream": stream, "deliveries": DELIVERY_STATUSES}
    return await page(request, "jobs.html", context, here="/")


async def jobs_stream(request: web.Request) -> web.StreamResponse:
    asked = _asked(request)
    return await stream_view(request, lambda: _look(request, asked))


async def _look(request: web.Request, asked: Asked) -> View:
    searches = request.app[keys.STORE].job_searches
    jobs, total = await searches.page(asked.search())
    rows = [_row(request, job) for job in await job_views(request, jobs)]
    counts = await _counts(request)
    filters = {"asked": asked, "counts": counts}
    pages = max(1, math.ceil(total / JOBS_A_PAGE))
    first = (asked.page - 1) * JOBS_A_PAGE
    paging = {"asked": asked, "total": total, "pages": pages, "first": first, "last": first + len(rows)}
    return View(
        [
            await strip(request, begun=counts[""] > 0),
            await guide(request, counts[""]),
            Part("filters", fragment(request, "parts/job_filters.html", filters)),
            *rows,
            Part("paging", fragment(request, "parts/job_paging.html", paging)),
        ]
    )


def _row(request: web.Request, job: JobView) -> Part:
    """A job's row. Every open page looks twice a second while events come, and most rows are as they were."""
    known, key = request.app[_ROWS], msgspec.json.encode(job)
    if key not in known:
        element = element_id("job", job.job_id)
        known[key] = Part(element, fragment(request, "parts/job_row.html", {"job": job, "element": element}), "rows")
        if len(known) > ROWS_REMEMBERED:
            known.popitem(last=False)
    known.move_to_end(key)
    return known[key]


async def _counts(request: web.Request) -> dict[str, int]:
    by_status = await request.app[keys.STORE].job_searches.counts()
    counts = {name: sum(by_status.get(one.value, 0) for one in group) for name, group in GROUPS.items()}
    return {"": sum(by_status.values()), **counts}


def _choice(name: str, says: str, words: tuple[str, ...]) -> Param:
    return Param(name, says, {"type": "string", "enum": list(words)})


_QUERY = (
    Param("q", "Words to look for in ids, model, configuration and hardware", {"type": "string"}),
    _choice("status", "Only these", ("", *GROUPS)),
    _choice("delivery", "Only jobs with such a delivery", ("", *DELIVERY_STATUSES)),
    _choice("sort", "The column to sort by", get_args(SortKey)),
    _choice("order", "The direction", ("asc", "desc")),
    Param("page", "Counted from 1", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE}),
)

ENDPOINTS = (
    Endpoint(
        "GET",
        "/",
        jobs_page,
        "The page of jobs",
        {200: Answer("The newest jobs, or those asked for", {"type": "string"}, content="text/html")},
        params=_QUERY,
        errors=(InvalidRequest,),
    ),
    Endpoint(
        "GET",
        "/ui/jobs/stream",
        jobs_stream,
        "What changes on the page of jobs",
        {200: STREAM_ANSWER},
        params=(*_QUERY, *STREAM_PARAMS),
        errors=(InvalidRequest,),
    ),
)
