"""A server that stops: what it accepted is answered, and each kind of connection ends in its own time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from aiohttp import web

from daemon.web.leaving import QUIET_SECONDS, leave
from daemon.web.runner import make_runner
from tests.support.signed import Raw, request_bytes

ECHO = {"path": "/echo"}


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[str, web.BaseRunner, asyncio.Event]]:
    """The address, the runner, and what lets ``/wait`` answer."""
    release = asyncio.Event()

    async def echo(request: web.Request) -> web.Response:
        return web.json_response({"bytes": len(await request.read())})

    async def wait(_request: web.Request) -> web.Response:
        await release.wait()
        return web.json_response({"waited": True})

    app = web.Application()
    app.router.add_post("/echo", echo)
    app.router.add_post("/wait", wait)
    runner = make_runner(app, shutdown_seconds=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", runner, release
    finally:
        await runner.cleanup()


def leaving(runner: web.BaseRunner, within: float = 30.0) -> tuple[asyncio.Task[None], asyncio.Event]:
    hurry = asyncio.Event()
    return asyncio.create_task(leave(runner, hurry, within=within)), hurry


async def test_a_kept_connection_brings_one_more_request() -> None:
    async with serving() as (url, runner, _):
        raw = await Raw.open(url)
        await raw.send(request_bytes(b"one", **ECHO))
        assert "close" not in (await raw.answer())[1].get("connection", "")
        task, _ = leaving(runner)
        await asyncio.sleep(QUIET_SECONDS / 3)
        await raw.send(request_bytes(b"two!", **ECHO))
        status, headers, found = await raw.answer()
        assert (status, found, headers["connection"]) == (200, {"bytes": 4}, "close")
        await raw.closed_within(20)
        await task
        await raw.close()


async def test_what_is_under_way_is_answered() -> None:
    async with serving() as (url, runner, release):
        body, head, waiting = [await Raw.open(url) for _ in range(3)]
        whole = request_bytes(b"x" * 1000, **ECHO)
        await body.send(whole[:-500])
        await head.send(whole[:20])
        await waiting.send(request_bytes(path="/wait"))
        await asyncio.sleep(0.1)
        task, _ = leaving(runner)
        await asyncio.sleep(2 * QUIET_SECONDS)
        assert not task.done()
        await body.send(whole[-500:])
        assert (await body.answer())[2] == {"bytes": 1000}
        await head.send(whole[20:])
        assert (await head.answer())[2] == {"bytes": 1000}
        release.set()
        status, headers, _ = await waiting.answer()
        assert (status, headers["connection"]) == (200, "close")
        await task
        for raw in (body, head, waiting):
            await raw.close()


async def test_idle_connections_are_closed_when_it_is_quiet() -> None:
    async with serving() as (url, runner, _):
        raw = await Raw.open(url)
        await raw.send(request_bytes(b"one", **ECHO))
        await raw.answer()
        began = time.monotonic()
        task, _ = leaving(runner)
        assert await raw.closed_within(20) >= QUIET_SECONDS * 0.9
        await task
        assert time.monotonic() - began < 20
        await raw.close()


async def test_new_connections_are_not_taken() -> None:
    async with serving() as (url, runner, _):
        task, _ = leaving(runner)
        await task
        with contextlib.suppress(ConnectionError):
            raw = await Raw.open(url)
            await raw.send(request_bytes(b"one", **ECHO))
            assert await raw.reader.read() == b""
            await raw.close()


async def test_it_ends_in_time_or_at_once() -> None:
    async with serving() as (url, runner, _):
        raw = await Raw.open(url)
        await raw.send(request_bytes(path="/wait"))
        await asyncio.sleep(0.1)
        task, _ = leaving(runner, within=0.3)
        await asyncio.wait_for(task, 20)
        task, hurry = leaving(runner)
        await asyncio.sleep(0.1)
        assert not task.done()
        hurry.set()
        await asyncio.wait_for(task, 20)
        await raw.close()
