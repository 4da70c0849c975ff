"""When a connection of webhooks ends: idle, late, at a stop; and that the answer that is due comes first."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from daemon import keys
from daemon.errors import NotReady
from daemon.web.leaving import leave
from tests.support.signed import SECRET, connected, prediction, request_bytes, webhook
from tests.support.waiting import until
from tests.support.webapp import Served, running_app
from tests.web.conftest import SlowStore, Ways


async def test_a_client_that_leaves_loses_nothing(served: Served, slow: SlowStore, ways: Ways) -> None:
    body = prediction(status="succeeded", output="https://replicate.delivery/a.png")
    async with connected(served.url) as raw:
        await raw.send(webhook(body))
        await until(lambda: ways.short == 1)
    slow.release.set()
    await until(lambda: len(served.wakes) == 1)  # the delivery is woken all the same
    assert served.app[keys.METRICS].webhook_requests.labels("completed")._value.get() == 1
    assert await served.store.journal.last_seq() == 1


async def test_a_stop_waits_for_its_answer(served: Served, slow: SlowStore, ways: Ways) -> None:
    runner = served.server.runner
    assert runner is not None
    async with connected(served.url) as raw:
        await raw.send(webhook(prediction()))
        await until(lambda: ways.short == 1)
        leaving = asyncio.create_task(leave(runner, asyncio.Event(), within=20))
        await asyncio.sleep(1.5)  # longer than it has to be quiet
        assert not leaving.done()
        slow.release.set()
        status, headers, _ = await raw.answer()
        assert (status, headers["connection"]) == (200, "close")
        await raw.closed_within(10)
        await leaving


async def test_an_idle_connection_is_closed(tmp_path: Path) -> None:
    environ = {"TUNERD_WEBHOOK_SECRET": SECRET}
    async with (
        running_app(tmp_path, environ=environ, runner={"keepalive_seconds": 1.5}) as served,
        connected(served.url) as raw,
    ):
        for number in range(3):
            await raw.send(webhook(prediction(), f"msg_{number}"))
            assert (await raw.answer())[0] == 200
            await asyncio.sleep(0.6)  # three of them are more than it may be idle
        assert await raw.closed_within(10) >= 0.1


async def test_while_it_is_stored_a_connection_is_not_idle(tmp_path: Path, slow: SlowStore, ways: Ways) -> None:
    environ = {"TUNERD_WEBHOOK_SECRET": SECRET}
    async with (
        running_app(tmp_path, environ=environ, runner={"keepalive_seconds": 1}) as served,
        connected(served.url) as raw,
    ):
        await raw.send(request_bytes(method="GET", path="/healthz"))  # from now on its timer runs
        await raw.answer()
        await raw.send(webhook(prediction()))
        await until(lambda: ways.short == 1)
        await asyncio.sleep(1.5)
        slow.release.set()
        assert (await raw.answer())[2]["status"] == "accepted"
        assert await raw.closed_within(10) >= 0.1


async def test_while_its_body_is_on_the_way_a_connection_is_not_idle(tmp_path: Path, ways: Ways) -> None:
    environ = {"TUNERD_WEBHOOK_SECRET": SECRET}
    whole = webhook(prediction())
    async with (
        running_app(tmp_path, environ=environ, runner={"keepalive_seconds": 1}) as served,
        connected(served.url) as raw,
    ):
        await raw.send(request_bytes(method="GET", path="/healthz"))
        await raw.answer()
        await raw.send(whole[:-1])
        await asyncio.sleep(1.5)
        await raw.send(whole[-1:])
        assert (await raw.answer())[2]["status"] == "accepted"
    assert ways.short == 1


async def test_a_body_that_comes_behind_one_has_its_own_deadline(tmp_path: Path, ways: Ways) -> None:
    environ = {"TUNERD_WEBHOOK_SECRET": SECRET}
    first, second = webhook(prediction("p1")), webhook(prediction("p2"), "msg_2")
    async with (
        running_app(tmp_path, environ=environ, runner={"body_seconds": 0.5}) as served,
        connected(served.url) as raw,
    ):
        await raw.send(first[:-10])
        await asyncio.sleep(0.1)
        await raw.send(first[-10:] + second[:-10])  # and never the rest
        assert (await raw.answer())[2]["job_id"] == "job_p1"
        await raw.closed_within(10)


async def test_one_that_is_being_stored_when_everything_is_closed(served: Served, slow: SlowStore, ways: Ways) -> None:
    """Its answer is the connection's last; also where the store then fails."""
    async with connected(served.url) as good, connected(served.url) as bad:
        for number, raw in enumerate((good, bad)):
            await raw.send(webhook(prediction(), f"msg_{number}"))
        await until(lambda: ways.short == 2)
        slow.error = NotReady("The store is not available: the disk is full.", retry_after=5)
        runner = served.server.runner
        assert runner is not None
        server = runner.server
        assert server is not None
        server.pre_shutdown()
        closing = asyncio.create_task(server.shutdown(10))
        await asyncio.sleep(0.1)
        served.store.journal.closing = True
        slow.release.set()
        for raw in (good, bad):
            status, headers, found = await raw.answer()
            assert (status, headers["connection"], found["code"]) == (503, "close", "not_ready")
            await raw.closed_within(10)
        await closing


@pytest.mark.parametrize("whole_stop", [False, True])
async def test_one_that_is_stored_while_everything_is_closed(
    served: Served, slow: SlowStore, ways: Ways, *, whole_stop: bool
) -> None:
    """It gets its 200, and is told that nothing more is taken."""
    async with connected(served.url) as raw:
        await raw.send(webhook(prediction()))
        await until(lambda: ways.short == 1)
        runner = served.server.runner
        assert runner is not None
        server = runner.server
        assert server is not None
        server.pre_shutdown()
        closing = asyncio.create_task(server.shutdown(10) if whole_stop else asyncio.sleep(0))
        await asyncio.sleep(0.1)
        slow.release.set()
        status, headers, found = await raw.answer()
        assert (status, headers["connection"], found["status"]) == (200, "close", "accepted")
        await raw.closed_within(10)
        await closing


async def test_a_stop_in_which_the_store_fails_is_no_fault_of_the_connection(
    served: Served, slow: SlowStore, ways: Ways, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(served.url) as raw:
        await raw.send(webhook(prediction()))
        await until(lambda: ways.short == 1)
        slow.error = NotReady("The store is not available: the disk is full.", retry_after=5)
        runner = served.server.runner
        assert runner is not None
        server = runner.server
        assert server is not None
        closing = asyncio.create_task(server.shutdown(10))
        await asyncio.sleep(0.1)
        slow.release.set()
        assert (await raw.answer())[0] == 200  # the store was asked again
        await raw.closed_within(10)
        await closing
    assert [record.getMessage() for record in caplog.records if record.name == "aiohttp.server"] == []
