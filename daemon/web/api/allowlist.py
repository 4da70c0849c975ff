"""The IP rule as it is in force: its ranges, where they come from, whom it lately turned away, and why."""

from __future__ import annotations

from typing import Literal

import msgspec
from aiohttp import web

from ... import keys
from ...core.addresses import parse_address
from ...core.hops import Explained
from ...errors import InvalidRequest
from ...replicate.ip_ranges import FeedState
from ..allowlist import ALLOWLIST
from ..answers import json_answer, query_text, read_json
from ..endpoint import Answer, Endpoint, Param
from ..rejected import REJECTED, Rejected


class Feed(msgspec.Struct):
    """The cloud's ranges. ``age_seconds``: since the feed last said that they are the newest."""

    url: str
    scopes: list[str]
    ranges: list[str]
    fetched_at: float | None
    checked_at: float | None
    age_seconds: float | None
    error: str | None
    alarm: str | None


class AllowlistView(msgspec.Struct):
    """``mode``: off (only ``listed`` counts; empty: no rule), log-only, enforce."""

    mode: Literal["off", "log-only", "enforce"]
    listed: list[str]
    feed: Feed
    trusted_proxies: list[str]
    rejections: list[Rejected]


class RefreshBody(msgspec.Struct, forbid_unknown_fields=True):
    """``accept``: take a list that differs greatly from the one in use."""

    accept: bool = False


async def show(request: web.Request) -> web.Response:
    return json_answer(_view(request))


async def refresh(request: web.Request) -> web.Response:
    body = await read_json(request, RefreshBody) if request.can_read_body else RefreshBody()
    await request.app[ALLOWLIST].feed.refresh(accept=body.accept)
    return json_answer(_view(request))


async def explain(request: web.Request) -> web.Response:
    address = query_text(request, "address")
    if address is None or parse_address(address) is None:
        raise InvalidRequest("address: an IP address is expected, as in ?address=34.82.1.1.", field="address")
    forwarded_for = query_text(request, "forwarded_for")
    trusted = request.app[keys.SETTINGS].trusted_proxies
    lines = [] if forwarded_for is None else [forwarded_for]
    return json_answer(request.app[ALLOWLIST].explain(address, lines, trusted))


def _view(request: web.Request) -> AllowlistView:
    effective, now = request.app[keys.EFFECTIVE], request.app[keys.CLOCK]()
    allowlist = request.app[ALLOWLIST]
    state: FeedState = allowlist.feed.state
    return AllowlistView(
        mode=effective.webhook_ip_mode,
        listed=list(effective.webhook_allowed_ips),
        feed=Feed(
            url=allowlist.feed.url,
            scopes=list(state.scopes or effective.webhook_ip_scopes),
            ranges=[] if state.ranges is None else list(state.ranges.networks),
            fetched_at=state.fetched_at,
            checked_at=state.checked_at,
            age_seconds=None if state.checked_at is None else max(0.0, now - state.checked_at),
            error=state.error,
            alarm=state.alarm,
        ),
        trusted_proxies=list(request.app[keys.SETTINGS].trusted_proxies),
        rejections=request.app[REJECTED].lately(now),
    )


_VIEW = {200: Answer("What is in force", AllowlistView)}

ENDPOINTS = (
    Endpoint("GET", "/api/cloud/allowlist", show, "The IP rule, and whom it lately turned away", _VIEW),
    Endpoint(
        "POST",
        "/api/cloud/allowlist/refresh",
        refresh,
        "Ask the feed of cloud ranges now",
        _VIEW,
        body=RefreshBody,
        body_required=False,
        description="A feed that fails leaves the last good list in force; feed.error says why.",
    ),
    Endpoint(
        "GET",
        "/api/cloud/allowlist/explain",
        explain,
        "Why an address is let in or not",
        {200: Answer("Each hop and the verdict", Explained)},
        params=(
            Param("address", "The connection's other end", {"type": "string", "minLength": 1}),
            Param("forwarded_for", "What its X-Forwarded-For says", {"type": "string", "minLength": 1}),
        ),
        errors=(InvalidRequest,),
    ),
)
