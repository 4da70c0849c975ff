"""``tunerd prune``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from . import output
from .care import Config, DatabaseUrl, DataDir, failures, place_of, settings_of
from .exits import Usage
from .options import Json

if TYPE_CHECKING:
    from ..store.care.place import Place
    from ..store.care.prune import PruneClass, Pruned

PAUSE_SECONDS = 0.02  # between two batches: a daemon that waits for the writer comes first


def prune(
    *,
    bodies: Annotated[
        float | None, Parameter(help="Days; of older finished jobs, event bodies that later ones repeat.")
    ] = None,
    jobs: Annotated[float | None, Parameter(help="Days, 31 or more; older finished jobs with their events.")] = None,
    unrecognized: Annotated[float | None, Parameter(help="Days; older events that belong to no job.")] = None,
    dry_run: Annotated[bool, Parameter(help="Only count what would go.")] = False,
    rewrite: Annotated[
        bool, Parameter(help="Then compact the SQLite file (VACUUM); the daemon must be stopped.")
    ] = False,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Remove old data, a little at a time, while the daemon runs.

    Without a class the settings decide (TUNERD_KEEP_DAYS, TUNERD_KEEP_BODIES_DAYS; the daemon prunes by them once a
    day by itself). Unfinished jobs and what a delivery still needs are never touched; of a job that stays, its row,
    its list of events, its log and its final body stay, too. Delivered files are not touched.

    For example:

      tunerd prune --bodies 30 --dry-run
      tunerd prune --bodies 7 --jobs 365 --unrecognized 30
    """
    from ..store.care.housekeeping import kept_days
    from ..store.care.prune import JOBS_LEAST_DAYS

    settings = settings_of(config, data_dir, database_url)
    given: dict[PruneClass, float | None] = {"bodies": bodies, "jobs": jobs, "unrecognized": unrecognized}
    days = {which: value for which, value in given.items() if value is not None} or kept_days(settings)
    if not days and not rewrite:
        raise Usage("prune: no retention is configured. Name what to remove: --bodies, --jobs or --unrecognized DAYS.")
    if any(value < 0 for value in days.values()) or days.get("jobs", JOBS_LEAST_DAYS) < JOBS_LEAST_DAYS:
        raise Usage(f"prune: --jobs needs {JOBS_LEAST_DAYS} days or more, as a cost limit may count a month's jobs.")
    place = place_of(settings)
    with failures():
        done = {which: _prune(place, which, kept, dry_run=dry_run) for which, kept in days.items()}
        if not dry_run:
            _release(place, rewrite=rewrite)
    _tell(done, dry_run=dry_run, as_json=as_json)
    return 0


def _prune(place: Place, which: PruneClass, days: float, *, dry_run: bool) -> Pruned:
    from ..store.care.prune import DAY, Pruned, Pruner

    now = time.time()
    pruner = Pruner(which, before=now - days * DAY, now=now)
    if dry_run:
        with place.engine() as engine, engine.connect() as connection:
            return pruner.count(connection)
    total = Pruned()
    with place.engine(writing=True) as engine, engine.connect() as connection:
        while True:
            with connection.begin():
                some = pruner.some(connection)
            if not some:
                break
            total.add(some)
            time.sleep(PAUSE_SECONDS)
    for job_id in sorted(pruner.damaged):
        output.remark(f"{job_id} is left as it is: a body that would stay is damaged (tunerd events verify --local).")
    return total


def _release(place: Place, *, rewrite: bool) -> None:
    from ..store.care.space import release_some
    from ..store.care.space import rewrite as write_anew

    with place.engine(writing=True) as engine, engine.connect() as connection:
        while True:
            with connection.begin():
                released = release_some(connection)
            if not released:
                break
    if rewrite:
        write_anew(place)


def _tell(done: dict[PruneClass, Pruned], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        classes = {
            which: {"bodies": one.bodies, "jobs": one.jobs, "events": one.events, "bytes": one.bytes}
            for which, one in done.items()
        }
        output.print_json({"dry_run": dry_run, "pruned": classes})
        return
    for which, one in done.items():
        parts = {"bodies": one.bodies, "jobs": one.jobs, "events": one.events}
        counts = ", ".join(f"{count} {name}" for name, count in parts.items() if count) or "nothing"
        print(f"{which}: {counts}{f', {output.size(one.bytes)} stored' if one.bytes > 0 else ''}")
    if dry_run:
        output.remark("Nothing was changed (--dry-run).")
