"""Saved configurations, and submitting by their names."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from daemon.sandbox.server import Sandbox
from tests.support.webapp import Served, running_app

SUBMIT, CONFIGS = "/api/cloud/jobs/submit", "/api/cloud/configs"
CONFIG: dict[str, Any] = {"--model_type": "lora", "--model_family": "flux", "--max_train_steps": 1000}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with (
        Sandbox(seed=1) as sandbox,
        running_app(tmp_path, replicate_url=sandbox.url, environ={"REPLICATE_API_TOKEN": sandbox.api_token}) as served,
    ):
        yield served


async def test_saved_submitted_by_name_and_forgotten(served: Served) -> None:
    assert await served.get(CONFIGS) == {"configs": []}
    saved = await served.call("PUT", f"{CONFIGS}/flux%20cats", json={"config": CONFIG})
    assert saved == {"name": "flux cats", "config": CONFIG, "dataloader_config": None}
    dry = await served.call("POST", SUBMIT, json={"config_name": "flux cats", "dry_run": True})
    assert json.loads(dry["request"]["input"]["config_json"])["--max_train_steps"] == 1000
    submitted = await served.call("POST", SUBMIT, json={"config_name": "flux cats"}, status=201)
    assert (await served.get(f"/api/cloud/jobs/{submitted['job_id']}"))["job"]["config_name"] == "flux cats"

    other = {"config": {**CONFIG, "--max_train_steps": 7}, "dataloader_config": [{"id": "t", "type": "local"}]}
    await served.problem("PUT", f"{CONFIGS}/flux%20cats", json=other, status=400, code="dataset_empty")
    changed = await served.call("PUT", f"{CONFIGS}/flux%20cats", json={"config": other["config"]})
    assert await served.get(f"{CONFIGS}/flux%20cats") == changed
    assert await served.get(CONFIGS) == {"configs": [changed]}
    assert await served.call("DELETE", f"{CONFIGS}/flux%20cats") == {"success": True}
    for method in ("GET", "DELETE"):
        await served.problem(method, f"{CONFIGS}/flux%20cats", status=404, code="not_found")
    await served.problem("POST", SUBMIT, json={"config_name": "flux cats"}, status=400, code="config_invalid")


async def test_two_saved_at_once_are_both_there(served: Served) -> None:
    names = [f"c{number}" for number in range(8)]
    await asyncio.gather(*(served.call("PUT", f"{CONFIGS}/{name}", json={"config": CONFIG}) for name in names))
    assert [one["name"] for one in (await served.get(CONFIGS))["configs"]] == names


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("-x", {"config": CONFIG}, "invalid_request"),
        ("x", {"config": {}}, "config_invalid"),
        ("x", {"config": "text"}, "invalid_request"),
        ("x", {"config": CONFIG, "colour": 1}, "invalid_request"),
        ("x", {"config": {**CONFIG, "hub_token": "hf_abcdefghijklmnopqrstuvwx"}}, "config_invalid"),
    ],
)
async def test_what_is_not_saved(served: Served, name: str, body: Any, code: str) -> None:
    await served.problem("PUT", f"{CONFIGS}/{name}", json=body, status=400, code=code)
    assert await served.get(CONFIGS) == {"configs": []}
