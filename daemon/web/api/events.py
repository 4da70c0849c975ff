"""The journal: events of all jobs or of one, their bodies as received, and the live stream."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from ... import keys
from ...core.events import EventKind
from ...errors import BodyPruned, InvalidRequest, JobNotFound, NotFound
from ...store.records import EventBody
from ..answers import json_answer, query_choice, query_int
from ..endpoint import Answer, Endpoint, Param
from ..jobs_access import find_job
from ..render import EventView, event_view
from ..stream import stream_events

MAX_PAGE = 1000
LARGE_BODY = 256 * 1024  # bytes; checking longer JSON takes over a millisecond: off the loop
_MAX_SEQ_DIGITS = 18  # fits 64 bits


class EventPage(msgspec.Struct):
    """In order of ``seq``; ``next_cursor`` is null when the journal has no more at the moment."""

    events: list[EventView]
    next_cursor: str | None


async def list_events(request: web.Request) -> web.Response:
    return await _page(request, None)


async def list_job_events(request: web.Request) -> web.Response:
    return await _page(request, (await find_job(request)).job_id)


async def _page(request: web.Request, job_id: str | None) -> web.Response:
    name = "cursor" if "cursor" in request.query else "after"
    after = query_int(request, name, 0, low=0, high=2**59)
    limit = query_int(request, "limit", 100, low=1, high=MAX_PAGE)
    word = query_choice(request, "event", EventKind)
    kind = None if word is None else EventKind(word)
    rows = await request.app[keys.STORE].journal.events(after=after, limit=limit + 1, job_id=job_id, kind=kind)
    more, rows = len(rows) > limit, rows[:limit]
    return json_answer(EventPage([event_view(row) for row in rows], str(rows[-1].seq) if more else None))


async def get_body(request: web.Request) -> web.Response:
    return await _body_answer(request, event_seq(request))


async def get_job_body(request: web.Request) -> web.Response:
    job = await find_job(request)
    seq = event_seq(request)
    rows = await request.app[keys.STORE].journal.events(after=seq - 1, limit=1, job_id=job.job_id)
    if not rows or rows[0].seq != seq:
        raise NotFound(f"This job has no event {seq}. GET …/jobs/{job.job_id}/events lists them.")
    return await _body_answer(request, seq)


def event_seq(request: web.Request) -> int:
    """The path's sequence number. Raises ``NotFound``."""
    text = request.match_info["seq"]
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_SEQ_DIGITS):
        raise NotFound("Events are named by their sequence number, a whole number.")
    return int(text)


async def _body_answer(request: web.Request, seq: int) -> web.Response:
    found = await request.app[keys.STORE].journal.body(seq)
    if found is None:
        raise NotFound(f"There is no event {seq}. GET /api/cloud/events lists them.")
    large = len(found.body) > LARGE_BODY
    is_json = await asyncio.to_thread(_is_json, found.body) if large else _is_json(found.body)
    return web.Response(
        body=found.body,
        content_type="application/json" if is_json else "application/octet-stream",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **_signed_headers(found)},
    )


def _is_json(body: bytes) -> bool:
    try:
        body.decode()
        msgspec.json.decode(body, type=msgspec.Raw)  # scanned, not built
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _signed_headers(found: EventBody) -> dict[str, str]:
    """The three headers as received. A control character, which HTTP does not let in, would not get out either."""
    given = {
        "webhook-id": found.webhook_id,
        "webhook-timestamp": found.timestamp,
        "webhook-signature": found.signature,
    }
    return {name: _header_value(value) for name, value in given.items() if value is not None}


def _header_value(value: str) -> str:
    printable = "".join(char for char in value if char == "\t" or (char >= " " and char != "\x7f"))
    return printable.encode("utf-8", "replace").decode()


_SEQ = {"type": "integer", "minimum": 0}
_PAGING = (
    Param("after", "Only events after this sequence number", {"type": "integer", "minimum": 0, "default": 0}),
    Param("cursor", "next_cursor of the page before; wins over after", {"type": "string", "pattern": "^[0-9]+$"}),
    Param("limit", "Events a page", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": 100}),
    Param("event", "Only events of this kind", {"type": "string", "enum": [str(kind) for kind in EventKind]}),
)
_BODY_HEADERS = {
    "webhook-id": "As received",
    "webhook-timestamp": "As received; absent for a poll",
    "webhook-signature": "As received; absent for a poll",
}
_BODY = Answer(
    "The bytes as received; application/octet-stream where they are not JSON",
    {},
    headers=_BODY_HEADERS,
    also=("application/octet-stream",),
)

ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/events",
        list_events,
        "The whole journal in order",
        {200: Answer("One page of events", EventPage)},
        params=_PAGING,
        errors=(InvalidRequest,),
    ),
    Endpoint(
        "GET",
        "/api/cloud/events/stream",
        stream_events,
        "Every event, live, as Server-Sent Events",
        {200: Answer("id = seq, event = kind, data = the row as JSON", EventView, content="text/event-stream")},
        params=(
            Param("Last-Event-ID", "Continue after this seq; wins over after", _SEQ, where="header"),
            Param("after", "Continue after this seq; without either, only new events are sent", _SEQ),
            Param("job", "Only events of this job, by either id", {"type": "string", "minLength": 1}),
            Param("event", "Only events of this kind", {"type": "string", "enum": [str(kind) for kind in EventKind]}),
        ),
        errors=(InvalidRequest, JobNotFound),
        description="Each event once, in order of seq. A comment every 15 s keeps the connection alive. "
        "Ends when the daemon stops: reconnect with Last-Event-ID.",
    ),
    Endpoint(
        "GET",
        "/api/cloud/events/{seq}/body",
        get_body,
        "An event's body exactly as received, with the headers that sign it",
        {200: _BODY},
        errors=(NotFound, BodyPruned),
    ),
    Endpoint(
        "GET",
        "/api/cloud/jobs/{job_id}/events",
        list_job_events,
        "One job's events in order",
        {200: Answer("One page of events", EventPage)},
        params=_PAGING,
        errors=(InvalidRequest, JobNotFound),
    ),
    Endpoint(
        "GET",
        "/api/cloud/jobs/{job_id}/events/{seq}/body",
        get_job_body,
        "The body of one of the job's events",
        {200: _BODY},
        errors=(NotFound, JobNotFound, BodyPruned),
    ),
)
