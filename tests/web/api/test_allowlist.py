"""The IP rule: modes, the feed beside the list, what is told of it; the listed addresses alone as ever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpServer

from daemon.web.allowlist import ALLOWLIST
from daemon.web.rejected import MOST
from tests.support.webapp import Served, running_app

HOOK = "/api/webhooks/replicate"
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
SETTINGS = "/api/cloud/providers/replicate"


def page(*networks: str) -> dict[str, Any]:
    return {"prefixes": [{"ipv4Prefix": network, "service": "x", "scope": "us-west1"} for network in networks]}


@pytest.fixture
async def feed(aiohttp_server: AiohttpServer) -> dict[str, Any]:
    content: dict[str, Any] = {"page": page("34.82.0.0/15"), "status": 200}

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=content["status"], text=json.dumps(content["page"]))

    app = web.Application()
    app.router.add_get("/cloud.json", answer)
    server = await aiohttp_server(app)
    content["url"] = str(server.make_url("/cloud.json"))
    return content


@pytest.fixture
async def served(tmp_path: Path, feed: dict[str, Any]) -> AsyncIterator[Served]:
    environ = {"TUNERD_IP_RANGES_URL": feed["url"], "TUNERD_WEBHOOK_SECRET": SECRET}
    async with running_app(tmp_path, environ=environ) as running:
        yield running


async def knock(served: Served, address: str) -> str:
    """The code of the answer to an unsigned webhook from ``address``, through a proxy on this machine."""
    async with served.session.post(served.url + HOOK, data=b"{}", headers={"X-Forwarded-For": address}) as answer:
        return str((await answer.json(content_type=None))["code"])


async def mode(served: Served, word: str, *listed: str) -> None:
    await served.call("PUT", SETTINGS, json={"webhook_ip_mode": word, "webhook_allowed_ips": list(listed)})
    if word != "off":
        await served.call("POST", "/api/cloud/allowlist/refresh", json={})


async def test_off_the_listed_addresses_alone_decide(served: Served) -> None:
    assert await knock(served, "6.6.6.6") == "signature_missing"  # nothing is listed
    await mode(served, "off", "192.0.2.0/24")
    assert await knock(served, "192.0.2.7") == "signature_missing"
    assert await knock(served, "34.82.1.1") == "ip_not_allowed"


async def test_enforce_lets_the_list_and_the_feed_in(served: Served) -> None:
    await mode(served, "enforce", "192.0.2.0/24")
    assert await knock(served, "34.83.1.1") == "signature_missing"
    assert await knock(served, "192.0.2.7") == "signature_missing"
    assert await knock(served, "35.185.0.1") == "ip_not_allowed"
    assert await knock(served, "::ffff:34.82.1.1") == "signature_missing"


async def test_log_only_lets_everybody_in_and_tells(served: Served) -> None:
    await mode(served, "log-only")
    assert await knock(served, "35.185.0.1") == "signature_missing"
    assert await knock(served, "35.185.0.1") == "signature_missing"
    assert await knock(served, "34.82.0.1") == "signature_missing"
    rejections = (await served.get("/api/cloud/allowlist"))["rejections"]
    assert [(one["address"], one["count"], one["path"]) for one in rejections] == [("35.185.0.1", 2, HOOK)]


async def test_enforce_without_ranges_is_not_ready_and_never_open(served: Served, feed: dict[str, Any]) -> None:
    feed["status"] = 500
    await mode(served, "enforce", "192.0.2.0/24")
    assert await knock(served, "34.82.1.1") == "not_ready"
    assert await knock(served, "192.0.2.7") == "signature_missing"
    view = await served.get("/api/cloud/allowlist")
    assert "500" in view["feed"]["error"]
    feed["status"] = 200
    await served.call("POST", "/api/cloud/allowlist/refresh")
    assert await knock(served, "34.82.1.1") == "signature_missing"
    feed["page"] = page()
    await served.call("POST", "/api/cloud/allowlist/refresh")
    assert await knock(served, "34.82.1.1") == "signature_missing"
    assert await knock(served, "6.6.6.6") == "ip_not_allowed"


async def test_what_is_in_force_is_shown_with_its_age(served: Served, feed: dict[str, Any]) -> None:
    await mode(served, "enforce", "192.0.2.7")
    view = await served.get("/api/cloud/allowlist")
    assert (view["mode"], view["listed"]) == ("enforce", ["192.0.2.7"])
    assert view["feed"]["ranges"] == ["34.82.0.0/15"]
    assert view["feed"]["url"] == feed["url"]
    assert 0 <= view["feed"]["age_seconds"] < 60
    assert view["trusted_proxies"] == ["127.0.0.1", "::1"]


async def test_a_large_change_waits_until_it_is_accepted(served: Served, feed: dict[str, Any]) -> None:
    await mode(served, "enforce")
    feed["page"] = page("35.185.0.0/18")
    view = await served.call("POST", "/api/cloud/allowlist/refresh", json={})
    assert view["feed"]["ranges"] == ["34.82.0.0/15"]
    assert view["feed"]["alarm"]
    view = await served.call("POST", "/api/cloud/allowlist/refresh", json={"accept": True})
    assert (view["feed"]["ranges"], view["feed"]["alarm"]) == (["35.185.0.0/18"], None)
    await served.problem(
        "POST", "/api/cloud/allowlist/refresh", json={"acept": True}, status=400, code="invalid_request"
    )


@pytest.mark.parametrize(
    ("query", "verdict", "rule"),
    [
        ({"address": "34.82.5.5"}, "let in", "feed (us-west1)"),
        ({"address": "192.0.2.7"}, "let in", "webhook_allowed_ips"),
        ({"address": "6.6.6.6"}, "refused", "webhook_ip_mode enforce"),
        ({"address": "127.0.0.1", "forwarded_for": "34.82.5.5"}, "let in", "feed (us-west1)"),
        ({"address": "127.0.0.1", "forwarded_for": "34.82.5.5, 6.6.6.6"}, "refused", "webhook_ip_mode enforce"),
        ({"address": "127.0.0.1", "forwarded_for": "who?"}, "refused", "forwarded_invalid"),
    ],
)
async def test_a_verdict_is_explained(served: Served, query: dict[str, str], verdict: str, rule: str) -> None:
    await mode(served, "enforce", "192.0.2.0/24")
    found = await served.get("/api/cloud/allowlist/explain", params=query)
    assert found["verdict"] == verdict
    assert found["rule"].startswith(rule)
    assert found["hops"]
    expected = {"let in": {"signature_missing"}, "refused": {"ip_not_allowed", "forwarded_invalid"}}[verdict]
    if "forwarded_for" in query:
        assert await knock(served, query["forwarded_for"]) in expected


async def test_what_is_no_address_is_not_explained(served: Served) -> None:
    await served.problem("GET", "/api/cloud/allowlist/explain", status=400, code="invalid_request")
    await served.problem("GET", "/api/cloud/allowlist/explain?address=me", status=400, code="invalid_request")


async def test_strangers_do_not_fill_the_memory(served: Served) -> None:
    await mode(served, "log-only")
    addresses = [f"35.{number // 250}.{number % 250}.9" for number in range(3 * MOST)]
    for start in range(0, len(addresses), 20):
        await asyncio.gather(*(knock(served, address) for address in addresses[start : start + 20]))
    assert len((await served.get("/api/cloud/allowlist"))["rejections"]) == MOST
    assert len(served.app[ALLOWLIST]._logged) <= MOST


async def test_the_mode_is_checked_as_any_setting(served: Served) -> None:
    for body in ({"webhook_ip_mode": "on"}, {"webhook_ip_scopes": ["US West"]}, {"webhook_ip_scopes": []}):
        await served.problem("PUT", SETTINGS, json=body, status=400, code="invalid_setting")
    settings = await served.get(SETTINGS)
    assert (settings["webhook_ip_mode"], settings["webhook_ip_scopes"]) == ("off", ["us-west1"])
