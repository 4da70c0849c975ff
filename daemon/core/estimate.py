"""What a job will cost, told from what jobs like it have cost. No history, no estimate: nothing is made up."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec


class Estimate(msgspec.Struct, frozen=True):
    """US dollars; ``basis`` says what the estimate rests on."""

    low_usd: float
    expected_usd: float
    high_usd: float
    basis: str


def estimate(costs: Sequence[float], what: str) -> Estimate | None:
    """From the costs of finished jobs like this one: the median between the cheapest and the dearest."""
    if not costs:
        return None
    jobs = "1 finished job" if len(costs) == 1 else f"the last {len(costs)} finished jobs"
    return Estimate(
        low_usd=round(min(costs), 4),
        expected_usd=round(statistics.median(costs), 4),
        high_usd=round(max(costs), 4),
        basis=f"{jobs} of {what}, at list price",
    )
