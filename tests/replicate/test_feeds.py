"""The status page: both formats, and every way in which it can be of no help."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pytest_aiohttp.plugin import AiohttpServer

from daemon.replicate import feeds
from daemon.replicate.feeds import CACHE_SECONDS, MAX_BYTES, StatusFeed, parse_status

INCIDENT = (
    '{"id":"01","name":"Elevated errors","status":"investigating","url":"https://status.example/1",'
    '"last_update_at":"2026-01-05T10:00:00Z","last_update_message":"We look.","current_worst_impact":"partial_outage"}'
)
WIDGET_GOOD = '{"ongoing_incidents":[],"in_progress_maintenances":[],"scheduled_maintenances":[{"name":"later"}]}'
WIDGET_BAD = f'{{"ongoing_incidents":[{INCIDENT}],"in_progress_maintenances":[],"scheduled_maintenances":[]}}'
PAGE_GOOD = '{"page":{},"status":{"indicator":"none","description":"All Systems Operational"}}'
PAGE_BAD = (
    '{"status":{"indicator":"minor","description":"Partially Degraded Service"},"incidents":['
    '{"name":"Slow","status":"monitoring","impact":"minor","shortlink":"javascript:alert(1)",'
    '"incident_updates":[{"body":"Better."}]},{"name":"Old","status":"resolved"}]}'
)


@pytest.mark.parametrize(
    ("body", "operational", "description", "names"),
    [
        (WIDGET_GOOD, True, "All systems operational", []),
        (WIDGET_BAD, False, "Elevated errors", ["Elevated errors"]),
        (PAGE_GOOD, True, "All Systems Operational", []),
        (PAGE_BAD, False, "Partially Degraded Service", ["Slow"]),
    ],
)
def test_both_formats(body: str, operational: bool, description: str, names: list[str]) -> None:
    status = parse_status(body.encode())
    assert status is not None
    assert (status.operational, status.description) == (operational, description)
    assert [incident.name for incident in status.incidents] == names
    assert all((incident.url or "https://").startswith("https://") for incident in status.incidents)


@pytest.mark.parametrize(
    "body",
    ["<html>", "[]", "{}", '{"status":"ok"}', '{"ongoing_incidents":{}}', '{"status":{"indicator":3}}', ""],
)
def test_anything_else_is_not_known(body: str) -> None:
    assert parse_status(body.encode()) is None


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(-9, 9),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["ongoing_incidents", "status", "indicator", "incidents",
                                                       "in_progress_maintenances", "incident_updates", "name"]), inner),
                    max_leaves=20))  # fmt: skip
def test_parsing_is_total(page: object) -> None:
    import msgspec

    parse_status(msgspec.json.encode(page))


class StatusPage:
    """A status page whose answer the test chooses."""

    def __init__(self) -> None:
        self.calls = 0
        self.status, self.body, self.delay = 200, WIDGET_GOOD.encode(), 0.0

    async def answer(self, _request: web.Request) -> web.Response:
        self.calls += 1
        await asyncio.sleep(self.delay)
        return web.Response(status=self.status, body=self.body)


@pytest.fixture
async def page(aiohttp_server: AiohttpServer) -> tuple[StatusPage, str]:
    page = StatusPage()
    app = web.Application()
    app.router.add_get("/api/v1/summary", page.answer)
    server = await aiohttp_server(app)
    return page, str(server.make_url("/api/v1/summary"))


async def test_one_request_serves_all_for_a_minute(page: tuple[StatusPage, str]) -> None:
    status_page, url = page
    now = [1000.0]
    async with aiohttp.ClientSession() as session:
        feed = StatusFeed(session, url, lambda: now[0])
        answers = await asyncio.gather(*(feed.status() for _ in range(20)))
        assert {answer.operational for answer in answers} == {True}
        assert status_page.calls == 1
        now[0] += CACHE_SECONDS
        status_page.body = WIDGET_BAD.encode()
        assert (await feed.status()).operational is False
        assert status_page.calls == 2


@pytest.mark.parametrize(
    ("status", "body", "delay", "said"),
    [
        (503, b"", 0, "answered 503"),
        (200, b"<!doctype html>", 0, "format"),
        (200, b" " * (MAX_BYTES + 1), 0, "too long"),
        (200, b"{}", 30, "in time"),
    ],
    ids=["error", "html", "huge", "hangs"],
)
async def test_of_no_help(
    page: tuple[StatusPage, str], monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, delay: float, said: str
) -> None:
    status_page, url = page
    status_page.status, status_page.body, status_page.delay = status, body, delay
    assert feeds.TIMEOUT_SECONDS < 3  # what the API promises
    monkeypatch.setattr(feeds, "TIMEOUT_SECONDS", 0.2 if delay else 60.0)
    async with aiohttp.ClientSession() as session:
        answer = await StatusFeed(session, url, time.monotonic).status()
    assert answer.operational is None
    assert said in (answer.error or "")


async def test_nobody_there() -> None:
    async with aiohttp.ClientSession() as session:
        answer = await StatusFeed(session, "http://127.0.0.1:9/", time.monotonic).status()
    assert answer.operational is None
    assert answer.error == "The status page could not be read: the connection was refused."
