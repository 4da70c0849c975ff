"""From a completed job to files: shapes, delivering again, and what a stop leaves to the next worker."""

from __future__ import annotations

import asyncio
from typing import Any

from daemon.config import Settings
from daemon.store.store import Store
from tests.delivery.conftest import StartWorker
from tests.support.outputs import OutputServer, complete, ended, manifest, names, sha256, shows, slow
from tests.support.waiting import until

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
        await until(lambda: shows(store, job_id, lambda row: row.bytes_done > 0))
        await store.deliveries.redeliver(job_id, None, now=1e10)
        worker.wake()
        [delivery] = await ended(store, job_id)
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
        await until(lambda: shows(store, job_id, lambda row: row.bytes_done >= 900_000))
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
