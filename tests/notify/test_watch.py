"""What only time makes true is found, told once, and logged."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemon.config import Settings
from daemon.notify.watch import Watch
from daemon.store.effective import EffectiveSettings
from daemon.store.notifications import EndpointChange
from daemon.store.store import Store
from tests.support.empty import lay_down
from tests.support.events import NOW, append, body, new_job
from tests.support.outputs import settings_for

DONE = "2026-01-05T10:00:00Z"
ENDED = 1_767_607_200.0  # the same moment


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path, "http://127.0.0.1:9", expiry_alert_minutes="10")


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    async with Store.open(None, lay_down(settings.data_dir)) as opened:
        chat = EndpointChange(name="chat", shown_url="x", events=None, allow_private=False, enabled=True)
        await opened.notifications.put_endpoints([chat], now=NOW)
        yield opened


async def told(store: Store) -> list[str]:
    messages = await store.notifications.claim("chat", "test", now=1e12, until=2e12, most=50)
    for message in messages:
        await store.notifications.taken("chat", message.message_id, now=NOW)
    return [json.loads(message.payload)["type"] for message in messages]


async def test_an_output_that_expires_undelivered(store: Store, settings: Settings) -> None:
    effective = EffectiveSettings(settings, store.settings)
    await effective.load()
    now = ENDED
    watch = Watch(store, effective, settings, clock=lambda: now)
    await store.settings.change_destination("local", now=NOW, paused=True)  # a pause hides nothing
    await append(store, "msg_1", body("succeeded", output="x", completed_at=DONE))
    await told(store)
    now = ENDED + 49 * 60
    await watch.look()
    assert await told(store) == []
    now = ENDED + 51 * 60
    with capture_logs() as logs:
        await watch.look()
        await watch.look()
    assert await told(store) == ["delivery.expiring"]
    [line] = [entry for entry in logs if entry["event"] == "delivery_expiring"]
    assert (line["destination"], line["seconds_left"], line["fetched"]) == ("local", 540, False)
    await store.deliveries.redeliver(str(line["job_id"]), None, now=now)  # a new hour, a new alert
    await watch.look()
    assert await told(store) == []
    now += 51 * 60
    await watch.look()
    assert await told(store) == ["delivery.expiring"]


async def test_a_limit_that_a_running_job_reaches(store: Store, settings: Settings) -> None:
    effective = EffectiveSettings(settings, store.settings)
    await effective.load()
    await effective.update({"cost_limit_enabled": True, "cost_limit_amount": 1.0}, now=NOW)
    now = NOW
    watch = Watch(store, effective, settings, clock=lambda: now)
    await store.jobs.insert_intent(new_job(cost_estimate='{"expected_usd": 0.5}'))
    await store.jobs.bind_provider("job_ours", "abc", now=NOW, prediction=None)
    await append(store, "msg_1", body("processing", id="abc", started_at="2026-01-05T08:00:00Z"))
    await watch.look()
    assert await told(store) == []
    now = NOW + 3600  # an L40S costs more than a dollar an hour
    await watch.look()
    await watch.look()
    assert await told(store) == ["cost_limit.reached"]
    await effective.update({"cost_limit_amount": 2.0}, now=NOW)  # another amount is another limit
    now = NOW + 3 * 3600
    await watch.look()
    assert await told(store) == ["cost_limit.reached"]


async def test_it_can_be_switched_off(store: Store, settings: Settings, tmp_path: Path) -> None:
    off = settings_for(tmp_path, "http://127.0.0.1:9", expiry_alert_minutes="0")
    effective = EffectiveSettings(off, store.settings)
    await effective.load()
    await append(store, "msg_1", body("succeeded", output="x", completed_at=DONE))
    await told(store)
    await Watch(store, effective, off, clock=lambda: ENDED + 3500).look()
    assert await told(store) == []
