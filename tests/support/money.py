"""Jobs that cost money, and the limit they have to pass."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import msgspec

from daemon.core.estimate import Estimate
from daemon.core.spend import Budget, Limit, LimitState, limit_state
from daemon.errors import CostLimitExceeded
from daemon.store.records import Job
from daemon.store.store import Store

from .events import new_job


def cost_limit(amount: float, **changes: Any) -> Limit:
    fields: dict[str, Any] = {
        "enabled": True,
        "amount": amount,
        "period": "monthly",
        "action": "block",
        "zone": UTC,
        "assumed_hardware": "gpu-l40s",
        **changes,
    }
    return Limit(**fields)


def told(expected: float) -> Estimate:
    return Estimate(expected, expected, expected, "told")


async def submit(store: Store, job_id: str, expected: float, limit: Limit, *, now: float, **changes: Any) -> Job | None:
    """Write the intent as a submit does; ``None``: the limit refused it."""
    estimate = told(expected)
    job = new_job(
        job_id,
        created_at=now,
        cost_estimate=msgspec.json.encode(estimate).decode(),
        **{"hardware": "gpu-l40s", **changes},
    )
    try:
        found, _ = await store.jobs.insert_intent(job, Budget(limit, estimate, now=now))
    except CostLimitExceeded:
        return None
    return found


async def state(store: Store, limit: Limit, *, now: float) -> LimitState:
    """Where the limit stands, as the status tells it."""
    return limit_state(await store.spending.ledger(since=Budget(limit, told(0), now=now).since), limit, now)
