"""What of a file in pieces is there already: after a crash, an expiry, a full disk, a failed sync, a cancel."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from aiohttp import web

from daemon.delivery import staging
from daemon.delivery.errors import Gone, Retry
from daemon.delivery.fetch import Fetcher
from daemon.delivery.staging import Part
from tests.delivery.pieces import DATA, PIECE, on_range, ranges
from tests.support.fetching import attempt
from tests.support.outputs import OutputServer, etag, status
from tests.support.waiting import until


async def test_what_came_before_a_crash_is_not_asked_for_again(
    piecewise: Fetcher, server: OutputServer, tmp_path: Path
) -> None:
    """Holes and all: exactly the pieces that the state file does not name."""
    (tmp_path / ".x.part").write_bytes(b"\0" * len(DATA))
    spans = [(0, 2 * PIECE), (5 * PIECE, 6 * PIECE), (12 * PIECE, len(DATA))]
    with (tmp_path / ".x.part").open("r+b") as part:
        for start, end in spans:
            os.pwrite(part.fileno(), DATA[start:end], start)
    state = {"url": f"{server.url}/x", "spans": spans, "validator": etag(DATA), "total": len(DATA), "pieces": True}
    (tmp_path / ".x.state").write_text(json.dumps(state))
    await attempt(piecewise, f"{server.url}/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA
    assert ranges(server) == [(at * PIECE, (at + 1) * PIECE - 1) for at in (2, 3, 4, 6, 7, 8, 9, 10, 11)]


async def test_expiry_in_the_middle_goes_on_at_the_fresh_address(
    piecewise: Fetcher, server: OutputServer, tmp_path: Path
) -> None:
    """Another signature, the same file: what has come stays."""
    server.script["/x"] = [on_range(server, 6 * PIECE, status(403))]
    with pytest.raises(Gone, match="403"):
        await attempt(piecewise, f"{server.url}/x?signature=old", tmp_path / "x")
    before = len(server.requests)
    server.script.clear()
    await attempt(piecewise, f"{server.url}/x?signature=new", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA
    assert all("Range" in headers for _path, headers in server.requests[before:])
    assert len(server.requests) - before <= 12


async def test_another_address_with_an_etag_that_proves_little_starts_over(
    piecewise: Fetcher, server: OutputServer, tmp_path: Path
) -> None:
    """nginx makes ETags of time and size: two files can share one."""
    state = {"url": f"{server.url}/a", "spans": [(0, 9)], "validator": '"6b05ec91-80"', "total": 9, "pieces": True}
    (tmp_path / ".x.part").write_bytes(b"something")
    (tmp_path / ".x.state").write_text(json.dumps(state))
    await attempt(piecewise, f"{server.url}/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


async def test_a_disk_that_fills_up_is_told_and_gone_on_with(
    piecewise: Fetcher, server: OutputServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def full(descriptor: int, block: memoryview, offset: int) -> int:
        if offset >= 8 * PIECE:
            raise OSError(28, "No space left on device")
        return real(descriptor, block, offset)

    monkeypatch.setattr(staging.os, "pwrite", full)
    with pytest.raises(Retry, match="the disk is full"):
        await attempt(piecewise, f"{server.url}/x", tmp_path / "x")
    monkeypatch.setattr(staging.os, "pwrite", real)
    before = len(server.requests)
    await attempt(piecewise, f"{server.url}/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA
    assert len(server.requests) - before < 13


async def test_a_sync_that_fails_is_not_believed_later(
    piecewise: Fetcher, server: OutputServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells it once, and forgets the data: what was written since the last good sync comes again."""
    real, failed = os.fdatasync, []

    def fail(descriptor: int) -> None:
        if not failed:
            failed.append(descriptor)
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(staging.os, "fdatasync", fail)
    part = await asyncio.to_thread(Part, tmp_path / "x", f"{server.url}/x")
    with pytest.raises(Retry, match="input/output error"):
        await piecewise.attempt(f"{server.url}/x", part)
    assert not (tmp_path / "x").exists()
    await piecewise.attempt(f"{server.url}/x", part)
    await asyncio.to_thread(part.close)
    assert (tmp_path / "x").read_bytes() == DATA
    assert [headers.get("Range") for headers in server.seen("/x")].count(None) == 2  # from the very beginning


async def test_cancelled_while_several_connections_are_reading(
    piecewise: Fetcher, server: OutputServer, tmp_path: Path
) -> None:
    """It ends at once, nothing is written afterwards, and what has come is there for the next time."""

    async def stuck(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return server.answer(request)

    server.script["/x"] = [lambda request: asyncio.sleep(0, server.answer(request)), *[stuck] * 12]
    part = await asyncio.to_thread(Part, tmp_path / "x", f"{server.url}/x")
    task = asyncio.create_task(piecewise.attempt(f"{server.url}/x", part))
    await until(lambda: asyncio.sleep(0, part.done == PIECE and len(server.requests) == 5))
    task.cancel()
    async with asyncio.timeout(30):
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.to_thread(part.close)
    assert json.loads((tmp_path / ".x.state").read_bytes())["spans"] == [[0, PIECE]]
