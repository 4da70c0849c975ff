"""What is told of a submit while its answer is waited for."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from daemon.replicate.dataset import archive
from daemon.replicate.request import SubmitRequest
from daemon.replicate.under_way import SubmitProgress
from tests.replicate.conftest import World

NOTHING = SubmitProgress()


@pytest.fixture
def order(tmp_path: Path) -> SubmitRequest:
    folder = tmp_path / "cats"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"a" * 3000)
    (folder / "b.png").write_bytes(b"b" * 7000)
    return SubmitRequest(dataloader_config=[{"id": "cats", "instance_data_dir": str(folder)}])


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Packing goes past the first file only when this is set."""
    shrinks, opened, files = archive._shrinks, threading.Event(), 0

    def slow(source: Any, size: int) -> bool:
        nonlocal files
        files += 1
        if files > 1:
            opened.wait(60)
        return shrinks(source, size)

    monkeypatch.setattr(archive, "_shrinks", slow)
    return opened


async def reached(world: World, wanted: SubmitProgress) -> None:
    async def there() -> bool:
        return await world.submitter.under_way.look("k") == wanted

    await world.until(there)


async def test_packing_uploading_submitted(world: World, order: SubmitRequest, gate: threading.Event) -> None:
    world.sandbox.faults.api_match = "POST /v1/files"
    world.sandbox.faults.hang_next = 1
    world.sandbox.faults.hang_seconds = 3
    look = world.submitter.under_way.look
    assert await look("k") == NOTHING
    submit = asyncio.create_task(world.submitter.submit(order, idempotency_key="k"))
    await reached(world, SubmitProgress("packing", None, 3000, 10_000))
    assert await look("other") == NOTHING
    gate.set()

    async def uploading() -> bool:
        told = await look("k")
        return (told.stage, told.bytes_total) == ("uploading", 2**20)

    await world.until(uploading)
    job_id = (await submit).body["job_id"]
    assert await look("k") == SubmitProgress("submitted", job_id)


async def test_a_dry_run_is_told_of_too_and_nothing_stays(
    world: World, order: SubmitRequest, gate: threading.Event
) -> None:
    dry = asyncio.create_task(
        world.submitter.submit(
            SubmitRequest(dataloader_config=order.dataloader_config, dry_run=True), idempotency_key="k"
        )
    )
    await reached(world, SubmitProgress("packing", None, 3000, 10_000))
    gate.set()
    await dry
    assert await world.submitter.under_way.look("k") == NOTHING


async def test_a_submit_that_is_cut_off_leaves_nothing(
    world: World, order: SubmitRequest, gate: threading.Event
) -> None:
    submit = asyncio.create_task(world.submitter.submit(order, idempotency_key="k"))
    await reached(world, SubmitProgress("packing", None, 3000, 10_000))
    submit.cancel()
    gate.set()
    await asyncio.wait([submit])
    assert await world.submitter.under_way.look("k") == NOTHING


async def test_who_comes_again_meanwhile_hides_nothing(
    world: World, order: SubmitRequest, gate: threading.Event
) -> None:
    """Its caller gave up waiting and asks again with the key: what it watches is the first one's packing."""
    first = asyncio.create_task(world.submitter.submit(order, idempotency_key="k"))
    await reached(world, SubmitProgress("packing", None, 3000, 10_000))
    again = asyncio.create_task(world.submitter.submit(order, idempotency_key="k"))
    await asyncio.sleep(0)  # it has begun, and waits
    await asyncio.sleep(0)
    assert await world.submitter.under_way.look("k") == SubmitProgress("packing", None, 3000, 10_000)
    gate.set()
    one, same = await asyncio.gather(first, again)
    assert (one.body["job_id"], same.body["idempotent_hit"]) == (same.body["job_id"], True)
