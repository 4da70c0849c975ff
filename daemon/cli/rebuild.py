"""``tunerd events rebuild``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from . import output
from .care import Config, DatabaseUrl, DataDir, failures, place_of, settings_of
from .options import Json


def rebuild(
    *,
    dry_run: Annotated[bool, Parameter(help="Only say what would be mended; the daemon may run.")] = False,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Derive the jobs' rows from the journal again, and mend what differs; the daemon must be stopped.

    Rows that are missing are made. What is not in the journal stays as it is: what was submitted, with which key and
    to which destinations. A job of which bodies were pruned is left as it is. All or nothing.

    For example:

      tunerd events rebuild --dry-run
    """
    import contextlib

    from ..store.care.place import known_revision
    from ..store.care.rebuild import rebuild as derive_again

    place = place_of(settings_of(config, data_dir, database_url))
    with (
        failures(),
        contextlib.nullcontext() if dry_run else place.alone(),
        place.engine(writing=not dry_run) as engine,
        engine.begin() as connection,
    ):
        known_revision(connection, place.url)
        result = derive_again(connection, dry_run=dry_run)
    if as_json:
        import msgspec

        output.print_json({"dry_run": dry_run, **msgspec.to_builtins(result)})
        return 0
    for one in result.mended:
        what = ", ".join(one.columns) or ("its row" if not one.kinds else "")
        kinds = f"the kind of {one.kinds} events" if one.kinds else ""
        print(output.clean(f"{one.job_id}: {'; '.join(part for part in (what, kinds) if part)}"))
    verb = "would be repaired" if dry_run else "repaired"
    print(f"{result.jobs} jobs looked at, {len(result.mended)} {verb}, {result.kept} unchanged.")
    return 0
