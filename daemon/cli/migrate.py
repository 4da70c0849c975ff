"""``tunerd migrate`` and ``tunerd migrate-store``."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from . import output
from .care import Config, DatabaseUrl, DataDir, failures, place_of, settings_of
from .exits import FAILED, OK
from .options import Json


def migrate(
    *,
    check: Annotated[bool, Parameter(help="Only say; exits with 1 where a migration is due.")] = False,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Bring the database to this version's schema; the daemon must be stopped.

    Every start does the same by itself: this is for those who want to see it done first. A database that a newer
    tunerd wrote is refused (exit code 78).
    """
    from ..store.care.place import known_revision
    from ..store.migrate import REVISIONS, upgrade

    place = place_of(settings_of(config, data_dir, database_url))
    newest = REVISIONS[-1]
    with failures():
        with place.engine() as engine, engine.connect() as connection:
            before = known_revision(connection, place.url)
        if not check and before != newest:
            with place.alone(), place.engine(writing=True) as engine, engine.begin() as connection:
                upgrade(connection, newest)
    if as_json:
        output.print_json({"database": place.shown, "revision": before if check else newest, "newest": newest})
    elif before == newest:
        print(output.clean(f"{place.shown} is at revision {newest}, the newest."))
    else:
        print(output.clean(f"{place.shown}: revision {before} {'is to become' if check else 'became'} {newest}."))
    return FAILED if check and before != newest else OK


def migrate_store(
    url: Annotated[str, Parameter(help="postgresql://… or sqlite:///…; - reads it from standard input.")],
    /,
    *,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Copy everything into another, empty database.

    The daemon must be stopped. From SQLite to PostgreSQL, back, or to another of the same kind: in one transaction,
    and compared afterwards row by row by its hash. The present database is not changed. Then start the daemon with
    TUNERD_DATABASE_URL set to the new one, and the same data directory: it holds secret.key.

    For example:

      tunerd migrate-store postgresql://tunerd@/tunerd
    """
    from ..parsing import database_url as checked
    from ..store.care.move import move
    from ..store.care.place import Place
    from .exits import Usage

    given = sys.stdin.read().strip() if url == "-" else url
    try:
        target_url = checked(given)
    except ValueError as problem:
        raise Usage(f"migrate-store: {problem}.") from None
    source = place_of(settings_of(config, data_dir, database_url))
    target = Place.of(target_url, source.data_dir)
    if target.file is not None:
        target = Place(target.url, target.file.parent)
    with failures():
        copied = move(source, target)
    if as_json:
        tables = {name: {"rows": one.rows, "sha256": one.sha256} for name, one in copied.items()}
        output.print_json({"from": source.shown, "to": target.shown, "tables": tables})
        return 0
    output.table(("table", "rows"), [(name, one.rows) for name, one in copied.items()])
    print(output.clean(f"Copied into {target.shown} and compared. Set TUNERD_DATABASE_URL to it and start the daemon."))
    return 0
