"""A changed file under a running daemon: in force whole, or everything as it was."""

from __future__ import annotations

import asyncio
import io
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from daemon.config import Settings
from daemon.reloading import RELOADABLE
from tests.support.daemon import Daemon, running_daemon
from tests.support.signed import OTHER_SECRET, PATH, SECRET, prediction, signed

FIRST = f'webhook_secret = "{SECRET}"\nwebhook_url = "https://first.example"\n'


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    (tmp_path / "config.toml").write_text(FIRST)
    async with running_daemon(tmp_path, TUNERD_CONFIG=str(tmp_path / "config.toml")) as running:
        yield running


def write(daemon: Daemon, text: str) -> None:
    (daemon.home / "config.toml").write_text(text)


async def reload(daemon: Daemon, status: int = 200) -> dict:
    return await daemon.post("/api/cloud/reload", {}, status=status)


async def webhook(daemon: Daemon, secret: str, *, size: int = 0, **headers: str) -> int:
    body = prediction("p1", logs="x" * size)
    sent = signed(body, f"msg_{secret[-4:]}_{size}", secret=secret, **headers)
    async with daemon.session.post(daemon.url + PATH, data=io.BytesIO(body), headers=sent) as answer:
        return answer.status


def test_every_name_is_a_setting() -> None:
    assert set(Settings.__struct_fields__) >= RELOADABLE
    assert not RELOADABLE & {"listen", "data_dir", "database_url", "output_dir", "role", "replicate_base_url"}


async def test_what_changed_is_told_and_in_force(daemon: Daemon) -> None:
    assert (await reload(daemon))["changed"] == []
    assert await webhook(daemon, OTHER_SECRET) == 401
    write(
        daemon,
        f'webhook_secret = "{OTHER_SECRET}"\nmax_body_mib = 1\nwebhook_allowed_ips = ["203.0.113.0/24"]\n'
        'admin_token = "secret-token"\ntrusted_proxies = ["127.0.0.1"]\nhardware = "gpu-h100"\n',
    )
    answer = await reload(daemon)
    assert set(answer["changed"]) == {
        "webhook_secret",
        "max_body_mib",
        "webhook_allowed_ips",
        "admin_token",
        "trusted_proxies",
        "hardware",
        "webhook_url",
    }
    assert await webhook(daemon, OTHER_SECRET) == 403
    allowed = {"X-Forwarded-For": "203.0.113.9"}
    assert await webhook(daemon, OTHER_SECRET, **allowed) == 200
    assert await webhook(daemon, SECRET, **allowed) == 401
    assert await webhook(daemon, OTHER_SECRET, size=1 << 20, **allowed) == 413
    async with daemon.session.get(
        daemon.url + "/api/cloud/jobs", headers={"Authorization": "Bearer secret-token", "X-Forwarded-For": "10.0.0.1"}
    ) as listed:
        assert listed.status == 200
    shown = await daemon.get("/api/cloud/providers/replicate")
    assert shown["webhook_url"] is None and shown["hardware"] == "gpu-h100"
    assert "webhook_url" not in shown["pinned"] and shown["pinned"]["hardware"] == "file"


async def test_what_was_stored_counts_again_when_the_file_lets_go_of_it(daemon: Daemon) -> None:
    write(daemon, f'webhook_secret = "{SECRET}"\n')
    await reload(daemon)
    async with daemon.session.put(
        daemon.url + "/api/cloud/providers/replicate", json={"webhook_url": "https://stored.example"}
    ) as put:
        assert put.status == 200
    write(daemon, FIRST)
    assert (await reload(daemon))["changed"] == ["webhook_url"]
    assert (await daemon.get("/api/cloud/providers/replicate"))["webhook_url"] == "https://first.example"
    write(daemon, f'webhook_secret = "{SECRET}"\n')
    await reload(daemon)
    assert (await daemon.get("/api/cloud/providers/replicate"))["webhook_url"] == "https://stored.example"


async def test_nothing_is_applied_of_what_cannot_be_applied_whole(daemon: Daemon) -> None:
    for line, status, code, named in (
        ('database_url = "sqlite:////tmp/other.sqlite3"', 409, "restart_needed", "database_url"),
        ('output_origins = ["https://elsewhere.example"]', 409, "restart_needed", "output_origins"),
        ("max_body_mib = 0", 400, "misconfigured", "max_body_mib"),
        ("no_such = 1", 400, "misconfigured", "no_such"),
        ("not toml", 400, "misconfigured", "config.toml"),
    ):
        write(daemon, f'webhook_secret = "{OTHER_SECRET}"\n{line}\n')
        answer = await reload(daemon, status)
        assert answer["code"] == code and named in answer["detail"] and "Nothing was changed" in answer["detail"], line
        assert await webhook(daemon, SECRET) == 200, line
        assert (await daemon.get("/api/cloud/providers/replicate"))["webhook_url"] == "https://first.example", line


async def test_a_signal_reloads_and_survives_a_broken_file(daemon: Daemon) -> None:
    assert daemon.process is not None
    write(daemon, "no_such = 1")
    daemon.process.send_signal(signal.SIGHUP)
    await logged(daemon, "reload refused")
    write(daemon, FIRST + 'hardware = "gpu-h100"\n')
    daemon.process.send_signal(signal.SIGHUP)
    await logged(daemon, "configuration reloaded")
    assert (await daemon.get("/api/cloud/providers/replicate"))["hardware"] == "gpu-h100"


async def logged(daemon: Daemon, text: str) -> None:
    for _ in range(1200):
        if text in daemon.log.read_text():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(daemon.log.read_text()[-2000:])


async def test_strangers_do_not_reload(daemon: Daemon) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(daemon.url + "/api/cloud/reload", headers={"X-Forwarded-For": "203.0.113.9"}) as answer,
    ):
        assert answer.status == 401
