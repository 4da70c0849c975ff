"""The page's login: the cookie it gives, what that opens, and how it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from daemon.web import sessions
from tests.support.clock import Clock
from tests.support.webapp import Served, running_app

TOKEN = "correct-horse-battery"
ELSEWHERE = {"Host": "tuner.example", "X-Forwarded-For": "203.0.113.9"}
PAGE = {**ELSEWHERE, "Accept": "text/html,*/*"}
ORIGIN = {"Origin": "https://tuner.example"}


@pytest.fixture
def clock() -> Clock:
    return Clock(1_800_000_000.0)


@pytest.fixture
async def served(tmp_path: Path, clock: Clock) -> AsyncIterator[Served]:
    async with running_app(tmp_path, environ={"TUNERD_ADMIN_TOKEN": TOKEN}, clock=clock) as served:
        yield served


async def ask(served: Served, method: str, path: str, **options: Any) -> tuple[aiohttp.ClientResponse, str]:
    """Without a cookie jar, and without following redirects."""
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.request(method, served.url + path, allow_redirects=False, **options) as answer,
    ):
        return answer, await answer.text()


async def log_in(served: Served, **headers: str) -> dict[str, str]:
    """The header that a browser sends from then on."""
    answer, _ = await ask(
        served, "POST", "/login", data={"token": f" {TOKEN}\n"}, headers={**ELSEWHERE, **ORIGIN, **headers}
    )
    assert answer.status == 303
    return {"Cookie": "; ".join(f"{name}={morsel.value}" for name, morsel in answer.cookies.items())}


async def test_a_page_leads_to_the_login_and_back(served: Served) -> None:
    answer, _ = await ask(served, "GET", "/jobs/p1?x=1", headers=PAGE)
    assert (answer.status, answer.headers["Location"]) == (303, "/login?next=%2Fjobs%2Fp1%3Fx%3D1")
    answer, text = await ask(served, "GET", answer.headers["Location"], headers=PAGE)
    assert answer.status == 200
    assert 'name="next" value="/jobs/p1?x=1"' in text
    answer, _ = await ask(
        served, "POST", "/login", data={"token": TOKEN, "next": "/jobs/p1?x=1"}, headers={**PAGE, **ORIGIN}
    )
    assert (answer.status, answer.headers["Location"]) == (303, "/jobs/p1?x=1")


@pytest.mark.parametrize("path", ["/api/cloud/jobs", "/metrics", "/nothing"])
async def test_programs_are_not_led_anywhere(served: Served, path: str) -> None:
    answer, _ = await ask(served, "GET", path, headers=ELSEWHERE)
    assert answer.status == 401
    answer, _ = await ask(served, "GET", "/", headers={**PAGE, "HX-Request": "true"})
    assert answer.status == 401


async def test_the_cookie(served: Served) -> None:
    answer, _ = await ask(served, "POST", "/login", data={"token": TOKEN}, headers={**ELSEWHERE, **ORIGIN})
    cookie = answer.cookies["tunerd"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "Strict", "/", "")
    behind_tls = {**ELSEWHERE, **ORIGIN, "X-Forwarded-Proto": "http, https"}
    answer, _ = await ask(served, "POST", "/login", data={"token": TOKEN}, headers=behind_tls)
    assert answer.cookies["__Host-tunerd"]["secure"] is True
    stored = (await served.store.sessions.all(now=0))[0]
    assert answer.cookies["__Host-tunerd"].value not in str(stored)


async def test_it_opens_the_page_and_the_api(served: Served) -> None:
    cookie = await log_in(served)
    for path in ("/", "/api/cloud/jobs"):
        answer, _ = await ask(served, "GET", path, headers={**PAGE, **cookie})
        assert answer.status == 200
    settings = {"json": {"hardware": "gpu-h100"}}
    answer, _ = await ask(
        served, "PUT", "/api/cloud/providers/replicate", headers={**ELSEWHERE, **ORIGIN, **cookie}, **settings
    )
    assert answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
)
async def test_orders_of_other_sites_are_refused(served: Served, headers: dict[str, str]) -> None:
    cookie = await log_in(served)
    for path, method in (("/api/cloud/providers/replicate", "PUT"), ("/logout", "POST")):
        answer, text = await ask(served, method, path, headers={**ELSEWHERE, **cookie, **headers}, json={})
        assert (answer.status, '"cross_site"' in text) == (403, True)


async def test_a_login_that_another_site_sends_is_refused(served: Served) -> None:
    answer, _ = await ask(
        served, "POST", "/login", data={"token": TOKEN}, headers={**ELSEWHERE, "Origin": "https://evil.example"}
    )
    assert answer.status == 403
    assert not answer.cookies


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:x", "/login", ""]
)
async def test_it_never_leads_to_another_site(served: Served, target: str) -> None:
    answer, _ = await ask(
        served, "POST", "/login", data={"token": TOKEN, "next": target}, headers={**ELSEWHERE, **ORIGIN}
    )
    assert (answer.status, answer.headers["Location"]) == (303, "/")


async def test_guessing_is_slow(served: Served) -> None:
    statuses = []
    for _ in range(sessions.ATTEMPTS + 2):
        answer, text = await ask(served, "POST", "/login", data={"token": "guess"}, headers={**ELSEWHERE, **ORIGIN})
        statuses.append(answer.status)
    assert statuses[: sessions.ATTEMPTS] == [401] * sessions.ATTEMPTS
    assert statuses[-1] == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert "Too many attempts" in text
    other = {**ELSEWHERE, "X-Forwarded-For": "203.0.113.10"}
    answer, _ = await ask(served, "POST", "/login", data={"token": TOKEN}, headers={**other, **ORIGIN})
    assert answer.status == 303


@pytest.mark.parametrize("cookie", ["", "tunerd=", "tunerd=guess", "tunerd=\x80", "__Host-tunerd=x; tunerd=y"])
async def test_other_cookies_open_nothing(served: Served, cookie: str) -> None:
    answer, _ = await ask(served, "GET", "/api/cloud/jobs", headers={**ELSEWHERE, "Cookie": cookie})
    assert answer.status == 401


async def test_it_ends(served: Served, clock: Clock) -> None:
    cookie = await log_in(served)
    answer, _ = await ask(served, "POST", "/logout", headers={**ELSEWHERE, **ORIGIN, **cookie})
    assert (answer.status, answer.headers["Location"], answer.cookies["tunerd"].value) == (303, "/login", "")
    answer, _ = await ask(served, "GET", "/api/cloud/jobs", headers={**ELSEWHERE, **cookie})
    assert answer.status == 401

    cookie = await log_in(served)
    for _ in range(3):  # used, it goes on
        clock.now += sessions.UNUSED_SECONDS - 10
        answer, _ = await ask(served, "GET", "/api/cloud/jobs", headers={**ELSEWHERE, **cookie})
        assert answer.status == 200
    clock.now += sessions.UNUSED_SECONDS
    answer, _ = await ask(served, "GET", "/api/cloud/jobs", headers={**ELSEWHERE, **cookie})
    assert answer.status == 401


async def test_who_is_logged_in(served: Served) -> None:
    mine, other = await log_in(served, **{"User-Agent": "mine"}), await log_in(served, **{"User-Agent": "other"})
    listed = (await served.get("/api/cloud/sessions", headers={**ELSEWHERE, **mine}))["sessions"]
    assert {one["user_agent"]: one["current"] for one in listed} == {"mine": True, "other": False}
    assert {one["address"] for one in listed} == {"203.0.113.9"}
    _, text = await ask(served, "GET", "/settings/sessions", headers={**PAGE, **mine})
    assert "this one" in text
    ended = next(one["id"] for one in listed if not one["current"])
    await served.call("DELETE", f"/api/cloud/sessions/{ended}", headers={**ELSEWHERE, **ORIGIN, **mine})
    await served.problem(
        "DELETE", f"/api/cloud/sessions/{ended}", status=404, code="not_found", headers={**ELSEWHERE, **ORIGIN, **mine}
    )
    answer, _ = await ask(served, "GET", "/api/cloud/jobs", headers={**ELSEWHERE, **other})
    assert answer.status == 401
    await log_in(served)
    answer = await served.call("DELETE", "/api/cloud/sessions", headers={**ELSEWHERE, **ORIGIN, **mine})
    assert answer == {"success": True, "ended": 1}
    assert (await ask(served, "GET", "/api/cloud/jobs", headers={**ELSEWHERE, **mine}))[0].status == 200


async def test_another_admin_token_ends_every_login(tmp_path: Path) -> None:
    async with running_app(tmp_path, environ={"TUNERD_ADMIN_TOKEN": TOKEN}) as served:
        cookie = await log_in(served)
    for environ in ({"TUNERD_ADMIN_TOKEN": TOKEN + "2"}, {}):
        async with running_app(tmp_path, environ=environ) as served:
            answer, _ = await ask(served, "GET", "/api/cloud/jobs", headers={**ELSEWHERE, **cookie})
            assert answer.status == 401


async def test_without_a_token_the_login_says_what_to_do(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        _, text = await ask(served, "GET", "/login", headers=PAGE)
        assert "TUNERD_ADMIN_TOKEN" in text
        assert 'name="token"' not in text
        answer, _ = await ask(served, "POST", "/login", data={"token": ""}, headers={**ELSEWHERE, **ORIGIN})
        assert answer.status == 401


async def test_on_this_machine_no_login_is_asked_for(served: Served) -> None:
    answer, _ = await ask(served, "GET", "/login?next=/metrics", headers={"Accept": "text/html"})
    assert (answer.status, answer.headers["Location"]) == (303, "/metrics")
