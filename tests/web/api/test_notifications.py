"""Who is told, through the API: URLs and secrets go in and never come out. And what needs attention."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from daemon.parsing import decode_webhook_secret
from tests.support.webapp import Served, running_app

PATH = "/api/cloud/notifications"
CHAT = {"name": "chat", "url": "https://hooks.slack.com/services/T0/B0/verysecret"}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path) as served:
        yield served


async def put(served: Served, *endpoints: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await served.call("PUT", PATH, json={"endpoints": list(endpoints)})
    assert "verysecret" not in str(answer)
    found: list[dict[str, Any]] = answer["endpoints"]
    return found


async def test_the_secret_is_shown_once(served: Served) -> None:
    assert (await served.get(PATH))["endpoints"] == []
    [made] = await put(served, CHAT)
    secret = made.pop("secret")
    assert len(decode_webhook_secret(secret)) == 32
    assert made["url"] == "https://hooks.slack.com/…" and made["events"] is None and made["enabled"]
    assert (await served.get(PATH))["endpoints"] == [made]
    assert await served.store.secrets.get("notification:chat:secret") == secret
    assert await served.store.secrets.get("notification:chat:url") == CHAT["url"]

    [kept] = await put(served, {"name": "chat", "events": ["delivery.failed"], "enabled": False})
    assert kept == {**made, "events": ["delivery.failed"], "enabled": False}
    assert await served.store.secrets.get("notification:chat:secret") == secret
    [rotated] = await put(served, {"name": "chat", "secret": None})
    assert rotated["secret"] != secret and rotated["events"] == ["delivery.failed"]
    given = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert "secret" not in (await put(served, {"name": "chat", "secret": given}))[0]
    assert await put(served) == []
    assert await served.store.secrets.get("notification:chat:url") is None


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"name": "a b", "url": "https://x"}, "name"),
        ({"name": "a"}, "url"),
        ({"name": "a", "url": "http://chat.example/x"}, "url"),
        ({"name": "a", "url": "ftp://chat.example/x"}, "url"),
        ({"name": "a", "url": "https://user:pass@chat.example/x"}, "url"),
        ({"name": "a", "url": "https://"}, "url"),
        ({"name": "a", "url": "https://x:99999/"}, "url"),
        ({"name": "a", "url": "https://x/\n"}, None),
        ({"name": "a", "url": "https://x", "secret": "r8_x"}, "secret"),
    ],
)
async def test_refusals(served: Served, entry: dict[str, Any], field: str | None) -> None:
    if field is None:  # blanks around it are a slip of the clipboard
        assert await put(served, entry)
        return
    problem = await served.problem("PUT", PATH, json={"endpoints": [CHAT, entry]}, status=400, code="invalid_setting")
    assert problem["field"] == f"endpoints[1].{field}"
    assert (await served.get(PATH))["endpoints"] == []  # all or nothing


async def test_other_refusals(served: Served) -> None:
    await served.problem("PUT", PATH, json={"endpoints": [CHAT, CHAT]}, status=400, code="invalid_setting")
    odd = {**CHAT, "events": ["job.exploded"]}
    await served.problem("PUT", PATH, json={"endpoints": [odd]}, status=400, code="invalid_request")
    many = [{**CHAT, "name": f"n{number}"} for number in range(33)]
    await served.problem("PUT", PATH, json={"endpoints": many}, status=400, code="invalid_setting")
    await served.problem("POST", f"{PATH}/chat/test", status=404, code="endpoint_not_found")


async def test_a_test_message_waits_in_the_outbox(served: Served) -> None:
    await put(served, {**CHAT, "url": "http://127.0.0.1:9/hook"})
    answer = await served.call("POST", f"{PATH}/chat/test", status=202)
    assert answer["webhook_id"].startswith("msg_")
    [endpoint] = (await served.get(PATH))["endpoints"]
    assert endpoint["pending"] == 1


async def test_alerts(served: Served) -> None:
    quiet = await served.get("/api/cloud/alerts")
    assert quiet["alerts"] == [] and set(quiet["counts"].values()) == {0}

    for name in "abc":
        await served.event(name, status="succeeded", output="x")
    update = served.store.deliveries.update
    await update("job_a", "local", generation=0, now=1, status="failed", error="the disk is full")
    await served.store.deliveries.cancel("job_b", None, now=1)  # nobody is to be alarmed
    await update("job_c", "local", generation=0, now=1, deadline=time.time() + 120)
    await put(served, CHAT)
    await served.store.notifications.disable("chat", "it wants no more")
    await served.call("POST", "/api/cloud/publishing/local/pause")
    limits = {"cost_limit_enabled": True, "cost_limit_amount": 0, "cost_limit_action": "block"}
    await served.call("PUT", "/api/cloud/providers/replicate", json=limits)

    found = await served.get("/api/cloud/alerts")
    kinds = [one["kind"] for one in found["alerts"]]
    assert kinds == [
        "delivery_expiring",
        "delivery_failed",
        "cost_limit_reached",
        "endpoint_disabled",
        "destination_paused",
    ]
    first, second = found["alerts"][:2]
    assert (first["job_id"], first["severity"]) == ("job_c", "critical") and "expires in 2 min" in first["message"]
    assert second["job_id"] == "job_a" and "tunerd redeliver job_a --to local" in second["message"]
    assert found["counts"]["delivery_failed"] == 1
    async with served.session.get(served.url + "/metrics") as answer:
        text = await answer.text()
    assert 'tunerd_alerts{kind="delivery_expiring"} 1.0' in text
    assert 'tunerd_alerts{kind="endpoint_failing"} 0.0' in text
