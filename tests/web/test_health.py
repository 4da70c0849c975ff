"""Liveness and readiness."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from daemon.errors import NotReady
from daemon.web import health
from daemon.web.application import begin_drain
from tests.support.webapp import running_app


async def good() -> str | None:
    return "pinned by the environment"


async def not_ready() -> str | None:
    raise NotReady("The disk is full. Make room.")


async def broken() -> str | None:
    raise ValueError("a secret word")


async def hangs() -> str | None:
    await asyncio.sleep(60)
    return None


async def test_alive(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        assert await served.get("/healthz") == {"status": "alive"}


async def test_ready_with_each_check_named(tmp_path: Path) -> None:
    async with running_app(tmp_path, checks={"secret": good}) as served:
        assert await served.get("/readyz") == {
            "ready": True,
            "checks": {
                "secret": {"ok": True, "detail": "pinned by the environment"},
                "draining": {"ok": True, "detail": None},
            },
        }
        begin_drain(served.app)
        async with served.session.get(f"{served.url}/readyz") as answer:
            assert answer.status == 503
            assert answer.content_type == "application/problem+json"
            found = await answer.json()
        assert (found["status"], found["code"]) == (503, "not_ready")
        assert found["detail"] == "draining: The daemon is stopping."
        assert found.keys() >= {"type", "title"}
        assert found["checks"]["draining"]["ok"] is False


async def test_not_ready_says_why_and_is_quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.1)
    checks = {"secret": good, "store": not_ready, "worker": broken, "slow": hangs}
    async with running_app(tmp_path, checks=checks) as served, served.session.get(f"{served.url}/readyz") as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        found = await answer.json()
    assert found["ready"] is False
    assert {name: check["ok"] for name, check in found["checks"].items()} == {
        "secret": True, "store": False, "worker": False, "slow": False, "draining": True,
    }  # fmt: skip
    assert found["checks"]["store"]["detail"] == "The disk is full. Make room."
    assert "secret word" not in str(found)
