"""What a start throws away in the staging folder, and what it must not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from daemon.config import Settings
from daemon.delivery import leftovers
from daemon.store.store import Store
from tests.delivery.conftest import StartWorker
from tests.support.outputs import OutputServer, complete, ended
from tests.support.waiting import until


async def test_what_is_staged_for_a_job_that_is_not_known_here_is_kept(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    """After an older database was restored, or where two daemons share the folder, it may be the only copy."""
    foreign = await asyncio.to_thread(stage, settings, "job_other", "0")
    server.files["/m.bin"] = b"model"
    job_id = await complete(store, "abc", f"{server.url}/m.bin")
    async with start_worker():
        await ended(store, job_id)  # the sweep that found it came after the tidying up
    async with start_worker():
        left_over = settings.output_dir / ".tunerd-staging" / job_id
        await until(lambda: asyncio.to_thread(lambda: not left_over.exists()))
    assert foreign.read_bytes() == b"the only copy"


async def test_what_is_left_of_a_delivered_job_goes_at_the_next_start(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files["/m.bin"] = b"model"
    job_id = await complete(store, "abc", f"{server.url}/m.bin")
    async with start_worker():
        await ended(store, job_id)
    left = await asyncio.to_thread(stage, settings, job_id, "0")
    async with start_worker():
        await until(lambda: asyncio.to_thread(lambda: not left.exists()))


async def test_what_is_very_old_goes_although_its_job_is_not_known(
    settings: Settings, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await asyncio.to_thread(stage, settings, "job_pruned", "3")
    monkeypatch.setattr(leftovers, "ABANDONED_SECONDS", 0.0)
    async with start_worker():
        await until(lambda: asyncio.to_thread(lambda: not old.parents[1].exists()))


def stage(settings: Settings, job_id: str, generation: str) -> Path:
    file = settings.output_dir / ".tunerd-staging" / job_id / generation / "model.bin"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"the only copy")
    return file
