"""Lanes: turns in order, bounded, one at a time for a job, given up with the thread that still works."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import cast

import pytest

from daemon.delivery.lanes import Lane, Lanes
from daemon.delivery.rows import Rows
from daemon.delivery.turns import Turns
from daemon.errors import NotReady
from daemon.store.records import DestinationConfig
from tests.support.clock import Clock


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    lane = Lane("test")
    lane.set(concurrency=2, paused=False)
    yield lane
    lane.close()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_so_many_at_once_and_in_order(lane: Lane) -> None:
    inside: list[str] = []
    doors = {name: asyncio.Event() for name in "abcd"}

    async def work(name: str) -> None:
        async with lane.turn(name):
            inside.append(name)
            await doors[name].wait()
            inside.remove(name)

    tasks = {name: asyncio.create_task(work(name)) for name in "abcd"}
    await settle()
    assert inside == ["a", "b"]
    tasks["c"].cancel()  # one that only waits leaves without a trace
    doors["a"].set()
    await settle()
    assert inside == ["b", "d"]
    lane.set(concurrency=1, paused=False)
    late = asyncio.create_task(work("a"))
    doors["b"].set()
    await settle()
    assert inside == ["d"]  # fewer from now on
    doors["d"].set()
    await late
    await asyncio.gather(*tasks.values(), return_exceptions=True)


async def test_a_turn_that_is_given_and_cancelled_at_once_is_not_lost(lane: Lane) -> None:
    lane.set(concurrency=1, paused=False)

    async def work() -> None:
        async with lane.turn("b"):
            pass

    async with lane.turn("a"):
        waiting = asyncio.create_task(work())
        await settle()
    waiting.cancel()  # the turn was given with the end of the block, the task has not run since
    await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(30), lane.turn("c"):
        pass


async def test_a_job_waits_for_its_own_thread(lane: Lane) -> None:
    go, started = threading.Event(), threading.Event()

    def upload() -> None:
        started.set()
        go.wait(30)

    async def first() -> None:
        async with lane.turn("job") as in_thread:
            await in_thread(upload)

    async def second(order: list[str]) -> None:
        async with lane.turn("job"):
            order.append("second")

    running = asyncio.create_task(first())
    await asyncio.to_thread(started.wait, 30)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    order: list[str] = []
    successor = asyncio.create_task(second(order))
    async with lane.turn("another job"):
        await settle()
        assert order == []  # its predecessor's thread is still at the destination
        go.set()
        async with asyncio.timeout(30):
            await successor


async def test_refresh_opens_the_lane_of_a_destination_that_is_gone() -> None:
    lanes = Lanes()
    lane = lanes.of(DestinationConfig("s3", "s3", {}, paused=True))
    assert not lane.open.is_set()
    lanes.refresh([DestinationConfig("s3", "s3", {}, paused=True)])
    assert not lane.open.is_set()
    lanes.refresh([])
    assert lane.open.is_set()
    lanes.close()


async def test_what_a_delivery_has_waited_is_not_counted_though_the_store_fails_then() -> None:
    """Paused for five hours; when it is resumed, the database is away for a moment."""
    clock, lanes = Clock(), Lanes()
    paused = DestinationConfig("hub", "huggingface", {}, paused=True)
    told: list[DestinationConfig | NotReady] = [paused, NotReady("away"), DestinationConfig("hub", "huggingface", {})]

    async def read_config() -> DestinationConfig:
        answer = told[0] if len(told) == 1 else told.pop(0)
        if isinstance(answer, NotReady):
            raise answer
        return answer

    async def take() -> None:
        async with turns():
            clock.now += 7  # the attempt's own time counts

    turns = Turns(lanes, cast("Rows", SilentRows()), "job_a", read_config, clock)
    began = turns.clock()
    waiting = asyncio.create_task(take())
    await settle()
    clock.now += 5 * 3600
    lanes.of(paused).open.set()
    with pytest.raises(NotReady):
        await waiting
    assert turns.clock() == began
    await take()
    assert turns.clock() == began + 7
    lanes.close()


class SilentRows:
    """Nothing is written: what the rows say is other tests' matter."""

    pending = False

    async def update(self, **_columns: object) -> None:
        pass
