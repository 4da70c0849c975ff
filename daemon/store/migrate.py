"""Brings the database to this program's revision; refuses one that a newer program wrote.

Alembic costs a fifth of a second and ten megabytes to import, so it is not touched where the database is at the
newest revision already, which is every start but the first.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from ..errors import DatabaseTooNew, Misconfigured
from .database import Database, shown

# Every one this program knows, oldest first; a test compares it with migrations/versions.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0012")

_VERSION = sa.text("SELECT version_num FROM alembic_version")


async def migrate(database: Database) -> None:
    """Raises ``DatabaseTooNew`` for a revision from the future and ``Misconfigured`` for a file that is no database."""
    await database.write(lambda connection: _migrate(connection, database.url))


def _migrate(connection: sa.Connection, url: sa.URL) -> None:
    revision = current_revision(connection, url)
    if revision == REVISIONS[-1]:
        return
    if revision is not None and revision not in REVISIONS:
        raise DatabaseTooNew(
            f"{shown(url)} is at revision {revision}, which this tunerd does not know (its newest is {REVISIONS[-1]}). "
            "Start the newer tunerd that wrote it, or restore a backup made by this version."
        )
    upgrade(connection, REVISIONS[-1])


def current_revision(connection: sa.Connection, url: sa.URL) -> str | None:
    """The revision that the database says it is at; ``None`` for an empty one."""
    try:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        revision = connection.execute(_VERSION).scalar()
        return None if revision is None else str(revision)
    except sa.exc.DatabaseError as problem:
        if "not a database" in str(problem.orig):
            raise Misconfigured(f"{shown(url)} is not a SQLite database. Move it away or name another.") from None
        raise


def upgrade(connection: sa.Connection, revision: str) -> None:
    """Run the migrations up to ``revision`` within the connection's transaction: all of them or none."""
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
