"""What a submit would cost, and the limit that it has to pass."""

from __future__ import annotations

from ..core.costs import Prices
from ..core.estimate import Estimate, Unknown, estimate
from ..core.spend import Budget
from ..core.training_kind import work_of
from ..store.effective import EffectiveSettings
from ..store.store import Store
from .outgoing import Outgoing


async def cost_of(store: Store, outgoing: Outgoing, hardware: str, prices: Prices) -> Estimate | Unknown:
    """What ``outgoing`` will cost on ``hardware``, by the jobs before it or the table of trainings."""
    past = await store.spending.past(model=outgoing.model, version=outgoing.version, hardware=hardware)
    return estimate(work_of(outgoing.input), outgoing.model or f"version {outgoing.version}", hardware, past, prices)


def budget_for(effective: EffectiveSettings, cost: Estimate | Unknown, *, now: float) -> Budget | None:
    """What the store is to ask before it writes the intent; ``None`` where no limit is set."""
    limit = effective.cost_limit()
    return Budget(limit, cost, now=now) if limit.enabled else None
