"""Who is fetched first, how fast, and whether it fits."""

from __future__ import annotations

import asyncio
import random
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from daemon.delivery import limits
from daemon.delivery.errors import Permanent, Retry
from daemon.delivery.limits import Limits, Room, Slots, Throttle
from daemon.delivery.staging import BLOCK, RESERVE, Part, State


@pytest.mark.parametrize(
    ("allowed", "least"),
    [
        (Limits(), 1024.0),
        (Limits(bytes_per_second=1024 * 1024), 1024.0),
        (Limits(bytes_per_second=64 * 1024), 1024.0),
        (Limits(bytes_per_second=3200), 50.0),  # 32 connections share it
        (Limits(files=1, connections=1, bytes_per_second=100), 50.0),
    ],
)
def test_what_counts_as_slow_is_less_than_the_user_allows(allowed: Limits, least: float) -> None:
    assert allowed.slowest == least


async def test_the_soonest_to_expire_is_next() -> None:
    slots, order = Slots(2), []
    free = asyncio.Event()

    async def hold() -> None:
        async with slots.taken(0):
            await free.wait()

    async def take(deadline: float) -> None:
        async with slots.taken(deadline):
            order.append(deadline)

    holders = [asyncio.create_task(hold()) for _ in range(2)]
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(take(deadline)) for deadline in (30, 10, 20, 10.5)]
    await asyncio.sleep(0)
    waiting[2].cancel()
    await asyncio.sleep(0)
    assert order == []
    free.set()
    await asyncio.gather(*holders, *waiting, return_exceptions=True)
    assert order == [10, 10.5, 30]


async def test_no_slot_is_lost_however_waiting_ends() -> None:
    chance, slots, running = random.Random(5), Slots(3), 0
    most = 0

    async def use() -> None:
        nonlocal running, most
        async with slots.taken(chance.random()):
            running += 1
            most = max(most, running)
            try:
                await asyncio.sleep(chance.random() / 500)
            finally:
                running -= 1

    tasks = [asyncio.create_task(use()) for _ in range(200)]
    for task in tasks:
        if chance.random() < 0.4:
            await asyncio.sleep(0)
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 3 and running == 0
    async with asyncio.timeout(30), slots.taken(0), slots.taken(0), slots.taken(0):
        pass


def test_the_bandwidth_is_kept_whoever_reads() -> None:
    now = 1000.0
    throttle = Throttle(1_000_000, clock=lambda: now)
    assert throttle.block == 250_000
    total = 0
    for _ in range(100):
        total += 250_000
        now += throttle.spent(250_000)
    assert total / (now - 1000.0) == pytest.approx(1_000_000, rel=0.02)
    now += 3600  # what was not used in a quiet hour does not come as a flood afterwards
    assert throttle.spent(1_000_000) == pytest.approx(0.75)
    assert Throttle(None).spent(10**12) == 0 and Throttle(None).block == BLOCK
    assert Throttle(1).block == 4096


def test_threads_share_the_bandwidth() -> None:
    throttle, pauses = Throttle(1e9), []

    def read() -> None:
        pauses.extend([throttle.spent(10_000_000) for _ in range(500)])  # 10 ms worth of it, each

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(pauses) > 15  # 20 s worth, asked for at once


def test_a_file_that_can_never_fit_and_one_that_does_not_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "total_bytes", lambda _folder: 10 * RESERVE)
    monkeypatch.setattr(limits, "free_bytes", lambda _folder: 3 * RESERVE)
    part = Part(tmp_path / "x", "https://replicate.delivery/x")
    room = Room()
    part.begin(State(part.state.url, total=2 * RESERVE))
    room.check(part)
    part.begin(State(part.state.url, total=2 * RESERVE + 1))
    with pytest.raises(Retry, match="not enough disk space"):
        room.check(part)
    part.begin(State(part.state.url, total=11 * RESERVE))
    with pytest.raises(Permanent, match="ever hold"):
        room.check(part)
    part.close()


async def test_what_others_still_need_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "total_bytes", lambda _folder: 10 * RESERVE)
    monkeypatch.setattr(limits, "free_bytes", lambda _folder: 3 * RESERVE)
    parts = [await asyncio.to_thread(Part, tmp_path / name, "https://replicate.delivery/x") for name in "ab"]
    room = Room()
    for part in parts:
        part.begin(State(part.state.url, total=RESERVE + RESERVE // 2))
    async with room.used_by(parts[0]):
        with pytest.raises(Retry, match="needed by other downloads"):
            room.check(parts[1])
    room.check(parts[1])
    for part in parts:
        await asyncio.to_thread(part.close)
    assert cast("list[Any]", room._parts) == []
