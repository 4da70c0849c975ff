"""``tunerd events verify --local``: everything that is stored, checked in the database itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from ..parsing import decode_webhook_secret
from . import output
from .care import failures, place_of, settings_of
from .exits import FAILED, OK

if TYPE_CHECKING:
    from ..config import Settings
    from ..store.care.place import Place
    from ..store.care.verify import Report

MOST_LINES = 50  # of findings; --json has up to a thousand


def verify_local(
    secrets: list[str] | None,
    config: Path | None,
    data_dir: Path | None,
    database_url: str | None,
    *,
    as_json: bool,
) -> int:
    """The exit code. ``secrets``: whsec_… beside those that the settings and the store know."""
    from ..store.care.place import known_revision
    from ..store.care.verify import verify

    settings = settings_of(config, data_dir, database_url)
    place = place_of(settings)
    with failures(), place.engine() as engine, engine.connect() as connection:
        known_revision(connection, place.url)
        report = verify(connection, asyncio.run(_known_keys(settings, place, secrets or [])))
    if as_json:
        import msgspec

        output.print_json(msgspec.to_builtins(report))
    else:
        _tell(report)
    return FAILED if report.found else OK


async def _known_keys(settings: Settings, place: Place, given: list[str]) -> list[bytes]:
    from ..app import credential
    from ..errors import NotReady
    from ..replicate.webhook_secret import NAME, stored_keys
    from ..store.database import Database
    from ..store.secrets import Secrets
    from .sign import keys_of

    keys = [*(keys_of(given) if given else []), *map(decode_webhook_secret, settings.webhook_secret)]
    async with Database.open(place.url) as database:
        try:
            stored = await Secrets(database, place.data_dir, credential("tunerd.key")).get(NAME)
        except NotReady as problem:
            output.remark(problem.detail)
            stored = None
    return [*keys, *stored_keys(stored)]


def _tell(report: Report) -> None:
    for finding in report.findings[:MOST_LINES]:
        where = [f"event {finding.seq}"] if finding.seq is not None else []
        where += [finding.job_id] if finding.job_id is not None else []
        print(output.clean(f"{finding.check:<10} {' of '.join(where)}: {finding.detail}"))
    if report.found > MOST_LINES:
        print(f"… and {report.found - MOST_LINES} more (--json has them).")
    print(
        f"{report.events} events, {report.bodies} bodies whole, {report.pruned} pruned, {report.damaged} damaged; "
        f"signatures: {report.valid} valid, {report.invalid} invalid, {report.unsigned} without; "
        f"{report.jobs} jobs derived again."
    )
    if report.unknown:
        output.remark(f"{report.unknown} signatures were not checked: no secret is known. Give one with --secret.")
    if report.jobs_pruned:
        output.remark(f"{report.jobs_pruned} jobs were not derived again: some of their bodies were pruned or damaged.")
    print("Nothing is wrong." if not report.found else f"{report.found} findings.")
