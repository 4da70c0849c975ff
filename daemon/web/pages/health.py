"""What is well and what is not, with what to do about it: the checks of `tunerd doctor`."""

from __future__ import annotations

from aiohttp import web

from ...core.times import rfc3339
from ..api.diagnosis import DIAGNOSIS
from ..endpoint import Answer, Endpoint
from .rendering import fragment, page

PATH = "/health"
SENTENCE = {"ok": "All is well", "warn": "It works; some things need a look", "fail": "Something is wrong"}


async def health_page(request: web.Request) -> web.Response:
    """The frame, at once. Checking takes seconds: the frame asks for the result by itself."""
    return await page(request, "health.html", {}, here=PATH)


async def checks_part(request: web.Request) -> web.Response:
    """The result, as the piece of HTML that the page shows."""
    health = await request.app[DIAGNOSIS].health(fresh=request.query.get("fresh") == "true")
    order = {"fail": 0, "warn": 1, "unknown": 2, "ok": 3}
    context = {
        "health": health,
        "sentence": SENTENCE[health.status],
        "checked_at": rfc3339(health.checked_at),
        "checks": sorted(health.checks, key=lambda check: order[check.status]),
    }
    html = fragment(request, "parts/health_checks.html", context)
    return web.Response(text=html, content_type="text/html", headers={"Cache-Control": "no-store"})


_HTML = {"type": "string"}

ENDPOINTS = (
    Endpoint(
        "GET",
        PATH,
        health_page,
        "The page of checks",
        {200: Answer("The page", _HTML, content="text/html")},
    ),
    Endpoint(
        "GET",
        "/ui/health",
        checks_part,
        "The checks with their results, as HTML",
        {200: Answer("A part of the page", _HTML, content="text/html")},
        description="Asks Replicate, the status page, every destination and the webhook URL; takes some seconds.",
    ),
)
