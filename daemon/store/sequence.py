"""The journal's sequence numbers: greater than any used before, whatever was pruned, on either store."""

from __future__ import annotations

import sqlalchemy as sa

from .compiled import fetch


def reserve_sequence(connection: sa.Connection, count: int) -> int:
    """The first of ``count`` sequence numbers, greater than any used before. Within a writing transaction only."""
    if connection.dialect.name == "sqlite":
        last = fetch(connection, _SQLITE_LAST.text)
        return int(last[0][0] or 0) + 1 if last else 1
    return int(connection.execute(_POSTGRES_RESERVE, {"count": count}).scalar_one()) - count + 1


def last_sequence(connection: sa.Connection) -> int:
    """The greatest sequence number that was ever given out; 0 before the first."""
    sqlite = connection.dialect.name == "sqlite"
    return int(connection.execute(_SQLITE_LAST if sqlite else _POSTGRES_LAST).scalar() or 0)


def continue_sequence(connection: sa.Connection, last: int) -> None:
    """Give out numbers greater than ``last`` from now on, for rows that were written with numbers of their own."""
    if connection.dialect.name == "sqlite":
        connection.execute(_SQLITE_FORGET)
        connection.execute(_SQLITE_CONTINUE, {"last": last})
    elif last > 0:
        connection.execute(_POSTGRES_CONTINUE, {"last": last})


_SQLITE_LAST = sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
_SQLITE_FORGET = sa.text("DELETE FROM sqlite_sequence WHERE name = 'events'")
_SQLITE_CONTINUE = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', :last)")
_POSTGRES_LAST = sa.text("SELECT pg_sequence_last_value(pg_get_serial_sequence('events', 'seq')::regclass)")
_POSTGRES_CONTINUE = sa.text("SELECT setval(pg_get_serial_sequence('events', 'seq'), :last)")
_POSTGRES_RESERVE = sa.text(
    "SELECT max(nextval(pg_get_serial_sequence('events', 'seq'))) FROM generate_series(1, :count)"
)
