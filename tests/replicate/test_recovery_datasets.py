"""Intents whose dataset was not uploaded yet, or whose archive has expired since."""

from __future__ import annotations

import asyncio
from pathlib import Path

from daemon.core.jobs import JobStatus
from daemon.replicate.request import SubmitRequest
from tests.replicate.conftest import Make
from tests.replicate.crashes import HELLO, before_the_call, during_the_upload, only_job


def a_dataset(folder: Path) -> Path:
    """One image, in a folder of its own."""
    images = folder / "cats"
    images.mkdir()
    (images / "a.png").write_bytes(b"A")
    return images


async def test_a_dataset_that_was_not_uploaded_yet_is_packed_again(make_world: Make, tmp_path: Path) -> None:
    images = a_dataset(tmp_path)
    request = SubmitRequest(dataloader_config=[{"id": "cats", "instance_data_dir": str(images)}])
    world = await make_world()
    job = await during_the_upload(world, request)
    assert job.status is JobStatus.UPLOADING
    world = await make_world()
    await world.submitter.resume_outbox()
    assert (await only_job(world)).status is JobStatus.QUEUED
    (prediction,) = world.sandbox.predictions.values()
    assert prediction.input["images"].startswith(world.sandbox.url)


async def test_a_dataset_that_is_gone_ends_the_job_with_the_reason(make_world: Make, tmp_path: Path) -> None:
    images = a_dataset(tmp_path)
    world = await make_world()
    await during_the_upload(world, SubmitRequest(dataloader_config=[{"instance_data_dir": str(images)}]))
    (images / "a.png").unlink()
    world = await make_world()
    await world.submitter.resume_outbox()
    job = await only_job(world)
    assert (job.status, job.error) == (JobStatus.FAILED, f"There are no images, videos or sounds in {images}.")


async def test_a_hanging_upload_holds_up_no_other_intent(make_world: Make, tmp_path: Path) -> None:
    images = a_dataset(tmp_path)
    world = await make_world()
    await during_the_upload(world, SubmitRequest(dataloader_config=[{"instance_data_dir": str(images)}]))
    world = await make_world()
    world.sandbox.faults.api_match = "POST /v1/(files|predictions$)"
    world.sandbox.faults.hang_next = -1
    second = asyncio.create_task(world.submitter.submit(HELLO))

    async def asked() -> bool:
        return bool(world.calls("POST", "/v1/predictions"))

    await world.until(asked)
    second.cancel()
    await asyncio.wait([second])
    world.sandbox.faults.api_match = "POST /v1/files"
    world = await make_world()
    first_round = asyncio.create_task(world.submitter.resume_outbox())

    async def sent() -> bool:
        return bool(world.sandbox.predictions)

    await world.until(sent)
    assert not first_round.done()
    await asyncio.wait_for(world.submitter.resume_outbox(), 30)  # the next round does not wait for it either
    first_round.cancel()
    await asyncio.wait([first_round])


async def test_an_archive_that_has_expired_is_uploaded_again(make_world: Make, tmp_path: Path) -> None:
    images = a_dataset(tmp_path)
    world = await make_world()
    await before_the_call(world, SubmitRequest(dataloader_config=[{"instance_data_dir": str(images)}]))
    uploads = len(world.calls("POST", "/v1/files"))
    world.clock.now += 80_000  # of the 86,400 s that a file lives
    world = await make_world()
    await world.submitter.resume_outbox()
    assert len(world.calls("POST", "/v1/files")) == uploads + 1
    (prediction,) = world.sandbox.predictions.values()
    assert prediction.input["images"].startswith(world.sandbox.url)


async def test_an_archive_that_has_expired_and_whose_folder_is_gone_fails(make_world: Make, tmp_path: Path) -> None:
    images = a_dataset(tmp_path)
    world = await make_world()
    await before_the_call(world, SubmitRequest(dataloader_config=[{"instance_data_dir": str(images)}]))
    (images / "a.png").unlink()
    world.clock.now += 80_000
    await (await make_world()).submitter.resume_outbox()
    job = await only_job(world)
    assert (job.status, job.error) == (JobStatus.FAILED, f"There are no images, videos or sounds in {images}.")
    assert not world.sandbox.predictions
