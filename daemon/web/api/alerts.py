"""What needs attention now."""

from __future__ import annotations

from aiohttp import web

from ... import keys
from ..alerts import Alerts, current_alerts
from ..answers import json_answer
from ..endpoint import Answer, Endpoint


async def get_alerts(request: web.Request) -> web.Response:
    app = request.app
    found = await current_alerts(app[keys.STORE], app[keys.EFFECTIVE], app[keys.SETTINGS], app[keys.CLOCK]())
    return json_answer(found)


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/alerts",
        get_alerts,
        "What needs attention: outputs about to expire, failed deliveries, a reached cost limit, endpoints that fail",
        {200: Answer("The most urgent first", Alerts)},
    ),
)
