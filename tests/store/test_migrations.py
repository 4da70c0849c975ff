"""The migrated schema is the one in ``schema.py``; a database from the future is refused by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from daemon.errors import DatabaseTooNew, Misconfigured, NotReady
from daemon.store import migrate
from daemon.store.database import database_url, shown
from daemon.store.schema import metadata
from daemon.store.store import Store
from tests.support.events import append, body

from .conftest import Place


def test_every_revision_is_known_by_name() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).with_name("migrations")))
    scripts = ScriptDirectory.from_config(config)
    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(migrate.REVISIONS)
    assert scripts.get_current_head() == migrate.REVISIONS[-1]


def _shape(connection: sa.Connection) -> dict[str, object]:
    """Tables, columns, keys and indexes as the database itself tells them."""
    inspector = sa.inspect(connection)
    return {
        table: (
            [(c["name"], str(c["type"]), c["nullable"], c.get("default")) for c in inspector.get_columns(table)],
            inspector.get_pk_constraint(table)["constrained_columns"],
            sorted(c["column_names"] for c in inspector.get_unique_constraints(table)),
            sorted((i["name"], i["column_names"], i["unique"]) for i in inspector.get_indexes(table)),
        )
        for table in sorted(inspector.get_table_names())
        if table != "alembic_version"
    }


async def test_the_migrated_schema_is_the_declared_one(place: Place, tmp_path: Path, postgres_cluster) -> None:
    async with place.open() as store:
        assert await store.journal._database.write(_differences) == []
        migrated = await store.journal._database.write(_shape)
    other = f"sqlite:///{tmp_path}/declared.sqlite3" if place.embedded else postgres_cluster.new_database()
    engine = sa.create_engine(database_url(other, tmp_path))
    with engine.begin() as connection:
        metadata.create_all(connection)
        declared = _shape(connection)
    engine.dispose()
    assert migrated == declared
    if place.embedded:
        assert "AUTOINCREMENT" in _sqlite_sql(place.data_dir / "tunerd.sqlite3")


def _differences(connection: sa.Connection) -> list[object]:
    context = MigrationContext.configure(connection)
    return compare_metadata(context, metadata)


def _sqlite_sql(path: Path) -> str:
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        sql = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'events'").scalar_one()
    engine.dispose()
    return str(sql)


async def test_a_newer_database_is_refused_by_name(place: Place) -> None:
    async with place.open() as store:
        await append(store, "msg_1", body())
        await store.journal._database.write(
            lambda connection: connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'")).rowcount
        )
    with pytest.raises(DatabaseTooNew) as refused:
        async with place.open():
            pass
    url = database_url(place.url, place.data_dir)
    assert shown(url) in refused.value.detail and "9999" in refused.value.detail
    assert url.password is None or url.password not in refused.value.detail


async def test_opening_twice_changes_nothing(place: Place) -> None:
    for number in range(3):
        async with place.open() as store:
            await append(store, f"msg_{number}", body())
    async with place.open() as store:
        assert await store.journal.last_seq() == 3


def test_a_current_database_is_opened_without_alembic(tmp_path: Path) -> None:
    """It would cost a fifth of a second of every start."""
    program = """if True:
        import asyncio, pathlib, sys
        from daemon.store.store import Store
        async def main():
            async with Store.open(None, pathlib.Path(sys.argv[1])) as store:
                await store.ping()
        asyncio.run(main())
        print("alembic" in sys.modules, "psycopg" in sys.modules)
    """
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "data")], check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert outputs == ["True False\n", "False False\n"]


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "tunerd.sqlite3").write_bytes(b"this is not a database, whatever its name says. " * 100)
    with pytest.raises((Misconfigured, NotReady), match=r"not a"):
        async with Store.open(None, tmp_path):
            pass


@pytest.mark.parametrize("url", ["mysql://host/x", "sqlite://", "sqlite:///:memory:", "::::", "postgresql//x"])
async def test_other_databases_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        async with Store.open(url, tmp_path):
            pass


async def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(NotReady) as refused:
        async with Store.open("postgres://user:hidden@127.0.0.1:1/x", tmp_path):
            pass
    assert "hidden" not in refused.value.detail


async def test_a_named_file_and_every_spelling_of_postgresql(tmp_path: Path, postgres_url: str) -> None:
    async with Store.open(f"sqlite+aiosqlite:///{tmp_path}/named.db", tmp_path / "data") as store:
        await append(store, "msg_1", body())
    assert (tmp_path / "named.db").exists()
    for scheme in ("postgres", "postgresql", "postgresql+psycopg", "postgresql+asyncpg"):
        async with Store.open(postgres_url.replace("postgresql", scheme, 1), tmp_path / "data") as store:
            await store.ping()
