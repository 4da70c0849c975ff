"""A model that was paid for is not given up while it can be had, and what came of it is kept."""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from daemon.config import Settings
from daemon.core.jobs import Signal
from daemon.delivery import sources, transfer
from daemon.delivery.destinations import local
from daemon.delivery.errors import Retry
from daemon.delivery.staging import Part
from daemon.store.store import Store
from tests.delivery.conftest import StartWorker
from tests.support.clock import RunningClock
from tests.support.events import append, body, new_job
from tests.support.outputs import OutputServer, complete, cut_after, ended, manifest, sha256, shows, slow, status
from tests.support.waiting import until

MODEL = bytes(range(256)) * 12_000  # 3 MB


async def answered(store: Store, provider_id: str, **said: Any) -> str:
    """A job that the API tells to have succeeded; our id for it."""
    body = json.dumps({"id": provider_id, "status": "succeeded", "output": None, **said}).encode()
    appended = await append(store, f"poll_{provider_id}", body, received_at=time.time(), source="poll")
    assert appended.job_id is not None
    return appended.job_id


async def test_an_output_that_the_provider_had_removed_is_no_delivery_of_nothing(
    settings: Settings, store: Store, start_worker: StartWorker
) -> None:
    async with start_worker() as worker:
        removed = await answered(store, "removed", data_removed=True)
        nothing = await answered(store, "nothing")
        worker.wake()
        [delivery] = await ended(store, removed)
        assert delivery.status == "failed" and "had removed the job's output" in str(delivery.error)
        assert not (settings.output_dir / removed).exists()
        [delivery] = await ended(store, nothing)
        assert delivery.status == "delivered" and manifest(settings.output_dir / nothing)["output"] is None
        await store.deliveries.redeliver(removed, None, now=time.time())  # it does not turn into a success later
        worker.wake()
        [delivery] = await ended(store, removed)
        assert (delivery.status, delivery.generation) == ("failed", 1)


async def test_a_job_that_we_called_failed_and_that_went_on_to_succeed_is_delivered(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    """No create call was answered; one was carried out, and its job is heard of from its first moment to its last."""
    server.files["/m.bin"] = MODEL
    await store.jobs.insert_intent(new_job(created_at=time.time()))
    await store.jobs.signal("job_ours", Signal.FAILED, now=time.time(), error="Replicate did not answer.")
    async with start_worker() as worker:
        for word, output in (("starting", None), ("processing", None), ("succeeded", f"{server.url}/m.bin")):
            told = body(word, output=output)
            await append(store, f"msg_{word}", told, job_hint="job_ours", received_at=time.time())
        worker.wake()
        [delivery] = await ended(store, "job_ours")
    assert (delivery.status, delivery.error) == ("delivered", None)
    assert (settings.output_dir / "job_ours" / "m.bin").read_bytes() == MODEL
    job = await store.jobs.get("job_ours")
    assert job is not None and (job.status, job.error) == ("failed", "Replicate did not answer.")


async def test_a_part_that_is_opened_for_a_run_that_has_ended_is_closed(
    store: Store, server: OutputServer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would stay locked for as long as the daemon lives, and no later run could go on with it."""
    server.files["/m.bin"] = MODEL
    opened: list[Part] = []
    go_on = threading.Event()

    def open_slowly(path: Path, url: str) -> Part:
        part = Part(path, url)
        opened.append(part)
        if len(opened) == 1:
            go_on.wait(30)
        return part

    monkeypatch.setattr(transfer, "_open_part", open_slowly)
    async with start_worker() as worker:
        job_id = await complete(store, "abc", f"{server.url}/m.bin")
        worker.wake()
        await until(lambda: len(opened) == 1)
        await store.deliveries.redeliver(job_id, None, now=time.time())
        worker.wake()
        await until(lambda: len(opened) == 2)  # the first run has been ended meanwhile
        assert opened[0]._fd >= 0
        go_on.set()
        [delivery] = await ended(store, job_id)
        await until(lambda: opened[0]._fd < 0)
    assert (delivery.status, delivery.generation) == ("delivered", 1)


async def test_a_file_that_cannot_be_had_does_not_cost_the_others(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files["/good.bin"] = MODEL
    server.script["/good.bin"] = [slow(MODEL, 500_000, 0.1)]  # the other one fails long before
    output = {"weights": f"{server.url}/good.bin", "preview": f"{server.url}/preview.png"}
    async with start_worker() as worker:
        job_id = await complete(store, "abc", output, completed_at=time.time() - 3601)
        worker.wake()
        [delivery] = await ended(store, job_id)
        assert delivery.status == "failed"
        staged = settings.output_dir / ".tunerd-staging" / job_id / "0"
        for said in ("preview.png: ", "404", "1 of the 2 files", str(staged)):
            assert said in str(delivery.error)
        assert (staged / "good.bin").read_bytes() == MODEL
    del server.files["/good.bin"]
    server.files["/preview.png"] = b"picture"
    async with start_worker() as worker:  # a start throws nothing of it away
        await store.deliveries.redeliver(job_id, None, now=time.time())
        worker.wake()
        [delivery] = await ended(store, job_id)
    assert (delivery.status, delivery.error) == ("delivered", None)
    assert (settings.output_dir / job_id / "good.bin").read_bytes() == MODEL
    assert len(server.seen("/good.bin")) == 1


async def test_a_download_that_is_going_well_is_not_cut_at_the_deadline(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files["/m.bin"] = MODEL
    server.script["/m.bin"] = [slow(MODEL, 300_000, 0.2), status(500)]
    clock, awake = RunningClock(time.time), RunningClock(time.monotonic)
    async with start_worker(clock=clock, awake=awake) as worker:
        job_id = await complete(store, "abc", f"{server.url}/m.bin")
        worker.wake()
        await until(lambda: shows(store, job_id, lambda row: row.bytes_done > 0))
        clock.ahead = awake.ahead = 7200
        [delivery] = await ended(store, job_id)
    assert (delivery.status, delivery.error, delivery.attempts) == ("delivered", None, 1)


async def test_what_had_come_of_a_failed_download_is_gone_on_with(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files["/m.bin"] = MODEL
    server.script["/m.bin"] = [cut_after(MODEL, 2_000_000), *[status(500)] * 1000]
    awake = RunningClock(time.monotonic)
    async with start_worker(awake=awake) as worker:
        job_id = await complete(store, "abc", f"{server.url}/m.bin", completed_at=time.time() - 3601)
        worker.wake()
        await until(lambda: shows(store, job_id, lambda row: "500" in str(row.error)))
        awake.ahead = 400
        [delivery] = await ended(store, job_id)
        assert delivery.status == "failed"
        server.script.clear()
        server.requests.clear()
        await store.deliveries.redeliver(job_id, None, now=time.time())
        worker.wake()
        [delivery] = await ended(store, job_id)
    assert (delivery.status, delivery.generation) == ("delivered", 1)
    assert (settings.output_dir / job_id / "m.bin").read_bytes() == MODEL
    [first, *_] = server.seen("/m.bin")
    assert int(first["Range"].removeprefix("bytes=").split("-")[0]) == 2_000_000
    assert "If-Range" in first


async def test_a_404_that_the_api_contradicts_is_waited_for(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "FRESH_SECONDS", 0.0)
    server.files["/m.bin"] = MODEL
    server.script["/m.bin"] = [status(code) for code in (404, 403, 404, 401, 410, 404)]
    url = f"{server.url}/m.bin"
    says = [
        {"status": "succeeded", "output": url},
        {"status": "processing", "output": None},  # a part of the API that does not know yet
        None,  # 404
        "no JSON",
        {"status": "succeeded", "output": [url, url]},
    ]

    async def fresh(_job: Any) -> bytes | None:
        said = says.pop(0) if says else {"output": url}
        return None if said is None else json.dumps(said).encode()

    async with start_worker(fresh_output=fresh) as worker:
        job_id = await complete(store, "abc", url)
        worker.wake()
        [delivery] = await ended(store, job_id)
    assert (delivery.status, delivery.error, says) == ("delivered", None, [])
    assert sha256((settings.output_dir / job_id / "m.bin").read_bytes()) == sha256(MODEL)


async def test_a_machine_that_slept_has_lost_no_time_to_publish(
    settings: Settings,
    store: Store,
    server: OutputServer,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.files["/m.bin"] = MODEL
    clock, publish, attempts = RunningClock(time.time), local.publish, []

    def broken_by_sleep(package: Any, options: Any, place: Any) -> str:
        attempts.append(clock())
        if len(attempts) < 4:
            clock.ahead += 7200  # the wall clock goes on while nothing else does
            raise Retry("the connection failed")
        return publish(package, options, place)

    monkeypatch.setattr(local, "publish", broken_by_sleep)
    async with start_worker(clock=clock) as worker:
        job_id = await complete(store, "abc", f"{server.url}/m.bin")
        worker.wake()
        [delivery] = await ended(store, job_id)
    assert (delivery.status, len(attempts)) == ("delivered", 4)


def test_a_part_that_cannot_be_taken_up_does_not_stay_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_self: Part) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    (tmp_path / ".m.bin.state").write_bytes(b'{"url": "https://another"}')
    with monkeypatch.context() as disk:
        disk.setattr(Part, "restart", refused)
        with pytest.raises(OSError, match="Read-only"):
            Part(tmp_path / "m.bin", "https://x/m.bin")
    with (tmp_path / ".m.bin.part").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def held_back(store: Store, server: OutputServer, worker: Any) -> str:
    """A job that is fetched and waits at its paused destination."""
    server.files["/m.bin"] = MODEL
    await store.settings.put({"destinations": [{"name": "local", "type": "local", "paused": True}]}, now=time.time())
    job_id = await complete(store, "abc", f"{server.url}/m.bin")
    worker.wake()
    await until(lambda: shows(store, job_id, lambda row: row.fetched_at is not None))
    return job_id


async def go_on(store: Store, worker: Any) -> None:
    await store.settings.put({"destinations": [{"name": "local", "type": "local"}]}, now=time.time())
    worker.wake()


async def test_what_was_fetched_and_is_not_here_any_more_is_fetched_again(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    """Somebody has tidied up; or another machine's worker had fetched it, and this one has taken over."""
    async with start_worker() as worker:
        job_id = await held_back(store, server, worker)
        shutil.rmtree(settings.output_dir)
        await go_on(store, worker)
        [delivery] = await ended(store, job_id)
    assert (delivery.status, delivery.error, delivery.bytes_done) == ("delivered", None, len(MODEL))
    assert (settings.output_dir / job_id / "m.bin").read_bytes() == MODEL
    assert len(server.seen("/m.bin")) == 2


async def test_where_it_cannot_be_fetched_again_both_reasons_are_told(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    async with start_worker() as worker:
        job_id = await held_back(store, server, worker)
        shutil.rmtree(settings.output_dir)
        server.files.clear()
        await go_on(store, worker)
        [delivery] = await ended(store, job_id)
    assert delivery.status == "failed"
    for said in ("m.bin: the fetched file is no longer in the staging folder, and it cannot be fetched again", "404"):
        assert said in str(delivery.error)


async def test_who_delivers_again_what_the_provider_has_removed_is_told_where_it_is(
    settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker
) -> None:
    server.files["/m.bin"] = MODEL
    async with start_worker() as worker:
        job_id = await complete(store, "abc", f"{server.url}/m.bin")
        worker.wake()
        [first] = await ended(store, job_id)
        server.files.clear()
        shutil.rmtree(settings.output_dir)
        await store.deliveries.redeliver(job_id, None, now=time.time())
        worker.wake()
        [delivery] = await ended(store, job_id)
    assert delivery.status == "failed"
    assert "404" in str(delivery.error)
    assert f". It had been delivered before: {first.url} at 20" in str(delivery.error)
