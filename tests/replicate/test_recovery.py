"""What a crash at any moment of a submit leaves, and what the next start makes of an intent that was not sent."""

from __future__ import annotations

import asyncio
import time

import pytest

from daemon.core.jobs import JobStatus
from daemon.replicate.request import SubmitRequest
from tests.replicate.conftest import Make, World
from tests.replicate.crashes import HELLO, before_the_call, creates, only_job


async def test_an_intent_that_was_not_sent_is_sent(make_world: Make) -> None:
    job = await before_the_call(await make_world())
    assert (job.status, job.provider_job_id) == (JobStatus.PENDING, None)
    world = await make_world()
    await world.submitter.resume_outbox()
    (prediction,) = world.sandbox.predictions.values()
    resumed = await only_job(world)
    assert (resumed.status, resumed.provider_job_id) == (JobStatus.QUEUED, prediction.id)
    assert prediction.webhook is not None
    assert prediction.webhook.endswith(f"?job={job.job_id}")
    await world.submitter.resume_outbox()
    assert creates(world) == 1


@pytest.mark.parametrize("webhook", ["https://a.example", ""])
async def test_ended_at_any_moment_every_job_is_made_once(make_world: Make, webhook: str) -> None:
    world = await make_world(TUNERD_WEBHOOK_URL=webhook)
    world.sandbox.faults.latency = 0.004
    world.clock.steady = True
    began = time.monotonic()
    await world.submitter.submit(SubmitRequest(model="acme/hello", input={"text": "whole"}))
    whole = time.monotonic() - began  # on this machine, now
    for number in range(30):
        request = SubmitRequest(model="acme/hello", input={"text": str(number)})
        submit = asyncio.create_task(world.submitter.submit(request))
        await asyncio.sleep(1.2 * whole * number / 30)
        submit.cancel()
        await asyncio.wait([submit])
        world = await make_world(TUNERD_WEBHOOK_URL=webhook)  # nothing is remembered but what is on disk
        await world.submitter.resume_outbox()
    jobs, _, _ = await world.store.jobs.list(limit=100)
    made = [record.input["text"] for record in world.sandbox.predictions.values()]
    assert len(made) == len(set(made)) == len(jobs)
    assert {job.provider_job_id for job in jobs} == set(world.sandbox.predictions)
    assert len(jobs) >= 5  # enough of them got as far as their intent


async def test_an_intent_waits_while_replicate_is_down(make_world: Make) -> None:
    await before_the_call(await make_world())
    world = await make_world()
    world.sandbox.faults.server_error_next = -1
    await world.submitter.resume_outbox()
    assert (await only_job(world)).status is JobStatus.PENDING
    world.sandbox.faults.server_error_next = 0
    await world.submitter.resume_outbox()
    assert (await only_job(world)).status is JobStatus.QUEUED


async def test_an_intent_waits_for_a_token(make_world: Make) -> None:
    await before_the_call(await make_world())
    world = await make_world(REPLICATE_API_TOKEN="")
    await world.submitter.resume_outbox()
    assert (await only_job(world)).status is JobStatus.PENDING


async def test_an_intent_that_is_refused_fails(make_world: Make) -> None:
    await before_the_call(await make_world())
    world = await make_world()
    world.sandbox.faults.insufficient_credit_next = 1
    await world.submitter.resume_outbox()
    job = await only_job(world)
    assert job.status is JobStatus.FAILED
    assert "402: Insufficient credit" in (job.error or "")


async def test_an_intent_of_yesterday_is_not_sent(make_world: Make) -> None:
    world = await make_world()
    await before_the_call(world)
    world.clock.now += 90_000
    await (await make_world()).submitter.resume_outbox()
    job = await only_job(world)
    assert (job.status, job.error) == (JobStatus.FAILED, "It could not be sent for a day. Submit it again.")
    assert creates(world) == 0


async def test_an_intent_whose_cancel_was_asked_for_is_not_sent(make_world: Make) -> None:
    job = await before_the_call(await make_world())
    world = await make_world()
    assert (await world.submitter.cancel(job.job_id)).cancel_requested
    await world.submitter.resume_outbox()
    job = await only_job(world)
    assert (job.status, job.error) == (JobStatus.CANCELLED, "Cancelled before it was sent to Replicate.")
    assert creates(world) == 0


async def test_a_live_submit_is_left_alone(world: World) -> None:
    world.sandbox.faults.latency = 0.2
    submit = asyncio.create_task(world.submitter.submit(HELLO))

    async def written() -> bool:
        return bool((await world.store.jobs.list())[2])

    await world.until(written)
    await world.submitter.resume_outbox()
    await submit
    assert creates(world) == 1
    assert len(world.sandbox.predictions) == 1
