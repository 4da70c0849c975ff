"""The journal, live: every event with where it came from, and its body to look at and verify again."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec
from aiohttp import web

from ... import keys
from ...core.events import EventKind
from ...errors import InvalidRequest
from ..answers import query_choice, query_int
from ..endpoint import Answer, Endpoint, Param
from ..render import event_view
from .live import STREAM_ANSWER, STREAM_PARAMS, Part, View, element_id, stream_view
from .rendering import fragment, page

PATH = "/events"
EVENTS_A_PAGE = 50
JOB_CHARS = 200
KINDS = tuple(kind.value for kind in EventKind)


class Asked(msgspec.Struct, frozen=True):
    """What the address asks for. ``before``: events older than this number; 0: the newest, which move."""

    kind: str
    job: str
    before: int

    def query(self, **changes: object) -> str:
        values = msgspec.structs.asdict(self) | changes
        given = {name: value for name, value in values.items() if value}
        return "?" + urlencode(given) if given else ""


def _asked(request: web.Request) -> Asked:
    job = request.query.get("job", "").strip()[:JOB_CHARS]
    return Asked(
        kind=query_choice(request, "kind", ("", *KINDS)) or "",
        job=job if job.isprintable() else "",
        before=query_int(request, "before", 0, low=0, high=2**62),
    )


async def events_page(request: web.Request) -> web.Response:
    asked = _asked(request)
    view = await _look(request, asked)
    stream = f"/ui/events/stream{asked.query()}"
    stream += ("&" if "?" in stream else "?") + f"seen={view.digest}"
    context = {"asked": asked, "view": view, "kinds": KINDS, "stream": None if asked.before else stream}
    return await page(request, "events.html", context, here=PATH)


async def events_stream(request: web.Request) -> web.StreamResponse:
    asked = _asked(request)
    return await stream_view(request, lambda: _look(request, asked))


async def _look(request: web.Request, asked: Asked) -> View:
    store = request.app[keys.STORE]
    job_id = asked.job
    if job_id and (job := await store.jobs.get(job_id)) is not None:
        job_id = job.job_id  # the provider's id was given
    kind = EventKind(asked.kind) if asked.kind else None
    found = await store.timeline.before(asked.before or None, EVENTS_A_PAGE + 1, job_id=job_id or None, kind=kind)
    shown = found[:EVENTS_A_PAGE]
    rows = [
        Part(
            element := element_id("event", str(event.seq)),
            fragment(request, "parts/event_row.html", {"event": event_view(event), "element": element}),
            "rows",
        )
        for event in shown
    ]
    older = shown[-1].seq if len(found) > EVENTS_A_PAGE else None
    paging = fragment(request, "parts/event_paging.html", {"asked": asked, "older": older})
    return View([*rows, Part("paging", paging)])


_QUERY = (
    Param("kind", "Only events of this kind", {"type": "string", "enum": ["", *KINDS]}),
    Param("job", "Only events of this job: our id or the provider's", {"type": "string"}),
    Param("before", "Only events older than this number", {"type": "integer", "minimum": 0}),
)

ENDPOINTS = (
    Endpoint(
        "GET",
        PATH,
        events_page,
        "The page of events",
        {200: Answer("The newest events, or those asked for", {"type": "string"}, content="text/html")},
        params=_QUERY,
        errors=(InvalidRequest,),
    ),
    Endpoint(
        "GET",
        "/ui/events/stream",
        events_stream,
        "What changes on the page of events",
        {200: STREAM_ANSWER},
        params=(*_QUERY, *STREAM_PARAMS),
        errors=(InvalidRequest,),
    ),
)
