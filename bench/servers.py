"""The four servers as processes: started on a free port, pinned to a core, killed at the end, their events counted."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
START_SECONDS = 30.0
_READY = re.compile(r"ready on (http://\S+)")
_NOWHERE = "http://127.0.0.1:9"  # nothing listens there: the benchmark talks to nobody outside


class Running(msgspec.Struct):
    url: str
    pid: int
    start_seconds: float  # from the start of the process to its ready line
    data: Path


def cores() -> tuple[set[int], set[int]]:
    """(cores for the server, cores for the load): one for the load; every one for the server, as a user has it."""
    available = sorted(os.sched_getaffinity(0))
    return set(available), {available[-1]}


@contextlib.contextmanager
def ceiling(data: Path) -> Iterator[Running]:
    with _process(["-m", "bench.peers.ceiling"], data, {}) as running:
        yield running


@contextlib.contextmanager
def fastapi(data: Path) -> Iterator[Running]:
    data.mkdir(parents=True)
    command = ["-m", "bench.peers.fastapi_receiver", str(data / "events.sqlite3"), SECRET]
    with _process(command, data, {}) as running:
        yield running


@contextlib.contextmanager
def objects(file: Path) -> Iterator[Running]:
    """What ``bench.peers.objects`` says; ``file`` may change between downloads."""
    with _process(["-m", "bench.peers.objects", str(file)], file.parent / "objects", {}) as running:
        yield running


@contextlib.contextmanager
def tunerd(data: Path, **more: str) -> Iterator[Running]:
    """The real program, the way a user starts it; only the rate limit is off, since all load comes from one address.

    ``more``: further variables.
    """
    variables = {
        "TUNERD_LISTEN": "127.0.0.1:0",
        "TUNERD_DATA_DIR": str(data),
        "TUNERD_OUTPUT_DIR": str(data / "outputs"),
        "TUNERD_WEBHOOK_SECRET": SECRET,
        "TUNERD_WEBHOOK_RATE_PER_SECOND": "0",
        "TUNERD_RECONCILE_SECONDS": "3600",
        "TUNERD_STATUS_URL": _NOWHERE,
        "TUNERD_IP_RANGES_URL": _NOWHERE,
        "REPLICATE_BASE_URL": _NOWHERE,
        **more,
    }
    with _process(["-m", "daemon", "serve"], data, variables) as running:
        yield running


def stored_ids(data: Path) -> set[str]:
    """The ``webhook-id`` of every event in a server's database, read after the server was killed."""
    found: set[str] = set()
    for file in data.glob("*.sqlite3"):
        with contextlib.closing(sqlite3.connect(file)) as connection, contextlib.suppress(sqlite3.OperationalError):
            found |= {row[0] for row in connection.execute("SELECT webhook_id FROM events")}
    return found


@contextlib.contextmanager
def _process(command: list[str], data: Path, variables: dict[str, str]) -> Iterator[Running]:
    data.parent.mkdir(parents=True, exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(data.parent), "LANG": "C.UTF-8", **variables}
    log = data.parent / f"{data.name}.log"
    server_cores, _ = cores()
    begun = time.monotonic()
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=stderr, env=environment, text=True
        )
    os.sched_setaffinity(process.pid, server_cores)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        ready = _READY.search(line)
        if ready is None:
            raise SystemExit(f"{' '.join(command)} did not start: {line!r}\n{log.read_text()[-4000:]}")
        yield Running(ready[1], process.pid, time.monotonic() - begun, data)
        if process.poll() is not None:
            raise SystemExit(f"{' '.join(command)} ended during the run\n{log.read_text()[-4000:]}")
    finally:
        process.kill()  # no goodbye: what was answered must be on disk already
        process.wait()
        process.stdout.close()


def remove(data: Path) -> None:
    shutil.rmtree(data, ignore_errors=True)
    data.with_name(f"{data.name}.log").unlink(missing_ok=True)
