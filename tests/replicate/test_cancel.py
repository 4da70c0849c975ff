"""A job is cancelled at Replicate now, once it is made there, or once Replicate can be reached."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daemon.core.jobs import JobStatus
from daemon.errors import (
    JobFinished,
    JobNotFound,
)
from tests.replicate.conftest import World
from tests.replicate.crashes import HELLO, only_job


async def test_cancel(world: World) -> None:
    result = await world.submitter.submit(HELLO)
    job = await world.submitter.cancel(result.body["job_id"])
    assert job.status is JobStatus.CANCELLED
    (event,) = await world.store.journal.events(job_id=job.job_id)
    assert (event.source, event.kind.value, event.verified) == ("poll", "cancelled", True)
    with pytest.raises(JobFinished, match="is cancelled already"):
        await world.submitter.cancel(job.job_id)
    with pytest.raises(JobNotFound):
        await world.submitter.cancel("job_nope")


async def test_cancel_by_the_providers_id(world: World) -> None:
    result = await world.submitter.submit(HELLO)
    assert (await world.submitter.cancel(result.body["provider_job_id"])).status is JobStatus.CANCELLED


async def test_cancel_while_the_create_call_is_under_way(world: World) -> None:
    world.sandbox.faults.latency = 0.3
    submit = asyncio.create_task(world.submitter.submit(HELLO))
    job: Any = None

    async def written() -> bool:
        nonlocal job
        jobs, _, _ = await world.store.jobs.list()
        job = jobs[0] if jobs and world.calls("POST", "/v1/predictions") else None
        return job is not None

    await world.until(written)
    assert (await world.submitter.cancel(job.job_id)).cancel_requested
    result = await submit
    assert result.body["status"] == "cancelled"
    (prediction,) = world.sandbox.predictions.values()
    assert prediction.status in {"canceled", "aborted"}


async def test_cancel_while_replicate_is_down_is_honoured_later(world: World) -> None:
    result = await world.submitter.submit(HELLO)
    world.sandbox.faults.server_error_next = -1
    job = await world.submitter.cancel(result.body["job_id"])
    assert (job.status, job.cancel_requested) == (JobStatus.QUEUED, True)
    world.sandbox.faults.server_error_next = 0
    assert await world.reconciler.check_all() == 1
    assert (await only_job(world)).status is JobStatus.CANCELLED
