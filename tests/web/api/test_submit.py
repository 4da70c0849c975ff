"""Submitting through the API: what reaches the sandbox, and how a refusal is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
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
