"""The outbox: what happened is told in the transaction in which it happens, to whoever wants it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from daemon.core.estimate import Estimate
from daemon.core.jobs import Signal
from daemon.core.notices import trial
from daemon.core.spend import Budget, Limit
from daemon.errors import CostLimitExceeded, EndpointNotFound
from daemon.store.notifications import KEEP_SECONDS, EndpointChange
from daemon.store.store import Store
from tests.support.events import NOW, PROVIDER_ID, append, body, new_job

JOB_ID = f"job_{PROVIDER_ID}"


async def listen(store: Store, name: str = "chat", **changes: Any) -> None:
    fields = {"shown_url": "https://chat/…", "events": None, "allow_private": False, "enabled": True, **changes}
    others = [
        EndpointChange(
            name=one.name, shown_url=None, events=one.events, allow_private=one.allow_private, enabled=one.enabled
        )
        for one in await store.notifications.endpoints()
        if one.name != name
    ]
    await store.notifications.put_endpoints([*others, EndpointChange(name=name, **fields)], now=NOW)


async def told(store: Store, name: str = "chat") -> list[tuple[str, Any]]:
    """What waits for an endpoint: (type, data); it is claimed, as a sender does."""
    messages = await store.notifications.claim(name, "test", now=NOW + 1e6, until=NOW + 2e6, most=100)
    bodies = [json.loads(message.payload) for message in messages]
    assert all(body.keys() == {"type", "timestamp", "text", "data"} and body["text"] for body in bodies)
    for message in messages:
        await store.notifications.taken(name, message.message_id, now=NOW)
    return sorted((body["type"], body["data"]) for body in bodies)


async def test_a_job_and_its_deliveries_are_told_once(store: Store) -> None:
    await listen(store)
    await append(store, "msg_1", body())
    assert await told(store) == []
    final = body("succeeded", output="x", completed_at="2026-01-05T10:00:00Z", model="acme/lora")
    await append(store, "msg_2", final)
    await append(store, "msg_2", final)
    await append(store, "msg_3", body("failed", error="too late"))
    [(kind, data)] = await told(store)
    assert kind == "job.finished"
    assert (data["job_id"], data["status"], data["model"]) == (JOB_ID, "completed", "acme/lora")
    assert data["completed_at"] == "2026-01-05T10:00:00.000Z"

    await store.deliveries.update(JOB_ID, "local", generation=0, now=NOW, status="running", attempts=1)
    await store.deliveries.update(JOB_ID, "local", generation=0, now=NOW, status="failed", error="<!channel> full")
    [(kind, data)] = await told(store)
    assert (kind, data["destination"], data["error"]) == ("delivery.failed", "local", "<!channel> full")
    await store.deliveries.redeliver(JOB_ID, None, now=NOW)
    assert not await store.deliveries.update(JOB_ID, "local", generation=0, now=NOW, status="failed")  # fenced
    await store.deliveries.update(JOB_ID, "local", generation=1, now=NOW, status="delivered", url="file:///x")
    [(kind, data)] = await told(store)
    assert (kind, data["url"]) == ("delivery.delivered", "file:///x")


async def test_each_endpoint_gets_what_it_wants_under_one_id(store: Store) -> None:
    await listen(store, "all")
    await listen(store, "failures", events=["delivery.failed"])
    await listen(store, "off", enabled=False)
    await append(store, "msg_1", body("succeeded", output="x"))
    await store.deliveries.cancel(JOB_ID, None, now=NOW)
    assert [kind for kind, _ in await told(store, "all")] == ["delivery.failed", "job.finished"]
    [(_, data)] = await told(store, "failures")
    assert data["error"] == "cancelled by you"
    assert await told(store, "off") == []

    await listen(store, "failures", events=None)
    await store.jobs.insert_intent(new_job())
    await store.jobs.signal("job_ours", Signal.FAILED, now=NOW, error="refused")
    ids = []
    for name in ("all", "failures"):
        [message] = await store.notifications.claim(name, "test", now=NOW, until=NOW + 60, most=10)
        ids.append(message.message_id)
    assert ids[0] == ids[1]


async def test_what_reconciliation_finds_is_told_beside(store: Store) -> None:
    await listen(store)
    await append(store, "poll_1", body("processing", logs="x"), source="poll", missed=True)
    assert await told(store) == []
    await append(store, "poll_2", body("failed", error="CUDA out of memory"), source="poll", missed=True)
    assert [kind for kind, _ in await told(store)] == ["job.finished", "reconcile.found"]


async def test_a_reached_limit_is_told_once_a_period(store: Store) -> None:
    await listen(store)
    limit = Limit(enabled=True, amount=5.0, period="daily", action="block", zone=None, assumed_hardware="gpu-l40s")

    async def submit(name: str, usd: float, now: float = NOW, **changes: Any) -> None:
        cost = Estimate(low_usd=usd, expected_usd=usd, high_usd=usd, basis="test")
        estimate = json.dumps({"expected_usd": usd})
        job = new_job(name, created_at=now, cost_estimate=estimate, **changes)
        await store.jobs.insert_intent(job, Budget(limit, cost, now=now))

    await submit("job_1", 3.0)
    assert await told(store) == []
    for _ in range(2):
        with pytest.raises(CostLimitExceeded):
            await submit("job_2", 3.0)
    [(kind, data)] = await told(store)
    assert kind == "cost_limit.reached"
    assert (data["amount_usd"], data["reserved_usd"], data["period"]) == (5.0, 3.0, "daily")
    assert await store.jobs.get("job_2") is None
    with pytest.raises(CostLimitExceeded):
        await submit("job_3", 3.0, NOW + 86_400)
    assert [kind for kind, _ in await told(store)] == ["cost_limit.reached"]


async def test_a_message_has_one_sender_at_a_time(store: Store) -> None:
    await listen(store)
    for _ in range(3):
        await store.notifications.send("chat", trial("chat"), now=NOW)
    assert await store.notifications.due_endpoints(now=NOW) == ["chat"]
    claims = await asyncio.gather(
        *(store.notifications.claim("chat", f"node{n}", now=NOW, until=NOW + 60, most=2) for n in range(3))
    )
    assert sorted(len(claimed) for claimed in claims) == [0, 1, 2]
    assert len({message.message_id for claimed in claims for message in claimed}) == 3
    assert await store.notifications.due_endpoints(now=NOW) == []
    assert len(await store.notifications.claim("chat", "late", now=NOW + 61, until=NOW + 90, most=9)) == 3

    since = await store.notifications.refused("chat", claims[0][0].message_id, "node0", "late", now=NOW, next_at=NOW)
    assert since == NOW
    assert await store.notifications.due_endpoints(now=NOW + 61) == []  # node0's claim had run out: nothing changed
    await store.notifications.release("late")
    assert await store.notifications.due_endpoints(now=NOW + 61) == ["chat"]


async def test_given_up_messages_are_kept_for_an_endpoint_that_comes_back(store: Store) -> None:
    await listen(store)
    await store.notifications.send("chat", trial("chat"), now=NOW)
    [message] = await store.notifications.claim("chat", "me", now=NOW, until=NOW + 60, most=9)
    await store.notifications.refused("chat", message.message_id, "me", "HTTP 500", now=NOW, next_at=None)
    await store.notifications.disable("chat", "dead for days")
    [endpoint] = await store.notifications.endpoints()
    assert (endpoint.enabled, endpoint.disabled_reason, endpoint.pending, endpoint.given_up) == (
        (False, "dead for days", 0, 1)
    )
    await listen(store)
    [endpoint] = await store.notifications.endpoints()
    assert (endpoint.enabled, endpoint.disabled_reason, endpoint.failing_since, endpoint.pending) == (
        (True, None, None, 1)
    )
    await store.notifications.prune(now=NOW + KEEP_SECONDS + 1)
    assert await store.notifications.due_endpoints(now=1e12) == []
    with pytest.raises(EndpointNotFound):
        await store.notifications.send("nobody", trial("nobody"), now=NOW)
    await store.notifications.send("chat", trial("chat"), now=NOW)
    await store.notifications.put_endpoints([], now=NOW)
    await listen(store)
    assert await told(store) == []  # what waited for the old one of that name is gone
