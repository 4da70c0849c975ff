"""The database as the care commands reach it: beside a running daemon, or with everybody else shut out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ...errors import DatabaseInUse, DatabaseTooNew, Misconfigured
from ..database import APPLICATION_NAME, database_url, is_unavailable, not_ready, shown, snapshot_engine, writing_engine
from ..lock import embedded_lock
from ..migrate import REVISIONS, current_revision

# The server lists a session for a moment after its daemon has ended.
LEAVING_SECONDS = 2.0
_LOOK_SECONDS = 0.1

# Connections of other processes; one's own is left out. Rows of other users show no name to the unprivileged.
_OTHERS = sa.text(
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = :name AND pid <> pg_backend_pid()"
)


@dataclass(frozen=True)
class Place:
    """Where a store is: its database, and the directory with its key."""

    url: sa.URL
    data_dir: Path

    @classmethod
    def of(cls, url: str | None, data_dir: Path) -> Place:
        """``url`` as in the settings; ``None`` is SQLite in ``data_dir``. Raises ``Misconfigured``."""
        return cls(database_url(url, data_dir), data_dir)

    @property
    def file(self) -> Path | None:
        """The database file; ``None`` where a server keeps it."""
        return Path(str(self.url.database)) if self.url.drivername == "sqlite" else None

    @property
    def dbos_file(self) -> Path | None:
        """What the delivery workflows' engine keeps beside an embedded store."""
        return None if self.file is None else self.data_dir / "dbos.sqlite3"

    @property
    def key_file(self) -> Path:
        return self.data_dir / "secret.key"

    @property
    def shown(self) -> str:
        """For people: no password in it."""
        return shown(self.url)

    @contextlib.contextmanager
    def engine(self, *, writing: bool = False) -> Iterator[sa.Engine]:
        """Connections to it. Raises ``Misconfigured`` for a missing file, ``NotReady`` where it does not answer.

        Without ``writing`` a transaction sees one state of everything and holds nobody up.
        """
        if self.file is not None and not self.file.is_file():
            raise Misconfigured(
                f"There is no database at {self.file}. Name the data directory with TUNERD_DATA_DIR; the first "
                "`tunerd serve` makes one."
            )
        engine = writing_engine(self.url) if writing else snapshot_engine(self.url)
        try:
            yield engine
        except sa.exc.DBAPIError as problem:
            raise (not_ready(problem) if is_unavailable(problem) else problem) from None
        finally:
            engine.dispose()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else has it open. Raises ``DatabaseInUse``. For PostgreSQL that is true when it begins."""
        if self.file is not None:
            with embedded_lock(self.file, self.data_dir, self.shown):
                yield
            return
        with self.engine() as engine, engine.connect() as connection:
            end = time.monotonic() + LEAVING_SECONDS
            while connection.execute(_OTHERS, {"name": APPLICATION_NAME}).scalar_one():
                if time.monotonic() > end:
                    raise DatabaseInUse(f"A tunerd has {self.shown} open. Stop every daemon that uses it first.")
                connection.rollback()  # a transaction sees the same sessions all along
                time.sleep(_LOOK_SECONDS)
        yield


def known_revision(connection: sa.Connection, url: sa.URL) -> str:
    """The schema's revision. Raises ``Misconfigured`` where there is no schema, ``DatabaseTooNew`` for a newer one."""
    revision = current_revision(connection, url)
    if revision is None:
        raise Misconfigured(f"{shown(url)} holds no tables of tunerd.")
    if revision not in REVISIONS:
        raise DatabaseTooNew(
            f"{shown(url)} is at revision {revision}, which this tunerd does not know (its newest is {REVISIONS[-1]}). "
            "Use the newer tunerd that wrote it."
        )
    return revision
