"""Puts a backup in the place of a store that nobody has open. The old database is set aside, never overwritten.

Each step leaves either the old database or the new one whole under its name: a restore that is killed is begun again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import sqlalchemy as sa

from ...files import sync_directory, sync_file, write_durably
from ..migrate import upgrade
from ..sequence import continue_sequence, last_sequence
from .archive import DBOS_NAME, KEY_NAME, About, check_backup, plain_engine, read_file
from .place import Place, known_revision
from .tables import compare, copy, data_tables, sums

_SIDE_FILES = ("-wal", "-shm", "-journal")
_MOVABLE = sa.text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")


class Restored(msgspec.Struct, frozen=True):
    about: About
    aside: str | None  # where the old database is now; None: there was none
    key: str  # restored | kept | missing: what became of secret.key


def restore(path: Path, place: Place, *, now: float) -> Restored:
    """Raises ``DatabaseInUse``, and what ``check_backup`` raises, before anything is touched."""
    about, _ = check_backup(path)
    with plain_engine(path) as engine, engine.connect() as connection:
        known_revision(connection, engine.url)
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    place.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if place.file is not None:
        place.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with place.alone():
        key = _restore_key(path, about, place)
        aside = _into_file(path, about, place, stamp) if place.file is not None else _into_server(path, place, stamp)
    return Restored(about, aside, key)


def _restore_key(path: Path, about: About, place: Place) -> str:
    """The key that came with the backup comes first, those that are there stay: all of them decrypt."""
    there = place.key_file.read_bytes() if place.key_file.is_file() else b""
    if not about.has_key:
        return "kept" if there else "missing"
    keys = list(dict.fromkeys((*read_file(path, KEY_NAME).split(), *there.split())))
    write_durably(place.key_file, b"\n".join(keys) + b"\n")
    return "restored"


def _into_file(path: Path, about: About, place: Place, stamp: str) -> str | None:
    database = place.file
    assert database is not None  # asked by restore
    draft = database.with_name(f".{database.name}.restoring")
    for left in (draft, *(draft.with_name(draft.name + suffix) for suffix in _SIDE_FILES)):
        left.unlink(missing_ok=True)
    _extract(path, draft)
    last = max(about.last_seq, _close_old(database))
    with plain_engine(draft) as engine, engine.begin() as connection:
        compare(about.tables, sums(connection), "What was taken from the backup")
        continue_sequence(connection, last)  # numbers that the old database gave out are not given out again
    sync_file(draft)
    aside = _set_aside(database, place, stamp)
    draft.replace(database)
    sync_directory(database.parent)
    if any(file.name == DBOS_NAME for file in about.files):
        write_durably(place.data_dir / DBOS_NAME, read_file(path, DBOS_NAME))
    return None if aside is None else str(aside)


def _extract(path: Path, draft: Path) -> None:
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(path)) as here, contextlib.closing(sqlite3.connect(draft)) as there:
        here.backup(there)
        there.execute("PRAGMA secure_delete = ON")  # the key must not stay in the file's free pages
        there.execute("DROP TABLE backup_files")
        there.execute("DROP TABLE backup")
        there.commit()


def _close_old(database: Path) -> int:
    """Carry its write-ahead log over, so that the file is whole by itself; the last number it gave out."""
    if not database.is_file():
        return 0
    try:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
            return int(row[0]) if row else 0
    except sqlite3.Error:
        return 0  # damaged: that is what the backup is for


def _set_aside(database: Path, place: Place, stamp: str) -> Path | None:
    """Under another folder's names; the database itself stays in its place until the new one takes it."""
    if not database.is_file():
        return None
    aside = place.data_dir / f"before-restore-{stamp}"
    aside.mkdir(mode=0o700)
    _link(database, aside / database.name)
    files = [database.with_name(database.name + suffix) for suffix in _SIDE_FILES]  # left by a damaged one only
    if place.dbos_file is not None:
        files += [place.dbos_file, *(place.dbos_file.with_name(DBOS_NAME + suffix) for suffix in _SIDE_FILES)]
    for file in files:
        if file.exists():
            file.replace(aside / file.name)
    sync_directory(aside)
    return aside


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        with contextlib.closing(sqlite3.connect(source)) as here, contextlib.closing(sqlite3.connect(target)) as there:
            here.backup(there)
        sync_file(target)


def _into_server(path: Path, place: Place, stamp: str) -> str | None:
    """In one transaction: the old tables into a schema of their own, new ones made and filled."""
    schema = f"before_restore_{stamp.lower()}"
    with place.engine(writing=True) as engine, engine.begin() as target, plain_engine(path) as archive:
        last, moved = 0, False
        if data_tables(target):
            last, moved = last_sequence(target), True
            target.execute(sa.schema.CreateSchema(schema))
            for (table,) in target.execute(_MOVABLE).fetchall():
                target.execute(sa.text(f'ALTER TABLE "{table}" SET SCHEMA "{schema}"'))
        with archive.connect() as source:
            upgrade(target, known_revision(source, archive.url))
            copied = copy(source, target)
            continue_sequence(target, max(last, last_sequence(source)))
        compare(copied, sums(target), "What was written into the database")
    return f"schema {schema}" if moved else None
