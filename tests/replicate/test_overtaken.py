"""Two daemons found the same intent, and the other one was faster: whatever it made of it counts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daemon.core.jobs import JobStatus
from daemon.errors import NotReady, ProviderError
from daemon.replicate.outbox import CLAIM_SECONDS
from daemon.store.records import Job
from tests.replicate.conftest import World
from tests.replicate.crashes import HELLO
from tests.replicate.keyed import creates, jobs_of, left_by_a_crash


async def test_what_another_daemon_just_sent_is_looked_for(nodes: tuple[World, World]) -> None:
    """Both found the intent; the other one claims it first, sends it, loses the answer and is killed."""
    one, other = nodes
    await left_by_a_crash(one)
    claim, sent = one.submitter._outbox.claim, False

    async def killed_after_it(_: float) -> None:
        raise NotReady("killed")

    other.submitter._outbox._sleep = killed_after_it
    one.sandbox.faults.lose_create_answer_next = 1

    async def overtaken(job_id: str) -> bool:
        nonlocal sent
        if not sent:
            sent = True
            await other.submitter.resume_outbox()
        return await claim(job_id)

    one.submitter._outbox.claim = overtaken  # type: ignore[method-assign]
    await one.submitter.resume_outbox()
    (prediction,) = one.sandbox.predictions.values()
    (job,) = await jobs_of(one)
    assert job.provider_job_id == prediction.id
    assert creates(one) == 1


async def test_what_another_daemon_just_ended_is_not_sent(nodes: tuple[World, World]) -> None:
    one, other = nodes
    await left_by_a_crash(one)
    get, ended = one.store.jobs.get, False

    async def overtaken(job_id: str) -> Job | None:
        nonlocal ended
        job = await get(job_id)
        if not ended:
            ended = True
            one.sandbox.faults.insufficient_credit_next = 1
            await other.submitter.resume_outbox()
        return job

    one.store.jobs.get = overtaken  # type: ignore[method-assign]
    await one.submitter.resume_outbox()
    one.store.jobs.get = get  # type: ignore[method-assign]
    await one.submitter.resume_outbox()
    assert len([job for job in await jobs_of(one) if job.provider_job_id is not None]) == len(one.sandbox.predictions)
    assert creates(one) == 1


@pytest.mark.parametrize("lost", [False, True])
async def test_who_slept_over_its_claim_answers_what_the_other_made(nodes: tuple[World, World], lost: bool) -> None:
    """A submit's machine was suspended before the call, and another daemon has taken the intent up and sent it.

    Its caller is answered at once; with ``lost``, the other one does not know yet what became of it.
    """
    one, other = nodes
    prepared, slept = one.submitter._outbox._prepared, False

    async def suspended(outgoing: Any) -> Any:
        nonlocal slept
        call = await prepared(outgoing)
        if not slept:
            slept = True
            one.clock.now += CLAIM_SECONDS + 1
            if lost:
                one.sandbox.faults.lose_create_answer_next = 1

                async def down(_: float) -> None:
                    raise NotReady("the store is away")

                other.submitter._outbox._sleep = down
            await other.submitter.resume_outbox()
        return call

    one.submitter._outbox._prepared = suspended  # type: ignore[method-assign]
    result = await asyncio.wait_for(one.submitter.submit(HELLO), 60)
    (prediction,) = one.sandbox.predictions.values()
    assert (result.status_code, result.body["provider_job_id"]) == (201, None if lost else prediction.id)
    one.clock.steady = True
    await one.submitter.resume_outbox()
    (job,) = await jobs_of(one)
    assert (job.provider_job_id, job.status) == (prediction.id, JobStatus.QUEUED)
    assert creates(one) == 1


async def test_a_failed_upload_does_not_end_what_another_daemon_sends(nodes: tuple[World, World]) -> None:
    one, other = nodes
    prepared = one.submitter._outbox._prepared

    async def suspended(outgoing: Any) -> Any:
        one.clock.now += CLAIM_SECONDS + 1
        await other.submitter.resume_outbox()
        one.submitter._outbox._prepared = prepared  # type: ignore[method-assign]
        raise ProviderError("Replicate answered 404")

    one.submitter._outbox._prepared = suspended  # type: ignore[method-assign]
    result = await asyncio.wait_for(one.submitter.submit(HELLO), 60)
    (prediction,) = one.sandbox.predictions.values()
    assert result.body["provider_job_id"] == prediction.id
    (job,) = await jobs_of(one)
    assert job.status is JobStatus.QUEUED
