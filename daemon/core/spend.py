"""What has been spent in a period, and what a cost limit says about it. UTC calendar; the clock comes in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec


class JobCost(msgspec.Struct, frozen=True):
    """What one job means for money. ``ended_at`` is ``None`` while it is unfinished."""

    ended_at: float | None
    cost_usd: float | None  # of a finished job, where the provider told the billed time
    expected_usd: float | None  # the estimate made at submit
    so_far_usd: float | None  # of a running job


class LimitState(msgspec.Struct, frozen=True):
    """A cost limit and where it stands. ``remaining`` and ``exceeded`` count what unfinished jobs reserve."""

    enabled: bool
    amount: float
    period: str
    action: str
    spent: float
    reserved: float
    remaining: float
    exceeded: bool
    period_start: float


def period_start(now: float, period: str) -> float:
    """When the ``daily``, ``weekly`` (from Monday) or ``monthly`` period of ``now`` began, in unix seconds."""
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "weekly":
        day -= timedelta(days=day.weekday())
    elif period == "monthly":
        day = day.replace(day=1)
    return day.timestamp()


def spent_since(jobs: Iterable[JobCost], start: float) -> float:
    """US dollars of the jobs that ended at ``start`` or later."""
    costs = (job.cost_usd for job in jobs if job.ended_at is not None and job.ended_at >= start)
    return _usd(sum(cost for cost in costs if cost is not None))


def reserved(jobs: Iterable[JobCost]) -> float:
    """US dollars that unfinished jobs will cost: the estimate, or what they cost already where that is more."""
    return _usd(sum(max(job.expected_usd or 0.0, job.so_far_usd or 0.0) for job in jobs if job.ended_at is None))


def running(jobs: Iterable[JobCost]) -> float:
    """US dollars that unfinished jobs have cost so far."""
    return _usd(sum(job.so_far_usd or 0.0 for job in jobs if job.ended_at is None))


def limit_state(
    jobs: Iterable[JobCost], *, enabled: bool, amount: float, period: str, action: str, now: float
) -> LimitState:
    """Where the limit stands at ``now``. A limit that is not enabled is never exceeded."""
    known = list(jobs)
    start = period_start(now, period)
    spent, held = spent_since(known, start), reserved(known)
    return LimitState(
        enabled=enabled,
        amount=amount,
        period=period,
        action=action,
        spent=spent,
        reserved=held,
        remaining=_usd(max(0.0, amount - spent - held)),
        exceeded=enabled and spent + held >= amount,
        period_start=start,
    )


def _usd(value: float) -> float:
    return round(float(value), 4)
