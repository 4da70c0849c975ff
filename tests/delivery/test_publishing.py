"""From a completed job to several destinations: faults on the way end delivered exactly once, or with the reason."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from daemon.config import Settings
from daemon.store.records import Delivery
from daemon.store.store import Store
from tests.delivery.conftest import StartWorker
from tests.delivery.destinations.counterparts import Bucket
from tests.support.gate import Gate, running_gate
from tests.support.hub import TOKEN, Hub, running_hub, status
from tests.support.outputs import OutputServer, complete, ended
from tests.support.swift import ACCESS_KEY, SECRET_KEY

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own call

MODEL = secrets.token_bytes(20_000_000)  # two parts of an S3 upload


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with running_hub() as hub:
        yield hub


@pytest.fixture
def bucket(swift_url: str) -> Bucket:
    return Bucket(swift_url, f"b{secrets.token_hex(6)}", ACCESS_KEY, SECRET_KEY, "")


@pytest.fixture
async def gate(bucket: Bucket) -> AsyncIterator[Gate]:
    async with running_gate(bucket.options.endpoint_url) as gate:
        yield gate


def to_bucket(bucket: Bucket, /, **changes: Any) -> dict[str, Any]:
    options = {"bucket": bucket.name, "endpoint_url": bucket.options.endpoint_url, "access_key_id": ACCESS_KEY}
    return {"name": "bucket", "type": "s3", "options": options | changes}


def to_hub(hub: Hub) -> dict[str, Any]:
    options = {"repo_id": "me/{provider_job_id}", "endpoint": hub.url, "xet": False}
    return {"name": "hub", "type": "huggingface", "options": options}


LOCAL = {"name": "local", "type": "local", "options": {}}


async def configure(store: Store, *destinations: dict[str, Any], secret_key: str = SECRET_KEY) -> None:
    await store.settings.put({"destinations": list(destinations)}, now=0)
    await store.secrets.put("destination:bucket:secret_access_key", secret_key, now=0)
    await store.secrets.put("destination:hub:token", TOKEN, now=0)


async def delivered(store: Store, server: OutputServer, start_worker: StartWorker) -> dict[str, Delivery]:
    server.files["/model.safetensors"] = MODEL
    async with start_worker() as worker:
        job_id = await complete(store, "abc", f"{server.url}/model.safetensors")
        worker.wake()
        return {row.destination: row for row in await ended(store, job_id, seconds=90)}


async def test_one_job_to_three_places(
    store: Store, server: OutputServer, start_worker: StartWorker, bucket: Bucket, hub: Hub
) -> None:
    await configure(store, LOCAL, to_bucket(bucket), to_hub(hub))
    rows = await delivered(store, server, start_worker)
    assert {row.status for row in rows.values()} == {"delivered"} and {row.error for row in rows.values()} == {None}
    assert all(row.bytes_done == row.bytes_total == len(MODEL) for row in rows.values())
    job_id = rows["local"].job_id
    assert rows["bucket"].url == f"s3://{bucket.name}/{job_id}/" and rows["hub"].url == f"{hub.url}/me/abc"
    assert bucket.read(f"{job_id}/model.safetensors") == MODEL
    assert hub.repos["me/abc"].files()["model.safetensors"] == MODEL
    assert len(server.seen("/model.safetensors")) >= 1


async def test_what_cannot_be_delivered_says_why_and_delays_nothing(
    store: Store, server: OutputServer, start_worker: StartWorker, bucket: Bucket, hub: Hub
) -> None:
    hub.faults["/commit/"] = [status(403)]
    await configure(store, LOCAL, to_bucket(bucket, bucket="not-there"), to_hub(hub))
    rows = await delivered(store, server, start_worker)
    assert {name: row.status for name, row in rows.items()} == {
        "local": "delivered",
        "bucket": "failed",
        "hub": "failed",
    }
    assert "the bucket does not exist" in str(rows["bucket"].error)
    assert "write access" in str(rows["hub"].error)
    assert len(hub.repos["me/abc"].commits) == 1


async def test_a_wrong_secret(store: Store, server: OutputServer, start_worker: StartWorker, bucket: Bucket) -> None:
    await configure(store, to_bucket(bucket), secret_key="wrong-secret")
    [row] = (await delivered(store, server, start_worker)).values()
    assert row.status == "failed" and "the secret does not belong to the access key" in str(row.error)
    assert "wrong-secret" not in str(row.error)


async def test_a_hub_in_trouble_gets_one_commit(
    store: Store, server: OutputServer, start_worker: StartWorker, hub: Hub
) -> None:
    def lost_after_it_was_done(request: web.Request) -> bool:
        return "/commit/" in request.path and hub.called("/commit/") == 3

    hub.faults["/commit/"] = [status(500), status(429, Retry_After="1")]
    hub.lose = lost_after_it_was_done
    await configure(store, to_hub(hub))
    [row] = (await delivered(store, server, start_worker)).values()
    assert (row.status, row.error, row.attempts) == ("delivered", None, 3)
    assert [commit["title"] for commit in hub.repos["me/abc"].commits][1:] == [f"Add {row.job_id}"]
    assert hub.repos["me/abc"].files()["model.safetensors"] == MODEL


async def test_a_server_that_fails_for_a_while(
    store: Store, server: OutputServer, start_worker: StartWorker, bucket: Bucket, gate: Gate
) -> None:
    left = 6  # more than one attempt's own tries

    def answer(request: web.Request) -> web.Response | None:
        nonlocal left
        if left and "partNumber=2" in request.path_qs:
            left -= 1
            return web.Response(status=503, text="<Error><Code>SlowDown</Code></Error>")
        return None

    gate.answer = answer
    await configure(store, to_bucket(bucket, endpoint_url=gate.url))
    [row] = (await delivered(store, server, start_worker)).values()
    assert (row.status, row.error) == ("delivered", None) and row.attempts > 1
    assert bucket.read(f"{row.job_id}/model.safetensors") == MODEL and bucket.uploads() == []


async def killed_at(
    tmp_path: Path, settings: Settings, server: OutputServer, arm: Callable[[Callable[[], None]], None], *entries: Any
) -> Delivery:
    """Deliver in a process that is killed where ``arm`` says, then in another one; the row."""
    server.files["/model.safetensors"] = MODEL
    async with Store.open(None, settings.data_dir) as store:
        await configure(store, *entries)
        job_id = await complete(store, "abc", f"{server.url}/model.safetensors")
    process = await start(tmp_path, server)
    arm(process.kill)
    assert await asyncio.wait_for(process.wait(), 90) == -9
    async with Store.open(None, settings.data_dir) as store:
        [row] = await store.deliveries.of_job(job_id)
        assert row.status == "running"  # nothing was marked
    process = await start(tmp_path, server)
    assert await asyncio.wait_for(process.wait(), 90) == 0
    async with Store.open(None, settings.data_dir) as store:
        [row] = await store.deliveries.of_job(job_id)
    assert (row.status, row.error) == ("delivered", None)
    return row


async def start(folder: Path, server: OutputServer) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.support.deliver", str(folder), server.url)


async def test_killed_between_the_commit_and_its_mark(
    tmp_path: Path, settings: Settings, server: OutputServer, hub: Hub
) -> None:
    def arm(kill: Callable[[], None]) -> None:
        def lose(request: web.Request) -> bool:
            if "/commit/" in request.path:
                kill()
            return "/commit/" in request.path

        hub.lose = lose

    row = await killed_at(tmp_path, settings, server, arm, to_hub(hub))
    assert hub.called("/commit/") == 1 and row.url == f"{hub.url}/me/abc"
    assert hub.repos["me/abc"].files()["model.safetensors"] == MODEL


@pytest.mark.parametrize(
    "moment",
    ["partNumber=2", *(pytest.param(later, marks=pytest.mark.slow) for later in ("uploadId=", "manifest.json"))],
)
async def test_killed_during_an_upload(
    tmp_path: Path, settings: Settings, server: OutputServer, bucket: Bucket, gate: Gate, moment: str
) -> None:
    armed = True

    def arm(kill: Callable[[], None]) -> None:
        def lose(request: web.Request) -> bool:
            nonlocal armed
            method = "POST" if moment == "uploadId=" else "PUT"
            if armed and request.method == method and moment in request.path_qs:
                armed = False
                kill()
                return True
            return False

        gate.lose = lose

    row = await killed_at(tmp_path, settings, server, arm, to_bucket(bucket, endpoint_url=gate.url))
    assert bucket.everything() == [f"{row.job_id}/manifest.json", f"{row.job_id}/model.safetensors"]
    assert bucket.read(f"{row.job_id}/model.safetensors") == MODEL and bucket.uploads() == []
