"""A destination that is paused, slow or failing, and deliveries that are cancelled, concern nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.config import Settings
from daemon.delivery.destinations import local
from daemon.delivery.errors import Retry
from daemon.store.deliveries import CANCELLED
from daemon.store.records import Delivery
from daemon.store.store import Store
from tests.delivery.conftest import StartWorker
from tests.support.outputs import OutputServer, complete, ended, slow
from tests.support.waiting import until


class Doors:
    """Publishing to a ``local`` destination whose path ends in ``slow`` takes a thread until ``open`` is set."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.calls: list[tuple[str, str]] = []
        self.inside = 0  # threads
        self.most = 0
        self.stopping: list[threading.Event] = []  # of each publish at "slow"

    @property
    def given_up(self) -> int:
        return sum(event.is_set() for event in self.stopping)


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Doors]:
    found, publish = Doors(), local.publish

    def slowly(package: Any, options: Any, place: Any) -> str:
        where = Path(options.path or "").name
        found.calls.append((package.job_id, where))
        if where == "failing":
            raise Retry("it is full")
        if where == "slow":
            found.stopping.append(place.stopping)
            found.inside += 1
            found.most = max(found.most, found.inside)
            try:
                found.open.wait(60)
            finally:
                found.inside -= 1
            place.check_stopping()
        return publish(package, options, place)

    monkeypatch.setattr(local, "publish", slowly)
    yield found
    found.open.set()


async def destinations(store: Store, folder: Path, **changes: dict[str, Any]) -> None:
    configs = [
        {"name": name, "type": "local", "options": {"path": str(folder / name)}, **change}
        for name, change in changes.items()
    ]
    await store.settings.put({"destinations": configs}, now=0)


def shows(store: Store, job_id: str, name: str, test: Callable[[Delivery], bool]) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return any(row.destination == name and test(row) for row in await store.deliveries.of_job(job_id))

    return look


async def test_one_slow_or_failing_destination_never_delays_another(
    store: Store, server: OutputServer, start_worker: StartWorker, tmp_path: Path, doors: Doors
) -> None:
    server.files["/m.bin"] = b"model"
    await destinations(store, tmp_path, slow={"concurrency": 2}, failing={"concurrency": 1}, quick={})
    async with start_worker() as worker:
        jobs = [await complete(store, f"job{n}", f"{server.url}/m.bin") for n in range(6)]
        worker.wake()
        for job in jobs:  # all of them are through while nothing moves at the other two
            await until(shows(store, job, "quick", lambda row: row.status == "delivered"))
        await until(shows(store, jobs[0], "failing", lambda row: row.attempts > 2 and "full" in str(row.error)))
        assert doors.inside == doors.most == 2
        # Delivered again alone: what waits elsewhere goes on waiting, undisturbed.
        before = [row.generation for row in await store.deliveries.of_job(jobs[0]) if row.destination != "quick"]
        await store.deliveries.redeliver(jobs[0], ["quick"], now=1e10)
        worker.wake()
        await until(shows(store, jobs[0], "quick", lambda row: row.status == "delivered" and row.generation == 1))
        assert before == [
            row.generation for row in await store.deliveries.of_job(jobs[0]) if row.destination != "quick"
        ]
        assert len(server.requests) == len(jobs)  # fetched once each, delivered again from what is here
        doors.open.set()
        for job in jobs:
            await until(shows(store, job, "slow", lambda row: row.status == "delivered"))
    assert doors.most == 2
    assert sorted(doors.calls.count((job, "slow")) for job in jobs) == [1] * 6


async def test_a_superseded_run_ends_and_its_successor_waits_for_its_thread(
    store: Store, server: OutputServer, start_worker: StartWorker, tmp_path: Path, doors: Doors
) -> None:
    server.files["/m.bin"] = b"model"
    await destinations(store, tmp_path, slow={})
    async with start_worker() as worker:
        job = await complete(store, "abc", f"{server.url}/m.bin")
        worker.wake()
        await until(lambda: _true(doors.inside == 1))
        for generation in (1, 2):
            assert await store.deliveries.redeliver(job, ["slow"], now=1e10) == generation
            worker.wake()
        await until(lambda: _true(doors.given_up == 1))
        await asyncio.sleep(1.5)
        assert doors.inside == 1, "ended at once; its thread is still at the destination"
        assert doors.calls == [(job, "slow")]
        doors.open.set()
        [delivery] = await ended(store, job)
        assert (delivery.status, delivery.generation) == ("delivered", 2)
    assert doors.calls == [(job, "slow")] * 2  # generation 1 was over before it began


async def test_a_cancelled_delivery_ends_at_once(
    store: Store, server: OutputServer, start_worker: StartWorker, settings: Settings, tmp_path: Path, doors: Doors
) -> None:
    content = b"x" * 1_000_000
    server.files["/m.bin"] = content
    server.script["/m.bin"] = [slow(content, 10_000, 0.5)]  # 50 s
    await destinations(store, tmp_path, quick={}, slow={})
    async with start_worker() as worker:
        fetching = await complete(store, "abc", f"{server.url}/m.bin")
        worker.wake()
        await until(shows(store, fetching, "quick", lambda row: row.bytes_done > 0))
        assert await store.deliveries.cancel(fetching, None, now=1e10) == ["quick", "slow"]
        worker.wake()
        publishing = await complete(store, "def", f"{server.url}/m.bin")
        worker.wake()
        await until(lambda: _true(doors.inside == 1))
        await store.deliveries.cancel(publishing, ["slow"], now=1e10)
        worker.wake()
        await until(lambda: _true(doors.given_up == 1))
        rows = {row.destination: row for row in await ended(store, publishing)}
        assert rows["quick"].status == "delivered"
        assert (rows["slow"].status, rows["slow"].error) == ("failed", CANCELLED)
        doors.open.set()
        staging = settings.output_dir / ".tunerd-staging"
        await until(lambda: asyncio.to_thread(lambda: not staging.exists()))  # nothing of either is kept
    assert [row.error for row in await store.deliveries.of_job(fetching)] == [CANCELLED] * 2
    assert not (tmp_path / "slow").exists()


async def test_a_paused_destination_waits_beyond_a_restart_and_loses_nothing(
    store: Store, server: OutputServer, start_worker: StartWorker, tmp_path: Path, doors: Doors
) -> None:
    server.files["/m.bin"] = b"model"
    await destinations(store, tmp_path, quick={}, held={"paused": True})
    async with start_worker() as worker:
        job = await complete(store, "abc", f"{server.url}/m.bin")
        worker.wake()
        await until(shows(store, job, "quick", lambda row: row.status == "delivered"))
        await until(shows(store, job, "held", lambda row: row.fetched_at is not None and row.error is not None))
        [held, _] = await store.deliveries.of_job(job)
        assert (held.status, held.url) == ("pending", None)
        assert "'held' is paused" in str(held.error)
    del server.files["/m.bin"]  # expired at the provider: it is here
    async with start_worker() as worker:
        worker.wake()
        await asyncio.sleep(1.5)
        assert (await store.deliveries.of_job(job))[0].status == "pending"
        await store.settings.change_destination("held", now=0, paused=False)
        worker.wake()
        held, _ = await ended(store, job)
        assert (held.status, held.error) == ("delivered", None)
    assert doors.calls.count((job, "held")) == 1
    assert (tmp_path / "held" / job / "m.bin").read_bytes() == b"model"


async def test_a_pause_stops_the_next_attempt_and_a_waiting_delivery_can_be_cancelled(
    store: Store, server: OutputServer, start_worker: StartWorker, tmp_path: Path, doors: Doors
) -> None:
    server.files["/m.bin"] = b"model"
    await destinations(store, tmp_path, failing={})
    async with start_worker() as worker:
        job = await complete(store, "abc", f"{server.url}/m.bin")
        worker.wake()
        await until(lambda: _true(len(doors.calls) >= 2))
        await store.settings.change_destination("failing", now=0, paused=True)
        worker.wake()
        await until(shows(store, job, "failing", lambda row: row.status == "pending"))
        calls = len(doors.calls)
        await asyncio.sleep(1)
        assert len(doors.calls) == calls
        await store.deliveries.cancel(job, None, now=1e10)
        worker.wake()
        await destinations(store, tmp_path, failing={"options": {"path": str(tmp_path / "mended")}})
        await store.deliveries.redeliver(job, None, now=1e10)
        worker.wake()
        [delivery] = await ended(store, job)
    assert delivery.status == "delivered"
    assert len(doors.calls) == calls + 1


async def _true(value: bool) -> bool:
    return value
