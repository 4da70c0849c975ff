"""What was acknowledged is there afterwards, however the process ended; a store that failed recovers by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from daemon.errors import NotReady
from daemon.store.database import Database
from daemon.store.store import Store
from tests.support.events import append, body

from .conftest import Place

ROUNDS = max(3, int(os.environ.get("FAULT_ROUNDS", "8")) // 4)
# Appends for ever from many tasks and prints each id once it is acknowledged.
_APPENDING = """if True:
    import asyncio, pathlib, sys
    from daemon.store.store import Store
    from tests.support.events import append, body
    async def one(store, task):
        for number in range(10**6):
            webhook_id = f"msg_{sys.argv[3]}_{task}_{number}"
            await append(store, webhook_id, body(id=f"job{task}", logs="line\\n" * number))
            print(webhook_id, flush=True)
    async def main():
        async with Store.open(sys.argv[1] or None, pathlib.Path(sys.argv[2])) as store:
            await asyncio.gather(*(one(store, task) for task in range(8)))
    asyncio.run(main())
"""


def _acknowledged_until_killed(place: Place, round_: int) -> list[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", _APPENDING, place.url or "", str(place.data_dir), str(round_)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert child.stdout is not None
    timer = threading.Timer(60, child.kill)  # should it never come to the kill below
    timer.start()
    try:
        seen = []
        for line in child.stdout:
            if not line.startswith(b"msg_" if isinstance(line, bytes) else "msg_"):  # a line of the log
                continue
            if not line.endswith("\n"):
                break
            seen.append(line.strip())
            if len(seen) == 150 + 37 * (round_ % 3):
                os.kill(child.pid, signal.SIGKILL)  # and what it has printed meanwhile counts, too
        return seen
    finally:
        timer.cancel()
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.mark.parametrize("rounds", [1, pytest.param(ROUNDS, marks=pytest.mark.slow)], ids=["once", "rounds"])
async def test_kill_9_takes_no_acknowledged_event(place: Place, rounds: int) -> None:
    acknowledged: list[str] = []
    for round_ in range(rounds):
        acknowledged += await asyncio.to_thread(_acknowledged_until_killed, place, round_)
    assert len(acknowledged) >= 150 * rounds
    async with place.open() as store:
        rows = await store.journal.events(limit=100_000)
        assert set(acknowledged) <= {row.webhook_id for row in rows}
        for row in rows[:: max(1, len(rows) // 100)]:
            _, _, task, number = row.webhook_id.split("_")
            found = await store.journal.body(row.seq)
            assert found is not None and found.body == body(id=f"job{task}", logs="line\n" * int(number))


def test_a_commit_is_synced(tmp_path: Path) -> None:
    """What PRAGMA synchronous and the journal mode say on the writer's own connection."""

    async def main() -> tuple[object, ...]:
        async with Store.open(None, tmp_path) as store:
            return await store.journal._database.write(
                lambda connection: tuple(
                    connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "journal_mode")
                )
            )

    assert asyncio.run(main()) == (2, "wal")


@contextlib.contextmanager
def _read_only(url: str) -> Iterator[None]:
    """The server takes no writes, and every connection is new."""
    name = url.rsplit("/", 1)[1]
    with psycopg.connect(url, autocommit=True) as admin:

        def set_read_only(value: str) -> None:
            admin.execute("SET default_transaction_read_only = off")
            admin.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}'.encode())
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

        set_read_only("on")
        try:
            yield
        finally:
            set_read_only("off")


@contextlib.asynccontextmanager
async def _unwritable(place: Place, database: Database) -> AsyncIterator[None]:
    with contextlib.nullcontext() if place.url is None else _read_only(place.url):
        if place.embedded:
            # As full as a disk: no page may be added. The limit is this connection's; the next one is free of it.
            pages = (place.data_dir / "tunerd.sqlite3").stat().st_size // 4096
            await database.maintain(f"PRAGMA max_page_count = {pages}")
        yield


async def test_a_full_disk_is_not_ready_and_recovers(place: Place) -> None:
    async with place.open() as store:
        await append(store, "msg_1", body(logs="x"))
        database = store.journal._database
        async with _unwritable(place, database):
            big = os.urandom(1_000_000).hex()
            results = await asyncio.gather(
                *(append(store, f"msg_full_{number}", body(logs=big)) for number in range(3)), return_exceptions=True
            )
            assert [type(result) for result in results] == [NotReady] * 3
            assert all(isinstance(result, NotReady) and result.retry_after for result in results)
        assert (await append(store, "msg_2", body(logs="xy"))).seq >= 2
        await store.ping()
        assert {row.webhook_id for row in await store.journal.events()} == {"msg_1", "msg_2"}
        found = await store.journal.body((await store.journal.events())[-1].seq)
        assert found is not None and found.body == body(logs="xy")


async def test_a_database_that_another_program_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    monkeypatch.setattr("daemon.store.database.BUSY_SECONDS", 0.05)
    async with Store.open(None, tmp_path) as store:
        other = sqlite3.connect(tmp_path / "tunerd.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for attempt in (
            append(store, "msg_1", body()),
            store.ping(),
            store.jobs.set_checked("x", now=1, check_after=1),
        ):
            with pytest.raises(NotReady, match="locked"):
                await attempt
        other.execute("ROLLBACK")
        other.close()
        await append(store, "msg_1", body())
        await store.ping()


async def test_a_server_that_closed_our_connections_is_not_noticed(postgres_url: str, tmp_path: Path) -> None:
    async with Store.open(postgres_url, tmp_path) as store:
        await append(store, "msg_1", body())
        assert await store.journal.last_seq() == 1
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert not (await append(store, "msg_2", body())).duplicate
        assert await store.journal.last_seq() == 2


async def test_a_writer_that_dies_is_told(store: Store) -> None:
    failed = asyncio.create_task(store.wait_failed())
    await append(store, "msg_1", body())
    assert not failed.done()
    store.journal.writer.cancel()
    with pytest.raises(NotReady):
        await failed
    with pytest.raises(NotReady):
        await append(store, "msg_2", body())
    with pytest.raises(NotReady):
        await store.ping()


async def test_who_waits_when_the_writer_dies_is_answered(store: Store) -> None:
    waiting = [asyncio.create_task(append(store, f"msg_{number}", body())) for number in range(5)]
    await asyncio.sleep(0)
    store.journal.writer.cancel()
    results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)
    assert {type(result) for result in results} == {NotReady}


async def test_a_cancelled_reader_leaves_the_store_usable(store: Store) -> None:
    for number in range(20):
        await append(store, f"msg_{number}", body(logs="x" * number))
    for delay in (0.0, 0.0005, 0.001, 0.002):
        readers = [asyncio.create_task(store.journal.body(number)) for number in range(1, 20)]
        await asyncio.sleep(delay)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    assert await store.journal.last_seq() == 20


@pytest.mark.parametrize("busy_looks", [5, 1], ids=["carried over in a pause", "carried over under load"])
async def test_the_write_ahead_log_stays_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy_looks: int
) -> None:
    monkeypatch.setattr("daemon.store.checkpoint.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("daemon.store.checkpoint.BUSY_LOOKS", busy_looks)
    monkeypatch.setattr("daemon.store.checkpoint.SHRINK_BYTES", 100_000)
    log = tmp_path / "tunerd.sqlite3-wal"
    async with Store.open(None, tmp_path) as store:
        for number in range(30):
            await append(store, f"msg_{number}", os.urandom(20_000))
            assert log.stat().st_size > 0 or number > 1
        async with asyncio.timeout(30):
            while log.stat().st_size > 0:  # noqa: ASYNC110 - a file tells nobody that it became shorter
                await asyncio.sleep(0.02)
        assert (tmp_path / "tunerd.sqlite3").stat().st_size > 500_000
    assert not log.exists()
