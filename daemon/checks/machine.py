"""This machine: disk, database, files, listeners, packages, proxy variables, service manager."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import stat
from pathlib import Path
from urllib.parse import urlsplit

from .. import systemd
from ..errors import Misconfigured, NotReady
from ..files import space
from ..ownership import check_ownership
from ..parsing import is_loopback_host, split_listener
from .base import Named, Result, Surroundings
from .ways_out import ways_out

MIB = 1024 * 1024
DISK_FAIL, DISK_WARN = 256 * MIB, 2048 * MIB  # free; below the first downloads are not begun, a model has some GiB
_OTHERS = 0o077  # the mode bits of group and others
SQLITE_LEAST = (3, 37, 0)


def _free(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB" if size >= 1024**3 else f"{size // MIB} MiB"


async def disk(here: Surroundings) -> Result:
    folders = {"data": here.settings.data_dir, "outputs": here.settings.output_dir}
    free = {name: (await asyncio.to_thread(space, folder)).free for name, folder in folders.items()}
    detail = ", ".join(f"{name}: {_free(size)} free ({folders[name]})" for name, size in free.items())
    least = min(free.values())
    if least >= DISK_WARN:
        return Result("ok", detail)
    fix = "Free some space: tunerd prune, delivered models in the output directory, or TUNERD_OUTPUT_DIR elsewhere."
    return Result("fail" if least < DISK_FAIL else "warn", detail, fix)


async def database(here: Surroundings) -> Result:
    if here.database_problem is not None:
        return Result("fail", here.database_problem, "docs/operations.md; `tunerd events verify --local` looks inside.")
    if here.database_absent:
        return Result("ok", "There is none yet; the first start makes it.")
    try:
        await here.store.ping()
        overview = await here.store.overview()
    except NotReady as problem:
        return Result("fail", problem.detail, "Is the disk full, or the database server down? The log says more.")
    size = overview.database_bytes // MIB
    return Result("ok", f"{here.store.kind}, writable: {overview.last_seq} events, {size} MiB.")


async def sqlite_version(_here: Surroundings) -> Result:
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < SQLITE_LEAST:
        least = ".".join(map(str, SQLITE_LEAST))
        return Result("fail", f"SQLite {version}.", f"Use a Python that comes with SQLite {least} or newer.")
    return Result("ok", f"SQLite {version}.")


async def package(_here: Surroundings) -> Result:
    try:
        await asyncio.to_thread(check_ownership)
    except Misconfigured as problem:
        return Result("fail", problem.detail, "Make a virtual environment of its own for tunerd: python3 -m venv.")
    return Result("ok", "No other installed package provides a module named `daemon`.")


async def permissions(here: Surroundings) -> Result:
    """Files with secrets in them that others may read."""
    folder = here.settings.data_dir
    modes = await asyncio.to_thread(_modes, folder)
    exposed = [f"{path.name} ({mode:04o})" for path, mode in modes.items() if mode & _OTHERS]
    if not modes.get(folder, 0) & _OTHERS:  # nobody else gets into the folder
        return Result("ok", f"Only its owner can read {folder}.")
    return Result("warn", f"Others may read, in {folder}: {', '.join(exposed)}.", f"chmod -R go= {folder}")


def _modes(folder: Path) -> dict[Path, int]:
    found = {}
    for path in (folder, *(folder / name for name in ("secret.key", "tunerd.sqlite3", "dbos.sqlite3"))):
        with contextlib.suppress(OSError):
            found[path] = stat.S_IMODE(path.stat().st_mode)
    return found


async def listeners(here: Surroundings) -> Result:
    if here.running:
        return _exposure(here, ", ".join(here.listening) or "the socket of the service manager")
    for entry in here.settings.listen:
        taken = await asyncio.to_thread(_taken, entry)
        if taken:
            return Result(
                "fail",
                f"{entry}: {taken}.",
                "Another program has it: ss -ltnp shows which. Stop that one, or set TUNERD_LISTEN.",
            )
    return _exposure(here, f"{', '.join(here.settings.listen)} can be listened on")


def _exposure(here: Surroundings, detail: str) -> Result:
    outward = [entry for entry in here.settings.listen if not entry.startswith("unix:") and not _is_local(entry)]
    if outward and not here.settings.admin_token:
        return Result(
            "warn",
            f"{detail}; others reach {', '.join(outward)}, and no admin token is set: from there nobody is the admin.",
            "Set TUNERD_ADMIN_TOKEN to use the page and the API from elsewhere.",
        )
    return Result("ok", f"{detail}.")


def _is_local(entry: str) -> bool:
    where = split_listener(entry.split("://", 1)[-1])
    return isinstance(where, Path) or is_loopback_host(where[0])


def _taken(entry: str) -> str | None:
    where = split_listener(entry.split("://", 1)[-1])
    if isinstance(where, Path):
        return None if where.parent.is_dir() else f"there is no folder {where.parent}"
    if where[1] == 0:
        return None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(*where, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as problem:
        return problem.strerror or str(problem)
    return None


async def proxy(here: Surroundings) -> Result:
    """What curl and we both obey. Passwords in it are not shown."""
    ways = ways_out(here.settings.replicate_base_url)
    if not ways.proxies:
        return Result("ok", "No proxy is set in the environment.")
    shown = ", ".join(f"{name}: {url}" for name, url in sorted(ways.proxies.items()))
    host = urlsplit(here.settings.replicate_base_url).hostname or ""
    if is_loopback_host(host) and not ways.bypassed:
        return Result("warn", f"{shown}; even {host} goes through it.", "Set NO_PROXY=localhost,127.0.0.1 and restart.")
    detail = f"{shown}; {host} {'goes past it (NO_PROXY)' if ways.bypassed else 'goes through it'}."
    return Result("ok", detail)


async def watchdog(here: Surroundings) -> Result:
    if not here.running:
        return Result("unknown", "The daemon does not run.")
    seconds = systemd.watchdog_seconds()
    if seconds is not None:
        return Result("ok", f"systemd hears from the daemon and restarts it after {seconds:g} s of silence.")
    return Result("ok", "No watchdog is asked for (not under systemd, or without WatchdogSec=).")


CHECKS = (
    Named("disk", "Disk space", disk),
    Named("database", "Database", database),
    Named("sqlite", "SQLite version", sqlite_version),
    Named("package", "Who owns the daemon package", package),
    Named("permissions", "File permissions", permissions),
    Named("listeners", "Ports", listeners),
    Named("proxy", "Proxy variables", proxy),
    Named("watchdog", "systemd watchdog", watchdog),
)
