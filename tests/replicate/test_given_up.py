"""A job whose submit was answered "failed" and which Replicate made all the same: it must not run on."""

from __future__ import annotations

from typing import Any

import msgspec

from daemon.core.jobs import JobStatus
from daemon.core.prediction import parse_prediction
from daemon.store.records import IncomingEvent
from tests.replicate.conftest import World
from tests.replicate.crashes import only_job, submit_unanswered


async def test_a_job_that_was_given_up_but_runs_is_cancelled(world: World) -> None:
    """Every answer is lost, and so is every look: 502. What Replicate made of it must not run on."""
    prediction = await submit_unanswered(world)
    assert prediction.status == "starting"
    await world.submitter.resume_outbox()
    assert prediction.status in {"canceled", "aborted"}
    job = await only_job(world)
    assert (job.status, job.provider_job_id) == (JobStatus.FAILED, prediction.id)
    before = len(world.sandbox.requests)
    await world.submitter.resume_outbox()
    assert len(world.sandbox.requests) == before  # seen to, once and for all


async def test_a_job_that_was_given_up_and_then_shows_itself_is_cancelled(world: World) -> None:
    record = await submit_unanswered(world)
    body: Any = await world.client.get(record.id, "prediction")
    event = IncomingEvent("msg_1", "1", "v1,x", body, world.clock(), "webhook", "1.2.3.4", True)
    await world.store.journal.append(event, parse_prediction(body))
    world.clock.now += 3600  # long after we stopped looking for it
    await world.submitter.resume_outbox()
    assert record.status in {"canceled", "aborted"}


async def test_a_job_that_was_given_up_and_succeeds_before_it_can_be_cancelled_is_heard_of(world: World) -> None:
    """Part of its output was known already: the cancel's answer is the only one that tells the whole of it."""
    record = await submit_unanswered(world)
    record.status, record.output = "processing", ["a"]
    body: Any = await world.client.get(record.id, "prediction")
    event = IncomingEvent("msg_1", "1", "v1,x", body, world.clock(), "webhook", "1.2.3.4", True)
    await world.store.journal.append(event, parse_prediction(body))
    record.status, record.output = "succeeded", ["a", "b"]
    await world.submitter.resume_outbox()
    job = await only_job(world)
    assert (job.status, job.provider_status) == (JobStatus.FAILED, "succeeded")
    assert msgspec.json.decode(job.output or "") == ["a", "b"]
    assert [row.status for row in await world.store.deliveries.of_job(job.job_id)] == ["pending"]
