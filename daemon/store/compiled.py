"""The journal's hottest statements: SQLAlchemy Core, compiled once for each store and handed to the driver as they are.

Executing a Core statement costs what looking at each of its values again costs, and a result of it what describing its
columns costs: for a batch of 64 events that is more than SQLite's own work, and for a single event half of everything.
The values here are what both drivers take and give as they are: text, numbers, bytes, booleans, ``None``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

_SIZES = (1, 4, 16, 64, 256)  # keys in one lookup: few different statements, so that the drivers keep them prepared
_NAMES = tuple(f"key{index}" for index in range(_SIZES[-1]))

Values = tuple[Any, ...]


class _Compiled:
    """A statement's text, and its values in the shape that the driver wants."""

    def __init__(self, statement: sa.Executable, dialect: sa.Dialect, columns: Sequence[str] | None) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=columns)  # type: ignore[attr-defined]
        self.sql = str(compiled)
        order: tuple[str, ...] = tuple(compiled.positiontup) if compiled.positional else ()
        self.shape: Callable[[Mapping[str, Any]], Any] = dict
        if len(order) == 1:
            self.shape = lambda values: (values[order[0]],)
        elif order:
            self.shape = itemgetter(*order)


class Bulk:
    """An insert or update of many rows."""

    def __init__(self, statement: sa.Insert | sa.Update, columns: Sequence[str]) -> None:
        self._statement = statement
        self._columns = list(columns)
        self._compiled: dict[str, _Compiled] = {}  # by dialect

    def execute(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Each row has every column."""
        if not rows:
            return
        compiled = self._compiled.get(connection.dialect.name)
        if compiled is None:
            compiled = self._compiled[connection.dialect.name] = _Compiled(
                self._statement, connection.dialect, self._columns
            )
        shaped = [compiled.shape(row) for row in rows]
        _with_cursor(connection, lambda cursor: cursor.executemany(compiled.sql, shaped))


class Lookup:
    """Rows by a key column, for many keys at once."""

    def __init__(self, select: sa.Select[*tuple[Any, ...]], key: sa.Column[Any]) -> None:
        self._select = select
        self._key = key
        self._compiled: dict[tuple[str, int], _Compiled] = {}  # by dialect and number of keys

    def execute(self, connection: sa.Connection, keys: Sequence[str]) -> list[Values]:
        """The rows' values, in the order of the select's columns."""
        found: list[Values] = []
        for start in range(0, len(keys), _SIZES[-1]):
            some = keys[start : start + _SIZES[-1]]
            size = next(size for size in _SIZES if size >= len(some))
            compiled = self._for(connection.dialect, size)
            # The last key again where there are fewer: it finds the same row once.
            values = dict(zip(_NAMES, [*some, *[some[-1]] * (size - len(some))], strict=False))
            found += fetch(connection, compiled.sql, compiled.shape(values))
        return found

    def _for(self, dialect: sa.Dialect, size: int) -> _Compiled:
        place = (dialect.name, size)
        if place not in self._compiled:
            keys = [sa.bindparam(name, type_=self._key.type) for name in _NAMES[:size]]
            self._compiled[place] = _Compiled(self._select.where(self._key.in_(keys)), dialect, None)
        return self._compiled[place]


def fetch(connection: sa.Connection, sql: str, values: Any = ()) -> list[Values]:
    """All rows of a statement in the driver's own words."""
    found: list[Values] = _with_cursor(connection, lambda cursor: cursor.execute(sql, values).fetchall())
    return found


def _with_cursor(connection: sa.Connection, work: Callable[[Any], Any]) -> Any:
    """``work(cursor)`` of the driver, within the connection's transaction. Raises SQLAlchemy's exceptions."""
    dbapi: Any = connection.dialect.dbapi
    cursor: Any = None
    try:
        cursor = connection.connection.cursor()
        return work(cursor)
    except dbapi.Error as problem:
        raise sa.exc.DBAPIError.instance(None, None, problem, dbapi.Error, dialect=connection.dialect) from problem
    finally:
        if cursor is not None:
            cursor.close()
