"""What ``tunerd submit`` shows while the daemon packs and sends the dataset."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.cli.conftest import TIMEOUT, StandIn
from tests.support.daemon import clean_environment

SUBMIT = "/api/cloud/jobs/submit"
ORDER = ("submit", "--dataset", "cats")
MIB = 2**20


def told(stage: str | None, done: int | None = None, total: int | None = None) -> dict[str, Any]:
    return {"stage": stage, "job_id": None, "bytes_done": done, "bytes_total": total}


STAGES = [
    told(None),
    told("packing"),
    told("packing", 4 * MIB, 40 * MIB),
    told("packing", 5 * MIB, 40 * MIB),
    told("uploading", 20 * MIB, 30 * MIB),
    told("submitted"),
]


@pytest.fixture
def slow(stand_in: StandIn) -> StandIn:
    """A daemon that answers the submit when all its stages have been looked at."""
    left, over = list(STAGES), asyncio.Event()

    async def look(request: web.Request) -> web.Response:
        stage = left.pop(0)
        if not left:
            over.set()
            left.append(stage)
        return web.json_response(stage)

    async def submit(request: web.Request) -> web.Response:
        await asyncio.wait_for(over.wait(), TIMEOUT)
        return web.json_response({"job_id": "job_1", "status": "queued"}, status=201)

    stand_in.routes["GET", f"{SUBMIT}/progress"] = look
    stand_in.routes["POST", SUBMIT] = submit
    return stand_in


async def test_lines_for_pipes(tunerd, slow: StandIn) -> None:
    result = await tunerd(*ORDER, TUNERD_URL=slow.url)
    assert (result.code, result.out) == (0, "job_1 queued\n")
    assert result.err.splitlines() == [
        "packing the dataset",
        "packing the dataset  4.0 MiB of 40.0 MiB",
        "uploading the dataset  20.0 MiB of 30.0 MiB",
    ]
    keys = {headers["Idempotency-Key"] for _, _, headers, _ in slow.seen}
    assert len(keys) == 1


async def test_a_bar_for_terminals(slow: StandIn, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "daemon", *ORDER),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=theirs,
        env=clean_environment(tmp_path, TUNERD_URL=slow.url, TERM="xterm", COLUMNS="120"),
    )
    os.close(theirs)
    shown = await asyncio.to_thread(_read_all, ours)
    out, _ = await asyncio.wait_for(process.communicate(), TIMEOUT)
    os.close(ours)
    assert (process.returncode, out) == (0, b"job_1 queued\n")
    for part in ("packing the dataset", "10%", "uploading the dataset", "67%", "20.0 MiB of 30.0 MiB"):
        assert part in shown
    assert shown.rstrip().endswith(("\x1b[2K", "\x1b[1A\x1b[2K", "\x1b[?25h"))  # it takes itself away


def _read_all(terminal: int) -> str:
    read = b""
    while True:
        try:
            chunk = os.read(terminal, 65_536)
        except OSError:  # the other side is closed: Linux says EIO
            return read.decode()
        if not chunk:
            return read.decode()
        read += chunk


async def test_nothing_is_watched_for_programs(tunerd, stand_in: StandIn) -> None:
    async def submit(request: web.Request) -> web.Response:
        await asyncio.sleep(1.5)
        return web.json_response({"job_id": "job_1"}, status=201)

    stand_in.routes["POST", SUBMIT] = submit
    result = await tunerd(*ORDER, "--json", TUNERD_URL=stand_in.url)
    assert (result.code, result.err) == (0, "")
    assert [seen[0] for seen in stand_in.seen] == ["POST"]


async def test_an_older_daemon_is_submitted_to_all_the_same(tunerd, stand_in: StandIn) -> None:
    async def submit(request: web.Request) -> web.Response:
        await asyncio.sleep(1.5)
        return web.json_response({"job_id": "job_1", "status": "queued"}, status=201)

    stand_in.routes["POST", SUBMIT] = submit
    result = await tunerd(*ORDER, TUNERD_URL=stand_in.url)
    assert (result.code, result.out, result.err) == (0, "job_1 queued\n", "")
