"""DBOS as the engine: once per delivery, over restarts and databases, quietly."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from daemon.delivery.retrying import Backoff
from daemon.delivery.workflow import DeliveryWorker
from daemon.store.store import Store
from tests.delivery.conftest import StartWorker, nothing_fresh
from tests.support.outputs import OutputServer, complete, ended, settings_for, slow, until


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
        await store.deliveries.update(job_id, "local", generation=0, now=0, status="running")
        await store.deliveries.clear_artifacts(job_id)
        worker.wake()
        [delivery] = await ended(store, job_id)
        assert delivery.status == "delivered"


async def test_old_workflows_are_forgotten(store: Store, server: OutputServer, start_worker: StartWorker) -> None:
    from dbos import DBOS

    server.files["/x.bin"] = b"x"
    async with start_worker() as worker:
        job_id = await complete(store, "abc", f"{server.url}/x.bin")
        worker.wake()
        await ended(store, job_id)
        engine = worker._engine
        assert engine is not None
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
    server.files["/x.bin"] = b"x"
    async with start_worker() as worker:
        job_id = await complete(store, "abc", f"{server.url}/x.bin")
        worker.wake()
        await ended(store, job_id)
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
