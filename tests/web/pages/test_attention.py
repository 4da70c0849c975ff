"""What a person has to look at, and where it stands on the first page."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest

from daemon.store.records import IncomingEvent
from tests.support.webapp import Served, running_app

NOW = 1_800_000_000.0


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    environ = {"REPLICATE_API_TOKEN": "r8_" + "x" * 37, "TUNERD_WEBHOOK_URL": "https://tuner.example"}
    async with running_app(tmp_path, environ=environ, clock=lambda: NOW) as served:
        yield served


async def titles(served: Served) -> list[str]:
    async with served.session.get(served.url + "/") as answer:
        text = await answer.text()
    shown = text.partition('class="notices"')[2].partition("</ul>")[0]
    return [unescape(title) for title in re.findall(r"<strong>(.+?)</strong>", shown)]


async def put(served: Served, **settings: object) -> None:
    await served.call("PUT", "/api/cloud/providers/replicate", json=settings)


async def event(served: Served, source: str, at: float) -> None:
    body = b'{"id":"p1","status":"processing","logs":"%s %f"}' % (source.encode(), at)
    incoming = IncomingEvent(f"{source}_{at}", None, None, body, at, source, None, True)  # type: ignore[arg-type]
    await served.store.journal.append(incoming, None)


async def succeeded(served: Served, name: str) -> None:
    """A job with an output that is there for an hour from ``NOW``, whatever the real time is."""
    await served.event(name, status="succeeded", output="x")
    await served.store.deliveries.update(f"job_{name}", "local", generation=0, now=NOW, deadline=NOW + 3600)


async def test_nothing(served: Served) -> None:
    assert await titles(served) == []


async def test_what_is_missing(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        assert await titles(served) == []  # the guide says it, until there is a job
        await served.event("p1")
        assert await titles(served) == ["The API token is missing", "No webhook URL is set"]


async def test_the_limit(served: Served) -> None:
    await put(served, cost_limit_enabled=True, cost_limit_amount=5.0, cost_limit_action="block")
    assert await titles(served) == []
    await put(served, cost_limit_amount=0.0)
    assert await titles(served) == ["The spending limit is reached"]


async def test_deliveries(served: Served) -> None:
    for name in ("p1", "p2"):
        await succeeded(served, name)
    await served.store.deliveries.update("job_p1", "local", generation=0, now=NOW, status="failed")
    assert await titles(served) == ["A delivery failed"]
    await served.store.deliveries.update("job_p2", "local", generation=0, now=NOW, status="failed")
    await served.store.settings.change_destination("local", now=NOW, paused=True)
    assert await titles(served) == ["Deliveries of 2 jobs failed", "Paused: local"]


@pytest.mark.parametrize(
    ("url", "title"),
    [
        ("http://127.0.0.1:9", "The webhook URL does not lead here"),
        ("https://tuner.invalid", "The webhook URL could not be reached"),
    ],
)
async def test_a_webhook_url_that_the_last_probe_did_not_come_by(tmp_path: Path, url: str, title: str) -> None:
    environ = {"REPLICATE_API_TOKEN": "r8_" + "x" * 37, "TUNERD_WEBHOOK_SECRET": "whsec_" + "C2FV" * 8}
    now = NOW
    async with running_app(tmp_path, environ=environ, clock=lambda: now) as served:
        await put(served, webhook_url=url)
        assert await titles(served) == []  # nobody has tried it
        await served.get("/api/cloud/health?fresh=true")
        assert await titles(served) == [title]
        await event(served, "webhook", NOW + 1)  # it does: what a probe from here says is not all there is to know
        assert await titles(served) == []
        now += 60
        await served.get("/api/cloud/health?fresh=true")
        assert await titles(served) == [title]
        await put(served, webhook_url=served.url)
        assert await titles(served) == []  # that was another one
        now += 60
        await served.get("/api/cloud/health?fresh=true")
        assert await titles(served) == []


async def test_webhooks_that_do_not_arrive(served: Served) -> None:
    await event(served, "webhook", NOW - 1000)
    await event(served, "poll", NOW - 950)
    assert await titles(served) == []  # within a minute one overtakes the other
    await event(served, "poll", NOW - 500)
    assert await titles(served) == ["Webhooks do not arrive"]
    await event(served, "webhook", NOW - 400)
    assert await titles(served) == []


async def test_what_the_allowlist_rejected(served: Served) -> None:
    await put(served, webhook_allowed_ips=["192.0.2.0/24"])
    for address in ("203.0.113.1", "203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"):
        headers = {"X-Forwarded-For": address}
        async with served.session.post(served.url + "/api/webhooks/replicate", data=b"{}", headers=headers) as answer:
            assert answer.status == 403
    assert await titles(served) == [
        "The allowlist rejected 5 requests from 203.0.113.4, 203.0.113.3, 203.0.113.2 and others"
    ]
    await put(served, webhook_allowed_ips=[])
    assert await titles(served) == []


async def test_an_output_about_to_be_lost(served: Served) -> None:
    for name in ("p1", "p2"):
        await succeeded(served, name)
    update = served.store.deliveries.update
    await update("job_p1", "local", generation=0, now=NOW, deadline=NOW + 120)
    assert await titles(served) == ["An output is about to be lost"]
    await update("job_p2", "local", generation=0, now=NOW, deadline=NOW + 60)
    assert await titles(served) == ["2 outputs are about to be lost"]
    async with served.session.get(served.url + "/") as answer:
        text = await answer.text()
    notice = text.partition("2 outputs are about to be lost")[2].partition("</li>")[0]
    assert "job_p2" in notice and "expires in 1 min" in notice and 'href="/jobs/job_p2"' in notice
    assert "job_p1" not in notice  # the most urgent is named


async def test_notifications_that_do_not_arrive(served: Served) -> None:
    endpoint = {"name": "chat", "url": "https://hooks.example/x"}
    await served.call("PUT", "/api/cloud/notifications", json={"endpoints": [endpoint]})
    assert await titles(served) == []
    await served.store.notifications.disable("chat", "it wants no more")
    assert await titles(served) == ["Notifications to chat were disabled"]
    await served.call("PUT", "/api/cloud/notifications", json={"endpoints": [{"name": "chat", "enabled": True}]})
    assert await titles(served) == []
