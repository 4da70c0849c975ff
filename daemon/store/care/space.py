"""Gives the space that pruning freed back to the file system. PostgreSQL does that by itself (autovacuum)."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import sqlalchemy as sa

from ...errors import Misconfigured
from .place import Place

BATCH_PAGES = 256  # of 4 KiB, in one transaction: some milliseconds


def release_some(connection: sa.Connection) -> int:
    """Cut free pages off the file's end; how many. 0: there are none, or the file was not made for it.

    Within the caller's writing transaction.
    """
    if connection.dialect.name != "sqlite":
        return 0
    before = _free(connection)
    driver: Any = connection.connection.driver_connection  # SQLAlchemy sees no rows in it, and would not step through
    driver.execute(f"PRAGMA incremental_vacuum({BATCH_PAGES})").fetchall()
    return before - _free(connection)


def _free(connection: sa.Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())


def rewrite(place: Place) -> None:
    """Write the whole file anew, as small as can be, and made for ``release_some`` from now on. Nobody has it open."""
    if place.file is None:
        raise Misconfigured("PostgreSQL reclaims space by itself; --rewrite is for SQLite.")
    with place.alone(), contextlib.closing(sqlite3.connect(place.file)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
