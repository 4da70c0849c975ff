"""A submit that is killed at a chosen moment, and what it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from daemon.errors import ProviderError
from daemon.replicate.request import SubmitRequest
from daemon.sandbox.records import Record
from daemon.store.records import Job
from tests.replicate.conftest import SECRET, World

HELLO = SubmitRequest(model="acme/hello", input={"text": "x"})
SECRETIVE = SubmitRequest(config={"--max_train_steps": 5}, input={"hf_token": SECRET})
CREATE = "POST /v1/predictions$"


async def crash(world: World, request: SubmitRequest, when: Callable[[], Awaitable[bool]]) -> Job:
    """Begin a submit and kill it as soon as ``when`` holds; the job that it leaves."""
    task = asyncio.create_task(world.submitter.submit(request))
    await world.until(when)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    world.sandbox.faults.reset()
    world.sandbox.faults.behaviour = {"stuck": True}
    return await only_job(world)


async def only_job(world: World) -> Job:
    jobs, _, total = await world.store.jobs.list()
    assert total == 1
    return jobs[0]


def creates(world: World) -> int:
    """Create calls that Replicate looked at: one that hangs is cut before its body is read."""
    return len([call for call in world.sandbox.requests if call.path == "/v1/predictions" and call.body])


async def before_the_call(world: World, request: SubmitRequest = HELLO) -> Job:
    """Killed after the intent; Replicate has heard nothing of it."""
    world.sandbox.faults.api_match = CREATE
    world.sandbox.faults.hang_next = -1

    async def asked() -> bool:
        return any(call.path == "/v1/predictions" and not call.body for call in world.sandbox.requests)

    return await crash(world, request, asked)


async def during_the_upload(world: World, request: SubmitRequest) -> Job:
    """Killed while the dataset is on its way."""
    world.sandbox.faults.api_match = "POST /v1/files"
    world.sandbox.faults.hang_next = -1

    async def uploading() -> bool:
        return bool(world.calls("POST", "/v1/files"))

    return await crash(world, request, uploading)


async def after_the_call(world: World, request: SubmitRequest = HELLO) -> Job:
    """Killed after Replicate made the job, before its answer was read."""
    world.sandbox.faults.lose_create_answer_next = 1

    async def made() -> bool:
        return bool(world.sandbox.predictions)

    async def never(_: float) -> None:
        await asyncio.Event().wait()

    world.submitter._outbox._sleep = never
    return await crash(world, request, made)


def late_in_the_list(
    world: World, seconds: float = 0.0, pause: Callable[[float], Awaitable[None]] | None = None
) -> Record:
    """Replicate's one job, which it does not show before the looks for it have paused for more than ``seconds``."""
    (record,) = world.sandbox.predictions.values()
    del world.sandbox.predictions[record.id]
    waited = 0.0

    async def appears(more: float) -> None:
        nonlocal waited
        if pause is not None:
            await pause(more)
        waited += more
        if waited > seconds:
            world.sandbox.predictions[record.id] = record

    world.submitter._recovery._sleep = appears
    return record


async def submit_unanswered(world: World) -> Record:
    """A submit that failed for its caller, who heard 502: what Replicate made of it all the same."""
    world.sandbox.faults.lose_create_answer_next = 1

    async def then_down(_: float) -> None:
        world.sandbox.faults.server_error_next = -1

    world.submitter._outbox._sleep = then_down
    with pytest.raises(ProviderError):
        await world.submitter.submit(HELLO)
    world.sandbox.faults.server_error_next = 0
    (record,) = world.sandbox.predictions.values()
    return record
