"""What the commands on the stored data share: they work on the database itself, whether or not the daemon runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from .exits import Failed

if TYPE_CHECKING:
    from ..config import Settings
    from ..store.care.place import Place

Config = Annotated[Path | None, Parameter(help="TOML file with the daemon's settings.")]
DataDir = Annotated[Path | None, Parameter(help="The daemon's data directory.")]
DatabaseUrl = Annotated[str | None, Parameter(help="postgresql://… or sqlite:///…, as the daemon has it.")]


def settings_of(config: Path | None, data_dir: Path | None, database_url: str | None) -> Settings:
    """The daemon's settings, read as the daemon reads them."""
    from ..config import load_settings

    given = {"data_dir": None if data_dir is None else str(absolute(data_dir)), "database_url": database_url}
    return load_settings({key: value for key, value in given.items() if value is not None}, config_file=config)


def place_of(settings: Settings) -> Place:
    from ..store.care.place import Place

    return Place.of(settings.database_url, settings.data_dir)


def absolute(path: Path) -> Path:
    """A path on the command line is relative to where the command was typed."""
    return path.expanduser().absolute()


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """What disks and databases may do is an expected end of these commands: one line, no traceback."""
    import sqlite3

    import sqlalchemy as sa

    try:
        yield
    except sa.exc.DBAPIError as problem:
        raise Failed(f"the database: {str(problem.orig).strip().splitlines()[0]}") from None
    except sqlite3.Error as problem:
        raise Failed(f"the database: {problem}") from None
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        raise Failed(f"{where}{problem.strerror or problem}") from None
