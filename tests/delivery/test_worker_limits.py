"""What the user allows, kept by the worker as a whole: bytes a second, files at once, who comes first."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest
from aiohttp import web

from daemon.config import Settings
from daemon.delivery import limits
from daemon.delivery.staging import Fetched, Part
from daemon.store.store import Store
from tests.delivery.conftest import StartWorker
from tests.support.outputs import Handler, OutputServer, complete, ended, etag, settings_for
from tests.support.waiting import until

MIB = 1024 * 1024
BURST = 0.25  # seconds' worth of the bandwidth that may come at once


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path, server: OutputServer) -> Settings:
    return settings_for(tmp_path, server.url, **request.param)


@pytest.mark.parametrize("settings", [{"download_mib_per_second": "1"}], indirect=True, ids=["1 MiB/s"])
async def test_two_downloads_share_the_bandwidth(store: Store, server: OutputServer, start_worker: StartWorker) -> None:
    server.files |= {"/a": b"a" * (2 * MIB), "/b": b"b" * MIB}
    began: list[float] = []

    async def first(request: web.Request) -> web.StreamResponse:
        began.append(time.monotonic())
        return server.answer(request)

    server.script |= {"/a": [first], "/b": [first]}
    async with start_worker() as worker:
        jobs = [await complete(store, name, f"{server.url}/{name}") for name in ("a", "b")]
        worker.wake()
        for job_id in jobs:
            [delivery] = await ended(store, job_id)
            assert (delivery.status, delivery.error) == ("delivered", None)
    assert time.monotonic() - min(began) >= 3 - BURST - 0.05  # a clock's grain


@pytest.mark.parametrize("settings", [{"downloads": "1"}], indirect=True, ids=["one at a time"])
async def test_one_at_a_time_and_what_expires_first_comes_first(
    store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    order, under_way, most, go_on = [], 0, 0, asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        order.append(request.path)
        await go_on.wait()
        await asyncio.sleep(0.05)  # room for a second one to come meanwhile
        under_way -= 1
        return server.answer(request)

    for path in ("/first", "/late", "/soon", "/pair-1", "/pair-2"):
        server.files[path] = path.encode()
        server.script[path] = [handler]
    now = time.time()
    async with start_worker() as worker:
        jobs = [await complete(store, "first", f"{server.url}/first", completed_at=now)]
        worker.wake()
        await until(lambda: _true(order == ["/first"]))
        for name, age in (("late", 0), ("soon", 3000)):  # an output lives for an hour
            jobs.append(await complete(store, name, f"{server.url}/{name}", completed_at=now - age))
        pair = [f"{server.url}/pair-1", f"{server.url}/pair-2"]  # the files of one job wait for each other, too
        jobs.append(await complete(store, "pair", pair, completed_at=now - 1500))
        worker.wake()
        await until(lambda: _true(len(worker._steps._slots._waiting) == 4))
        go_on.set()
        for job_id in jobs:
            [delivery] = await ended(store, job_id)
            assert (delivery.status, delivery.error) == ("delivered", None)
    assert (most, order) == (1, ["/first", "/soon", "/pair-1", "/pair-2", "/late"])


def drip(content: bytes) -> Handler:
    """One byte at a time, for as long as anybody listens."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(content)), "ETag": etag(content)})
        await response.prepare(request)
        for place in range(len(content)):
            await response.write(content[place : place + 1])
            await asyncio.sleep(0.02)
        return response

    return handler


@pytest.mark.parametrize("settings", [{"downloads": "1"}], indirect=True, ids=["one at a time"])
async def test_a_server_that_drips_gives_its_turn_up_while_others_wait(
    store: Store, server: OutputServer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SLOW_SECONDS", 1.0)
    server.files |= {"/drip": b"d" * 5000, "/good": b"g"}
    server.script["/drip"] = [drip(server.files["/drip"])]
    now = time.time()
    async with start_worker() as worker:
        dripping = await complete(store, "drip", f"{server.url}/drip", completed_at=now - 3000)
        worker.wake()
        await until(lambda: bool(server.requests))
        await asyncio.sleep(2.5)  # nobody waits: it is let go on
        assert len(server.requests) == 1
        good = await complete(store, "good", f"{server.url}/good", completed_at=now)
        worker.wake()
        for job_id in (good, dripping):
            [delivery] = await ended(store, job_id)
            assert (delivery.status, delivery.error) == ("delivered", None)
    assert [path for path, _ in server.requests] == ["/drip", "/good", "/drip"]
    assert int(server.seen("/drip")[1]["Range"].removeprefix("bytes=").split("-")[0]) > 0  # from where it was
    assert "If-Range" in server.seen("/drip")[1]


@pytest.mark.parametrize("settings", [{"downloads": "1"}], indirect=True, ids=["one at a time"])
async def test_a_file_that_is_all_here_does_not_drip(
    store: Store, server: OutputServer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart a large one is hashed for minutes, and nothing comes meanwhile."""
    hashing, go_on, finish = threading.Event(), threading.Event(), Part.finish

    def slow(part: Part) -> Fetched:
        hashing.set()
        go_on.wait(60)
        return finish(part)

    monkeypatch.setattr(limits, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(Part, "finish", slow)
    server.files |= {"/large": b"l" * 5000, "/good": b"g"}
    now = time.time()
    async with start_worker() as worker:
        try:
            jobs = [await complete(store, "large", f"{server.url}/large", completed_at=now - 3000)]
            worker.wake()
            await until(lambda: _true(hashing.is_set()))
            jobs.append(await complete(store, "good", f"{server.url}/good", completed_at=now))
            worker.wake()
            await until(lambda: _true(worker._steps._slots.wanted))
            await asyncio.sleep(1)
        finally:
            go_on.set()
        for job_id in jobs:
            [delivery] = await ended(store, job_id)
            assert (delivery.status, delivery.attempts) == ("delivered", 1)
    assert [path for path, _ in server.requests] == ["/large", "/good"]


async def _true(condition: bool) -> bool:
    return condition
