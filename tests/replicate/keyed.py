"""Submits with one idempotency key, under faults."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daemon.store.records import Job
from tests.replicate.conftest import World
from tests.replicate.crashes import HELLO


def creates(world: World) -> int:
    return len(world.calls("POST", "/v1/predictions"))


def good_day(world: World) -> None:
    world.sandbox.faults.reset()
    world.sandbox.faults.behaviour = {"stuck": True}


async def keep(world: World) -> str:
    result = await world.submitter.submit(HELLO, idempotency_key="k")
    return str(result.body["job_id"])


async def jobs_of(world: World) -> list[Job]:
    jobs, _, _ = await world.store.jobs.list(limit=500)
    return [job for job in jobs if job.submitted]


async def left_by_a_crash(world: World) -> None:
    """An intent of which Replicate has heard nothing."""
    world.sandbox.faults.api_match = "GET /v1/models/acme/hello$"
    world.sandbox.faults.server_error_next = 1  # the input's check
    prepared = world.submitter._outbox._prepared

    async def killed(_: Any) -> Any:
        raise asyncio.CancelledError

    world.submitter._outbox._prepared = killed  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await keep(world)
    world.submitter._outbox._prepared = prepared  # type: ignore[method-assign]
    good_day(world)
