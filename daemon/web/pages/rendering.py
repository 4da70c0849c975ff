"""What every page shares: the template environment, the navigation, the headers; and text for numbers and times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import aiohttp_jinja2
import jinja2
import msgspec
from aiohttp import web

from .. import sessions
from . import static, words

# Nothing but our own files, and no inline script or style: text that slips through escaping still cannot run.
# Pico draws its check marks and arrows as data: images in its style sheet.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class NavItem(msgspec.Struct, frozen=True):
    """One entry of the navigation. ``icon`` is a symbol of ``static/img/icons.svg``."""

    path: str
    label: str
    icon: str


# In the order shown. A page appears here once it exists.
NAVIGATION = (
    NavItem("/", "Jobs", "jobs"),
    NavItem("/submit", "Submit", "submit"),
    NavItem("/publishing", "Publishing", "publishing"),
    NavItem("/events", "Events", "events"),
    NavItem("/settings", "Settings", "settings"),
    NavItem("/health", "Health", "health"),
)


def set_up(app: web.Application) -> None:
    """Load templates and static files."""
    app[static.ASSETS] = assets = static.load()
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.PackageLoader("daemon.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(asset=assets.path, job_path=job_path, navigation=NAVIGATION)
    environment.filters.update(
        bytes=words.size,
        duration=words.duration,
        usd=words.usd,
        number=words.number,
        short=words.short,
        code=words.code,
    )


def job_path(job_id: str, rest: str = "") -> str:
    """The address of a job's page, or of something below it."""
    return f"/jobs/{quote(job_id, safe='')}{rest}"


async def page(
    request: web.Request, template: str, context: Mapping[str, Any], *, here: str, status: int = 200
) -> web.Response:
    """``template`` as a whole page. ``here``: the path of the navigation's entry that it belongs to."""
    session = await sessions.current(request)
    shared = {"here": here, "logged_in": session is not None}
    response = aiohttp_jinja2.render_template(template, request, {**shared, **context}, status=status)
    response.headers.update(_HEADERS)
    response.enable_compression()
    return response


def fragment(request: web.Request, template: str, context: Mapping[str, Any]) -> str:
    """``template`` as text: a part of a page, for the live streams."""
    return aiohttp_jinja2.render_string(template, request, dict(context))
