"""``tunerd restore``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from . import output
from .care import Config, DatabaseUrl, DataDir, absolute, failures, place_of, settings_of
from .options import Json

if TYPE_CHECKING:
    from ..store.care.archive import About


def restore(
    file: Annotated[Path, Parameter(help="A file that `tunerd backup` made.")],
    /,
    *,
    check: Annotated[bool, Parameter(help="Only check the file; change nothing.")] = False,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Put a backup in the database's place; the daemon must be stopped.

    The whole file is checked before anything is touched. The database that was there is kept: beside the new one in a
    folder before-restore-…, on PostgreSQL in a schema before_restore_…. Remove it when all is well.

    For example:

      tunerd restore /var/backups/tunerd.backup --check
      systemctl stop tunerd && tunerd restore /var/backups/tunerd.backup
    """
    from ..store.care.archive import check_backup
    from ..store.care.restore import restore as put_back

    path = absolute(file)
    if check:
        with failures():
            about, _ = check_backup(path)
        if as_json:
            output.print_json({"file": str(path), "sound": True, **_document(about)})
        else:
            print(output.clean(f"{path} is sound. {_summary(about)}"))
        return 0
    place = place_of(settings_of(config, data_dir, database_url))
    with failures():
        done = put_back(path, place, now=time.time())
    if as_json:
        output.print_json({"restored": place.shown, "aside": done.aside, "key": done.key, **_document(done.about)})
        return 0
    print(output.clean(f"Restored into {place.shown}. {_summary(done.about)}"))
    if done.aside:
        print(output.clean(f"What was there before is kept in {done.aside}."))
    if done.key == "missing" and done.about.tables["secrets"].rows:
        output.remark(
            f"The key to the stored secrets was not in the backup: put secret.key into {place.data_dir}, or store the "
            "secrets again (tunerd token set)."
        )
    return 0


def _summary(about: About) -> str:
    rows = about.tables
    key = "with" if about.has_key else "without"
    when = output.moment(about.made_at)
    what = f"{rows['events'].rows} events, {rows['jobs'].rows} jobs, {key} secret.key"
    return f"Made {when} by tunerd {about.tunerd} from {about.store}: {what}."


def _document(about: About) -> dict[str, object]:
    return {
        "made_at": about.made_at,
        "tunerd": about.tunerd,
        "revision": about.revision,
        "store": about.store,
        "rows": {name: table.rows for name, table in about.tables.items()},
        "with_key": about.has_key,
        "damaged_bodies": about.damaged,
    }
