"""Datasets with a submit: packed once, sent once, nothing left over, given up when the job is cancelled."""

from __future__ import annotations

import asyncio
import json
import random
import zipfile
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from daemon.core.jobs import JobStatus
from daemon.errors import ArchiveTooLarge, DatasetEmpty, DatasetUnreadable, ProviderError
from daemon.replicate.dataset import archive as module
from daemon.replicate.dataset.scratch import Scratch
from daemon.replicate.request import SubmitRequest
from tests.replicate.conftest import World

Make = Callable[..., Awaitable[World]]
CONFIG = {"--model_type": "lora", "--max_train_steps": 100}


@pytest.fixture
def cats(tmp_path: Path) -> Path:
    folder = tmp_path / "cats"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"A")
    (folder / "a.txt").write_text("a cat")
    (folder / ".env").write_text("S=1")
    return folder


def order(*folders: Path, captions: str = "textfile", **more: Any) -> SubmitRequest:
    loader = [
        {"id": "cats", "type": "local", "instance_data_dir": str(folder), "caption_strategy": captions}
        for folder in folders
    ]
    return SubmitRequest(**{"config": CONFIG, "dataloader_config": loader, **more})


def creates(world: World) -> list[dict[str, Any]]:
    return [json.loads(call.body) for call in world.sandbox.requests if call.path.endswith("/predictions")]


def uploads(world: World) -> list[set[str]]:
    names = []
    for upload in world.sandbox.uploads.values():
        with zipfile.ZipFile(BytesIO(upload.data)) as archive:
            names.append(set(archive.namelist()))
    return names


def leftovers(tmp_path: Path) -> list[Path]:
    scratch = tmp_path / "data" / "tmp"
    return list(scratch.iterdir()) if scratch.exists() else []


async def test_folders_go_along_and_their_paths_do_not(world: World, cats: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin" / "cats"
    twin.mkdir(parents=True)
    (twin / "a.png").write_bytes(b"other")
    result = await world.submitter.submit(order(cats, twin))
    assert result.body["data_uploaded"] is True
    assert result.body["data_left_out"] == [{"name": "00-cats/.env", "reason": "hidden"}]
    assert "1 files have no caption" in result.body["data_notes"][0]
    assert uploads(world) == [{"00-cats/a cat.png", "00-cats/a cat.txt", "01-cats/a.png"}]
    (body,) = creates(world)
    assert body["input"].keys() == {"config_json", "images"}
    assert body["input"]["images"].startswith(world.sandbox.url)
    assert str(tmp_path) not in json.dumps(body)
    assert leftovers(tmp_path) == []


async def test_settings_of_the_dataset_reach_the_configuration(world: World, cats: Path) -> None:
    request = order(cats)
    request.dataloader_config[0]["resolution"] = 768
    await world.submitter.submit(request)
    assert json.loads(creates(world)[0]["input"]["config_json"])["--resolution"] == 768


async def test_a_lycoris_configuration_is_an_input_of_its_own(world: World) -> None:
    config = {**CONFIG, "--lora_type": "lycoris", "--lycoris_config": {"algo": "lokr"}}
    await world.submitter.submit(SubmitRequest(config=config))
    sent = creates(world)[0]["input"]
    assert json.loads(sent["lycoris_config"]) == {"algo": "lokr"}
    assert "lycoris_config" not in sent["config_json"]


async def test_an_archive_at_a_url_is_named(world: World) -> None:
    url = "https://data.example.com/cats.zip"
    request = SubmitRequest(config=CONFIG, dataloader_config=[{"id": "cats", "instance_data_dir": url}])
    result = await world.submitter.submit(request)
    assert creates(world)[0]["input"]["images"] == url
    assert result.body["data_uploaded"] is False


async def test_a_dry_run_packs_and_sends_nothing(world: World, cats: Path, tmp_path: Path) -> None:
    result = await world.submitter.submit(order(cats, dry_run=True))
    assert "uploaded archive" in result.body["request"]["input"]["images"]
    assert result.body["data_left_out"][0]["name"] == "00-cats/.env"
    assert not world.sandbox.uploads
    assert not creates(world)
    assert leftovers(tmp_path) == []


# -- refusals -------------------------------------------------------------------------------------


async def test_refusals_send_nothing_and_make_no_job(
    world: World, cats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.png").symlink_to(cats / "a.png")
    with pytest.raises(DatasetUnreadable, match="No such file"):
        await world.submitter.submit(order(tmp_path / "nowhere"))
    with pytest.raises(DatasetUnreadable, match="leads out"):
        await world.submitter.submit(order(cats, tmp_path / "outside"))
    with pytest.raises(DatasetEmpty):
        await world.submitter.submit(order(cats, tmp_path / "empty"))
    monkeypatch.setattr(module, "ARCHIVE_LIMIT", 100)
    with pytest.raises(ArchiveTooLarge, match=r"a\.png"):
        await world.submitter.submit(order(cats, dry_run=True))
    with pytest.raises(ArchiveTooLarge, match=r"a\.png"):
        await world.submitter.submit(order(cats))
    assert not world.sandbox.requests
    assert (await world.store.jobs.list())[2] == 0
    assert leftovers(tmp_path) == []


async def test_no_archive_stays_after_a_failure(world: World, cats: Path, tmp_path: Path) -> None:
    world.sandbox.faults.api_match = "POST /v1/files"
    world.sandbox.faults.server_error_next = -1
    with pytest.raises(ProviderError):
        await world.submitter.submit(order(cats))
    assert leftovers(tmp_path) == []


# -- once -----------------------------------------------------------------------------------------


async def test_an_identical_dataset_is_sent_once(world: World, cats: Path) -> None:
    for _ in range(3):
        await world.submitter.submit(order(cats))
    await asyncio.gather(*(world.submitter.submit(order(cats)) for _ in range(3)))
    assert len(world.calls("POST", "/v1/files")) == 1
    assert len({body["input"]["images"] for body in creates(world)}) == 1
    assert len(creates(world)) == 6
    (cats / "a.png").write_bytes(b"B")
    await world.submitter.submit(order(cats))
    assert len(world.calls("POST", "/v1/files")) == 2


async def test_two_at_once_send_one(world: World, cats: Path) -> None:
    await asyncio.gather(world.submitter.submit(order(cats)), world.submitter.submit(order(cats)))
    assert len(world.calls("POST", "/v1/files")) == 1


async def test_a_file_that_is_gone_or_goes_soon_is_sent_again(world: World, cats: Path) -> None:
    await world.submitter.submit(order(cats))
    world.sandbox.uploads.clear()
    await world.submitter.submit(order(cats))
    assert len(world.calls("POST", "/v1/files")) == 2
    world.clock.now += 86_400 - 7_000  # it lives on for less than two hours
    await world.submitter.submit(order(cats))
    assert len(world.calls("POST", "/v1/files")) == 3
    assert len(await world.store.settings.get("uploads")) == 1


async def test_a_repeated_key_does_not_pack_again(world: World, cats: Path) -> None:
    results = await asyncio.gather(*(world.submitter.submit(order(cats), idempotency_key="k") for _ in range(5)))
    assert sorted(result.status_code for result in results) == [200] * 4 + [201]
    (cats / "a.png").unlink()
    again = await world.submitter.submit(order(cats), idempotency_key="k")
    assert again.body["idempotent_hit"] is True
    assert again.body["data_left_out"] == results[0].body["data_left_out"]
    assert len(world.calls("POST", "/v1/files")) == 1


# -- while it is sent -----------------------------------------------------------------------------


async def test_cancel_during_the_upload(world: World, cats: Path, tmp_path: Path) -> None:
    (cats / "big.png").write_bytes(random.Random(1).randbytes(30 * 2**20))
    world.sandbox.faults.api_match = "POST /v1/files"
    world.sandbox.faults.latency = 20.0  # it does not read meanwhile, so the rest cannot be sent
    submit = asyncio.create_task(world.submitter.submit(order(cats)))
    seen: list[Any] = []

    async def under_way() -> bool:
        seen[:], _, _ = await world.store.jobs.list()
        return bool(seen) and seen[0].status is JobStatus.UPLOADING and seen[0].progress is not None

    await world.until(under_way)
    assert json.loads(seen[0].progress)["total_steps"] == 31
    await world.submitter.cancel(seen[0].job_id)
    result = await asyncio.wait_for(submit, 30)
    assert result.body["status"] == "cancelled"
    job = await world.store.jobs.get(seen[0].job_id)
    assert (job.status, job.progress) == (JobStatus.CANCELLED, None)
    assert not world.sandbox.uploads
    assert not creates(world)
    assert leftovers(tmp_path) == []


async def test_cancel_when_all_is_sent_deletes_it_there(world: World, cats: Path) -> None:
    world.sandbox.faults.api_match = "POST /v1/files"
    world.sandbox.faults.latency = 1.0
    submit = asyncio.create_task(world.submitter.submit(order(cats)))

    async def asked() -> bool:
        return bool(world.calls("POST", "/v1/files"))

    await world.until(asked)
    (job,), _, _ = await world.store.jobs.list()
    await world.submitter.cancel(job.job_id)
    assert (await submit).body["status"] == "cancelled"
    assert len(world.calls("DELETE", "/v1/files/")) == 1
    assert not world.sandbox.uploads
    assert not creates(world)
    assert await world.store.settings.get("uploads") is None


# -- after a crash --------------------------------------------------------------------------------


async def test_leftovers_of_a_killed_process_are_swept(world: World, cats: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "data" / "tmp"
    (scratch / "tunerd-old").mkdir(parents=True)
    (scratch / "tunerd-old" / "dataset.zip").write_bytes(b"PK")
    (scratch / "mine").mkdir()
    with Scratch(scratch).folder() as used:
        await world.submitter.resume_outbox()
        assert sorted(scratch.iterdir()) == sorted([used, scratch / "mine"])
    assert leftovers(tmp_path) == [scratch / "mine"]


async def test_the_scratch_is_the_daemons_alone(tmp_path: Path) -> None:
    with Scratch(tmp_path / "tmp").folder() as folder:
        assert (tmp_path / "tmp").stat().st_mode & 0o777 == 0o700
        assert folder.stat().st_mode & 0o777 == 0o700
