"""Whole tables: summed up so that two copies can be compared, and copied from one store into another.

A table's sum does not depend on the order of its rows, on the kind of database or on the order of its columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from ...errors import Misconfigured, TunerdError
from ..sequence import continue_sequence, last_sequence

BATCH_ROWS = 100  # a row may hold a body of some MiB
_BOOKKEEPING = frozenset({"alembic_version", "backup", "backup_files"})  # no data of the store
_MODULUS = 2**256

_encoder = msgspec.msgpack.Encoder()
Row = Mapping[str, Any]


class CopyDiffers(TunerdError):
    title = "The copy is not what was copied"


class TableSum(msgspec.Struct, frozen=True):
    """How many rows, and the sum of the SHA-256 of each (256 bits, hex)."""

    rows: int
    sha256: str


class Summing:
    """Sums rows up as they pass."""

    def __init__(self) -> None:
        self._rows = 0
        self._sum = 0

    def add(self, row: Row) -> None:
        values = [int(value) if isinstance(value, bool) else value for _, value in sorted(row.items())]
        digest = hashlib.sha256(_encoder.encode(values)).digest()
        self._sum = (self._sum + int.from_bytes(digest, "big")) % _MODULUS
        self._rows += 1

    @property
    def result(self) -> TableSum:
        return TableSum(self._rows, f"{self._sum:064x}")


def data_tables(connection: sa.Connection) -> list[sa.Table]:
    """The store's tables as this database has them, whatever its revision."""
    found = sa.MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name not in _BOOKKEEPING]


def read(connection: sa.Connection, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    """All rows, some at a time; bytes are plain ``bytes``."""
    result = connection.execute(sa.select(table).execution_options(yield_per=BATCH_ROWS))
    for batch in result.mappings().partitions():
        yield [
            {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}
            for row in batch
        ]


def sums(connection: sa.Connection) -> dict[str, TableSum]:
    """The sum of each table."""
    found = {}
    for table in data_tables(connection):
        summing = Summing()
        for batch in read(connection, table):
            for row in batch:
                summing.add(row)
        found[table.name] = summing.result
    return found


def copy(source: sa.Connection, target: sa.Connection) -> dict[str, TableSum]:
    """Copy every row into ``target``, which has the same tables, all empty; the sums of what was read.

    Within the caller's transactions: of ``source`` one that sees a single state, of ``target`` all or nothing.
    Raises ``Misconfigured`` where a table is missing or holds something.
    """
    there = {table.name: table for table in data_tables(target)}
    found = {}
    for table in data_tables(source):
        goal = there.get(table.name)
        if goal is None or set(goal.columns.keys()) != set(table.columns.keys()):
            raise Misconfigured(f"The target's table {table.name!r} is missing or another one.")
        refuse_filled(target, goal)
        summing = Summing()
        for batch in read(source, table):
            target.execute(goal.insert(), batch)
            for row in batch:
                summing.add(row)
        found[table.name] = summing.result
    continue_sequence(target, last_sequence(source))
    return found


def refuse_filled(connection: sa.Connection, table: sa.Table) -> None:
    if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None:
        raise Misconfigured(
            f"The target holds data already (table {table.name!r}). Give an empty database: nothing was changed."
        )


def compare(wanted: Mapping[str, TableSum], found: Mapping[str, TableSum], what: str) -> None:
    """Raise ``CopyDiffers`` naming the tables of ``what`` that are not as ``wanted``."""
    differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if differing:
        raise CopyDiffers(f"{what} is damaged or incomplete: {', '.join(differing)}.")
