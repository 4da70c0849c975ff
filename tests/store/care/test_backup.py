"""A backup holds everything, is made beside writers, and comes back into either store."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from daemon.errors import DatabaseInUse, DatabaseTooNew, Misconfigured
from daemon.store.care.archive import BackupInvalid, check_backup, read_about, read_file, write_backup
from daemon.store.care.place import Place
from daemon.store.care.restore import restore
from daemon.store.care.tables import CopyDiffers, sums
from daemon.store.care.verify import verify
from daemon.store.store import Store
from tests.store.care.conftest import EVENTS, KEY, run_job
from tests.store.conftest import Place as StorePlace
from tests.support.events import NOW, append, body


def back_up(place: Place, target: Path, *, with_key: bool = False) -> Path:
    write_backup(place, target, with_key=with_key, version="0.test", now=NOW)
    return target


def test_a_backup_comes_back_as_it_was(care: Place, contents, backup_file: Path) -> None:
    before = contents()
    back_up(care, backup_file)
    assert stat.S_IMODE(backup_file.stat().st_mode) == 0o600
    assert [path.name for path in backup_file.parent.iterdir()] == [backup_file.name]

    async def go_on() -> None:
        async with Store.open(None if care.file else str(care.url.render_as_string(False)), care.data_dir) as store:
            await append(store, "later", body(id="later"))

    asyncio.run(go_on())
    done = restore(backup_file, care, now=NOW)
    assert done.aside is not None
    assert done.key == "kept"
    assert contents() == before
    with care.engine() as engine, engine.connect() as connection:
        assert verify(connection, [KEY]).found == 0


def test_numbers_that_were_given_out_before_a_restore_are_not_given_out_again(
    care: Place, place: StorePlace, backup_file: Path
) -> None:
    async def add(webhook_id: str) -> int:
        async with place.open() as store:
            return (await append(store, webhook_id, body(id=webhook_id))).seq

    back_up(care, backup_file)
    given_out = asyncio.run(add("before"))
    restore(backup_file, care, now=NOW)
    assert asyncio.run(add("after")) == given_out + 1


def test_what_was_there_is_kept_aside(care: Place, backup_file: Path) -> None:
    back_up(care, backup_file)
    with care.engine() as engine, engine.connect() as connection:
        before = sums(connection)
    aside = restore(backup_file, care, now=NOW).aside
    assert aside is not None
    if care.file is not None:
        old = Place.of(f"sqlite:///{aside}/{care.file.name}", care.data_dir)
        with old.engine() as engine, engine.connect() as connection:
            assert sums(connection) == before
    else:
        with care.engine() as engine, engine.connect() as connection:
            connection.exec_driver_sql(f"SET search_path TO {aside.removeprefix('schema ')}")
            assert connection.exec_driver_sql("SELECT count(*) FROM events").scalar_one() == before["events"].rows


def test_a_backup_goes_into_the_other_kind_of_store(
    care: Place, backup_file: Path, tmp_path: Path, postgres_cluster
) -> None:
    back_up(care, backup_file)
    other = Place.of(postgres_cluster.new_database() if care.file else None, tmp_path / "other")
    done = restore(backup_file, other, now=NOW)
    assert (done.aside, done.key) == (None, "missing")
    with care.engine() as one, one.connect() as here, other.engine() as two, two.connect() as there:
        assert sums(there) == sums(here)
        assert verify(there, [KEY]).found == 0


def test_the_key_goes_in_when_asked_for_and_leaves_no_trace_when_taken_out(
    care: Place, backup_file: Path, tmp_path: Path, place: StorePlace
) -> None:
    key = care.key_file.read_bytes()
    back_up(care, backup_file)
    assert key.strip() not in backup_file.read_bytes()
    back_up(care, backup_file, with_key=True)
    assert read_file(backup_file, "secret.key") == key
    other = Place.of(None, tmp_path / "other")
    assert restore(backup_file, other, now=NOW).key == "restored"
    assert other.file is not None
    assert key.strip() not in other.file.read_bytes()
    assert stat.S_IMODE(other.key_file.stat().st_mode) == 0o600

    async def token() -> str | None:
        async with Store.open(None, other.data_dir) as store:
            return await store.secrets.get("replicate_api_token")

    assert asyncio.run(token()) == "r8_secret"


def test_a_key_that_is_there_already_stays_beside_the_restored_one(care: Place, backup_file: Path) -> None:
    back_up(care, backup_file, with_key=True)
    old = care.key_file.read_bytes().strip()
    mine = b"B" * 43 + b"="
    care.key_file.write_bytes(mine + b"\n")
    restore(backup_file, care, now=NOW)
    assert care.key_file.read_bytes().split() == [old, mine]


async def test_a_backup_beside_a_writer_is_one_state_of_everything(place: StorePlace, backup_file: Path) -> None:
    async with place.open() as store:
        await run_job(store, "first")
        care = Place.of(place.url, place.data_dir)
        stop = asyncio.Event()

        async def write() -> int:
            count = 0
            while not stop.is_set():
                await run_job(store, f"job{count}")
                count += 1
            return count

        writer = asyncio.create_task(write())
        await asyncio.sleep(0.05)
        about, report = await asyncio.to_thread(
            write_backup, care, backup_file, with_key=False, version="0.test", now=NOW
        )
        stop.set()
        assert await writer > 0
    assert report.found == 0
    assert EVENTS <= about.tables["events"].rows <= about.last_seq
    check_backup(backup_file)


def test_a_running_daemon_keeps_a_restore_away(care: Place, place: StorePlace, backup_file: Path) -> None:
    back_up(care, backup_file)

    async def try_it() -> None:
        async with place.open() as store:
            await append(store, "busy", body(id="busy"))
            with pytest.raises(DatabaseInUse, match=r"Stop"):
                await asyncio.to_thread(restore, backup_file, care, now=NOW)
            assert await store.journal.last_seq() > 0

    asyncio.run(try_it())


def test_any_damage_is_found_before_anything_is_touched(care: Place, contents, backup_file: Path) -> None:
    before = contents()
    back_up(care, backup_file)
    sound = backup_file.read_bytes()
    for landmark in (b"SQLite format 3", b"msg_foreign_3", b"job_ours", b'"tables"', b"CREATE TABLE events"):
        place = sound.index(landmark) + 2
        backup_file.write_bytes(sound[:place] + bytes([sound[place] ^ 0x01]) + sound[place + 1 :])
        with pytest.raises((BackupInvalid, CopyDiffers)):
            restore(backup_file, care, now=NOW)
    assert contents() == before


def test_a_row_that_was_changed_in_a_backup_is_found(care: Place, backup_file: Path) -> None:
    back_up(care, backup_file)
    with contextlib.closing(sqlite3.connect(backup_file)) as connection:
        connection.execute("UPDATE jobs SET cost_usd = 0 WHERE job_id = 'job_ours'")
        connection.commit()
    with pytest.raises(CopyDiffers, match=r"jobs"):
        check_backup(backup_file)


def test_what_is_no_backup_is_refused(tmp_path: Path, care: Place, backup_file: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello")
    with pytest.raises(BackupInvalid):
        check_backup(text)
    with pytest.raises(BackupInvalid, match=r"no file"):
        check_backup(tmp_path / "nothing")
    back_up(care, backup_file)
    truncated = tmp_path / "short"
    truncated.write_bytes(backup_file.read_bytes()[: backup_file.stat().st_size // 2])
    with pytest.raises((BackupInvalid, CopyDiffers)):
        check_backup(truncated)


def test_a_backup_of_a_newer_program_is_refused_by_name(care: Place, backup_file: Path) -> None:
    back_up(care, backup_file)
    newer = backup_file.with_name("newer")
    shutil.copy(backup_file, newer)
    with contextlib.closing(sqlite3.connect(newer)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(DatabaseTooNew, match=r"9999"):
        restore(newer, care, now=NOW)
    with contextlib.closing(sqlite3.connect(backup_file)) as connection:
        connection.execute("""UPDATE backup SET about = replace(about, '"format":1', '"format":2')""")
        connection.commit()
    with pytest.raises(BackupInvalid, match=r"newer tunerd"):
        read_about(backup_file)


def test_a_damaged_body_is_told_and_backed_up_all_the_same(care: Place, backup_file: Path) -> None:
    with care.engine(writing=True) as engine, engine.begin() as connection:
        connection.exec_driver_sql("UPDATE events SET body_crc32 = 1 WHERE webhook_id = 'msg_foreign_11'")
    about, report = write_backup(care, backup_file, with_key=False, version="0.test", now=NOW)
    assert report.damaged == about.damaged == 1
    check_backup(backup_file)


def test_nothing_to_back_up_is_said(tmp_path: Path, backup_file: Path) -> None:
    with pytest.raises(Misconfigured, match=r"no database"):
        back_up(Place.of(None, tmp_path / "empty"), backup_file)
    assert list(backup_file.parent.iterdir()) == []
