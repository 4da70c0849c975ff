"""Who is the admin, and what a browser on another site is refused."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from daemon.web.application import endpoints
from daemon.web.endpoint import Endpoint
from daemon.web.middleware import public_paths
from tests.support.webapp import Served, running_app

JOBS = "/api/cloud/jobs"
TOKEN = "correct-horse-battery"


@pytest.fixture
async def open_served(tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path) as served:
        yield served


@pytest.fixture
async def token_served(tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path, environ={"TUNERD_ADMIN_TOKEN": TOKEN}) as served:
        yield served


async def status_of(served: Served, path: str = JOBS, method: str = "GET", **headers: str) -> tuple[int, str | None]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with served.session.request(method, served.url + path, headers=given) as answer:
        if answer.status == 200:
            return 200, None
        assert answer.content_type == "application/problem+json"
        return answer.status, (await answer.json(content_type=None))["code"]


UNAUTHORIZED = (401, "unauthorized")
CROSS_SITE = (403, "cross_site")
FORWARDING = [
    "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Anything", "X-Real-IP",
    "CF-Connecting-IP", "True-Client-IP", "x-real-ip", "Via", "Cf-Ray",
]  # fmt: skip


async def test_straight_from_loopback(open_served: Served) -> None:
    assert await status_of(open_served) == (200, None)
    port = open_served.url.rpartition(":")[2]
    for host in ("localhost", f"localhost:{port}", "127.0.0.1", "[::1]", f"[::1]:{port}", "127.8.9.1", "LOCALHOST."):
        assert await status_of(open_served, Host=host) == (200, None)


@pytest.mark.parametrize("name", FORWARDING)
async def test_a_forwarding_header_means_somebody_else(open_served: Served, name: str) -> None:
    assert await status_of(open_served, **{name: "127.0.0.1"}) == UNAUTHORIZED
    assert await status_of(open_served, **{name: "127.0.0.1", "Authorization": "Bearer x"}) == UNAUTHORIZED


@pytest.mark.parametrize(
    "host",
    ["tuner.example", "evil.example:8080", "127.0.0.1.nip.io", "192.0.2.1", "localhost.evil.example", "evil@localhost",
     "localhost/x", "", "0.0.0.0", "[::2]", "[::1"],
)  # fmt: skip
async def test_another_host_name_means_a_proxy_or_a_rebound_name(open_served: Served, host: str) -> None:
    assert await status_of(open_served, Host=host) == UNAUTHORIZED


async def test_public_endpoints_need_nothing(open_served: Served) -> None:
    for path in ("/healthz", "/readyz"):
        assert await status_of(open_served, path, Host="tuner.example", X_Forwarded_For="203.0.113.9") == (200, None)


OPEN = {"/api/webhooks/replicate", "/healthz", "/readyz", "/login", "/static/{digest}/{folder}/{name}"}


def test_what_is_open_is_what_its_endpoint_says() -> None:
    assert {endpoint.path for endpoint in endpoints() if endpoint.public} == OPEN


@pytest.mark.parametrize("public", [(True, False), (False, True)], ids=str)
def test_a_path_is_open_where_all_its_endpoints_are(public: tuple[bool, bool]) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response()

    get, post = (
        Endpoint(method, "/x", handler, "", {}, public=one) for method, one in zip(("GET", "POST"), public, strict=True)
    )
    open_, shut = Endpoint("GET", "/open", handler, "", {}, public=True), Endpoint("GET", "/shut", handler, "", {})
    assert public_paths([get, post, open_, shut]) == {"/open"}


@pytest.mark.parametrize("endpoint", endpoints(), ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
async def test_every_endpoint_keeps_to_what_it_says(open_served: Served, endpoint: Endpoint) -> None:
    path = re.sub(r"\{[^}]*\}", "1", endpoint.path)
    elsewhere = {"Host": "tuner.example", "X-Forwarded-For": "203.0.113.9"}
    async with open_served.session.request(
        endpoint.method, open_served.url + path, headers=elsewhere, allow_redirects=False
    ) as answer:
        body = await answer.read()
    refused = (answer.status == 401 and b'"unauthorized"' in body) or (answer.status == 303)
    assert refused != endpoint.public, (answer.status, body[:200])


@pytest.mark.parametrize("path", ["/metrics", "/openapi.json", "/", "/nothing", JOBS, "/healthz/x"])
async def test_everything_else_needs_the_admin(open_served: Served, path: str) -> None:
    assert await status_of(open_served, path, X_Forwarded_For="203.0.113.9") == UNAUTHORIZED


async def test_the_token_opens_from_anywhere(token_served: Served) -> None:
    elsewhere = {"Host": "tuner.example", "X-Forwarded-For": "203.0.113.9"}
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert await status_of(token_served, **elsewhere, Authorization=f"{scheme} {TOKEN}") == (200, None)
    for wrong in ("", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer é"):
        assert await status_of(token_served, **elsewhere, Authorization=wrong) == UNAUTHORIZED
    assert await status_of(token_served, **elsewhere) == UNAUTHORIZED


async def test_loopback_stays_the_admin_beside_a_token(token_served: Served) -> None:
    assert await status_of(token_served) == (200, None)
    assert await status_of(token_served, Authorization="Bearer wrong-token") == UNAUTHORIZED


async def test_the_answer_says_how_to_authenticate(token_served: Served) -> None:
    async with token_served.session.get(token_served.url + JOBS, headers={"Host": "tuner.example"}) as answer:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert TOKEN not in await answer.text()


async def test_a_unix_socket_needs_the_token(token_served: Served, tmp_path: Path) -> None:
    runner = token_served.server.runner
    assert runner is not None
    path = tmp_path / "s"
    await web.UnixSite(runner, path).start()
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        async with session.get(f"http://localhost{JOBS}") as answer:
            assert answer.status == 401
        async with session.get(f"http://localhost{JOBS}", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            assert answer.status == 200
        async with session.get("http://localhost/healthz") as answer:
            assert answer.status == 200


async def test_malformed_forwarding_is_refused_everywhere_but_on_probes(open_served: Served) -> None:
    assert await status_of(open_served, X_Forwarded_For="garbage") == (400, "forwarded_invalid")
    assert await status_of(open_served, "/healthz", X_Forwarded_For="garbage") == (200, None)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost", "", "http://["]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_origins(open_served: Served, origin: str, method: str) -> None:
    assert await status_of(open_served, JOBS, method, Origin=origin) == CROSS_SITE


async def test_our_own_pages(token_served: Served) -> None:
    assert await status_of(token_served, Origin=token_served.url, Sec_Fetch_Site="same-origin") == (200, None)
    token = {"Authorization": f"Bearer {TOKEN}"}
    # Behind a proxy that ends TLS and passes the Host header on.
    assert await status_of(token_served, Origin="https://tuner.example", Host="tuner.example", **token) == (200, None)
    assert await status_of(token_served, Origin="https://Tuner.example", Host="tuner.example:443", **token) == (
        200,
        None,
    )
    assert await status_of(token_served, Origin="https://evil.example", Host="tuner.example", **token) == CROSS_SITE


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_fetches_of_other_sites(open_served: Served, site: str) -> None:
    assert await status_of(open_served, Sec_Fetch_Site=site) == CROSS_SITE
    assert await status_of(open_served, Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors") == CROSS_SITE
    assert await status_of(open_served, "/x", "POST", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate") == CROSS_SITE
    frame = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    assert await status_of(open_served, Sec_Fetch_Site=site, **frame) == CROSS_SITE


async def test_a_link_may_be_followed(open_served: Served) -> None:
    for site in ("none", "cross-site", "same-site", "same-origin"):
        link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert await status_of(open_served, **link) == (200, None)
