"""Money: what jobs have cost, what the limit says, what hardware costs."""

from __future__ import annotations

from typing import Literal

import msgspec
from aiohttp import web

from ... import keys
from ...core.costs import PRICES_AS_OF
from ...core.periods import PERIODS, period_start
from ...core.spend import limit_state, running_usd, spent_usd
from ...core.times import rfc3339
from ..answers import json_answer
from ..endpoint import Answer, Endpoint

SECONDS_AN_HOUR = 3600

BALANCE_NOTE = (
    "Replicate publishes no balance endpoint; see replicate.com/account/billing. "
    "The spend is what this daemon's journal knows: billed time of finished jobs at list price, a lower bound."
)


class Price(msgspec.Struct):
    """``source``: the list that comes with tunerd, or the setting ``prices``; ``as_of``: when it was read."""

    sku: str
    name: str
    usd_per_second: float
    usd_per_hour: float
    vram_gb: int
    as_of: str | None
    source: Literal["list", "settings"]


class HardwareOptions(msgspec.Struct):
    """``default``: what a submit takes that names none. ``prices_as_of``: when the list was read."""

    hardware: list[Price]
    default: str
    prices_as_of: str


class Spend(msgspec.Struct):
    """US dollars of jobs that ended since midnight, Monday, the first of the month; ``running``: others so far."""

    today: float
    week: float
    month: float
    running: float


class Billing(msgspec.Struct):
    balance: float | None
    balance_note: str
    currency: str
    spend: Spend
    hardware: dict[str, Price]


class CostLimit(msgspec.Struct):
    """Where the limit stands: what a submit is judged by.

    ``spent``: finished jobs, and unfinished ones so far. ``reserved``: what those are still expected to cost.
    ``exceeded``: no further job fits. ``unknown``: which figure is missing; a limit that blocks then refuses.
    """

    enabled: bool
    amount: float
    period: str
    action: str
    spent: float
    reserved: float
    remaining: float
    exceeded: bool
    period_start: str | None
    period_end: str | None
    unknown: str | None


async def billing(request: web.Request) -> web.Response:
    now, limit = request.app[keys.CLOCK](), request.app[keys.EFFECTIVE].cost_limit()
    spending = request.app[keys.STORE].spending
    ledgers = [await spending.ledger(since=period_start(now, period, limit.zone)) for period in PERIODS]
    today, week, month = (spent_usd(ledger, limit) for ledger in ledgers)
    spend = Spend(today, week, month, running_usd(ledgers[0], limit, now))
    return json_answer(Billing(None, BALANCE_NOTE, "USD", spend, prices(request)))


async def cost_limit_status(request: web.Request) -> web.Response:
    return json_answer(await cost_limit_view(request))


async def cost_limit_view(request: web.Request) -> CostLimit:
    """Where the limit stands now."""
    now, limit = request.app[keys.CLOCK](), request.app[keys.EFFECTIVE].cost_limit()
    since = period_start(now, limit.period, limit.zone)
    state = limit_state(await request.app[keys.STORE].spending.ledger(since=since), limit, now)
    shown = {
        **msgspec.structs.asdict(state),
        "period_start": rfc3339(state.period_start),
        "period_end": rfc3339(state.period_end),
    }
    return CostLimit(**shown)


async def hardware_options(request: web.Request) -> web.Response:
    default = request.app[keys.EFFECTIVE].hardware
    return json_answer(HardwareOptions(list(prices(request).values()), default, PRICES_AS_OF))


def prices(request: web.Request) -> dict[str, Price]:
    """The prices in force, by SKU."""
    return {
        sku: Price(
            sku=sku,
            name=one.name,
            usd_per_second=one.usd_per_second,
            usd_per_hour=round(one.usd_per_second * SECONDS_AN_HOUR, 2),
            vram_gb=one.vram_gb,
            as_of=one.as_of,
            source=one.source,
        )
        for sku, one in request.app[keys.EFFECTIVE].prices.items()
    }


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/providers/replicate/billing",
        billing,
        "What was spent, as far as the journal knows",
        {200: Answer("No balance: Replicate publishes none", Billing)},
    ),
    Endpoint(
        "GET",
        "/api/cloud/cost-limit/status",
        cost_limit_status,
        "The cost limit and where it stands",
        {200: Answer("The limit", CostLimit)},
    ),
    Endpoint(
        "GET",
        "/api/cloud/hardware-options",
        hardware_options,
        "Hardware and its list prices",
        {200: Answer("The price table", HardwareOptions)},
    ),
)
