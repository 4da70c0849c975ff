"""``tunerd backup``."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from . import output
from .care import Config, DatabaseUrl, DataDir, absolute, failures, place_of, settings_of
from .exits import FAILED, OK, Usage
from .options import Json

if TYPE_CHECKING:
    from ..store.care.archive import About
    from ..store.care.verify import Report

PREFIX, SUFFIX = "tunerd-", ".backup"  # of the files that a backup into a folder makes


def backup(
    file: Annotated[str, Parameter(help="The file to make, or a folder (…/): the file's name is then the time.")],
    /,
    *,
    with_key: Annotated[bool, Parameter(help="Put secret.key in, too: who has the file can read the secrets.")] = False,
    keep: Annotated[
        int | None, Parameter(help="With a folder: remove all but the newest so many backups in it afterwards.")
    ] = None,
    force: Annotated[bool, Parameter(help="Replace a file that is there.")] = False,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Back the database up into one file, while the daemon runs.

    The file (mode 0600) holds every table and the delivery workflows' state, and can be restored into SQLite and into
    PostgreSQL. It is read back and checked before it gets its name. Delivered model files are not in it. Run it as
    the daemon's user. Exits with 1 where a stored body was found damaged; the backup is made all the same.

    For example:

      tunerd backup /var/backups/tunerd.backup
      tunerd backup /var/backups/tunerd/ --keep 14
    """
    from ..store.care.archive import write_backup
    from .main import installed_version

    settings = settings_of(config, data_dir, database_url)
    if keep is not None and keep < 1:
        raise Usage("backup: --keep needs a number of at least 1.")
    target, folder = _target(absolute(Path(file)), into_folder=keep is not None or file.endswith("/"), force=force)
    place = place_of(settings)
    with failures():
        about, report = write_backup(place, target, with_key=with_key, version=installed_version(), now=time.time())
        removed = [] if folder is None or keep is None else _remove_old(folder, keep)
    _tell(target, about, report, removed, as_json=as_json)
    return FAILED if report.damaged else OK


def _target(file: Path, *, into_folder: bool, force: bool) -> tuple[Path, Path | None]:
    """The file to make, and the folder that it gets a name in. ``into_folder``: it is one, and made where it is not."""
    if into_folder:
        try:
            file.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            raise Usage(f"backup: {file} is no folder and cannot be made one: {problem.strerror}.") from None
    if file.is_dir():
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        return file / f"{PREFIX}{stamp}{SUFFIX}", file
    if file.exists() and not (force and _is_backup(file)):
        more = "Name another, or add --force." if _is_backup(file) else "It is no backup: name another."
        raise Usage(f"backup: {file} is there already. {more}")
    return file, None


def _is_backup(file: Path) -> bool:
    from ..store.care.archive import BackupInvalid, read_about

    try:
        read_about(file)
    except BackupInvalid:
        return False
    return True


def _remove_old(folder: Path, keep: int) -> list[str]:
    """The names carry the time: their order is that of the backups."""
    found = sorted(path for path in folder.glob(f"{PREFIX}*{SUFFIX}") if path.is_file())
    old = found[:-keep]
    for path in old:
        path.unlink()
    return [path.name for path in old]


def _tell(target: Path, about: About, report: Report, removed: list[str], *, as_json: bool) -> None:
    size = target.stat().st_size
    rows = {name: table.rows for name, table in about.tables.items()}
    if as_json:
        output.print_json(
            {
                "file": str(target),
                "bytes": size,
                "made_at": about.made_at,
                "revision": about.revision,
                "store": about.store,
                "rows": rows,
                "with_key": about.has_key,
                "damaged_bodies": report.damaged,
                "removed": removed,
            }
        )
        return
    print(output.clean(f"{target}: {output.size(size)}, {rows['events']} events, {rows['jobs']} jobs; checked."))
    if not about.has_key and rows["secrets"]:
        output.remark("secret.key is not in it (see --with-key): keep a copy of that file elsewhere.")
    if report.damaged:
        output.remark(f"{report.damaged} stored bodies are damaged; `tunerd events verify --local` names them.")
