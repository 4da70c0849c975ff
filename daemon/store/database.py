"""The two ways into the database: one writer, several readers. Only files of ``store/`` ask which store it is.

Writing runs in one thread of its own over a synchronous engine. A batch of events is a dozen statements; awaiting
each of them through an async driver costs a hop between threads every time (measured: a third of the throughput at
64 connections), so the function that makes a transaction is handed to the writer's thread as a whole: one hop there,
one back, whatever the number of statements. Reading goes through SQLAlchemy's async engine (aiosqlite or psycopg).

One writer at a time is not only SQLite's nature: on PostgreSQL every writing transaction takes the same advisory lock,
so that the daemons of one cluster write one after another. That makes the order of sequence numbers the order of
commits: a reader that asks for "everything after n" can never miss an event that commits late with a smaller number.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ..errors import Misconfigured, NotReady

_T = TypeVar("_T")
AnyRow = sa.Row[*tuple[Any, ...]]  # whatever its columns

BUSY_SECONDS = 5.0  # wait for a lock held by another program (a backup, a shell) before giving up
READERS = 4  # connections; each is a thread with aiosqlite
APPLICATION_NAME = "tunerd"  # as PostgreSQL's pg_stat_activity shows it
RETRY_AFTER = 5  # seconds a sender is told to wait while the store cannot be written
JOURNAL_LOCK = 0x74756E657264  # "tunerd": the advisory lock of every writing transaction on PostgreSQL


def database_url(given: str | None, data_dir: Path) -> sa.URL:
    """The URL with the driver we use; ``None`` is SQLite in the data directory."""
    if given is None:
        return sa.URL.create("sqlite", database=str(data_dir / "tunerd.sqlite3"))
    try:
        url = sa.make_url(given)
    except sa.exc.ArgumentError:
        raise Misconfigured("The database URL cannot be read. Write postgresql://user:password@host/name.") from None
    backend = url.drivername.split("+")[0]
    if backend in {"postgres", "postgresql"}:
        return url.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and url.database and url.database != ":memory:":
        return url.set(drivername="sqlite")
    raise Misconfigured(f"{shown(url)}: the store is a SQLite file (sqlite:///path) or postgresql://…")


def shown(url: sa.URL) -> str:
    """The database's name for people: the file, or the URL without its password."""
    return str(url.database) if url.drivername == "sqlite" else url.render_as_string(hide_password=True)


class Database:
    """An open database. Made by ``Database.open``; everything below ``store/`` reads and writes through it."""

    def __init__(self, url: sa.URL) -> None:
        self.url = url
        self.embedded = url.drivername == "sqlite"
        self._writing = writing_engine(url)
        self._reading = _reading_engine(url)
        self._connection: sa.Connection | None = None  # the writer's; used by its thread only
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tunerd-writer")
        self.closed = False
        self.transactions = 0  # committed by this process: tells a quiet moment from a busy one

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: sa.URL) -> AsyncIterator[Database]:
        database = cls(url)
        try:
            yield database
        finally:
            await database._close()

    async def write(self, transaction: Callable[[sa.Connection], _T]) -> _T:
        """Run ``transaction`` in the writer's thread; its return means that everything it wrote is on disk.

        Raises ``NotReady`` where the store cannot be written now, and whatever ``transaction`` raises (rolled back).
        A caller that is cancelled does not stop it.
        """
        if self.closed:
            raise NotReady("The store is closed: the daemon is stopping. Try again.", retry_after=RETRY_AFTER)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, transaction)

    async def maintain(self, statement: str) -> None:
        """Run one statement in the writer's thread, outside any transaction."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._maintain, statement)

    async def rows(self, statement: sa.Executable, values: Mapping[str, Any] | None = None) -> Sequence[AnyRow]:
        try:
            async with self._reading.connect() as connection:
                return (await connection.execute(statement, values or {})).fetchall()
        except sa.exc.DBAPIError as problem:
            raise (not_ready(problem) if is_unavailable(problem) else problem) from None

    async def first(self, statement: sa.Executable, values: Mapping[str, Any] | None = None) -> AnyRow | None:
        found = await self.rows(statement, values)
        return found[0] if found else None

    async def size(self) -> int:
        """Bytes that the database takes on its disk."""
        if not self.embedded:
            row = await self.first(sa.text("SELECT pg_database_size(current_database())"))
            return int(row[0]) if row else 0
        return await asyncio.to_thread(_files_size, Path(str(self.url.database)))

    def _transact(self, transaction: Callable[[sa.Connection], _T]) -> _T:
        try:
            connection = self._begin()
            try:
                result = transaction(connection)
                connection.commit()
                self.transactions += 1
                return result
            except BaseException:
                self._undo(connection)
                raise
        except sa.exc.DBAPIError as problem:
            if not is_unavailable(problem):
                raise
            self._drop_connection()  # the next one starts clean: this is how the store recovers by itself
            raise not_ready(problem) from problem

    def _maintain(self, statement: str) -> None:
        if self._connection is not None:
            driver: Any = self._connection.connection.driver_connection
            driver.execute(statement).fetchall()

    def _begin(self) -> sa.Connection:
        reused = self._connection is not None
        try:
            if self._connection is None:
                self._connection = self._writing.connect()
            self._connection.begin()
        except sa.exc.DBAPIError as problem:
            self._drop_connection()
            if reused and problem.connection_invalidated:
                return self._begin()  # the server closed an idle connection; nothing was begun, so nothing is doubled
            raise
        return self._connection

    def _undo(self, connection: sa.Connection) -> None:
        try:
            connection.rollback()
        except sa.exc.SQLAlchemyError:
            self._drop_connection()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                connection.invalidate()
            connection.close()

    async def _close(self) -> None:
        self.closed = True
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._close_writer)
        await loop.run_in_executor(None, self._thread.shutdown)
        await self._reading.dispose()

    def _close_writer(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._writing.dispose()


def is_unavailable(problem: sa.exc.DBAPIError) -> bool:
    """Is the store full, locked, gone or damaged? Anything else is the fault of the statement or its values."""
    # SQLite says plain DatabaseError where the file is malformed; the others' meaning is the DBAPI's.
    unavailable = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError)
    return isinstance(problem, unavailable) or type(problem) is sa.exc.DatabaseError


def not_ready(problem: sa.exc.DBAPIError) -> NotReady:
    reason = str(getattr(problem, "orig", None) or problem).strip().split("\n")[0]
    return NotReady(f"The store is not available: {reason}. Events are sent again.", retry_after=RETRY_AFTER)


def _files_size(database: Path) -> int:
    size = 0
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(OSError):
            size += database.with_name(database.name + suffix).stat().st_size
    return size


def writing_engine(url: sa.URL) -> sa.Engine:
    """Connections that write as the daemon does: its pragmas, its order among all writers."""
    engine = sa.create_engine(url, poolclass=sa.NullPool, **_connect_args(url))
    if url.drivername == "sqlite":
        sa.event.listen(engine, "connect", _sqlite_writer)
        sa.event.listen(engine, "begin", _sqlite_begin)
    else:
        sa.event.listen(engine, "connect", _postgres_writer)
        sa.event.listen(engine, "begin", _postgres_begin)
    return engine


def snapshot_engine(url: sa.URL) -> sa.Engine:
    """Connections whose transaction sees one state of the database and holds nobody up."""
    if url.drivername != "sqlite":
        options = {"isolation_level": "REPEATABLE READ", **_connect_args(url)}
        return sa.create_engine(url, poolclass=sa.NullPool, **options)
    engine = sa.create_engine(url, poolclass=sa.NullPool, **_connect_args(url))
    sa.event.listen(engine, "connect", _sqlite_manual)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _reading_engine(url: sa.URL) -> AsyncEngine:
    # AUTOCOMMIT: each read is one statement, and BEGIN and ROLLBACK around it would be two more hops.
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "pool_size": READERS, "max_overflow": 0}
    if url.drivername != "sqlite":
        return create_async_engine(url, pool_pre_ping=True, **options, **_connect_args(url))
    engine = create_async_engine(url.set(drivername="sqlite+aiosqlite"), **options, **_connect_args(url))
    sa.event.listen(engine.sync_engine, "connect", _sqlite_reader)
    return engine


def _connect_args(url: sa.URL) -> dict[str, Any]:
    if url.drivername == "sqlite":
        return {"connect_args": {"timeout": BUSY_SECONDS}}
    # The name tells the daemons of a database apart from its other users: care/place.py looks for it.
    return {"connect_args": {"connect_timeout": 5, "application_name": APPLICATION_NAME}}  # seconds


def _sqlite_writer(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file: what is pruned gives its space back
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # the WAL is synced with every commit: power loss takes nothing
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # store/checkpoint.py does it, away from the requests
    connection.execute("PRAGMA cache_size = -16384")  # KiB


def _sqlite_manual(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own


def _sqlite_begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _sqlite_reader(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only = ON")
    cursor.close()


def _postgres_writer(connection: Any, _record: Any) -> None:
    connection.autocommit = True
    # A node that hangs must not hold the others up for longer than this.
    connection.execute("SET lock_timeout = '10s'")
    connection.execute("SET idle_in_transaction_session_timeout = '30s'")
    if connection.execute("SHOW synchronous_commit").fetchone() == ("off",):
        connection.execute("SET synchronous_commit = on")  # an event is on disk before it is answered
    connection.autocommit = False


def _postgres_begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({JOURNAL_LOCK})")
