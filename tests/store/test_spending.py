"""Money on both stores: sums, history, and a limit that submits at once cannot pass together."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from daemon.core.estimate import Past
from daemon.core.jobs import Signal
from daemon.core.spend import Budget, Untold
from daemon.core.training_kind import Training, Work
from daemon.errors import CostLimitExceeded, IdempotencyConflict
from daemon.store.spending import _LEDGER
from daemon.store.store import Store
from tests.support.events import NOW, append, body, new_job
from tests.support.money import cost_limit, state, submit, told

DAY = 86_400.0
PRICE = 0.000975  # of an L40S, a second


async def finish(store: Store, provider_id: str, status: str = "succeeded", *, at: float = NOW, **fields: Any) -> None:
    """An event that ends the job at ``at``."""
    ended = {"completed_at": _time(at), **fields}
    await append(store, f"msg_{provider_id}_{status}", body(status, id=provider_id, **ended), received_at=at)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


async def bound(store: Store, job_id: str, expected: float = 1.0, **changes: Any) -> None:
    assert await submit(store, job_id, expected, cost_limit(1e6), now=NOW, **changes)
    await store.jobs.bind_provider(job_id, job_id.removeprefix("job_"), now=NOW, prediction=None)


async def test_the_ledger_tells_finished_from_unfinished(store: Store) -> None:
    for name in ("a", "b", "c", "d"):
        await bound(store, f"job_{name}", 2.0)
    await finish(store, "a", metrics={"predict_time": 1000.0})
    await finish(store, "b", "canceled", started_at=_time(NOW - 100))  # no billed time: from start to end
    await append(store, "msg_c", body("processing", id="c", started_at=_time(NOW - 50)))
    await finish(store, "x", metrics={"predict_time": 400.0})  # not submitted here: its hardware is not known
    await finish(store, "e", "failed")

    ledger = await store.spending.ledger(since=NOW)

    assert ledger.finished_usd == 0.975
    assert sorted(ledger.untold, key=lambda entry: entry.seconds) == [Untold("gpu-l40s", 100.0), Untold(None, 400.0)]
    c, d = sorted(ledger.unfinished, key=lambda job: job.job_id)
    assert (c.job_id, c.submitted, c.hardware, c.started_at, c.expected_usd) == ("job_c", True, "gpu-l40s", NOW - 50, 2)
    assert (d.job_id, d.started_at) == ("job_d", None)
    found = await state(store, cost_limit(10), now=NOW)
    assert found.spent == round(PRICE * (1000 + 100 + 400 + 50), 4)
    assert found.reserved == round(2.0 + 2.0 - 50 * PRICE, 4)


async def test_only_what_ended_in_the_period_is_spent(store: Store) -> None:
    for name, days in (("a", 0), ("b", 1), ("c", 40)):
        await bound(store, f"job_{name}")
        await finish(store, name, at=NOW - days * DAY, metrics={"predict_time": 1000.0})
    for since, spent in ((NOW, 0.975), (NOW - DAY, 1.95), (NOW - 60 * DAY, 2.925), (NOW + 1, 0.0)):
        assert (await store.spending.ledger(since=since)).finished_usd == pytest.approx(spent)


async def test_absurd_figures_do_not_break_the_sum(store: Store) -> None:
    figures = {"a": 1e300, "b": 1e300, "c": -5.0}
    for name in figures:
        await bound(store, f"job_{name}")
    for name, seconds in figures.items():
        await finish(store, name, metrics={"predict_time": seconds})
    ledger = await store.spending.ledger(since=NOW)
    assert ledger.finished_usd == 2e9
    assert sum(entry.seconds for entry in ledger.untold) == 0.0


def flux(steps: int) -> str:
    config = {"model_type": "lora", "model_family": "flux", "max_train_steps": steps}
    return json.dumps({"kind": "prediction", "input": {"config_json": json.dumps(config)}})


async def test_history_is_of_the_same_model_and_hardware_newest_first(store: Store) -> None:
    others: dict[str, dict[str, Any]] = {
        "a": {"request": flux(1000)},
        "b": {"request": "{"},
        "c": {"hardware": "gpu-t4"},
        "d": {"model": "acme/other"},
        "e": {},
        "f": {"model": None, "version": "f" * 64},
    }
    for number, (name, changes) in enumerate(others.items()):
        await bound(store, f"job_{name}", **changes)
        status = "failed" if name == "e" else "succeeded"
        await finish(store, name, status, at=NOW + number, metrics={"predict_time": 1000.0 + number})
    nothing = Work(None, None)
    assert await store.spending.past(model="acme/trainer", version=None, hardware="gpu-l40s") == [
        Past(0.976, nothing),
        Past(0.975, Work(Training("flux", full=False), 1000)),
    ]
    assert await store.spending.past(model=None, version="f" * 64, hardware="gpu-l40s") == [Past(0.9799, nothing)]


async def test_twenty_submits_at_once_and_a_limit_for_three(store: Store) -> None:
    limit = cost_limit(7.0)
    results = await asyncio.gather(*(submit(store, f"job_{n}", 2.0, limit, now=NOW) for n in range(20)))
    assert sum(job is not None for job in results) == 3
    assert (await store.jobs.list())[2] == 3
    found = await state(store, limit, now=NOW)
    assert (found.spent, found.reserved, found.remaining, found.exceeded) == (0.0, 6.0, 1.0, False)


async def test_two_daemons_on_one_database_cannot_pass_it_together(postgres_url: str, tmp_path: Path) -> None:
    limit = cost_limit(7.0)
    async with Store.open(postgres_url, tmp_path / "a") as one, Store.open(postgres_url, tmp_path / "b") as two:
        stores = [one, two] * 10
        jobs = (submit(each, f"job_{n}", 2.0, limit, now=NOW) for n, each in enumerate(stores))
        assert sum(job is not None for job in await asyncio.gather(*jobs)) == 3
        assert (await state(two, limit, now=NOW)).reserved == 6.0


async def test_one_key_is_counted_once_and_answered_when_nothing_fits_any_more(store: Store) -> None:
    limit, estimate = cost_limit(2.0), told(2.0)

    def budget() -> Budget:
        return Budget(limit, estimate, now=NOW)

    text = json.dumps({"expected_usd": 2.0})
    jobs = [new_job(f"job_{n}", idempotency_key="key", cost_estimate=text) for n in range(10)]
    results = await asyncio.gather(*(store.jobs.insert_intent(job, budget()) for job in jobs))
    assert sum(not existed for _, existed in results) == 1
    assert (await state(store, limit, now=NOW)).reserved == 2.0
    with pytest.raises(IdempotencyConflict):
        await store.jobs.insert_intent(new_job("job_x", idempotency_key="key", request_digest="other"), budget())
    with pytest.raises(CostLimitExceeded):
        await store.jobs.insert_intent(new_job("job_y", idempotency_key="another"), budget())
    assert (await store.jobs.list())[2] == 1  # nothing of a refused one stays, and its key is free
    await store.jobs.signal(results[0][0].job_id, Signal.CANCELLED, now=NOW)
    assert not (await store.jobs.insert_intent(new_job("job_y", idempotency_key="another"), budget()))[1]


async def test_what_a_cancelled_job_had_reserved_is_free_again(store: Store) -> None:
    limit = cost_limit(5.0)
    assert await submit(store, "job_a", 5.0, limit, now=NOW)
    assert (await state(store, limit, now=NOW)).exceeded
    assert not await submit(store, "job_b", 0.01, limit, now=NOW)
    await store.jobs.signal("job_a", Signal.CANCELLED, now=NOW)
    assert await submit(store, "job_b", 5.0, limit, now=NOW)


async def test_a_limit_that_warns(store: Store) -> None:
    budgets = [Budget(cost_limit(3.0, action="warn"), told(2.0), now=NOW) for _ in range(2)]
    for number, budget in enumerate(budgets):
        text = json.dumps({"expected_usd": 2.0})
        await store.jobs.insert_intent(new_job(f"job_{number}", cost_estimate=text), budget)
    assert budgets[0].warning is None
    assert "$3.00" in (budgets[1].warning or "")


async def test_the_sum_is_read_off_an_index(tmp_path: Path) -> None:
    async with Store.open(None, tmp_path) as store:  # PostgreSQL reads so small a table as a whole, rightly
        plan = await store.spending._database.rows(_explained())
    steps = [row[3] for row in plan]
    assert any("jobs_completed" in step for step in steps), steps
    assert not any(step.startswith("SCAN jobs") for step in steps), steps


def _explained() -> sa.TextClause:
    text = str(_LEDGER.params(since=NOW).compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    return sa.text(f"EXPLAIN QUERY PLAN {text}")
