"""DBOS as the engine: once per delivery, over restarts and databases, quietly."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy

from daemon.config import Settings
from daemon.delivery import engine as engine_module
from daemon.delivery.destinations import local
from daemon.delivery.retrying import Backoff
from daemon.delivery.workflow import DeliveryWorker
from daemon.errors import NotReady
from daemon.store.schema import deliveries
from daemon.store.sole import KEY, LEASE_SECONDS
from daemon.store.store import Store
from tests.delivery.conftest import StartWorker, nothing_fresh
from tests.support.outputs import OutputServer, complete, ended, settings_for, slow
from tests.support.waiting import until


async def deliver_one(store: Store, server: OutputServer, worker: DeliveryWorker) -> tuple[str, Any]:
    """The job, and the engine that has delivered it."""
    server.files["/x.bin"] = b"x"
    job_id = await complete(store, "abc", f"{server.url}/x.bin")
    worker.wake()
    await ended(store, job_id)
    assert worker._engine is not None
    return job_id, worker._engine


async def test_nothing_of_dbos_is_there_before_a_delivery_is_due(start_worker: StartWorker, tmp_path: Path) -> None:
    async with start_worker() as worker:
        worker.wake()
        await asyncio.sleep(0.5)  # several sweeps
        assert worker._engine is None
    assert not (tmp_path / "data" / "dbos.sqlite3").exists()


async def test_starting_twice_runs_once_and_an_ended_run_starts_anew(
    store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files["/x.bin"] = b"x"
    server.script["/x.bin"] = [slow(b"x", 1, 1.0)]
    async with start_worker() as worker:
        job_id = await complete(store, "abc", f"{server.url}/x.bin")
        worker.wake()
        await until(lambda: asyncio.sleep(0, bool(server.requests)))
        assert worker._engine is not None
        for _ in range(5):
            await worker._fetcher.in_thread(worker._engine.enqueue, job_id, 0)
        await ended(store, job_id)
        assert len(server.requests) == 1
        # The delivery is unfinished again although its workflow has ended, as after an older database was restored.
        await store._database.write(lambda connection: connection.execute(deliveries.update().values(status="running")))
        await store.deliveries.clear_artifacts(job_id)
        worker.wake()
        [delivery] = await ended(store, job_id)
        assert delivery.status == "delivered"


async def test_what_seemed_stranded_once_is_not_so_for_ever(
    store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    """It would start anew while it runs, at the next look that meets it between two of its states."""
    async with start_worker() as worker:
        job_id, engine = await deliver_one(store, server, worker)
        await until(lambda: (job_id, 0) not in engine.runs)
        engine._stranded[job_id, 0] = 0.0
        await worker._fetcher.in_thread(engine.enqueue, job_id, 0)
        assert (job_id, 0) not in engine._stranded


async def test_old_workflows_are_forgotten(store: Store, server: OutputServer, start_worker: StartWorker) -> None:
    from dbos import DBOS

    async with start_worker() as worker:
        job_id, engine = await deliver_one(store, server, worker)
        workflow_id = f"deliver-{job_id}-0"
        in_thread = worker._fetcher.in_thread
        await in_thread(engine.prune, worker._clock())
        assert await in_thread(DBOS.get_workflow_status, workflow_id) is not None
        handle: Any = await in_thread(DBOS.retrieve_workflow, workflow_id)
        await in_thread(handle.get_result)
        await in_thread(engine.prune, worker._clock() + 8 * 86_400)
        assert await in_thread(DBOS.get_workflow_status, workflow_id) is None


async def test_quiet(
    store: Store,
    server: OutputServer,
    start_worker: StartWorker,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with start_worker() as worker:
        await deliver_one(store, server, worker)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("dbos")] == []
    assert all(
        not isinstance(handler, logging.StreamHandler) or isinstance(handler, logging.NullHandler)
        for handler in logging.getLogger("dbos").handlers
    )
    shown = capfd.readouterr()
    assert "dbos" not in (shown.out + shown.err).lower()


async def test_on_postgresql(tmp_path: Path, server: OutputServer, postgres_url: str) -> None:
    settings = settings_for(tmp_path, server.url, database_url=postgres_url)
    server.files["/x.bin"] = b"x" * 1000
    async with Store.open(settings.database_url, settings.data_dir) as store, aiohttp.ClientSession() as session:
        for name in ("abc", "def"):  # the second worker finds the first one's schema
            job_id = await complete(store, name, f"{server.url}/x.bin")
            async with DeliveryWorker(settings, store, session, nothing_fresh, backoff=Backoff(0.05, 0.2)) as worker:
                worker.wake()
                [delivery] = await ended(store, job_id)
            assert delivery.status == "delivered"
    assert not (settings.data_dir / "dbos.sqlite3").exists()


async def test_a_second_worker_on_the_same_postgresql_stands_by(
    tmp_path: Path, server: OutputServer, postgres_url: str
) -> None:
    """What one is delivering is not begun by the other, not at its start and not when it looks; then it takes over."""
    nodes = [settings_for(tmp_path / name, server.url, database_url=postgres_url) for name in "ab"]
    server.files["/x.bin"] = b"x" * 1000
    server.script["/x.bin"] = [slow(server.files["/x.bin"], 1, 1.0)]
    async with aiohttp.ClientSession() as session, AsyncExitStack() as first, AsyncExitStack() as second:
        one = await first.enter_async_context(Store.open(postgres_url, nodes[0].data_dir))
        other = await second.enter_async_context(Store.open(postgres_url, nodes[1].data_dir))
        job_id = await complete(one, "abc", f"{server.url}/x.bin")
        backoff = Backoff(0.05, 0.2)
        delivering = DeliveryWorker(nodes[0], one, session, nothing_fresh, backoff=backoff)
        await first.enter_async_context(delivering)
        await until(lambda: bool(server.requests))
        standing_by = DeliveryWorker(nodes[1], other, session, nothing_fresh, backoff=backoff)
        await second.enter_async_context(standing_by)
        await until(lambda: standing_by._stands_by)
        await asyncio.sleep(1.0)  # several looks
        assert (standing_by._engine, len(server.requests)) == (None, 1)
        await first.aclose()
        [delivery] = await ended(other, job_id)
        assert (delivery.status, len(server.requests)) == ("delivered", 2)
        assert (nodes[1].output_dir / job_id / "x.bin").read_bytes() == server.files["/x.bin"]


@contextlib.asynccontextmanager
async def two_on(url: str, settings: Settings, folder: Path) -> AsyncIterator[tuple[Store, Store, DeliveryWorker]]:
    """A worker with its store, and another machine's store on the same database."""
    async with (
        aiohttp.ClientSession() as session,
        Store.open(url, settings.data_dir) as store,
        Store.open(url, folder / "b" / "data") as other,
        DeliveryWorker(settings, store, session, nothing_fresh, backoff=Backoff(0.05, 0.2)) as worker,
    ):
        yield store, other, worker


async def test_a_worker_that_another_has_taken_over_from_stops(
    tmp_path: Path, server: OutputServer, postgres_url: str
) -> None:
    """It was away for longer than its lease; what it had begun is the other one's now."""
    settings = settings_for(tmp_path / "a", server.url, database_url=postgres_url)
    server.files["/x.bin"] = b"x" * 1000
    server.script["/x.bin"] = [slow(server.files["/x.bin"], 1, 1.0)]
    async with two_on(postgres_url, settings, tmp_path) as (store, other, worker):
        job_id = await complete(store, "abc", f"{server.url}/x.bin")
        worker.wake()
        await until(lambda: bool(server.requests))
        await other.settings.put({KEY: {"owner": "another", "until": time.time() + LEASE_SECONDS}}, now=time.time())
        await until(lambda: worker._stands_by and worker._engine is None)
        await other.settings.delete(KEY)
        [delivery] = await ended(store, job_id)
    assert (delivery.status, len(server.requests)) == ("delivered", 2)


async def test_a_run_whose_end_could_not_be_written_down_starts_anew_without_a_restart(
    store: Store, server: OutputServer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full when a step ends: DBOS can note neither its result nor that the workflow failed."""
    from dbos._sys_db import SystemDatabase

    monkeypatch.setattr(engine_module, "STRANDED_SECONDS", 1.0)
    full = sqlalchemy.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    refused = []

    def refuse(name: str) -> None:
        real = getattr(SystemDatabase, name)

        def once(self: SystemDatabase, *arguments: Any, **named: Any) -> Any:
            if name not in refused:
                refused.append(name)
                raise full
            return real(self, *arguments, **named)

        monkeypatch.setattr(SystemDatabase, name, once)

    refuse("record_operation_result")
    refuse("update_workflow_outcome")
    server.files["/x.bin"] = b"x"
    async with start_worker() as worker:
        job_id = await complete(store, "abc", f"{server.url}/x.bin")
        worker.wake()
        [delivery] = await ended(store, job_id)
        assert (delivery.status, refused) == ("delivered", ["record_operation_result", "update_workflow_outcome"])
    assert len(server.requests) == 1  # what had come is taken from the staging folder


async def test_a_store_that_is_away_for_a_moment_does_not_start_everything_anew(
    store: Store, server: OutputServer, start_worker: StartWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One destination has what it should and that cannot be written down; the other one is still being published."""
    monkeypatch.setattr(engine_module, "AWAY_SECONDS", 0.1)
    two = [{"name": name, "type": "local", "options": {"path": str(tmp_path / name)}} for name in ("quick", "slow")]
    await store.settings.put({"destinations": two}, now=time.time())
    server.files["/x.bin"] = b"x"
    slow_ones, go_on, publish, update = [], threading.Event(), local.publish, store.deliveries.update
    refused: list[str] = []

    def slowly(package: Any, options: Any, place: Any) -> str:
        if options.path.endswith("slow"):
            slow_ones.append(package.job_id)
            go_on.wait(30)
        return publish(package, options, place)

    async def away(job_id: str, destination: str, **columns: Any) -> bool:
        if columns.get("status") == "delivered" and len(refused) < 2:
            refused.append(destination)
            raise NotReady("The store is not available.")
        return await update(job_id, destination, **columns)

    monkeypatch.setattr(local, "publish", slowly)
    monkeypatch.setattr(store.deliveries, "update", away)
    async with start_worker() as worker:
        job_id = await complete(store, "abc", f"{server.url}/x.bin")
        worker.wake()

        async def quick_is_there() -> bool:
            return [row.status for row in await store.deliveries.of_job(job_id)] == ["delivered", "running"]

        await until(quick_is_there)
        await asyncio.sleep(1.0)  # several sweeps
        assert len(slow_ones) == 1
        go_on.set()
        assert {row.status for row in await ended(store, job_id)} == {"delivered"}
    assert (len(slow_ones), refused) == (1, ["quick", "quick"])


async def test_an_engine_that_could_not_be_stopped_is_stopped_later(
    tmp_path: Path, server: OutputServer, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forgotten, it would go on beside the other worker's."""
    settings = settings_for(tmp_path / "a", server.url, database_url=postgres_url)
    server.files["/x.bin"] = b"x"
    stop, stops = engine_module.Engine.stop, []

    def refuse_once(engine: engine_module.Engine) -> None:
        stops.append(engine)
        if len(stops) == 1:
            raise OSError("the database restarts")
        stop(engine)

    monkeypatch.setattr(engine_module.Engine, "stop", refuse_once)
    async with two_on(postgres_url, settings, tmp_path) as (store, other, worker):
        job_id = await complete(store, "abc", f"{server.url}/x.bin")
        worker.wake()
        await ended(store, job_id)
        await other.settings.put({KEY: {"owner": "another", "until": time.time() + LEASE_SECONDS}}, now=time.time())
        await until(lambda: len(stops) == 2 and worker._engine is None)
    assert stops[0] is stops[1]
