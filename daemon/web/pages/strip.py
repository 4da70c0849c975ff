"""The strip above the jobs: Replicate's state, the last webhook, the spend, and what needs attention."""

from __future__ import annotations

import msgspec
from aiohttp import web

from ... import keys
from ...core.times import rfc3339
from ...replicate.feeds import ProviderStatus
from ..api.costs import CostLimit, cost_limit_view
from .attention import notices
from .live import Part
from .rendering import fragment


class ProviderWord(msgspec.Struct, frozen=True):
    """How the provider is, in a word (``good``, ``bad``, ``unknown`` as its colour) and a line."""

    colour: str
    word: str
    detail: str


async def strip(request: web.Request, *, begun: bool) -> Part:
    """``begun``: there are jobs; before, the guide tells what is to be set up."""
    limit = await cost_limit_view(request)
    context = {
        "provider": _provider(request.app[keys.STATUS_FEED].known()),
        "webhook_at": rfc3339(await request.app[keys.STORE].arrivals.last("webhook")),
        "webhook_url": request.app[keys.EFFECTIVE].webhook_url,
        "limit": limit,
        "share": limit_share(limit),
        "notices": await notices(request, limit, begun=begun),
    }
    return Part("strip", fragment(request, "parts/strip.html", context))


def _provider(status: ProviderStatus | None) -> ProviderWord:
    if status is None:
        return ProviderWord("unknown", "Asking …", "The status page is being read.")
    if status.operational is None:
        return ProviderWord("unknown", "Not known", status.error or "")
    word = "Operational" if status.operational else "Incident"
    return ProviderWord("good" if status.operational else "bad", word, status.description or "")


def limit_share(limit: CostLimit) -> float:
    """Percent of the limit that is spent or held for jobs under way."""
    if not limit.enabled:
        return 0.0
    if limit.exceeded or limit.amount <= 0:
        return 100.0
    return round(min(100.0, 100 * (limit.spent + limit.reserved) / limit.amount), 1)
