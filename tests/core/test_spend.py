"""A cost limit: where it stands, and what it says to one more job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.estimate import Estimate, Unknown
from daemon.core.spend import (
    Budget,
    Ledger,
    Limit,
    LimitState,
    Unfinished,
    Untold,
    judge,
    limit_state,
    running_usd,
    spent_usd,
)
from daemon.errors import CostLimitExceeded

NOW = datetime(2026, 1, 7, 15, 30, tzinfo=UTC).timestamp()  # a Wednesday
HOUR = 3600.0  # of an L40S: 3.51 dollars
UNKNOWN = Unknown("nobody knows")


def unfinished(job_id: str = "job_a", **changes: Any) -> Unfinished:
    fields: dict[str, Any] = {
        "submitted": True, "hardware": "gpu-l40s", "started_at": None, "expected_usd": 3.0, **changes,
    }  # fmt: skip
    return Unfinished(job_id, **fields)


def ledger(*jobs: Unfinished, finished: float = 0.0, untold: tuple[Untold, ...] = ()) -> Ledger:
    return Ledger(finished, untold, jobs)


def limit(amount: float = 10.0, **changes: Any) -> Limit:
    fields: dict[str, Any] = {
        "enabled": True, "amount": amount, "period": "weekly", "action": "block", "zone": UTC,
        "assumed_hardware": "gpu-l40s", **changes,
    }  # fmt: skip
    return Limit(**fields)


def state(*jobs: Unfinished, amount: float = 10.0, finished: float = 0.0, **changes: Any) -> LimitState:
    return limit_state(ledger(*jobs, finished=finished), limit(amount, **changes), NOW)


def cost(expected: float) -> Estimate:
    return Estimate(expected, expected, expected, "told")


def test_spent_and_reserved() -> None:
    found = state(
        unfinished("waits"),
        unfinished("runs", started_at=NOW - HOUR, expected_usd=5.0),  # 3.51 so far, 1.49 to come
        unfinished("overran", started_at=NOW - HOUR, expected_usd=1.0),  # 3.51, nothing reserved any more
        unfinished("theirs", submitted=False, hardware=None, started_at=NOW - HOUR, expected_usd=None),
        finished=2.0,
        amount=100.0,
    )
    assert (found.spent, found.reserved, found.remaining) == (12.53, 4.49, 82.98)
    assert (found.exceeded, found.unknown) == (False, None)
    assert found.period_start == datetime(2026, 1, 5, tzinfo=UTC).timestamp()
    assert found.period_end == datetime(2026, 1, 12, tzinfo=UTC).timestamp()


def test_time_that_the_provider_did_not_bill_is_priced() -> None:
    known = ledger(finished=1.0, untold=(Untold("gpu-t4", 1000.0), Untold(None, 1000.0), Untold("gpu-x", 5.0)))
    assert spent_usd(known, limit()) == 1.0 + 0.225 + 0.975
    assert running_usd(ledger(unfinished(started_at=NOW + 9)), limit(), NOW) == 0.0  # the provider's clock is ahead


@pytest.mark.parametrize(("amount", "exceeded"), [(5.0, False), (3.0, True), (1.0, True), (0.0, True)])
def test_nothing_left_is_exceeded(amount: float, exceeded: bool) -> None:
    assert state(unfinished(), amount=amount).exceeded is exceeded
    assert state(unfinished(), amount=amount, enabled=False).exceeded is False


@pytest.mark.parametrize(("expected", "admitted"), [(4.0, True), (4.0001, False), (0.0001, True), (100.0, False)])
def test_a_job_is_admitted_up_to_the_limit(expected: float, admitted: bool) -> None:
    now = state(unfinished(), finished=3.0)
    if admitted:
        assert judge(now, cost(expected), UTC) is None
        return
    with pytest.raises(CostLimitExceeded) as refused:
        judge(now, cost(expected), UTC)
    assert refused.value.extra == {
        "limit": 10.0, "period": "weekly", "spent": 3.0, "reserved": 3.0, "estimate": expected,
        "period_end": "2026-01-12T00:00:00Z",
    }  # fmt: skip
    for figure in ("$10.00", "$3.00 are spent", "$3.00 reserved", f"${expected:.2f}", "2026-01-12 00:00"):
        assert figure in refused.value.detail


def test_cents_do_not_add_up_to_more_than_they_are() -> None:
    jobs = [unfinished(str(number), expected_usd=0.1) for number in range(2)]
    assert judge(state(*jobs, amount=0.3), cost(0.1), UTC) is None  # 0.1 + 0.1 + 0.1 > 0.3 in binary


def test_a_limit_that_warns_admits_all_and_says_so() -> None:
    tight = state(unfinished(), action="warn", amount=4.0)
    assert judge(tight, cost(1.0), UTC) is None
    assert "$4.00" in (judge(tight, cost(1.5), UTC) or "")
    assert judge(tight, UNKNOWN, UTC) is None
    assert "of unknown cost" in (judge(state(unfinished(), action="warn", amount=1.0), UNKNOWN, UTC) or "")
    assert judge(state(unfinished(), enabled=False, amount=0.0), UNKNOWN, UTC) is None


def test_a_cost_that_is_not_known_is_blocked() -> None:
    with pytest.raises(CostLimitExceeded) as refused:
        judge(state(amount=1000.0), UNKNOWN, UTC)
    assert "nobody knows" in refused.value.detail and "warn" in refused.value.detail


@pytest.mark.parametrize(
    ("known", "names"),
    [
        (ledger(unfinished(expected_usd=None)), "job_a"),
        (ledger(unfinished(hardware="gpu-x", started_at=NOW)), "gpu-x"),
        (ledger(untold=(Untold("gpu-x", 1.0),)), "gpu-x"),
    ],
)
def test_figures_that_are_not_known_block(known: Ledger, names: str) -> None:
    closed = limit_state(known, limit(1000.0), NOW)
    assert closed.exceeded and names in (closed.unknown or "")
    with pytest.raises(CostLimitExceeded, match=names):
        judge(closed, cost(0.01), UTC)
    warns = limit_state(known, limit(1000.0, action="warn"), NOW)
    assert not warns.exceeded and judge(warns, cost(0.01), UTC) is None


@pytest.mark.parametrize(
    "known",
    [
        ledger(unfinished(submitted=False, expected_usd=None, hardware=None)),  # somebody else's: as it runs
        ledger(unfinished(hardware="gpu-x")),  # has not started: its estimate counts
        ledger(untold=(Untold("gpu-x", 0.0),)),  # never ran
    ],
)
def test_figures_that_do_not_matter_do_not_block(known: Ledger) -> None:
    assert limit_state(known, limit(1000.0), NOW).unknown is None


money = st.floats(0, 50).map(lambda value: round(value, 4))
jobs = st.lists(
    st.builds(
        Unfinished,
        job_id=st.text(max_size=3),
        submitted=st.booleans(),
        hardware=st.sampled_from([None, "gpu-t4", "gpu-x"]),
        started_at=st.none() | st.floats(NOW - 7200, NOW + 60),
        expected_usd=st.none() | money,
    ),
    max_size=4,
)
ledgers = st.builds(
    Ledger, money, st.lists(st.builds(Untold, st.sampled_from([None, "gpu-t4", "gpu-x"]), money), max_size=3), jobs
)
limits = st.builds(
    limit, st.floats(0, 100), action=st.sampled_from(["warn", "block"]), enabled=st.booleans(),
    period=st.sampled_from(["daily", "weekly", "monthly"]),
)  # fmt: skip
costs = st.one_of(st.just(UNKNOWN), money.map(cost))


@given(ledgers, limits, costs)
def test_the_status_and_the_verdict_agree(known: Ledger, found: Limit, expected: Estimate | Unknown) -> None:
    shown = limit_state(known, found, NOW)
    budget = Budget(found, expected, now=NOW)
    assert budget.since == shown.period_start
    try:
        budget.ask(known)
    except CostLimitExceeded:
        assert shown.enabled and shown.action == "block"
        return
    if shown.enabled and shown.action == "block":
        assert isinstance(expected, Estimate) and not shown.exceeded
        assert round(shown.spent + shown.reserved + expected.expected_usd, 4) <= shown.amount
    elif budget.warning is None and shown.enabled:
        assert not shown.exceeded
    if not msgspec.structs.asdict(shown)["enabled"]:
        assert budget.warning is None and not shown.exceeded
