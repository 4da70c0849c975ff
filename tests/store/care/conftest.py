"""A store with everything in it that care has to keep whole."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.core.signature import sign
from daemon.parsing import decode_webhook_secret
from daemon.store.care.place import Place as CarePlace
from daemon.store.records import Artifact
from daemon.store.store import Store
from tests.store.conftest import Place
from tests.support.events import NOW, append, new_job

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
KEY = decode_webhook_secret(SECRET)
# In every body: what follows is small beside it, so that bodies are kept as growth and not each of them whole.
CAPTION = random.Random(7).randbytes(2000).hex()
EVENTS = 12  # of each of the jobs below
OLD = NOW - 100 * 86_400.0


def prediction(provider_id: str, step: int, *, last: bool, **more: Any) -> bytes:
    """One of a job's growing bodies."""
    content: dict[str, Any] = {
        "id": provider_id,
        "model": "acme/trainer",
        "created_at": "2025-09-20T10:00:00Z",
        "input": {"caption": CAPTION},
        "logs": "".join(f"step {i}/{EVENTS} loss: {1 / (i + 1):.5f} ✓\n" for i in range(step)),
        "output": "https://replicate.delivery/a/model.tar" if last else None,
        "status": "succeeded" if last else "processing",
        "metrics": {"predict_time": 12.5} if last else {},
        **more,
    }
    return json.dumps(content, ensure_ascii=False).encode()


async def run_job(store: Store, provider_id: str, *, at: float = NOW, events: int = EVENTS, end: bool = True) -> None:
    """Every event of a job, signed; the last one ends it unless told otherwise."""
    for step in range(events):
        last = end and step == events - 1
        done = {"completed_at": "2025-09-27T10:00:00Z"} if last else {}
        content = prediction(provider_id, step, last=last, **done)
        webhook_id = f"msg_{provider_id}_{step}"
        signature = sign(KEY, webhook_id, str(int(at)), content)
        await append(store, webhook_id, content, received_at=at + step, timestamp=str(int(at)), signature=signature)


async def fill(store: Store) -> None:
    """A submitted job that was delivered, one that was first seen in an event, one that runs, and all the rest."""
    await store.jobs.insert_intent(new_job("job_ours", idempotency_key="k", created_at=OLD))
    await store.jobs.bind_provider("job_ours", "ours", now=OLD, prediction=None)
    await run_job(store, "ours", at=OLD)
    await store.deliveries.update("job_ours", "local", generation=0, now=OLD, status="delivered", url="file:///x")
    await store.deliveries.put_artifact("job_ours", Artifact("model.tar", 3, "0" * 64, "https://x/model.tar"))
    await run_job(store, "foreign", at=OLD)
    await store.deliveries.update("job_foreign", "local", generation=0, now=OLD, status="failed", error="gone")
    await run_job(store, "running", at=OLD, end=False)
    await append(store, "odd", b"\x00\xff no prediction \xf0\x9f", received_at=OLD, verified=False)
    await store.settings.put({"hardware": "gpu-l40s"}, now=OLD)
    await store.secrets.put("replicate_api_token", "r8_secret", now=OLD)


@pytest.fixture
def care(place: Place) -> CarePlace:
    """The same place, as the care commands reach it. It is filled, and nobody has it open."""

    async def make() -> None:
        async with place.open() as store:
            await fill(store)

    asyncio.run(make())
    return CarePlace.of(place.url, place.data_dir)


Bodies = dict[str, bytes]


@pytest.fixture
def contents(place: Place) -> Callable[[], tuple[Bodies, list[Any]]]:
    """What a daemon would find there: every body by its webhook-id, and every job's row."""

    async def read() -> tuple[Bodies, list[Any]]:
        async with place.open() as store:
            rows = await store.journal.events(limit=10_000)
            found = {}
            for row in rows:
                content = await store.journal.body(row.seq)
                assert content is not None
                found[row.webhook_id] = content.body
            jobs, _, _ = await store.jobs.list(limit=1000)
            return found, jobs

    return lambda: asyncio.run(read())


@pytest.fixture
def backup_file(tmp_path: Path) -> Path:
    return tmp_path / "backups" / "one.backup"


@pytest.fixture(autouse=True)
def _folder(backup_file: Path) -> None:
    backup_file.parent.mkdir()
