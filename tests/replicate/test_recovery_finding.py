"""A job whose answer was lost in a crash is found at Replicate, however late or odd its list shows it."""

from __future__ import annotations

import asyncio

import pytest

from daemon.core.jobs import JobStatus
from daemon.replicate.request import SubmitRequest
from tests.replicate.conftest import Make
from tests.replicate.crashes import CREATE, HELLO, after_the_call, before_the_call, creates, late_in_the_list, only_job


@pytest.mark.parametrize(("webhook", "echo"), [("https://a.example", True), ("https://a.example", False), ("", True)])
async def test_a_job_whose_answer_was_lost_is_found(make_world: Make, webhook: str, echo: bool) -> None:
    await after_the_call(await make_world(TUNERD_WEBHOOK_URL=webhook))
    world = await make_world(TUNERD_WEBHOOK_URL=webhook)
    world.sandbox.faults.echo_webhook = echo
    await world.submitter.resume_outbox()
    (prediction,) = world.sandbox.predictions.values()
    assert (await only_job(world)).provider_job_id == prediction.id
    assert creates(world) == 1


async def test_a_list_that_lags_behind_is_looked_at_twice(make_world: Make) -> None:
    await after_the_call(await make_world())
    world = await make_world()
    prediction = late_in_the_list(world)
    await world.submitter.resume_outbox()
    assert (await only_job(world)).provider_job_id == prediction.id
    assert creates(world) == 1


async def test_a_training_whose_answer_was_lost_is_found(make_world: Make) -> None:
    await after_the_call(await make_world(), SubmitRequest(model="acme/trainer", input={}, destination="acme/my-lora"))
    world = await make_world()
    await world.submitter.resume_outbox()
    (prediction,) = world.sandbox.predictions.values()
    assert (await only_job(world)).provider_job_id == prediction.id


async def test_an_equal_job_of_somebody_else_is_not_taken(make_world: Make) -> None:
    world = await make_world(TUNERD_WEBHOOK_URL="")
    version = world.sandbox.platform.catalog.models["acme/hello"].versions[0].id
    await world.client.create_prediction({"version": version, "input": {"text": "x"}})  # by hand, before
    await world.client.create_prediction({"version": version, "input": {"text": "other"}})
    for prediction in world.sandbox.predictions.values():
        prediction.created_at -= 120
    await before_the_call(world)
    world = await make_world(TUNERD_WEBHOOK_URL="")
    await world.submitter.resume_outbox()
    assert len(world.sandbox.predictions) == 3
    assert (await only_job(world)).provider_job_id == list(world.sandbox.predictions)[-1]


async def test_a_job_of_ours_is_not_taken_twice(make_world: Make) -> None:
    world = await make_world(TUNERD_WEBHOOK_URL="")
    first = await world.submitter.submit(HELLO)
    world.sandbox.faults.api_match = CREATE
    world.sandbox.faults.hang_next = -1
    task = asyncio.create_task(world.submitter.submit(HELLO))

    async def asked() -> bool:
        return len(world.calls("POST", "/v1/predictions")) == 2

    await world.until(asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    world.sandbox.faults.hang_next = 0
    await (await make_world(TUNERD_WEBHOOK_URL="")).submitter.resume_outbox()
    jobs, _, _ = await world.store.jobs.list()
    assert {job.provider_job_id for job in jobs} == set(world.sandbox.predictions)
    assert len(jobs) == 2
    assert first.body["provider_job_id"] in world.sandbox.predictions


async def test_a_job_that_is_over_and_removed_is_found_all_the_same(make_world: Make) -> None:
    world = await make_world(TUNERD_WEBHOOK_URL="")
    await after_the_call(world)
    (prediction,) = world.sandbox.predictions.values()
    prediction.input = {}
    await (await make_world(TUNERD_WEBHOOK_URL="")).submitter.resume_outbox()
    assert (await only_job(world)).provider_job_id == prediction.id
    assert len(world.sandbox.predictions) == 1


async def test_a_lost_job_whose_cancel_was_asked_for_is_cancelled_there(make_world: Make) -> None:
    job = await after_the_call(await make_world())
    world = await make_world()
    await world.submitter.cancel(job.job_id)
    await world.submitter.resume_outbox()
    assert (await only_job(world)).status is JobStatus.CANCELLED
    (prediction,) = world.sandbox.predictions.values()
    assert prediction.status in {"canceled", "aborted"}


async def test_a_refused_look_is_not_a_refused_create(make_world: Make) -> None:
    """The token is being exchanged, or a proxy is in the way: the training that runs is not given up for that."""
    await after_the_call(await make_world())
    for token in ("r8_wrong", "r8_wrong"):
        world = await make_world(REPLICATE_API_TOKEN=token)
        await world.submitter.resume_outbox()
        assert (await only_job(world)).status is JobStatus.PENDING
    world = await make_world()
    await world.submitter.resume_outbox()
    (prediction,) = world.sandbox.predictions.values()
    assert prediction.status == "starting"
    job = await only_job(world)
    assert (job.status, job.provider_job_id) == (JobStatus.QUEUED, prediction.id)
