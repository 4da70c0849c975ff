"""Logging in to the page and out of it, and the page of who is logged in."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from ... import keys
from ...errors import CrossSite, RateLimited, TunerdError, Unauthorized
from .. import sessions
from ..address import CLIENTS
from ..admin import refuse_cross_site, straight_from_loopback
from ..answers import read_body
from ..api.sessions import session_views
from ..endpoint import Answer, Endpoint, Param
from .rendering import page

_HTML = "text/html"
_FORM_BYTES = 8192  # a token and a path; what is longer is neither


async def login_page(request: web.Request) -> web.Response:
    target = _target(request.query.get("next"))
    if straight_from_loopback(request) or await sessions.current(request) is not None:
        return web.Response(status=303, headers={"Location": target, "Cache-Control": "no-store"})
    return await _form(request, target)


async def log_in(request: web.Request) -> web.Response:
    request.app[CLIENTS].of(request)
    refuse_cross_site(request)
    body = await read_body(request)
    form = parse_qs(body[:_FORM_BYTES].decode("utf-8", "replace"))
    target, token = _target(_only(form, "next")), _only(form, "token")
    try:
        answer = await sessions.log_in(request, token)
    except (RateLimited, Unauthorized) as refused:
        return await _form(request, target, refused)
    answer.headers["Location"] = target
    return answer


async def log_out(request: web.Request) -> web.Response:
    answer = web.Response(status=303, headers={"Location": "/login", "Cache-Control": "no-store"})
    await sessions.log_out(request, answer)
    return answer


async def _form(request: web.Request, target: str, refused: TunerdError | None = None) -> web.Response:
    configured = request.app[keys.SETTINGS].admin_token is not None
    context = {"target": target, "refused": refused, "configured": configured}
    response = await page(
        request, "login.html", context, here="/login", status=200 if refused is None else refused.status
    )
    if refused is not None and refused.retry_after is not None:
        response.headers["Retry-After"] = str(refused.retry_after)
    return response


def _only(form: Mapping[str, list[str]], name: str) -> str:
    return form.get(name, [""])[0]


def _target(wanted: str | None) -> str:
    """Where to go after the login: a path of ours, whatever was asked for."""
    if not wanted or not wanted.startswith("/") or wanted.startswith(("//", "/\\")) or not wanted.isprintable():
        return "/"
    parts = urlsplit(wanted)
    return wanted if not parts.scheme and not parts.netloc and parts.path != "/login" else "/"


async def sessions_page(request: web.Request) -> web.Response:
    token = request.app[keys.SETTINGS].admin_token is not None
    return await page(
        request, "sessions.html", {"sessions": await session_views(request), "token": token}, here="/settings"
    )


_NEXT = Param("next", "A path of tunerd's to go to after it", {"type": "string"})
_SEE_OTHER = Answer("On to the page", content=None)

ENDPOINTS = (
    Endpoint(
        "GET",
        "/login",
        login_page,
        "The page that asks for the admin token",
        {200: Answer("The form", {"type": "string"}, content=_HTML), 303: _SEE_OTHER},
        params=(_NEXT,),
        public=True,
    ),
    Endpoint(
        "POST",
        "/login",
        log_in,
        "Log in: a form with `token` and `next`",
        {
            303: Answer("Logged in: the cookie is set", content=None),
            401: Answer("The form again, with the reason", {"type": "string"}, content=_HTML),
            429: Answer("The form again: too many attempts", {"type": "string"}, content=_HTML),
        },
        errors=(CrossSite,),
        public=True,
    ),
    Endpoint("POST", "/logout", log_out, "End this login", {303: Answer("To the login", content=None)}),
    Endpoint(
        "GET",
        "/settings/sessions",
        sessions_page,
        "The page of who is logged in",
        {200: Answer("The logins", {"type": "string"}, content=_HTML)},
    ),
)
