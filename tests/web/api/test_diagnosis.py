"""The Health page's endpoint: every check once, each fault with its fix, faults made for real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from daemon.checks import machine
from daemon.sandbox import Sandbox
from tests.support.health import QUIET, checks
from tests.support.webapp import Served, running_app

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


async def test_all_is_well_beside_a_sandbox(tmp_path: Path, sandbox: Sandbox) -> None:
    environ = QUIET | {"REPLICATE_API_TOKEN": sandbox.api_token}
    async with running_app(tmp_path, replicate_url=sandbox.url, environ=environ) as served:
        await served.call("PUT", "/api/cloud/providers/replicate", json={"webhook_url": served.url})
        found = await checks(served)
    bad = {name: check["detail"] for name, check in found.items() if check["status"] == "fail"}
    assert bad == {}
    for name in (
        "token",
        "token_valid",
        "api",
        "clock",
        "signing_secret",
        "webhook_reached",
        "webhook_body",
        "database",
    ):
        assert found[name]["status"] == "ok", found[name]
    assert "sandbox" not in found["token"]["detail"]
    assert sandbox.api_token not in str(found)


async def test_no_token(tmp_path: Path, sandbox: Sandbox) -> None:
    async with running_app(tmp_path, replicate_url=sandbox.url, environ=QUIET) as served:
        found = await checks(served)
    assert (found["token"]["status"], found["signing_secret"]["status"]) == ("fail", "fail")
    assert "REPLICATE_API_TOKEN not set" in found["token"]["detail"]


@pytest.mark.parametrize(("given", "says"), [("hello", "does not begin with r8_"), ("r8_wrong token", "blanks")])
async def test_a_token_of_the_wrong_form(tmp_path: Path, sandbox: Sandbox, given: str, says: str) -> None:
    environ = QUIET | {"REPLICATE_API_TOKEN": given}
    async with running_app(tmp_path, replicate_url=sandbox.url, environ=environ) as served:
        found = await checks(served)
    assert found["token"]["status"] == "fail"
    assert says in found["token"]["detail"]


async def test_a_token_that_replicate_refuses(tmp_path: Path, sandbox: Sandbox) -> None:
    environ = QUIET | {"REPLICATE_API_TOKEN": "r8_wrongwrongwrong"}
    async with running_app(tmp_path, replicate_url=sandbox.url, environ=environ) as served:
        found = await checks(served)
    assert (found["token"]["status"], found["token_valid"]["status"]) == ("ok", "fail")
    assert "Invalid token" in found["token_valid"]["detail"]


@pytest.mark.parametrize(("off", "status"), [(-100, "warn"), (100, "warn"), (3600, "fail")])
async def test_a_clock_that_is_wrong(tmp_path: Path, off: int, status: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=401, headers={"Date": formatdate(time.time() - off, usegmt=True)})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server, running_app(tmp_path, replicate_url=_url(server), environ=QUIET) as served:
        found = await checks(served)
    assert found["clock"]["status"] == status
    assert ("ahead of" if off > 0 else "behind") in found["clock"]["detail"]
    assert "timedatectl" in found["clock"]["fix"]


async def test_an_api_that_nobody_answers(tmp_path: Path) -> None:
    async with running_app(tmp_path, environ=QUIET | {"REPLICATE_API_TOKEN": "r8_abcdefghijkl"}) as served:
        found = await checks(served)
    assert found["api"]["status"] == "fail"
    assert "proxy" in found["api"]["fix"]
    assert found["token_valid"]["status"] == "unknown"


async def _in_front(served: Served, tmp_path: Path, answer: Any) -> dict[str, Any]:
    """The checks, while the webhook URL leads to something that ``answer`` plays."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        await served.call("PUT", "/api/cloud/providers/replicate", json={"webhook_url": _url(server)})
        return await checks(served)


async def test_a_webhook_url_that_redirects(tmp_path: Path) -> None:
    async with running_app(tmp_path, environ=QUIET | {"TUNERD_WEBHOOK_SECRET": SECRET}) as served:

        async def redirect(request: web.Request) -> web.Response:
            raise web.HTTPMovedPermanently(served.url + request.path)

        found = await _in_front(served, tmp_path, redirect)
    assert found["webhook_reached"]["status"] == "fail"
    assert "redirect" in found["webhook_reached"]["detail"]
    assert "curl -X POST" in found["webhook_reached"]["fix"]


async def test_a_proxy_that_refuses_large_bodies(tmp_path: Path) -> None:
    async with running_app(tmp_path, environ=QUIET | {"TUNERD_WEBHOOK_SECRET": SECRET}) as served:

        async def forward(request: web.Request) -> web.Response:
            body = await request.read()
            if len(body) > 1024 * 1024:  # nginx as it comes
                return web.Response(status=413, text="<h1>413 Request Entity Too Large</h1>")
            headers = {name: value for name, value in request.headers.items() if name.lower().startswith("webhook-")}
            async with served.session.post(served.url + request.path, data=body, headers=headers) as answer:
                return web.Response(status=answer.status, body=await answer.read())

        found = await _in_front(served, tmp_path, forward)
    assert found["webhook_reached"]["status"] == "ok"
    assert found["webhook_body"]["status"] == "fail"
    assert "client_max_body_size" in found["webhook_body"]["fix"]


async def test_a_job_that_waits_for_long_names_the_status_page(tmp_path: Path) -> None:
    now = time.time()
    async with running_app(tmp_path, environ=QUIET, clock=lambda: now + 7200) as served:
        await served.event("waiting", status="starting")
        found = await checks(served)
    assert found["queued"]["status"] == "warn"
    assert "status page cannot be read" in found["queued"]["detail"]


async def test_running_jobs_without_a_webhook_are_told(tmp_path: Path) -> None:
    now = time.time()
    environ = QUIET | {"TUNERD_WEBHOOK_SECRET": SECRET}
    async with running_app(tmp_path, environ=environ, clock=lambda: now + 3600) as served:
        await served.event("silent", source="poll", status="processing")
        await served.call("PUT", "/api/cloud/providers/replicate", json={"webhook_url": served.url})
        found = await checks(served)
        assert found["webhook_events"]["status"] == "fail"


async def test_jobs_that_ran_out_of_memory_are_told_what_helps(tmp_path: Path) -> None:
    async with running_app(tmp_path, environ=QUIET) as served:
        await served.event("oom", status="failed", error="CUDA out of memory. Tried to allocate 2 GiB")
        found = await checks(served)
    assert found["failures"]["status"] == "warn"
    assert "gradient checkpointing" in found["failures"]["fix"]


async def test_a_full_disk_and_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "DISK_WARN", 2**60)
    monkeypatch.setattr(machine, "DISK_FAIL", 2**59)
    environ = QUIET | {"TUNERD_DATA_DIR": str(tmp_path / "data")}
    async with running_app(tmp_path, environ=environ) as served:
        await served.store.secrets.put("x", "y", now=1.0)
        (tmp_path / "data").chmod(0o755)
        (tmp_path / "data" / "secret.key").chmod(0o644)
        found = await checks(served)
    assert found["disk"]["status"] == "fail"
    assert found["permissions"]["status"] == "warn"
    assert "secret.key (0644)" in found["permissions"]["detail"]


async def test_a_destination_that_cannot_be_written_to(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    async with running_app(tmp_path, environ=QUIET) as served:
        body = {"destinations": [{"name": "local", "type": "local", "options": {"path": str(blocked / "x")}}]}
        await served.call("PUT", "/api/cloud/publishing", json=body)
        found = await checks(served)
    assert found["destinations"]["status"] == "fail"


async def test_the_proxy_is_shown_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://user:hunter2@proxy.example:3128")
    async with running_app(tmp_path, environ=QUIET) as served:
        found = await checks(served)
    assert found["proxy"]["status"] == "warn"  # even the loopback stand-in goes through it
    assert "proxy.example:3128" in found["proxy"]["detail"]
    assert "hunter2" not in str(found)


async def test_a_minute_of_pages_asks_once(tmp_path: Path) -> None:
    async with running_app(tmp_path, environ=QUIET) as served:
        first = await served.get("/api/cloud/health")
        assert await served.get("/api/cloud/health") == first
        both = await asyncio.gather(*(served.get("/api/cloud/health?fresh=true") for _ in range(3)))
        assert all(answer["checked_at"] > first["checked_at"] for answer in both)
        await served.problem("GET", "/api/cloud/health?fresh=maybe", status=400, code="invalid_request")


def _url(server: TestServer) -> str:
    return str(server.make_url("")).rstrip("/")
