"""The provider's status page, as far as it can be known."""

from __future__ import annotations

from aiohttp import web

from ... import keys
from ...replicate.feeds import ProviderStatus
from ..answers import json_answer
from ..endpoint import Answer, Endpoint


async def replicate_status(request: web.Request) -> web.Response:
    return json_answer(await request.app[keys.STATUS_FEED].status())


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/replicate/status",
        replicate_status,
        "Whether Replicate says that it works",
        {200: Answer("Within 3 s; operational is null where the page could not be read", ProviderStatus)},
    ),
)
