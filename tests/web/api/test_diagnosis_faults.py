"""Every other check of the Health page, made to complain once by the fault itself."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from daemon.checks import machine
from daemon.store.sole import Holder
from tests.support.health import QUIET, checks
from tests.support.webapp import Served, running_app

HOOK = "/api/webhooks/replicate"
SETTINGS = "/api/cloud/providers/replicate"
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
FILE = "https://replicate.delivery/pbxt/a/weights.safetensors"
RANGES = {"prefixes": [{"ipv4Prefix": "34.82.0.0/15", "service": "x", "scope": "us-west1"}]}
INCIDENT = {"id": "01", "name": "Elevated errors", "status": "investigating", "url": "https://status.example/1"}


@contextlib.asynccontextmanager
async def page(content: object) -> AsyncIterator[str]:
    """The URL of a JSON page."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(content)

    app = web.Application()
    app.router.add_get("/page.json", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/page.json"))


async def knock(served: Served, address: str) -> None:
    """An unsigned webhook from ``address``, through a proxy on this machine."""
    async with served.session.post(served.url + HOOK, data=b"{}", headers={"X-Forwarded-For": address}) as answer:
        await answer.read()


async def test_an_old_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_app(tmp_path, environ=QUIET) as served:
        assert (await checks(served))["sqlite"]["status"] == "ok"
        monkeypatch.setattr(machine, "SQLITE_LEAST", (99, 0, 0))
        found = (await checks(served))["sqlite"]
    assert found["status"] == "fail"
    assert "99.0.0" in found["fix"]


async def test_somebody_elses_daemon_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "site" / "python_daemon-3.1.2.dist-info" / "RECORD"
    record.parent.mkdir(parents=True)
    record.write_text("daemon/__init__.py,sha256=x,1\n")
    async with running_app(tmp_path, environ=QUIET) as served:
        assert (await checks(served))["package"]["status"] == "ok"
        monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
        found = (await checks(served))["package"]
    assert found["status"] == "fail"
    assert "python-daemon" in found["detail"]
    assert "venv" in found["fix"]


async def test_a_delivery_that_failed(tmp_path: Path) -> None:
    body = {"destinations": [{"name": "disk", "type": "local", "options": {}}]}
    async with running_app(tmp_path, environ=QUIET) as served:
        await served.call("PUT", "/api/cloud/publishing", json=body)
        job_id = (await served.event("done", status="succeeded", output=[FILE])).job_id
        assert job_id
        assert (await checks(served))["deliveries"]["status"] == "ok"
        await served.store.deliveries.update(
            job_id, "disk", generation=0, now=1.0, status="failed", error="no space left"
        )
        found = (await checks(served))["deliveries"]
    assert found["status"] == "warn"
    assert f"{job_id} to disk: no space left" in found["detail"]
    assert "tunerd redeliver" in found["fix"]


async def test_a_worker_that_stands_by_and_none_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[Holder | None] = [Holder("another", ours=False), None]

    async def holder(_now: float) -> Holder | None:
        return held.pop(0)

    async with running_app(tmp_path, environ=QUIET) as served:
        assert (await checks(served))["worker"]["detail"] == "This worker delivers."
        monkeypatch.setattr(served.store.sole, "holder", holder)
        found = (await checks(served))["worker"]
        assert found["status"] == "ok"
        assert "The worker on another delivers. This one stands by" in found["detail"]
        found = (await checks(served))["worker"]
    assert found["status"] == "fail"
    assert "--role worker" in found["fix"]


async def test_ranges_that_are_not_known(tmp_path: Path) -> None:
    environ = QUIET | {"TUNERD_IP_RANGES_URL": "http://127.0.0.1:9/cloud.json"}
    async with running_app(tmp_path, environ=environ) as served:
        for mode, status in (("log-only", "warn"), ("enforce", "fail")):
            await served.call("PUT", SETTINGS, json={"webhook_ip_mode": mode})
            found = (await checks(served))["allowlist"]
            assert (found["status"], "no ranges are known" in found["detail"]) == (status, True), found


async def test_an_address_that_was_turned_away_and_ranges_that_are_old(tmp_path: Path) -> None:
    now = time.time()
    async with page(RANGES) as url:
        environ = QUIET | {"TUNERD_IP_RANGES_URL": url, "TUNERD_WEBHOOK_SECRET": SECRET}
        async with running_app(tmp_path, environ=environ, clock=lambda: now) as served:
            await served.call("PUT", SETTINGS, json={"webhook_ip_mode": "enforce"})
            await served.call("POST", "/api/cloud/allowlist/refresh", json={})
            assert (await checks(served))["allowlist"]["status"] == "ok"
            await knock(served, "203.0.113.9")
            now += 1
            turned_away = (await checks(served))["allowlist"]
            now += 8 * 86_400
            old = (await checks(served))["allowlist"]
    assert turned_away["status"] == "warn"
    assert "1 from 203.0.113.9" in turned_away["detail"]
    assert "allowlist explain 203.0.113.9" in turned_away["fix"]
    assert (old["status"], "8 days old" in old["detail"]) == ("warn", True), old


async def test_an_incident_at_replicate(tmp_path: Path) -> None:
    summary = {"ongoing_incidents": [INCIDENT], "in_progress_maintenances": [], "scheduled_maintenances": []}
    async with page(summary) as url, running_app(tmp_path, environ={"TUNERD_STATUS_URL": url}) as served:
        found = (await checks(served))["status_page"]
    assert (found["status"], "Elevated errors" in found["detail"]) == ("warn", True), found


async def test_the_watchdog_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_app(tmp_path, environ=QUIET) as served:
        assert "No watchdog" in (await checks(served))["watchdog"]["detail"]
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        assert "after 30 s of silence" in (await checks(served))["watchdog"]["detail"]
        monkeypatch.setenv("WATCHDOG_PID", "1")  # meant for another process
        assert "No watchdog" in (await checks(served))["watchdog"]["detail"]
