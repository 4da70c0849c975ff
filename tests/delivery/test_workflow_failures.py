"""A delivery that meets failures: what is retried, what is waited for, what ends it, and that no other waits for it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from daemon.config import Settings
from daemon.errors import ProviderUnavailable, TokenMissing
from daemon.store.store import Store
from tests.delivery.conftest import StartWorker
from tests.support.clock import RunningClock
from tests.support.outputs import OutputServer, complete, cut_after, ended, shows, status
from tests.support.waiting import until

MODEL = bytes(range(256)) * 12_000  # 3 MB


async def test_cuts_errors_and_a_wrong_hash_are_retried(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files["/model.bin"] = MODEL
    server.script["/model.bin"] = [
        status(500),
        cut_after(MODEL, len(MODEL) // 2),
        status(503, Retry_After="0"),
        cut_after(MODEL[: len(MODEL) // 2], 1000),  # a 200 to a ranged request: another file, from its beginning
        cut_after(MODEL, 0),
    ]
    async with start_worker() as worker:
        job_id = await complete(store, "abc", f"{server.url}/model.bin")
        worker.wake()
        [delivery] = await ended(store, job_id)
    assert (delivery.status, delivery.error) == ("delivered", None)
    assert delivery.attempts == 5  # what was cut after it had come further goes on at once
    assert (settings.output_dir / job_id / "model.bin").read_bytes() == MODEL
    assert "Range" in server.seen("/model.bin")[2]


async def test_a_refused_address_fails_the_delivery_with_the_reason(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files["/good.bin"] = b"good"
    async with start_worker() as worker:
        job_id = await complete(store, "abc", [f"{server.url}/good.bin", "http://169.254.169.254/latest/meta-data"])
        worker.wake()
        [delivery] = await ended(store, job_id)
    assert delivery.status == "failed"
    assert delivery.error is not None and "169.254.169.254" in delivery.error
    assert not (settings.output_dir / job_id).exists()
    assert [path for path, _ in server.requests] == ["/good.bin"]


async def test_the_deadline_ends_it(
    store: Store, server: OutputServer, start_worker: StartWorker, settings: Settings
) -> None:
    server.script["/x.bin"] = [status(500)] * 1000
    clock = RunningClock(time.monotonic)
    async with start_worker(awake=clock) as worker:
        job_id = await complete(store, "abc", f"{server.url}/x.bin", completed_at=time.time() - 3600 + 30)
        worker.wake()
        await until(lambda: shows(store, job_id, lambda row: row.error is not None))
        [delivery] = await store.deliveries.of_job(job_id)
        assert delivery.status == "running" and "500" in str(delivery.error)
        clock.ahead += 400
        [delivery] = await ended(store, job_id)
    assert delivery.status == "failed"
    assert all(word in str(delivery.error) for word in ("x.bin", "the server answered 500", "deadline"))
    assert not (settings.output_dir / job_id).exists()


async def test_one_failing_destination_delays_no_other(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    server.files["/m.bin"] = MODEL
    (tmp_path / "blocked").write_text("a file where a folder should be")
    await store.settings.put(
        {
            "destinations": [
                {"name": "blocked", "type": "local", "options": {"path": str(tmp_path / "blocked")}},
                {"name": "local", "type": "local", "options": {}},
                {"name": "odd", "type": "carrier-pigeon", "options": {}},
                {"name": "wrong", "type": "local", "options": {"pth": "x"}},
            ]
        },
        now=0,
    )
    async with start_worker() as worker:
        job_id = await complete(store, "abc", f"{server.url}/m.bin")
        worker.wake()
        async with asyncio.timeout(20):
            while True:
                rows = {row.destination: row for row in await store.deliveries.of_job(job_id)}
                if rows["local"].status == "delivered" and rows["blocked"].attempts >= 3:
                    break
                await asyncio.sleep(0.05)
        assert rows["blocked"].status == "running" and rows["blocked"].error
        assert rows["odd"].status == rows["wrong"].status == "failed"
        assert "carrier-pigeon" in str(rows["odd"].error) and "pth" in str(rows["wrong"].error)
        (tmp_path / "blocked").unlink()
        rows = {row.destination: row for row in await ended(store, job_id)}
    assert rows["blocked"].status == "delivered"
    assert (tmp_path / "blocked" / job_id / "m.bin").read_bytes() == MODEL
    assert len(server.requests) == 1  # fetched once for all


async def test_an_expired_address_is_asked_for_anew_once(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files["/fresh/out.bin"] = MODEL
    asked = []

    async def fresh(job: Any) -> bytes:
        asked.append(job.provider_job_id)
        if job.provider_job_id == "def":
            return b'{"output": null, "data_removed": true}'
        return json.dumps({"output": [f"{server.url}/fresh/out.bin"]}).encode()

    async with start_worker(fresh_output=fresh) as worker:
        job_id = await complete(store, "abc", [f"{server.url}/old/out.bin"])
        worker.wake()
        [delivery] = await ended(store, job_id)
        assert delivery.status == "delivered" and asked == ["abc"]
        gone = await complete(store, "def", [f"{server.url}/old/a.bin", f"{server.url}/old/b.bin"])
        worker.wake()
        [delivery] = await ended(store, gone)
    assert delivery.status == "failed" and "404" in str(delivery.error) and "removed" in str(delivery.error)


async def test_a_fresh_address_that_is_gone_too_is_the_end_when_the_output_has_expired(
    store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    asked = []

    async def fresh(job: Any) -> bytes:
        asked.append(job.provider_job_id)
        return json.dumps({"output": f"{server.url}/fresh.bin"}).encode()

    async def unavailable(job: Any) -> bytes:
        asked.append(job.provider_job_id)
        raise ProviderUnavailable("It does not answer.") if len(asked) < 3 else TokenMissing("There is no token.")

    async with start_worker(fresh_output=fresh) as worker:
        job_id = await complete(store, "abc", f"{server.url}/old.bin", completed_at=time.time() - 3601)
        worker.wake()
        [delivery] = await ended(store, job_id)
    assert delivery.status == "failed" and "no other address" in str(delivery.error) and asked == ["abc"]
    async with start_worker(fresh_output=unavailable) as worker:
        job_id = await complete(store, "def", f"{server.url}/old.bin")
        worker.wake()
        await until(lambda: shows(store, job_id, lambda row: "There is no token" in str(row.error)))
        [delivery] = await store.deliveries.of_job(job_id)
    assert delivery.status == "running" and "404" in str(delivery.error)


async def test_a_passing_403_is_not_the_end(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files["/x.bin"] = b"x"
    server.script["/x.bin"] = [status(403)]

    async def same(_job: Any) -> bytes:
        return json.dumps({"output": f"{server.url}/x.bin"}).encode()

    async with start_worker(fresh_output=same) as worker:
        job_id = await complete(store, "abc", f"{server.url}/x.bin")
        worker.wake()
        [delivery] = await ended(store, job_id)
    assert (delivery.status, delivery.error, delivery.attempts) == ("delivered", None, 2)


async def test_an_output_folder_that_cannot_be_made_is_waited_for(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files["/x.bin"] = b"x"
    settings.output_dir.write_text("a file")
    async with start_worker() as worker:
        job_id = await complete(store, "abc", f"{server.url}/x.bin")
        worker.wake()
        await until(lambda: shows(store, job_id, lambda row: row.error is not None))
        [delivery] = await store.deliveries.of_job(job_id)
        assert delivery.status == "running" and str(settings.output_dir) in str(delivery.error)
        settings.output_dir.unlink()
        [delivery] = await ended(store, job_id)
    assert (delivery.status, delivery.error) == ("delivered", None)
