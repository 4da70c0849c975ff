"""The commands on the stored data, as a user types them, beside a running daemon and without one."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from daemon.store.store import Store
from tests.store.care.conftest import EVENTS, SECRET, fill, run_job
from tests.support.daemon import Daemon, running_daemon
from tests.support.events import NOW


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A data directory with something in it."""
    folder = tmp_path / "data"
    async with Store.open(None, folder) as store:
        await fill(store)
    return folder


@pytest.fixture
def care(tunerd, data: Path):
    """``await care("backup", …)``: a command on that data."""

    async def run(*arguments: str, **variables: str):
        return await tunerd(*arguments, TUNERD_DATA_DIR=str(data), **variables)

    return run


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    home = tmp_path / "home"
    home.mkdir()
    async with running_daemon(home, TUNERD_WEBHOOK_SECRET=SECRET) as running:
        yield running


async def test_a_backup_there_and_back(care, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.backup"
    made = await care("backup", str(file), "--json")
    assert (made.code, made.json()["rows"]["jobs"]) == (0, 3)
    again = await care("backup", str(file))
    assert again.code == 2
    assert "--force" in again.err
    assert (await care("backup", str(file), "--force", "--with-key")).code == 0
    into_database = await care("backup", str(data / "tunerd.sqlite3"), "--force")
    assert into_database.code == 2
    assert "no backup" in into_database.err
    checked = await care("restore", str(file), "--check", "--json")
    assert checked.json()["sound"] is True
    restored = await care("restore", str(file))
    assert restored.code == 0
    assert "before-restore-" in restored.out
    assert (await care("events", "verify", "--local", TUNERD_WEBHOOK_SECRET=SECRET)).code == 0


async def test_a_folder_of_backups_keeps_the_newest(care, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    for old in ("20250101T000000Z", "20250102T000000Z"):
        (folder / f"tunerd-{old}.backup").write_text("old")
    (folder / "mine.backup").write_text("not ours")
    made = await care("backup", str(folder), "--keep", "2", "--json")
    assert made.json()["removed"] == ["tunerd-20250101T000000Z.backup"]
    assert (folder / "mine.backup").exists()
    assert len(list(folder.glob("tunerd-*.backup"))) == 2
    assert (await care("backup", str(folder), "--keep", "0")).code == 2
    # As docs/operations.md has it: a folder that is not there yet is made, and nobody else looks into it.
    fresh = tmp_path / "var" / "backups"
    assert (await care("backup", f"{fresh}/", "--json")).json()["file"].startswith(f"{fresh}/tunerd-")
    assert (await care("backup", str(tmp_path / "kept"), "--keep", "14")).code == 0
    assert [path.stat().st_mode & 0o777 for path in (fresh, tmp_path / "kept")] == [0o700, 0o700]
    (tmp_path / "file").touch()
    in_the_way = await care("backup", f"{tmp_path / 'file'}/")
    assert (in_the_way.code, "is no folder" in in_the_way.err) == (2, True)


async def test_what_cannot_be_done_is_one_line(care, tunerd, tmp_path: Path) -> None:
    nothing = await tunerd("backup", str(tmp_path / "x"), TUNERD_DATA_DIR=str(tmp_path / "empty"))
    assert (nothing.code, nothing.err.count("\n")) == (78, 1)
    looked = await tunerd("events", "verify", "--local", TUNERD_DATA_DIR=str(tmp_path / "empty"))
    assert (looked.code, (tmp_path / "empty").exists()) == (78, False)
    nowhere = await care("backup", str(tmp_path / "missing" / "x"))
    assert nowhere.code == 78
    (tmp_path / "text").write_text("hello")
    text = await care("restore", str(tmp_path / "text"))
    assert text.code == 1
    unreachable = await care("migrate-store", "postgresql://nobody@127.0.0.1:9/none")
    assert (unreachable.code, unreachable.err.count("\n")) == (1, 1)
    assert (await care("migrate-store", "mysql://x")).code == 2


async def test_prune_says_what_it_would_do_and_does_it(care) -> None:
    dry = await care("prune", "--bodies", "30", "--jobs", "60", "--unrecognized", "30", "--dry-run", "--json")
    counted = dry.json()["pruned"]
    assert counted["jobs"]["jobs"] == 2
    assert counted["bodies"]["bodies"] == 2 * (EVENTS - 1)
    done = await care("prune", "--bodies", "30", "--json")
    assert done.json()["pruned"]["bodies"]["bodies"] == 2 * (EVENTS - 1)
    assert (await care("prune", "--bodies", "30")).out.startswith("bodies: nothing")
    assert (await care("prune")).code == 2
    assert (await care("prune", "--jobs", "30")).code == 2
    by_settings = await care("prune", TUNERD_KEEP_DAYS="60")
    assert "jobs: 2 jobs" in by_settings.out
    assert (await care("prune", "--rewrite")).code == 0
    assert (await care("events", "verify", "--local", TUNERD_WEBHOOK_SECRET=SECRET)).code == 0


async def test_damage_is_found_told_and_mended(care, data: Path) -> None:
    with sqlite3.connect(data / "tunerd.sqlite3") as connection:
        connection.execute("UPDATE jobs SET status = 'queued', output = NULL WHERE job_id = 'job_foreign'")
    found = await care("events", "verify", "--local")
    assert found.code == 1
    assert "job_foreign" in found.out
    assert "not checked" in found.err  # no secret is known
    assert (await care("events", "rebuild", "--dry-run", "--json")).json()["mended"][0]["job_id"] == "job_foreign"
    mended = await care("events", "rebuild")
    assert "1 repaired" in mended.out
    assert (await care("events", "verify", "--local", "--secret", SECRET)).code == 0


async def test_migrate_and_the_other_store(care, tmp_path: Path, postgres_url: str, tunerd) -> None:
    assert (await care("migrate", "--check")).code == 0
    moved = await care("migrate-store", postgres_url, "--json")
    assert moved.json()["tables"]["jobs"]["rows"] == 3
    assert postgres_url.split("@", maxsplit=1)[0] not in moved.out  # no password
    assert (await care("migrate-store", postgres_url)).code == 78
    back = await care("migrate-store", f"sqlite:///{tmp_path}/back/tunerd.sqlite3", TUNERD_DATABASE_URL=postgres_url)
    assert back.code == 0
    both = await tunerd("events", "verify", "--local", "--secret", SECRET, TUNERD_DATA_DIR=str(tmp_path / "back"))
    assert both.code == 0


async def test_beside_a_running_daemon(tunerd, daemon: Daemon, tmp_path: Path) -> None:
    here = {"TUNERD_DATA_DIR": daemon.variables["TUNERD_DATA_DIR"], "TUNERD_URL": daemon.url}
    sent = await tunerd("trigger", "--scenario", "full-run", "--url", daemon.url, "--secret", SECRET)
    assert sent.code == 0
    assert (await tunerd("backup", str(tmp_path / "live"), **here)).code == 0
    assert (await tunerd("events", "verify", "--local", "--secret", SECRET, **here)).code == 0
    assert (await tunerd("prune", "--bodies", "0", **here)).code == 0
    assert (await tunerd("events", "verify", "--secret", SECRET, **here)).code == 0
    for refused in (("restore", str(tmp_path / "live")), ("events", "rebuild"), ("prune", "--rewrite")):
        result = await tunerd(*refused, **here)
        assert result.code == 78, refused
        assert "another tunerd" in result.err
    assert await daemon.stop() == 0
    assert (await tunerd("restore", str(tmp_path / "live"), **here)).code == 0
    await daemon.start()
    assert (await daemon.get("/api/cloud/jobs"))["total"] == 1


async def test_events_are_replayed_to_another_receiver(tunerd, daemon: Daemon, tmp_path: Path) -> None:
    other_home = tmp_path / "other"
    other_home.mkdir()
    other_secret = "whsec_" + "A" * 32
    async with running_daemon(other_home, TUNERD_WEBHOOK_SECRET=other_secret) as other:
        here = {"TUNERD_URL": daemon.url}
        await tunerd("trigger", "--scenario", "full-run", "--url", daemon.url, "--secret", SECRET)
        count = len((await daemon.get("/api/cloud/events"))["events"])
        dry = await tunerd("events", "replay", "--dry-run", **here)
        assert f"{count} would be sent" in dry.out
        assert (await other.get("/api/cloud/events"))["events"] == []
        there = ("--url", other.url, "--secret", other_secret)
        assert f"{count} accepted" in (await tunerd("events", "replay", *there, **here)).out
        assert f"{count} duplicate" in (await tunerd("events", "replay", *there, **here)).out
        for option in ((), ("--text",)):
            file = tmp_path / "events.jsonl"
            await tunerd("events", "export", "--output", str(file), *option, **here)
            assert len(file.read_text().splitlines()) == count
            assert f"{count} duplicate" in (await tunerd("events", "replay", str(file), *there)).out
        piped = await tunerd("events", "replay", "-", *there, given=file.read_bytes())
        assert f"{count} duplicate" in piped.out, piped.err
        anew = await tunerd("events", "replay", str(file), "--new-ids", "--to", "1", "--json", *there)
        assert anew.json()["outcome"] == "accepted"
        mine = [await _body(daemon, seq) for seq in range(1, count + 1)]
        assert [await _body(other, seq) for seq in range(1, count + 1)] == mine
        wrong = await tunerd("events", "replay", str(file), "--url", other.url, "--secret", SECRET)
        assert wrong.code == 1
        assert "signature_invalid" in wrong.out
    gone = await tunerd("events", "replay", str(file), *there)
    assert gone.code == 3 and "the connection was refused" in gone.err and "Errno" not in gone.err
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"seq": 1}\n')
    assert (await tunerd("events", "replay", str(bad), *there)).code == 1


async def _body(daemon: Daemon, seq: int) -> bytes:
    async with daemon.session.get(f"{daemon.url}/api/cloud/events/{seq}/body") as answer:
        assert answer.status == 200
        return await answer.read()


async def test_a_pruned_body_is_told_as_such(tunerd, tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with Store.open(None, home / "data") as store:
        await run_job(store, "old", at=NOW - 86_400.0 * 100)
        await store.deliveries.update("job_old", "local", generation=0, now=NOW - 86_400.0 * 100, status="delivered")
    async with running_daemon(home, TUNERD_WEBHOOK_SECRET=SECRET) as daemon:
        here = {"TUNERD_DATA_DIR": daemon.variables["TUNERD_DATA_DIR"], "TUNERD_URL": daemon.url}
        await tunerd("prune", "--bodies", "1", **here)
        async with daemon.session.get(f"{daemon.url}/api/cloud/events/1/body") as answer:
            assert (answer.status, (await answer.json())["code"]) == (410, "body_pruned")
        verified = await tunerd("events", "verify", "--secret", SECRET, **here)
        assert (verified.code, f"{EVENTS - 1} pruned" in verified.out) == (0, True)
        exported = await tunerd("events", "export", **here)
        lines: list[dict[str, Any]] = [json.loads(line) for line in exported.out.splitlines()]
        assert [("body_base64" in line) for line in lines] == [False] * (EVENTS - 1) + [True]
        left = await tunerd("events", "replay", "--dry-run", **here)
        assert "1 would be sent" in left.out
        assert left.err.count("pruned") == EVENTS - 1
    await asyncio.sleep(0)
