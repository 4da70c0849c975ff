"""The settings in force: pinned, stored, default; changed all or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from daemon.config import Settings, load_settings
from daemon.errors import InvalidSetting, SettingPinned, TunerdError, UnknownSetting
from daemon.store import effective as module
from daemon.store.effective import READERS, EffectiveSettings
from daemon.store.store import Store


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(None, tmp_path / "data") as store:
        yield store


def settings(**environ: str) -> Settings:
    return load_settings(environ={"HOME": "/nowhere", **environ})


async def loaded(store: Store, **environ: str) -> EffectiveSettings:
    found = EffectiveSettings(settings(**environ), store.settings)
    await found.load()
    return found


async def test_defaults(kept: Store) -> None:
    effective = await loaded(kept)
    assert (effective.webhook_url, effective.webhook_require_signature) == (None, True)
    assert effective.model == "simpletuner/advanced-trainer"
    shown = effective.shown()
    assert shown.keys() == {*READERS, "webhook_endpoint", "pinned"}
    assert (shown["webhook_endpoint"], shown["pinned"], effective.warnings()) == (None, {}, [])


async def test_a_change_applies_at_once_and_is_kept(kept: Store) -> None:
    effective = await loaded(kept)
    values = {"webhook_url": "https://tuner.example/", "webhook_allowed_ips": ["10.0.0.0/8", "::1"]}
    assert await effective.update(values, now=1.0) == []
    for one in (effective, await loaded(kept)):
        assert one.webhook_url == "https://tuner.example"
        assert one.webhook_allowed_ips == ("10.0.0.0/8", "::1")
        assert one.shown()["webhook_endpoint"] == "https://tuner.example/api/webhooks/replicate"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("webhook_url", "http://tuner.example"),
        ("webhook_url", 1),
        ("webhook_allowed_ips", ["10.0.0.1/8"]),
        ("webhook_allowed_ips", 5),
        ("webhook_require_signature", "perhaps"),
        ("model", "no owner"),
        ("model", ""),
        ("version_override", []),
        ("version_override", "two words"),
        ("version_override", "no-owner:abc"),
        ("hardware", 5),
        ("cost_limit_amount", -1),
        ("cost_limit_amount", "nan"),
        ("cost_limit_period", "hourly"),
        ("cost_limit_action", {}),
        ("cost_limit_action", []),
    ],
)
async def test_an_invalid_value_changes_nothing(kept: Store, key: str, value: Any) -> None:
    effective = await loaded(kept)
    with pytest.raises(InvalidSetting) as refused:
        await effective.update({"cost_limit_enabled": True, key: value}, now=1.0)
    assert refused.value.extra["field"] == key
    assert effective.cost_limit_enabled is (await loaded(kept)).cost_limit_enabled is False


async def test_an_unknown_setting(kept: Store) -> None:
    effective = await loaded(kept)
    for key in ("webhok_url", "destinations", "admin_token", "pinned", "", "token"):
        with pytest.raises(UnknownSetting) as refused:
            await effective.update({"hardware": "gpu-t4", key: "x"}, now=1.0)
        assert refused.value.extra["field"] == key
    assert await kept.settings.all() == {}


async def test_a_pinned_setting_wins_and_stays(kept: Store) -> None:
    await (await loaded(kept)).update({"hardware": "gpu-t4", "model": "acme/other"}, now=1.0)
    effective = await loaded(kept, TUNERD_HARDWARE="gpu-h100")
    assert (effective.hardware, effective.model) == ("gpu-h100", "acme/other")
    assert effective.pinned() == effective.shown()["pinned"] == {"hardware": "environment"}
    with pytest.raises(SettingPinned) as refused:
        await effective.update({"model": "acme/third", "hardware": "gpu-t4"}, now=1.0)
    assert refused.value.extra["field"] == "hardware"
    assert effective.model == "acme/other"


async def test_null_goes_back_to_the_default(kept: Store) -> None:
    effective = await loaded(kept)
    values = {"version_override": "v1", "webhook_url": "https://a.example", "hardware": "gpu-t4"}
    await effective.update(values, now=1.0)
    await effective.update({"version_override": None, "webhook_url": "", "hardware": None}, now=2.0)
    for one in (effective, await loaded(kept)):
        assert (one.version_override, one.webhook_url, one.hardware) == (None, None, "gpu-l40s")


async def test_warnings(kept: Store) -> None:
    effective = await loaded(kept)
    values = {"webhook_url": "http://127.0.0.1:8080", "webhook_require_signature": False}
    warnings = await effective.update(values, now=1.0)
    assert warnings == effective.warnings()
    assert len(warnings) == 2
    assert "gpu-l40 is not in the price list" in (await effective.update({"hardware": "gpu-l40"}, now=1.0))[-1]


async def test_what_another_version_stored_is_left_out(kept: Store) -> None:
    await kept.settings.put({"hardware": 7, "model": "acme/other", "future": 1}, now=1.0)
    effective = await loaded(kept)
    assert (effective.hardware, effective.model) == ("gpu-l40s", "acme/other")


async def test_another_node_s_change_arrives(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH_SECONDS", 0.05)
    here, there = await loaded(kept), await loaded(kept)
    await there.update({"hardware": "gpu-t4"}, now=1.0)
    assert here.hardware == "gpu-l40s"
    for _ in range(250):
        await asyncio.sleep(0.02)
        if here.hardware == "gpu-t4":
            return
    pytest.fail("the change did not arrive")


async def test_a_refresh_that_fails_keeps_what_is_known(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    effective = await loaded(kept)

    async def unreadable() -> dict[str, Any]:
        raise TunerdError("the database is away")

    monkeypatch.setattr(kept.settings, "all", unreadable)
    effective._stale_at = 0.0
    assert effective.hardware == "gpu-l40s"
    assert effective._refreshing is not None
    await effective._refreshing
    assert effective.hardware == "gpu-l40s"


async def test_a_read_that_began_before_a_change_does_not_undo_it(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    effective, gate = await loaded(kept), asyncio.Event()
    before = kept.settings.all

    async def slow() -> dict[str, Any]:
        found = await before()
        await gate.wait()
        return found

    monkeypatch.setattr(kept.settings, "all", slow)
    reading = asyncio.create_task(effective.load())
    await asyncio.sleep(0.05)
    await effective.update({"hardware": "gpu-t4"}, now=1.0)
    gate.set()
    await reading
    assert effective.hardware == "gpu-t4"
