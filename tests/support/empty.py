"""An empty database at the newest revision, laid down instead of migrated: the migrations take longer than most tests.

They are what makes it, once a process; tests/store/test_migrations.py has them one by one, and whoever opens a store
without this has them as a user has at the first start.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from daemon.store.database import database_url, writing_engine
from daemon.store.migrate import REVISIONS, upgrade

MODE = 0o600  # as the daemon makes it


def migrated(url: sa.URL) -> None:
    """Bring an empty database to the newest revision."""
    engine = writing_engine(url)
    with engine.begin() as connection:
        upgrade(connection, REVISIONS[-1])
    engine.dispose()


@cache
def _file() -> bytes:
    with tempfile.TemporaryDirectory(prefix="tunerd-empty-") as folder:
        url = database_url(None, Path(folder))
        migrated(url)
        return Path(str(url.database)).read_bytes()  # all of it: the last one to close it has emptied the log


def lay_down(data_dir: Path) -> Path:
    """Make ``data_dir`` with its database, unless there is such a folder; ``data_dir`` again."""
    if not data_dir.exists():
        data_dir.mkdir(mode=0o700, parents=True)
        file = Path(str(database_url(None, data_dir).database))
        file.touch(MODE)
        file.write_bytes(_file())
    return data_dir
