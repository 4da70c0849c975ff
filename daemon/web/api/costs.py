"""Money: what jobs have cost, what the limit says, what hardware costs."""

from __future__ import annotations

import msgspec
from aiohttp import web

from ... import keys
from ...core.costs import HARDWARE, PRICES_AS_OF, cost_usd
from ...core.jobs import FINISHED
from ...core.spend import JobCost, limit_state, period_start, running, spent_since
from ...store.records import Job
from ..answers import json_answer
from ..endpoint import Answer, Endpoint
from ..render import rfc3339

SECONDS_AN_HOUR = 3600
# A job is listed by when it was made, and counted when it ends. Nothing waits and runs longer than this.
_LONGEST_JOB_SECONDS = 7 * 86_400
_PAGE = 500

BALANCE_NOTE = (
    "Replicate publishes no balance endpoint; see replicate.com/account/billing. "
    "The spend is what this daemon's journal knows: billed time of finished jobs at list price, a lower bound."
)


class Price(msgspec.Struct):
    sku: str
    name: str
    usd_per_second: float
    usd_per_hour: float
    vram_gb: int


class HardwareOptions(msgspec.Struct):
    """``default``: what a submit takes that names none. ``prices_as_of``: when the list was read."""

    hardware: list[Price]
    default: str
    prices_as_of: str


class Spend(msgspec.Struct):
    """US dollars since midnight, Monday, the first of the month (UTC); ``running``: by unfinished jobs so far."""

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
    """``exceeded`` and ``remaining`` count what unfinished jobs are expected to cost (``reserved``)."""

    enabled: bool
    amount: float
    period: str
    action: str
    spent: float
    reserved: float
    remaining: float
    exceeded: bool
    period_start: str | None


async def billing(request: web.Request) -> web.Response:
    now = request.app[keys.CLOCK]()
    costs = await _costs(request, since=min(period_start(now, "monthly"), period_start(now, "weekly")))
    today, week, month = (spent_since(costs, period_start(now, period)) for period in ("daily", "weekly", "monthly"))
    spend = Spend(today, week, month, running(costs))
    return json_answer(Billing(None, BALANCE_NOTE, "USD", spend, _prices()))


async def cost_limit_status(request: web.Request) -> web.Response:
    effective, now = request.app[keys.EFFECTIVE], request.app[keys.CLOCK]()
    period = effective.cost_limit_period
    state = limit_state(
        await _costs(request, since=period_start(now, period)),
        enabled=effective.cost_limit_enabled,
        amount=effective.cost_limit_amount,
        period=period,
        action=effective.cost_limit_action,
        now=now,
    )
    shown = {**msgspec.structs.asdict(state), "period_start": rfc3339(state.period_start)}
    return json_answer(CostLimit(**shown))


async def hardware_options(request: web.Request) -> web.Response:
    default = request.app[keys.EFFECTIVE].hardware
    return json_answer(HardwareOptions(list(_prices().values()), default, PRICES_AS_OF))


def _prices() -> dict[str, Price]:
    return {
        sku: Price(sku, one.name, one.usd_per_second, round(one.usd_per_second * SECONDS_AN_HOUR, 2), one.vram_gb)
        for sku, one in HARDWARE.items()
    }


async def _costs(request: web.Request, *, since: float) -> list[JobCost]:
    """What every job means that is unfinished or ended at ``since`` or later."""
    store, now = request.app[keys.STORE], request.app[keys.CLOCK]()
    costs = [_job_cost(job, now) for job in await store.jobs.unfinished()]
    cursor: str | None = None
    while True:
        jobs, cursor, _ = await store.jobs.list(limit=_PAGE, cursor=cursor)
        costs += [_job_cost(job, now) for job in jobs if job.status in FINISHED]
        if cursor is None or jobs[-1].created_at < since - _LONGEST_JOB_SECONDS:
            return costs


def _job_cost(job: Job, now: float) -> JobCost:
    finished = job.status in FINISHED
    expected = msgspec.json.decode(job.cost_estimate).get("expected_usd") if job.cost_estimate else None
    so_far = None if finished or job.started_at is None else cost_usd(job.hardware, max(0.0, now - job.started_at))
    ended = (job.completed_at or job.updated_at) if finished else None
    return JobCost(ended_at=ended, cost_usd=job.cost_usd, expected_usd=expected, so_far_usd=so_far)


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
