"""Everything, from either kind of store into the other and back; a target that holds something is left alone."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import psycopg
import pytest

from daemon.errors import DatabaseInUse, Misconfigured
from daemon.store.care import tables
from daemon.store.care.move import move
from daemon.store.care.place import Place
from daemon.store.care.tables import CopyDiffers, sums
from daemon.store.care.verify import verify
from daemon.store.store import Store
from tests.store.care.conftest import EVENTS, KEY
from tests.support.events import append, body


@pytest.fixture
def other(care: Place, tmp_path: Path, postgres_cluster) -> Place:
    """An empty store of the other kind."""
    return Place.of(postgres_cluster.new_database() if care.file else None, tmp_path / "other")


def test_there_and_back(care: Place, other: Place, tmp_path: Path, postgres_cluster) -> None:
    there = move(care, other)
    assert there["events"].rows == 3 * EVENTS + 1
    back = Place.of(postgres_cluster.new_database() if care.file is None else None, tmp_path / "back")
    assert move(other, back) == there
    for place in (care, other, back):
        with place.engine() as engine, engine.connect() as connection:
            assert sums(connection) == there
            assert verify(connection, [KEY]).findings == []


def test_numbers_go_on_where_they_were(care: Place, other: Place) -> None:
    move(care, other)

    async def next_seq() -> int:
        url = other.url.render_as_string(hide_password=False)
        async with Store.open(url, other.data_dir) as store:
            return (await append(store, "next", body(id="next"))).seq

    assert asyncio.run(next_seq()) == 3 * EVENTS + 2


def test_a_target_that_holds_something_is_refused_and_left_as_it_is(care: Place, other: Place) -> None:
    first = move(care, other)
    with pytest.raises(Misconfigured, match=r"holds data already"):
        move(care, other)
    with other.engine() as engine, engine.connect() as connection:
        assert sums(connection) == first


def test_the_store_itself_is_no_target(care: Place) -> None:
    with pytest.raises(Misconfigured, match=r"in use already"):
        move(care, care)


def test_a_daemon_s_session_that_is_just_ending_keeps_no_move_away(postgres_url: str, tmp_path: Path) -> None:
    place = Place.of(postgres_url, tmp_path)
    session = psycopg.connect(postgres_url, application_name="tunerd")
    with pytest.raises(DatabaseInUse), place.alone():
        pass
    ending = threading.Timer(0.5, session.close)
    ending.start()
    with place.alone():
        assert session.closed
    ending.join()


def test_a_running_daemon_keeps_a_move_away(care: Place, other: Place, place) -> None:
    async def try_it() -> None:
        async with place.open() as store:
            await append(store, "busy", body(id="busy"))
            with pytest.raises(DatabaseInUse):
                await asyncio.to_thread(move, care, other)

    asyncio.run(try_it())
    move(care, other)


def test_a_copy_that_is_not_what_was_read_is_told(care: Place, other: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(connection, table):
        for batch in read(connection, table):
            yield [row | {"webhook_id": "other"} if row.get("webhook_id") == "odd" else row for row in batch]

    read = tables.read
    calls: list[str] = []

    def once(connection, table):
        calls.append(table.name)
        return (damaged if calls.count("events") == 2 else read)(connection, table)

    monkeypatch.setattr(tables, "read", once)
    with pytest.raises(CopyDiffers, match=r"events"):
        move(care, other)
