"""The provider's settings and token through the API, with the sandbox as Replicate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from daemon import keys
from daemon.replicate.retry import NO_RETRY
from daemon.sandbox.server import Sandbox
from tests.support.webapp import Served, running_app

BASE = "/api/cloud/providers/replicate"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=100, seed=1) as sandbox:
        yield sandbox


@pytest.fixture
async def served(tmp_path: Path, sandbox: Sandbox) -> AsyncIterator[Served]:
    async with running_app(tmp_path, replicate_url=sandbox.url) as served:
        yield served


async def test_the_list_of_providers(served: Served) -> None:
    (provider,) = (await served.get("/api/cloud/providers"))["providers"]
    assert (provider["id"], provider["configured"]) == ("replicate", False)


async def test_settings_and_their_defaults(served: Served) -> None:
    for path in (BASE, f"{BASE}/config"):
        found = await served.get(path)
        assert found["model"] == "simpletuner/advanced-trainer"
        assert (found["webhook_url"], found["webhook_endpoint"], found["webhook_allowed_ips"]) == (None, None, [])
        assert found["webhook_require_signature"] is True
        assert (found["cost_limit_enabled"], found["cost_limit_period"], found["cost_limit_action"]) == (
            False, "monthly", "warn",
        )  # fmt: skip
        assert found["token"] == {"configured": False, "source": None, "hint": None}
        assert found["pinned"] == {}


async def test_a_change_is_partial_and_stays(served: Served) -> None:
    # The seed's own command line, without a JSON content type.
    body = b'{"webhook_allowed_ips": ["34.82.0.0/16", "35.185.0.0/16"]}'
    found = await served.call("PUT", BASE, data=body)
    assert found["webhook_allowed_ips"] == ["34.82.0.0/16", "35.185.0.0/16"]
    found = await served.call(
        "PUT", f"{BASE}/config", json={"webhook_url": "https://me.example/", "cost_limit_amount": 5}
    )
    assert found["webhook_endpoint"] == "https://me.example/api/webhooks/replicate"
    assert found["warnings"] == []
    assert (await served.get(BASE)) == found
    assert found["cost_limit_amount"] == 5
    found = await served.call("PUT", BASE, json={"webhook_url": "http://127.0.0.1:8080"})
    assert any("webhook_url" in warning for warning in found["warnings"])


async def test_what_is_shown_may_be_sent_back(served: Served) -> None:
    shown = await served.get(BASE)
    assert await served.call("PUT", BASE, json=shown) == shown
    changed = await served.call("PUT", BASE, json={**shown, "webhook_url": "https://tuner.example.com"})
    assert changed["webhook_endpoint"] == "https://tuner.example.com/api/webhooks/replicate"


@pytest.mark.parametrize(
    ("values", "code", "field"),
    [
        ({"model": "a/b", "webhook_endpoint": "https://example.com/x"}, "unknown_setting", "webhook_endpoint"),
        ({"model": "a/b", "token": "r8_x"}, "unknown_setting", "token"),
        ({"nonsense": 1, "model": "a/b"}, "unknown_setting", "nonsense"),
        ({"model": "a/b", "cost_limit_period": "yearly"}, "invalid_setting", "cost_limit_period"),
        ({"model": "a/b", "webhook_url": "http://example.com"}, "invalid_setting", "webhook_url"),
        ({"model": "a/b", "webhook_allowed_ips": ["300.0.0.1"]}, "invalid_setting", "webhook_allowed_ips"),
        ({"model": "a/b", "cost_limit_amount": "much"}, "invalid_setting", "cost_limit_amount"),
        ([], "invalid_request", None),
    ],
)
async def test_a_wrong_change_changes_nothing(served: Served, values: Any, code: str, field: str | None) -> None:
    problem = await served.problem("PUT", BASE, status=400, code=code, json=values)
    assert problem.get("field") == field
    assert (await served.get(BASE))["model"] == "simpletuner/advanced-trainer"


async def test_a_pinned_setting_is_shown_and_kept(tmp_path: Path) -> None:
    async with running_app(tmp_path, environ={"TUNERD_MODEL": "me/mine"}) as served:
        assert (await served.get(BASE))["pinned"]["model"] == "environment"
        problem = await served.problem(
            "PUT", BASE, status=409, code="setting_pinned", json={"model": "a/b", "hardware": "gpu-t4"}
        )
        assert problem["field"] == "model"
        found = await served.get(BASE)
        assert (found["model"], found["hardware"]) == ("me/mine", "gpu-l40s")


# -- token ---------------------------------------------------------------------------------


async def test_a_token_is_saved_validated_and_deleted(served: Served, sandbox: Sandbox) -> None:
    missing = await served.get(f"{BASE}/validate")
    assert (missing["valid"], missing["error"]) == (False, "REPLICATE_API_TOKEN not set")
    assert "tunerd token set" in missing["fix"]
    saved = await served.call("PUT", f"{BASE}/token", json={"api_token": f"  {sandbox.api_token}\n"})
    assert saved == {"success": True, "valid": True}
    found = await served.get(f"{BASE}/validate")
    assert (found["valid"], found["token_source"]) == (True, "stored")
    assert found["user_info"]["username"]
    shown = await served.get(BASE)
    assert shown["token"] == {"configured": True, "source": "stored", "hint": sandbox.api_token[-4:]}
    assert sandbox.api_token not in str(shown)
    assert await served.call("DELETE", f"{BASE}/token") == {"success": True}
    await served.problem("DELETE", f"{BASE}/token", status=404, code="token_not_stored")


async def test_a_wrong_token(served: Served) -> None:
    for token in ("", "abc", "r8_", "r8_with blank"):
        await served.problem("PUT", f"{BASE}/token", status=400, code="token_invalid_format", json={"api_token": token})
    for body, code in ((b"{", "invalid_json"), (b"{}", "invalid_request"), (b'{"api_token":1}', "invalid_request")):
        await served.problem("PUT", f"{BASE}/token", status=400, code=code, data=body)
    saved = await served.call("PUT", f"{BASE}/token", json={"api_token": "r8_wrong_but_well_formed"})
    assert (saved["success"], saved["valid"]) == (True, False)
    assert (await served.get(f"{BASE}/validate"))["error"].startswith("Invalid token")


async def test_a_token_of_the_environment_is_pinned(tmp_path: Path, sandbox: Sandbox) -> None:
    environ = {"REPLICATE_API_TOKEN": sandbox.api_token}
    async with running_app(tmp_path, replicate_url=sandbox.url, environ=environ) as served:
        assert (await served.get(f"{BASE}/validate"))["token_source"] == "environment"
        body = {"api_token": "r8_another_one_of_them"}
        await served.problem("PUT", f"{BASE}/token", status=409, code="setting_pinned", json=body)


async def test_replicate_is_down(tmp_path: Path) -> None:
    environ = {"REPLICATE_API_TOKEN": "r8_whatever_it_may_be"}
    async with running_app(tmp_path, environ=environ) as served:
        served.app[keys.CLIENT].policy = NO_RETRY
        await served.problem("GET", f"{BASE}/validate", status=502, code="provider_unavailable")
        await served.problem("GET", f"{BASE}/versions", status=502, code="provider_unavailable")


# -- versions ------------------------------------------------------------------------------


async def test_versions(served: Served, sandbox: Sandbox) -> None:
    await served.problem("GET", f"{BASE}/versions", status=409, code="token_missing")
    await served.call("PUT", f"{BASE}/token", json={"api_token": sandbox.api_token})
    found = await served.get(f"{BASE}/versions")
    times = [version["created_at"] for version in found["versions"]]
    assert times == sorted(times, reverse=True) != []
    newest = found["versions"][0]
    assert newest["full_version"] == f"simpletuner/advanced-trainer:{newest['id']}"
    assert found["current_version"] == newest["id"]
    await served.call("PUT", BASE, json={"version_override": "abc123"})
    assert (await served.get(f"{BASE}/versions"))["current_version"] == "abc123"
    problem = await served.problem("GET", f"{BASE}/versions?model=x", status=400, code="invalid_request")
    assert problem["field"] == "model"


async def test_the_status_page_is_never_an_error(tmp_path: Path) -> None:
    async with running_app(tmp_path, environ={"TUNERD_STATUS_URL": "http://127.0.0.1:9/"}) as served:
        found = await served.get("/api/cloud/replicate/status")
        assert (found["operational"], found["incidents"]) == (None, [])
        assert found["error"]
