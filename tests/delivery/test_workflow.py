"""From a completed job to files: shapes, retries, failures, delivering again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon.config import Settings
from daemon.errors import ProviderUnavailable, TokenMissing
from daemon.store.records import Delivery
from daemon.store.store import Store
from tests.delivery.conftest import StartWorker
from tests.support.outputs import (
    OutputServer,
    complete,
    cut_after,
    ended,
    manifest,
    names,
    sha256,
    slow,
    status,
    until,
)

MODEL = bytes(range(256)) * 12_000  # 3 MB


async def test_a_model_arrives_with_its_manifest(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files["/files/trained_model.tar"] = MODEL
    output = {"version": "acme/lora:5c7d", "weights": f"{server.url}/files/trained_model.tar"}
    async with start_worker() as worker:
        job_id = await complete(store, "abc", output)
        worker.wake()
        [delivery] = await ended(store, job_id)
        await nothing_staged(settings)
    folder = settings.output_dir / job_id
    assert (delivery.status, delivery.error, delivery.attempts) == ("delivered", None, 1)
    assert delivery.url == folder.as_uri()
    assert delivery.bytes_done == delivery.bytes_total == len(MODEL)
    assert names(folder) == ["manifest.json", "trained_model.tar"]
    assert (folder / "trained_model.tar").read_bytes() == MODEL
    written = manifest(folder)
    assert written["job_id"] == job_id and written["provider_job_id"] == "abc"
    assert written["model"] == "acme/trainer" and written["completed_at"].endswith("Z")
    assert written["files"] == [
        {"name": "trained_model.tar", "bytes": len(MODEL), "sha256": sha256(MODEL), "source_url": output["weights"]}
    ]
    [artifact] = await store.deliveries.artifacts(job_id)
    assert (artifact.name, artifact.bytes, artifact.sha256) == ("trained_model.tar", len(MODEL), sha256(MODEL))


async def test_every_shape_of_output(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files |= {"/a/out.png": b"one", "/b/out.png": b"two", "/c/file": b"three"}
    a, b, c = (server.url + path for path in server.files)
    shapes: dict[str, tuple[Any, dict[str, bytes]]] = {
        "string": (a, {"out.png": b"one"}),
        "list": ([a, b, a], {"out.png": b"one", "out-2.png": b"two"}),
        "dict": ({"vocals": c, "n": 1}, {"vocals": b"three"}),
        "nested": ([{"file": [[{"x": b}]]}, None, True], {"out.png": b"two"}),
        "data": ("data:text/plain;base64,aGVsbG8=", {"output.txt": b"hello"}),
        "text": (f"look at {a}", {}),
        "tokens": (["Hel", "lo"], {}),
        "null": (None, {}),
    }
    async with start_worker() as worker:
        jobs = {name: await complete(store, name, output) for name, (output, _files) in shapes.items()}
        worker.wake()
        for name, job_id in jobs.items():
            output, files = shapes[name]
            [delivery] = await ended(store, job_id)
            assert (name, delivery.status, delivery.error) == (name, "delivered", None)
            folder = settings.output_dir / job_id
            written = manifest(folder)
            assert {entry["name"]: (folder / entry["name"]).read_bytes() for entry in written["files"]} == files
            if not files:
                assert written["output"] == output


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
    assert not settings.output_dir.exists() or names(settings.output_dir) == []
    assert server.requests == []


async def test_the_deadline_ends_it(
    store: Store, server: OutputServer, start_worker: StartWorker, settings: Settings
) -> None:
    server.script["/x.bin"] = [status(500)] * 1000
    clock = Clock()
    async with start_worker(clock=clock) as worker:
        job_id = await complete(store, "abc", f"{server.url}/x.bin", completed_at=clock() - 3600 + 30)
        worker.wake()
        await until(lambda: delivery_shows(store, job_id, lambda row: row.error is not None))
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


async def test_a_fresh_address_that_is_gone_too_is_the_end(
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
        job_id = await complete(store, "abc", f"{server.url}/old.bin")
        worker.wake()
        [delivery] = await ended(store, job_id)
    assert delivery.status == "failed" and "no other address" in str(delivery.error) and asked == ["abc"]
    async with start_worker(fresh_output=unavailable) as worker:
        job_id = await complete(store, "def", f"{server.url}/old.bin")
        worker.wake()
        await until(lambda: delivery_shows(store, job_id, lambda row: "There is no token" in str(row.error)))
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
        await until(lambda: delivery_shows(store, job_id, lambda row: row.error is not None))
        [delivery] = await store.deliveries.of_job(job_id)
        assert delivery.status == "running" and str(settings.output_dir) in str(delivery.error)
        settings.output_dir.unlink()
        [delivery] = await ended(store, job_id)
    assert (delivery.status, delivery.error) == ("delivered", None)


async def test_redeliver_restores_a_spoiled_file_and_works_without_the_source(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files["/m.bin"] = MODEL
    async with start_worker() as worker:
        job_id = await complete(store, "abc", f"{server.url}/m.bin")
        worker.wake()
        await ended(store, job_id)
        await nothing_staged(settings)
        file = settings.output_dir / job_id / "m.bin"
        file.write_bytes(b"spoiled")
        assert await store.deliveries.redeliver(job_id, None, now=1e10) == 1
        worker.wake()
        [delivery] = await ended(store, job_id)
        assert delivery.status == "delivered" and delivery.generation == 1
        assert file.read_bytes() == MODEL and len(server.requests) == 2
        del server.files["/m.bin"]  # expired: what has been delivered is taken from here
        await store.deliveries.redeliver(job_id, None, now=1e10)
        worker.wake()
        [delivery] = await ended(store, job_id)
        assert delivery.status == "delivered" and len(server.requests) == 2
        file.unlink()
        await nothing_staged(settings)
        await store.deliveries.redeliver(job_id, None, now=1e10)
        worker.wake()
        [delivery] = await ended(store, job_id)
        assert delivery.status == "failed" and "404" in str(delivery.error)


async def test_a_superseded_run_stops_writing(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files["/m.bin"] = MODEL
    server.script["/m.bin"] = [slow(MODEL, 100_000, 0.2)]
    async with start_worker() as worker:
        job_id = await complete(store, "abc", f"{server.url}/m.bin")
        worker.wake()
        await until(lambda: delivery_shows(store, job_id, lambda row: row.bytes_done > 0))
        await store.deliveries.redeliver(job_id, None, now=1e10)
        worker.wake()
        [delivery] = await ended(store, job_id, seconds=10)
        assert (delivery.status, delivery.generation, delivery.attempts) == ("delivered", 1, 1)
        await asyncio.sleep(1.5)  # the first run notices with its next report
        [delivery] = await store.deliveries.of_job(job_id)
        assert (delivery.status, delivery.generation) == ("delivered", 1)
    assert (settings.output_dir / job_id / "m.bin").read_bytes() == MODEL


async def test_stop_is_quick_and_the_next_worker_resumes(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files["/m.bin"] = MODEL
    server.script["/m.bin"] = [slow(MODEL, 300_000, 1.0)]
    async with start_worker() as worker:
        job_id = await complete(store, "abc", f"{server.url}/m.bin")
        worker.wake()
        await until(lambda: delivery_shows(store, job_id, lambda row: row.bytes_done >= 900_000))
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 5
    assert not (settings.output_dir / job_id).exists()
    async with start_worker():  # no wake-up: DBOS takes up what it had begun
        [delivery] = await ended(store, job_id)
    assert delivery.status == "delivered"
    assert (settings.output_dir / job_id / "m.bin").read_bytes() == MODEL
    assert server.seen("/m.bin")[1]["Range"].startswith("bytes=")


async def nothing_staged(settings: Settings) -> None:
    """The last step of a run comes after its deliveries have ended: it throws away what was staged."""
    staging = settings.output_dir / ".tunerd-staging"
    await until(lambda: asyncio.to_thread(lambda: not staging.exists()))


async def delivery_shows(store: Store, job_id: str, what: Callable[[Delivery], bool]) -> bool:
    [row] = await store.deliveries.of_job(job_id)
    return what(row)


class Clock:
    """The wall clock, put forward at will."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead
