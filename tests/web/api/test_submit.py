"""Submitting through the API: what reaches the sandbox, and how a refusal is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from daemon.sandbox.server import Sandbox
from tests.support.webapp import Served, running_app

SUBMIT = "/api/cloud/jobs/submit"
ORDER: dict[str, Any] = {"model": "acme/shapes", "input": {"run_seconds": 10_000}}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture
async def served(tmp_path: Path, sandbox: Sandbox) -> AsyncIterator[Served]:
    environ = {"REPLICATE_API_TOKEN": sandbox.api_token}
    async with running_app(tmp_path, replicate_url=sandbox.url, environ=environ) as served:
        yield served


async def test_a_submit_and_the_same_again(served: Served, sandbox: Sandbox) -> None:
    key = {"Idempotency-Key": "once"}
    first = await served.call("POST", SUBMIT, json=ORDER, headers=key, status=201)
    assert first["success"] is True
    assert first["idempotent_hit"] is False
    assert first.keys() == {
        "success", "job_id", "provider_job_id", "status", "cost_estimate", "cost_limit_warning", "data_uploaded",
        "idempotent_hit",
    }  # fmt: skip
    again = await served.call("POST", SUBMIT, json={**ORDER, "idempotency_key": "once"}, status=200)
    assert (again["idempotent_hit"], again["job_id"]) == (True, first["job_id"])
    assert list(sandbox.predictions) == [first["provider_job_id"]]
    other = {**ORDER, "input": {}}
    await served.problem("POST", SUBMIT, json=other, headers=key, status=409, code="idempotency_conflict")


async def test_cancel(served: Served) -> None:
    submitted = await served.call("POST", SUBMIT, json=ORDER, status=201)
    path = f"/api/cloud/jobs/{submitted['provider_job_id']}/cancel"
    answer = await served.call("POST", path, status=202)
    assert answer["job_id"] == submitted["job_id"]
    assert answer["job"]["cancel_requested"] is True


async def test_a_dry_run_sends_nothing(served: Served, sandbox: Sandbox) -> None:
    answer = await served.call("POST", SUBMIT, json={**ORDER, "dry_run": True}, status=200)
    assert answer["dry_run"] is True
    assert answer["request"]["input"] == ORDER["input"]
    assert not sandbox.predictions


async def test_a_dry_run_tells_what_a_submit_would_be_told(served: Served) -> None:
    order, settings = {**ORDER, "dry_run": True}, "/api/cloud/providers/replicate"

    async def checks() -> dict[str, tuple[str, str]]:
        answer = await served.call("POST", SUBMIT, json=order, status=200)
        return {one["id"]: (one["status"], one["detail"]) for one in answer["checks"]}

    found = await checks()
    assert {name: status for name, (status, _) in found.items()} == {
        "token": "ok", "destinations": "ok", "webhook_url": "warn", "estimate": "warn", "cost_limit": "ok",
    }  # fmt: skip
    assert "polling" in found["webhook_url"][1]
    limit = {"cost_limit_enabled": True, "cost_limit_amount": 5.0, "cost_limit_action": "block"}
    elsewhere = {"webhook_url": served.url + "/elsewhere"}
    await served.call("PUT", settings, json={**limit, **elsewhere})
    await served.call("POST", "/api/cloud/publishing/local/pause")
    found = await checks()
    assert found["cost_limit"][0] == "fail", found
    assert "cost limit blocks" in found["cost_limit"][1]
    assert found["webhook_url"][0] == "warn" and "was not proven" in found["webhook_url"][1]  # no prober in this app
    assert found["destinations"][0] == "warn" and "Paused: local" in found["destinations"][1]
    await served.call("PUT", settings, json={"cost_limit_amount": 0.0, "cost_limit_action": "warn"})
    await served.call("PUT", "/api/cloud/publishing", json={"destinations": []})
    found = await checks()
    assert found["cost_limit"][0] == "warn" and "$0.00" in found["cost_limit"][1]
    assert found["destinations"] == ("warn", "No destination is configured: the result goes nowhere.")


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({**ORDER, "colour": "red"}, "invalid_request", "colour"),
        ({**ORDER, "model": 7}, "invalid_request", "model"),
        ({**ORDER, "destinations": ["nowhere"]}, "invalid_request", "destinations"),
        ({**ORDER, "webhook_url": "http://example.com"}, "webhook_url_invalid", "webhook_url"),
        ({}, "config_invalid", "config"),
    ],
)
async def test_a_wrong_order_names_the_field(served: Served, body: Any, code: str, field: str) -> None:
    problem = await served.problem("POST", SUBMIT, json=body, status=400, code=code)
    assert problem["field"] == field


async def test_without_a_token(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        await served.problem("POST", SUBMIT, json=ORDER, status=409, code="token_missing")


async def test_money(served: Served) -> None:
    estimate = "/api/cloud/cost-estimate"
    assert await served.call("POST", estimate, json=ORDER) is None
    submitted = await served.call("POST", SUBMIT, json={**ORDER, "hardware": "gpu-t4"}, status=201)
    provider_id = submitted["provider_job_id"]
    await served.event(provider_id, status="succeeded", metrics={"predict_time": 1000.0})
    job = (await served.get(f"/api/cloud/jobs/{provider_id}"))["job"]
    assert job["cost_usd"] == 0.225
    found = await served.call("POST", estimate, json={**ORDER, "hardware": "gpu-t4"})
    assert (found["low_usd"], found["expected_usd"], found["high_usd"]) == (0.225, 0.225, 0.225)
    billing = await served.get("/api/cloud/providers/replicate/billing")
    assert (billing["balance"], billing["currency"]) == (None, "USD")
    assert billing["balance_note"]
    assert billing["spend"] == {"today": 0.225, "week": 0.225, "month": 0.225, "running": 0.0}
    assert billing["hardware"]["gpu-l40s"]["usd_per_hour"] == 3.51
    limit = await served.get("/api/cloud/cost-limit/status")
    assert (limit["enabled"], limit["spent"], limit["exceeded"]) == (False, 0.225, False)
    assert limit["period_start"].endswith("T00:00:00.000Z")
    options = await served.get("/api/cloud/hardware-options")
    assert options["default"] == "gpu-l40s"
    assert {option["sku"] for option in options["hardware"]} >= {"gpu-l40s", "gpu-a100-large"}


async def test_the_settings_change_a_price_and_make_hardware_known(tmp_path: Path, sandbox: Sandbox) -> None:
    """The estimate, the cost so far, the final cost and the limit count with it; no limit refuses what has a price."""
    now = datetime(2026, 3, 10, 10, 30, tzinfo=UTC)
    order = {"config": {"model_type": "lora", "model_family": "flux", "max_train_steps": 1000}}
    known, new = {**order, "hardware": "gpu-t4"}, {**order, "hardware": "gpu-b200"}
    limit = {"cost_limit_enabled": True, "cost_limit_amount": 1000.0, "cost_limit_action": "block"}
    estimate, settings = "/api/cloud/cost-estimate", "/api/cloud/providers/replicate"
    environ = {"REPLICATE_API_TOKEN": sandbox.api_token}
    prices = '{"gpu-t4": {"usd_per_second": 0.00225}, "gpu-b200": {"usd_per_second": 0.01, "as_of": "2026-11"}}'

    def app(home: Path, **more: str) -> AbstractAsyncContextManager[Served]:
        home.mkdir()
        return running_app(
            home,
            replicate_url=sandbox.url,
            environ={**environ, **more},
            clock=lambda: now.timestamp(),  # noqa: PLW0108 - it moves
        )

    async with app(tmp_path / "list") as served:
        listed = (await served.call("POST", estimate, json=known))["expected_usd"]
        await served.call("PUT", settings, json=limit)
        refused = await served.problem("POST", SUBMIT, json=new, status=403, code="cost_limit_exceeded")
        assert "setting prices" in refused["detail"]
    async with app(tmp_path / "own", TUNERD_PRICES=prices) as served:
        options = {one["sku"]: one for one in (await served.get("/api/cloud/hardware-options"))["hardware"]}
        assert (options["gpu-b200"]["source"], options["gpu-b200"]["as_of"]) == ("settings", "2026-11")
        assert (options["gpu-l40s"]["source"], options["gpu-t4"]["name"]) == ("list", "Nvidia T4")
        found = await served.call("POST", estimate, json=known)
        assert found["expected_usd"] == pytest.approx(10 * listed, rel=1e-3)
        assert "the price of the settings" in found["basis"]
        await served.call("PUT", settings, json=limit)
        submitted = await served.call("POST", SUBMIT, json=new, status=201)
        await served.event(submitted["provider_job_id"], status="processing", started_at="2026-03-10T10:30:00Z")
        now = now.replace(minute=31)
        running = (await served.get(f"/api/cloud/jobs/{submitted['job_id']}"))["job"]
        status = await served.get("/api/cloud/cost-limit/status")
        assert (running["cost_usd"], status["spent"], status["unknown"]) == (0.6, 0.6, None)
        ended = {"status": "succeeded", "metrics": {"predict_time": 100.0}, "completed_at": "2026-03-10T10:31:40Z"}
        await served.event(submitted["provider_job_id"], **ended)
        assert (await served.get(f"/api/cloud/jobs/{submitted['job_id']}"))["job"]["cost_usd"] == 1.0
        assert (await served.get("/api/cloud/cost-limit/status"))["spent"] == 1.0


async def test_the_warning_of_a_limit_is_kept_with_the_job(served: Served) -> None:
    limit = {"cost_limit_enabled": True, "cost_limit_amount": 0.0, "cost_limit_action": "warn"}
    await served.call("PUT", "/api/cloud/providers/replicate", json=limit)
    key = {"Idempotency-Key": "warned"}
    first = await served.call("POST", SUBMIT, json=ORDER, headers=key, status=201)
    assert "cost limit is $0.00" in first["cost_limit_warning"]
    again = await served.call("POST", SUBMIT, json=ORDER, headers=key, status=200)
    assert again["cost_limit_warning"] == first["cost_limit_warning"]


async def test_the_days_of_a_cost_limit_are_those_of_the_time_zone(tmp_path: Path, sandbox: Sandbox) -> None:
    """In Apia, 13 hours ahead, a day begins at 11:00 UTC."""
    now = datetime(2026, 3, 10, 10, 30, tzinfo=UTC)
    environ = {"REPLICATE_API_TOKEN": sandbox.api_token, "TUNERD_TIME_ZONE": "Pacific/Apia"}
    order, status = {**ORDER, "hardware": "gpu-t4"}, "/api/cloud/cost-limit/status"
    limit = {"cost_limit_enabled": True, "cost_limit_amount": 0.3, "cost_limit_period": "daily"}
    async with running_app(
        tmp_path,
        replicate_url=sandbox.url,
        environ=environ,
        clock=lambda: now.timestamp(),  # noqa: PLW0108 - it moves
    ) as served:
        provider_id = (await served.call("POST", SUBMIT, json=order, status=201))["provider_job_id"]
        ended = {"status": "succeeded", "completed_at": "2026-03-10T10:20:00Z", "metrics": {"predict_time": 1000.0}}
        await served.event(provider_id, **ended)
        await served.call("PUT", "/api/cloud/providers/replicate", json={**limit, "cost_limit_action": "block"})
        before = await served.get(status)
        await served.problem("POST", SUBMIT, json=order, status=403, code="cost_limit_exceeded")
        now = now.replace(hour=11)
        after = await served.get(status)
        spend = (await served.get("/api/cloud/providers/replicate/billing"))["spend"]
        await served.call("POST", SUBMIT, json=order, status=201)
    assert (before["spent"], before["period_start"]) == (0.225, "2026-03-09T11:00:00.000Z")
    assert (before["period_end"], after["period_start"]) == ("2026-03-10T11:00:00.000Z", "2026-03-10T11:00:00.000Z")
    assert (after["spent"], spend["today"], spend["month"]) == (0.0, 0.0, 0.225)


async def test_how_far_a_submit_is(served: Served) -> None:
    path, key = f"{SUBMIT}/progress", {"Idempotency-Key": "watched"}
    nothing = {"stage": None, "job_id": None, "bytes_done": None, "bytes_total": None}
    assert await served.call("GET", path, headers=key, status=200) == nothing
    await served.problem("GET", path, status=400, code="invalid_request")
    (wanted,) = (await served.get("/openapi.json"))["paths"][path]["get"]["parameters"]
    assert (wanted["name"], wanted["in"], wanted["required"]) == ("Idempotency-Key", "header", True)
    submitted = await served.call("POST", SUBMIT, json=ORDER, headers=key, status=201)
    told = await served.call("GET", path, headers=key, status=200)
    assert told == {**nothing, "stage": "submitted", "job_id": submitted["job_id"]}
