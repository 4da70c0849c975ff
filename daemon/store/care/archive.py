"""A backup: one SQLite file with the store's tables, the workflows' state, and a table that says what is in it.

Whatever database the store is on, the file is the same, so it can be restored into either. Made while the daemon runs:
from SQLite through its online backup (one state of the whole file, writers go on meanwhile), from PostgreSQL by
reading every table in one transaction. It gets its name last, when it has been read back and checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from ...errors import Misconfigured, TunerdError
from ...files import sync_directory, sync_file
from ..migrate import upgrade
from ..sequence import last_sequence
from .place import Place, known_revision
from .tables import TableSum, compare, copy, sums
from .verify import Report, verify

FORMAT = 1  # of the file; a later one is refused by name
PART_BYTES = 1024 * 1024  # of a kept file in one row
KEY_NAME, DBOS_NAME = "secret.key", "dbos.sqlite3"

_CREATE = (
    "CREATE TABLE backup (about TEXT NOT NULL)",
    "CREATE TABLE backup_files (name TEXT NOT NULL, part INTEGER NOT NULL, content BLOB NOT NULL)",
)


class BackupInvalid(TunerdError):
    title = "This is not a sound backup"


class KeptFile(msgspec.Struct, frozen=True):
    name: str
    bytes: int
    sha256: str


class About(msgspec.Struct, frozen=True):
    """What a backup says about itself. Times are unix seconds."""

    format: int
    made_at: float
    tunerd: str  # version
    revision: str  # of the schema
    store: str  # sqlite | postgresql: where it comes from
    last_seq: int  # the greatest sequence number given out by then
    damaged: int  # bodies that the store could not give back even then
    tables: dict[str, TableSum]
    files: list[KeptFile]

    @property
    def has_key(self) -> bool:
        return any(file.name == KEY_NAME for file in self.files)


def write_backup(place: Place, target: Path, *, with_key: bool, version: str, now: float) -> tuple[About, Report]:
    """Make ``target``, mode 0600, and say what the journal's checks found in it: a damaged body is kept as it is.

    Raises ``BackupInvalid`` where the database cannot be read whole: then there is no backup.
    """
    if place.file is not None and not place.file.is_file():
        raise Misconfigured(f"There is no database at {place.file} to back up. TUNERD_DATA_DIR names the directory.")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    with _claimed(part):
        files = _take_files(place, part, with_key=with_key)
        if place.file is None:
            store = "postgresql"
            _copy_tables(place, part)
        else:
            store = "sqlite"
            _copy_file(place.file, part)
        about, report = _describe(part, files, store, version, now)
        _write_about(part, about, files)
        read_about(part)
        sync_file(part)
        part.replace(target)
        sync_directory(target.parent)
    return about, report


def read_about(path: Path) -> About:
    """What a backup says about itself. Raises ``BackupInvalid``."""
    try:
        with contextlib.closing(_open_plain(path)) as connection:
            row = connection.execute("SELECT about FROM backup").fetchone()
    except sqlite3.Error as problem:
        raise BackupInvalid(f"{path} is not a backup that `tunerd backup` made, or it is damaged: {problem}.") from None
    try:
        found = msgspec.json.decode(row[0] if row else b"{}")
        if isinstance(found, dict) and isinstance(found.get("format"), int) and found["format"] > FORMAT:
            raise BackupInvalid(f"{path} was made by a newer tunerd ({found.get('tunerd')}): restore it with that one.")
        return msgspec.convert(found, About)
    except msgspec.MsgspecError as problem:
        raise BackupInvalid(f"{path}: what it says about itself cannot be read: {problem}.") from None


def check_backup(path: Path) -> tuple[About, Report]:
    """Read all of it. Raises ``BackupInvalid``, ``CopyDiffers``, ``DatabaseTooNew``."""
    if not path.is_file():
        raise BackupInvalid(f"There is no file {path}.")
    about = read_about(path)
    _integrity(path)
    for file in about.files:
        content = read_file(path, file.name)
        if len(content) != file.bytes or hashlib.sha256(content).hexdigest() != file.sha256:
            raise BackupInvalid(f"{path}: {file.name} in it is damaged.")
    with plain_engine(path) as engine, engine.connect() as connection:
        known_revision(connection, engine.url)
        compare(about.tables, sums(connection), str(path))
        report = verify(connection, (), derive=False)
    if report.damaged > about.damaged:
        raise BackupInvalid(f"{path}: {report.damaged - about.damaged} bodies in it are damaged.")
    return about, report


def read_file(path: Path, name: str) -> bytes:
    """A file that was kept beside the tables."""
    with contextlib.closing(_open_plain(path)) as connection:
        parts = connection.execute("SELECT content FROM backup_files WHERE name = ? ORDER BY part", (name,))
        return b"".join(part for (part,) in parts)


@contextlib.contextmanager
def plain_engine(path: Path) -> Iterator[sa.Engine]:
    """The file as it is: no write-ahead log appears beside it."""
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), poolclass=sa.NullPool)
    sa.event.listen(engine, "connect", _set_plain)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    try:
        yield engine
    finally:
        engine.dispose()


def _set_plain(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous = OFF")  # the whole file is synced before it gets its name


@contextlib.contextmanager
def _claimed(part: Path) -> Iterator[None]:
    """``part``, made empty and for its owner only, and removed where it did not get its name."""
    try:
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as problem:
        raise Misconfigured(f"{part.parent}: no backup can be written there: {problem.strerror}.") from None
    try:
        yield
    except (sqlite3.Error, sa.exc.DBAPIError) as problem:
        reason = getattr(problem, "orig", None) or problem
        raise BackupInvalid(f"No backup was made: {reason}.") from problem
    finally:
        for left in (part, *part.parent.glob(f"{part.name}-*")):
            left.unlink(missing_ok=True)


def _take_files(place: Place, part: Path, *, with_key: bool) -> dict[str, bytes]:
    """The workflows' state is taken before the tables: a workflow of a job that the tables do not know is none."""
    files = {}
    if place.dbos_file is not None and place.dbos_file.is_file():
        copied = part.with_name(f"{part.name}-{DBOS_NAME}")
        copied.unlink(missing_ok=True)
        _copy_file(place.dbos_file, copied)
        files[DBOS_NAME] = copied.read_bytes()
        copied.unlink()
    if with_key and place.key_file.is_file():
        files[KEY_NAME] = place.key_file.read_bytes()
    return files


def _copy_file(source: Path, target: Path) -> None:
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(source)) as here, contextlib.closing(_open_plain(target)) as there:
        here.backup(there)  # in one step: in several it would begin anew after each event that comes in between
        there.execute("PRAGMA journal_mode = DELETE")


def _copy_tables(place: Place, target: Path) -> None:
    with place.engine() as engine, engine.connect() as source, plain_engine(target) as goal, goal.begin() as connection:
        upgrade(connection, known_revision(source, place.url))
        copy(source, connection)


def _describe(part: Path, files: dict[str, bytes], store: str, version: str, now: float) -> tuple[About, Report]:
    _integrity(part)
    with plain_engine(part) as engine, engine.connect() as connection:
        report = verify(connection, (), derive=False)
        kept = [KeptFile(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()]
        revision, last = known_revision(connection, engine.url), last_sequence(connection)
        about = About(FORMAT, now, version, revision, store, last, report.damaged, sums(connection), kept)
        return about, report


def _write_about(part: Path, about: About, files: dict[str, bytes]) -> None:
    with contextlib.closing(_open_plain(part)) as connection:
        for statement in _CREATE:
            connection.execute(statement)
        connection.execute("INSERT INTO backup VALUES (?)", (msgspec.json.encode(about).decode(),))
        for name, data in files.items():
            for number, start in enumerate(range(0, len(data), PART_BYTES)):
                piece = data[start : start + PART_BYTES]
                connection.execute("INSERT INTO backup_files VALUES (?, ?, ?)", (name, number, piece))
        connection.commit()


def _integrity(path: Path) -> None:
    try:
        with contextlib.closing(_open_plain(path)) as connection:
            said = [row[0] for row in connection.execute("PRAGMA integrity_check(10)")]
    except sqlite3.Error as problem:
        said = [str(problem)]
    if said != ["ok"]:
        raise BackupInvalid(f"{path}: SQLite finds it damaged: {'; '.join(said)}.")


def _open_plain(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    return connection
