"""Who is logged in to the page, and ending that."""

from __future__ import annotations

import msgspec
from aiohttp import web

from ... import keys
from ...core.times import rfc3339
from ...errors import NotFound
from .. import sessions
from ..answers import json_answer
from ..endpoint import Answer, Endpoint

SHOWN_ID = 16  # characters of a session's digest: enough to name one


class SessionView(msgspec.Struct):
    """A login of the page. ``id`` names it and opens nothing."""

    id: str
    created_at: str | None
    last_used_at: str | None
    expires_at: str | None
    address: str | None
    user_agent: str
    current: bool


class SessionList(msgspec.Struct):
    """The one used last first."""

    sessions: list[SessionView]


class Ended(msgspec.Struct):
    """How many logins were ended."""

    success: bool
    ended: int


async def list_sessions(request: web.Request) -> web.Response:
    return json_answer(SessionList(await session_views(request)))


async def session_views(request: web.Request) -> list[SessionView]:
    """Every login that has not ended."""
    mine = await sessions.current(request)
    found = await request.app[keys.STORE].sessions.all(now=request.app[keys.CLOCK]())
    return [
        SessionView(
            id=one.digest[:SHOWN_ID],
            created_at=rfc3339(one.created_at),
            last_used_at=rfc3339(one.last_used_at),
            expires_at=rfc3339(one.expires_at),
            address=one.address,
            user_agent=one.user_agent,
            current=mine is not None and one.digest == mine.digest,
        )
        for one in found
    ]


async def end_session(request: web.Request) -> web.Response:
    store, wanted = request.app[keys.STORE].sessions, request.match_info["session_id"]
    for one in await store.all(now=request.app[keys.CLOCK]()):
        if one.digest[:SHOWN_ID] == wanted:
            await store.delete(one.digest)
            return json_answer(Ended(True, 1))
    raise NotFound("There is no such login: it has ended already.")


async def end_other_sessions(request: web.Request) -> web.Response:
    mine = await sessions.current(request)
    ended = await request.app[keys.STORE].sessions.delete_others(None if mine is None else mine.digest)
    return json_answer(Ended(True, ended))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/sessions",
        list_sessions,
        "Who is logged in to the page",
        {200: Answer("The logins", SessionList)},
    ),
    Endpoint(
        "DELETE",
        "/api/cloud/sessions",
        end_other_sessions,
        "End every login but the one that asks",
        {200: Answer("Ended", Ended)},
    ),
    Endpoint(
        "DELETE",
        "/api/cloud/sessions/{session_id}",
        end_session,
        "End one login",
        {200: Answer("Ended", Ended)},
        errors=(NotFound,),
    ),
)
