"""What is well and what is not, with what to do about it: the Health page and ``tunerd doctor``."""

from __future__ import annotations

import asyncio

from aiohttp import web

from ... import keys
from ...checks.all import check_all
from ...checks.base import Health, Surroundings
from ...errors import InvalidRequest
from ..answers import json_answer, query_choice
from ..endpoint import Answer, Endpoint, Param
from ..rejected import REJECTED

KEPT_SECONDS = 60.0  # several pages, or one that reloads, ask Replicate and the destinations once


class Diagnosis:
    """The last result, and one run at a time."""

    def __init__(self, here: Surroundings) -> None:
        self._here = here
        self._lock = asyncio.Lock()
        self._last: Health | None = None

    async def health(self, *, fresh: bool) -> Health:
        asked = self._here.now()
        async with self._lock:
            last = self._last
            # Whoever waited for another's run gets that one's result.
            if last is None or last.checked_at < asked if fresh else not self._is_recent():
                self._last = last = await check_all(self._here)
            assert last is not None  # made just now, or recent
            return last

    def _is_recent(self) -> bool:
        return self._last is not None and 0 <= self._here.now() - self._last.checked_at < KEPT_SECONDS


DIAGNOSIS: web.AppKey[Diagnosis] = web.AppKey("diagnosis")


async def get_health(request: web.Request) -> web.Response:
    fresh = query_choice(request, "fresh", ("true", "false")) == "true"
    return json_answer(await request.app[DIAGNOSIS].health(fresh=fresh))


def set_up(app: web.Application) -> None:
    listening, rejected = app[keys.LISTENING], app[REJECTED]
    app[DIAGNOSIS] = Diagnosis(
        Surroundings(
            settings=app[keys.SETTINGS],
            effective=app[keys.EFFECTIVE],
            store=app[keys.STORE],
            client=app[keys.CLIENT],
            tokens=app[keys.TOKENS],
            webhook_secrets=app[keys.WEBHOOK_SECRETS],
            session=app[keys.SESSION],
            status_feed=app[keys.STATUS_FEED],
            preflight=app[keys.PREFLIGHT],
            check_destination=app[keys.CHECK_DESTINATION],
            now=app[keys.CLOCK],
            feed=app[keys.RANGES_FEED],
            rejections=lambda: [(one.address, one.count) for one in rejected.lately(app[keys.CLOCK]())],
            listening=tuple(listening),
        )
    )


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/health",
        get_health,
        "Everything that can be wrong, checked, each with its fix",
        {200: Answer("Every check; the worst decides the whole", Health)},
        params=(Param("fresh", "true: check again, even if that was done a moment ago", {"enum": ["true", "false"]}),),
        errors=(InvalidRequest,),
        description="Asks Replicate, the status page, every destination and the webhook URL; takes some seconds.",
    ),
)
