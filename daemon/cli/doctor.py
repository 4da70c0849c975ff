"""``tunerd doctor``: every check, each with its fix; asked of the daemon, or made here where it does not run."""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from urllib.parse import urlsplit

from . import output
from .care import Config, DatabaseUrl, DataDir, settings_of
from .client import DEFAULT_URL, Client
from .environment import variable
from .exits import FAILED, OK, ApiProblem, Unreachable
from .options import Json

PATIENCE = 90.0  # seconds: the checks ask Replicate and every destination
_WIDTH = 78  # characters of a line of words
_COLOURS = {"ok": "32", "warn": "33", "fail": "31", "unknown": "2"}


def doctor(
    *,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Check everything that can be wrong, and say what to do about it.

    A running daemon is asked (TUNERD_URL). Where none answers on this machine, what can be checked without one is
    checked here, with its settings; run it as the daemon's user then. Exits with 1 where a check failed; a warning is
    no failure. Exits with 3 where TUNERD_URL names another machine and nobody answers, with 78 where the settings
    are not valid.

    For example:

      tunerd doctor
      tunerd doctor --json | jq '.checks[] | select(.status != "ok")'
    """
    url = variable("TUNERD_URL") or DEFAULT_URL
    try:
        answer = Client.from_environment().get("/api/cloud/health", {"fresh": "true"}, timeout=PATIENCE)
    except Unreachable as problem:
        if not _is_here(url):
            raise
        settings = settings_of(config, data_dir, database_url)
        answer = asyncio.run(_without_daemon(settings, f"{problem.message.splitlines()[0]}"))
    except ApiProblem as problem:
        if problem.status != 404:
            raise
        raise Unreachable(url, "what answers there knows no /api/cloud/health; is it an older tunerd?") from None
    if as_json:
        output.print_json(answer)
    else:
        _tell(answer["checks"])
    return FAILED if answer["status"] == "fail" else OK


def _is_here(url: str) -> bool:
    from ..parsing import is_loopback_host

    parts = urlsplit(url)
    return parts.scheme == "unix" or is_loopback_host(parts.hostname)


async def _without_daemon(settings: Any, reason: str) -> dict[str, Any]:
    import logging

    import msgspec

    from ..checks.all import check_all
    from ..logs import configure_logging
    from .doctor_local import surroundings

    configure_logging(settings.log_format, logging.CRITICAL)  # what goes wrong is what the checks say
    async with surroundings(settings) as here:
        health = msgspec.to_builtins(await check_all(here))
    running = {
        "id": "daemon",
        "title": "Daemon",
        "status": "warn",
        "detail": f"{reason} It was checked without it.",
        "fix": "Start it: tunerd serve, or systemctl start tunerd. Another address is set with TUNERD_URL.",
    }
    status = "warn" if health["status"] == "ok" else health["status"]
    return {**health, "status": status, "checks": [running, *health["checks"]]}


def _tell(checks: list[dict[str, Any]]) -> None:
    import textwrap

    colours = sys.stdout.isatty()
    width = max(len(check["title"]) for check in checks)
    for check in checks:
        word = f"{check['status']:<7}"
        shown = f"\033[{_COLOURS[check['status']]}m{word}\033[0m" if colours else word
        lines = textwrap.wrap(output.clean(check["detail"]), _WIDTH) or [""]
        if check.get("fix") and check["status"] != "ok":
            lines += textwrap.wrap(output.clean(check["fix"]), _WIDTH - 2, initial_indent="→ ", subsequent_indent="  ")
        print(f"{shown} {check['title']:<{width}}  {lines[0]}")
        for line in lines[1:]:
            print(f"{'':<{width + 10}}{line}")
    counts = {status: sum(check["status"] == status for check in checks) for status in _COLOURS}
    print()
    print(", ".join(f"{count} {status}" for status, count in counts.items() if count))
