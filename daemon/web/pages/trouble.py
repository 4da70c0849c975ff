"""What a person sees in the place of a page that cannot be shown: the same words as a program gets, on a page."""

from __future__ import annotations

import structlog
from aiohttp import web

from ...errors import TunerdError
from .. import sessions
from ..problem import problem
from .rendering import page

_KEPT = ("Retry-After", "Allow", "WWW-Authenticate")

log = structlog.get_logger()


async def refusal(request: web.Request, error: TunerdError) -> web.Response:
    """The answer for ``error``: a page where a browser asked for one, else ``application/problem+json``."""
    plain = problem(error)
    if not sessions.wants_page(request):
        return plain
    try:
        shown = await page(request, "trouble.html", {"problem": error}, here="", status=error.status)
    except Exception:  # the store that the login is looked up in may be what failed
        log.warning("the page of an error cannot be shown", path=request.path, exc_info=True)
        return plain
    shown.headers.update({name: plain.headers[name] for name in _KEPT if name in plain.headers})
    return shown
