"""Spend, cost limits and estimates: sums over what jobs cost."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from daemon.core.estimate import estimate
from daemon.core.spend import JobCost, limit_state, period_start, reserved, running, spent_since

NOW = datetime(2026, 1, 7, 15, 30, tzinfo=UTC).timestamp()  # a Wednesday


@pytest.mark.parametrize(("period", "day"), [("daily", 7), ("weekly", 5), ("monthly", 1)])
def test_when_a_period_began(period: str, day: int) -> None:
    assert period_start(NOW, period) == datetime(2026, 1, day, tzinfo=UTC).timestamp()


def test_a_week_may_begin_in_the_month_before() -> None:
    new_year = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert period_start(new_year, "weekly") == datetime(2025, 12, 29, tzinfo=UTC).timestamp()


def ended(cost: float | None, hours_ago: float) -> JobCost:
    return JobCost(ended_at=NOW - 3600 * hours_ago, cost_usd=cost, expected_usd=9.0, so_far_usd=None)


JOBS = [
    ended(1.5, 1),
    ended(None, 1),  # the provider did not tell
    ended(2.0, 24),
    ended(4.0, 24 * 10),
    JobCost(ended_at=None, cost_usd=None, expected_usd=3.0, so_far_usd=1.0),
    JobCost(ended_at=None, cost_usd=None, expected_usd=0.5, so_far_usd=0.75),
    JobCost(ended_at=None, cost_usd=None, expected_usd=None, so_far_usd=None),
]


def test_sums() -> None:
    assert [spent_since(JOBS, period_start(NOW, period)) for period in ("daily", "weekly", "monthly")] == [
        1.5,
        3.5,
        3.5,
    ]
    assert reserved(JOBS) == 3.75
    assert running(JOBS) == 1.75


@pytest.mark.parametrize(
    ("enabled", "amount", "remaining", "exceeded"),
    [(True, 10.0, 2.75, False), (True, 7.25, 0.0, True), (True, 1.0, 0.0, True), (False, 1.0, 0.0, False)],
)
def test_a_limit_counts_what_is_reserved(enabled: bool, amount: float, remaining: float, exceeded: bool) -> None:
    state = limit_state(JOBS, enabled=enabled, amount=amount, period="weekly", action="block", now=NOW)
    assert (state.spent, state.reserved) == (3.5, 3.75)
    assert (state.remaining, state.exceeded) == (remaining, exceeded)


def test_an_estimate_comes_from_history_only() -> None:
    assert estimate([], "a/b") is None
    found = estimate([1.0, 5.0, 2.0], "a/b on gpu-l40s")
    assert found is not None
    assert (found.low_usd, found.expected_usd, found.high_usd) == (1.0, 2.0, 5.0)
    assert "3 finished jobs of a/b" in found.basis
