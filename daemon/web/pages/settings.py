"""The settings that the page can change, and what else is in force, with where it comes from."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from ... import config, keys
from ...checks.ways_out import ways_out
from ...core.costs import PRICES_AS_OF
from ...core.times import rfc3339
from ...replicate.webhook_secret import SecretState
from ..allowlist import ALLOWLIST
from ..api.costs import cost_limit_view, prices
from ..api.providers import settings_view
from ..endpoint import Answer, Endpoint
from ..rejected import REJECTED
from . import words
from .rendering import page
from .strip import limit_share

PATH = "/settings"


class InForce(msgspec.Struct, frozen=True):
    """One setting of the process. ``origin``: ``flag``, ``environment``, ``file`` or ``default``."""

    variable: str
    value: str
    origin: str


async def settings_page(request: web.Request) -> web.Response:
    app = request.app
    limit = await cost_limit_view(request)
    rejected = app[REJECTED].lately(app[keys.CLOCK]())
    context = {
        "settings": await settings_view(request),
        "secret": await _secret_state(request),
        "limit": limit,
        "share": limit_share(limit),
        "hardware": list(prices(request).values()),
        "prices_as_of": PRICES_AS_OF,
        "rejected": [(one.address, one.count, rfc3339(one.last_at), one.path) for one in rejected],
        "feed": app[ALLOWLIST].feed.state,
        "feed_at": rfc3339(app[ALLOWLIST].feed.state.checked_at),
        "in_force": _in_force(request),
        "listening": app[keys.LISTENING],
        "network": ways_out(app[keys.SETTINGS].replicate_base_url),
    }
    return await page(request, "settings.html", context, here=PATH)


async def _secret_state(request: web.Request) -> dict[str, Any]:
    state: SecretState = await request.app[keys.WEBHOOK_SECRETS].state()
    return {"source": state.source, "known": state.known, "fetched_at": rfc3339(state.fetched_at)}


def _in_force(request: web.Request) -> list[InForce]:
    """Every setting of the start; of a secret only whether there is one."""
    settings = request.app[keys.SETTINGS]
    found = []
    for key, (variable, secret) in config.variables().items():
        value = getattr(settings, key)
        shown = ("set, not shown" if value else "not set") if secret else _text(value)
        found.append(InForce(variable, shown, settings.origin.get(key, "default")))
    return found


def _text(value: Any) -> str:
    if value is None or value == ():
        return words.NONE
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


ENDPOINTS = (
    Endpoint(
        "GET",
        PATH,
        settings_page,
        "The page of settings",
        {200: Answer("Token, webhooks, allowlist, limit, hardware", {"type": "string"}, content="text/html")},
    ),
)
