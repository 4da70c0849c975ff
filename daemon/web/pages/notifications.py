"""Who is told of what happens: the endpoints of outgoing webhooks, and the form of a new one."""

from __future__ import annotations

from aiohttp import web

from ...core.notices import NoticeType
from ..api.notifications import notifications_view
from ..endpoint import Answer, Endpoint
from .rendering import page

PATH = "/settings/notifications"
SAYS = {
    NoticeType.JOB_FINISHED: "a job has completed, failed or was cancelled",
    NoticeType.DELIVERY_DELIVERED: "a result has reached a destination",
    NoticeType.DELIVERY_FAILED: "a delivery was given up",
    NoticeType.DELIVERY_EXPIRING: "an output is about to expire undelivered",
    NoticeType.COST_LIMIT_REACHED: "the spending limit is reached",
    NoticeType.RECONCILE_FOUND: "polling found what no webhook had told",
    NoticeType.JOB_DOUBLED: "Replicate made a second job, or runs one that looks like it",
}


async def notifications_page(request: web.Request) -> web.Response:
    context = {
        "endpoints": (await notifications_view(request)).endpoints,
        "events": [(kind.value, SAYS[kind]) for kind in NoticeType],
    }
    return await page(request, "notifications.html", context, here="/settings")


ENDPOINTS = (
    Endpoint(
        "GET",
        PATH,
        notifications_page,
        "The page of notifications",
        {200: Answer("All endpoints", {"type": "string"}, content="text/html")},
    ),
)
