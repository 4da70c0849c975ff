"""Settings and secrets: stored whole, read back, unreadable to whoever has only the database."""

from __future__ import annotations

import base64
import stat

import pytest
from cryptography.fernet import Fernet

from daemon.errors import NotReady
from daemon.store.records import DestinationConfig
from daemon.store.store import Store
from tests.support.events import NOW

from .conftest import Place


async def test_settings_are_json_values(store: Store) -> None:
    assert await store.settings.get("model") is None
    assert await store.settings.get("model", "default") == "default"
    values = {"model": "acme/t", "amount": 1.5, "list": ["é", None, "\x00"], "flag": False}
    await store.settings.put(values, now=NOW)
    await store.settings.put({"model": "acme/u"}, now=NOW + 1)
    assert await store.settings.all() == {**values, "model": "acme/u"}
    assert await store.settings.get("flag", True) is False
    assert await store.settings.delete("model") and not await store.settings.delete("model")
    await store.settings.put({}, now=NOW)


async def test_one_local_destination_exists_from_the_start(store: Store) -> None:
    assert await store.settings.destinations() == [DestinationConfig("local", "local", {})]
    s3 = {"name": "s3", "type": "s3", "options": {"bucket": "models"}}
    await store.settings.put({"destinations": [s3]}, now=NOW)
    assert await store.settings.destinations() == [DestinationConfig("s3", "s3", {"bucket": "models"})]
    await store.settings.put({"destinations": []}, now=NOW)
    assert await store.settings.destinations() == []


async def test_secrets_come_back_after_a_restart(place: Place) -> None:
    async with place.open() as store:
        assert await store.secrets.get("replicate_api_token") is None
        await store.secrets.put("replicate_api_token", "r8_first", now=NOW)
        await store.secrets.put("replicate_api_token", "r8_sécret", now=NOW)
    async with place.open() as store:
        assert await store.secrets.get("replicate_api_token") == "r8_sécret"
        assert await store.secrets.delete("replicate_api_token")
        assert not await store.secrets.delete("replicate_api_token")
        assert await store.secrets.get("replicate_api_token") is None


async def test_the_key_is_a_private_file_outside_the_database(place: Place) -> None:
    async with place.open() as store:
        await store.secrets.put("name", "r8_in_the_clear", now=NOW)
        key = place.data_dir / "secret.key"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.data_dir.stat().st_mode) == 0o700
        kept = [path.read_bytes() for path in place.data_dir.iterdir() if path != key]
    assert len(base64.urlsafe_b64decode(key.read_bytes())) == 32
    assert not any(b"r8_in_the_clear" in content or key.read_bytes().strip() in content for content in kept)
    assert not [path for path in place.data_dir.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    "damage", [b"", b"rubbish", Fernet.generate_key(), None], ids=["empty", "rubbish", "another key", "gone"]
)
async def test_a_wrong_key_is_said_and_mended_by_storing_again(place: Place, damage: bytes | None) -> None:
    key = place.data_dir / "secret.key"
    async with place.open() as store:
        await store.secrets.put("name", "value", now=NOW)
    key.unlink() if damage is None else key.write_bytes(damage)
    async with place.open() as store:
        with pytest.raises(NotReady, match=r"secret\.key"):
            await store.secrets.get("name")
        if damage in {b"", b"rubbish"}:
            key.unlink()
        await store.secrets.put("name", "again", now=NOW)
        assert await store.secrets.get("name") == "again"


async def test_a_key_that_is_passed_in_leaves_no_file(place: Place) -> None:
    old, new = Fernet.generate_key(), Fernet.generate_key()
    async with Store.open(place.url, place.data_dir, secret_key=old) as store:
        await store.secrets.put("name", "value", now=NOW)
    assert not (place.data_dir / "secret.key").exists()
    async with Store.open(place.url, place.data_dir, secret_key=new + b"\n" + old) as store:  # a rotation
        assert await store.secrets.get("name") == "value"
        await store.secrets.put("name", "value", now=NOW)
    async with Store.open(place.url, place.data_dir, secret_key=new) as store:
        assert await store.secrets.get("name") == "value"
    async with Store.open(place.url, place.data_dir, secret_key=b"too short") as store:
        with pytest.raises(NotReady, match="passed in"):
            await store.secrets.get("name")
