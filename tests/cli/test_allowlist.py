"""``tunerd allowlist`` against a running daemon."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.daemon import Daemon, running_daemon


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async def answer(_request: web.Request) -> web.Response:
        prefixes = [{"ipv4Prefix": "34.82.0.0/15", "service": "x", "scope": "us-west1"}]
        return web.Response(text=json.dumps({"prefixes": prefixes}))

    app = web.Application()
    app.router.add_get("/cloud.json", answer)
    home = tmp_path / "home"
    home.mkdir()
    async with TestServer(app) as server:
        given = {"TUNERD_IP_RANGES_URL": str(server.make_url("/cloud.json")), "TUNERD_WEBHOOK_IP_MODE": "enforce"}
        async with running_daemon(home, **given) as running:
            yield running


async def test_show_refresh_and_explain(tunerd, daemon: Daemon) -> None:
    here = {"TUNERD_URL": daemon.url}
    refreshed = await tunerd("allowlist", "refresh", **here)
    assert (refreshed.code, "34.82.0.0/15" in refreshed.out) == (0, True)
    async with daemon.session.post(
        daemon.url + "/api/webhooks/replicate", data=b"{}", headers={"X-Forwarded-For": "6.6.6.6"}
    ) as answer:
        assert answer.status == 403
    shown = await tunerd("allowlist", "show", **here)
    assert shown.code == 0
    assert all(word in shown.out for word in ("enforce", "us-west1", "6.6.6.6", "age"))
    assert (await tunerd("allowlist", "show", "--json", **here)).json()["rejections"][0]["count"] == 1
    inside = await tunerd("allowlist", "explain", "127.0.0.1", "--forwarded-for", "6.6.6.6, 34.83.0.1", **here)
    assert (inside.code, "let in  (feed (us-west1))" in inside.out) == (0, True)
    outside = await tunerd("allowlist", "explain", "6.6.6.6", **here)
    assert (outside.code, "refused" in outside.out) == (1, True)
    assert (await tunerd("allowlist", "explain", "me", **here)).code == 1
    assert (await tunerd("allowlist", **here)).code == 2


async def test_a_refresh_that_fails_says_why(tunerd, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    async with running_daemon(home, TUNERD_IP_RANGES_URL="http://127.0.0.1:9/cloud.json") as running:
        failed = await tunerd("allowlist", "refresh", TUNERD_URL=running.url)
    assert failed.code == 1
    assert "http://127.0.0.1:9/cloud.json was not taken over" in failed.err
