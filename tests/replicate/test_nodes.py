"""Two daemons over one PostgreSQL database: each intent is one daemon's at a time, and nobody's for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from daemon.replicate.outbox import CLAIM_SECONDS
from daemon.replicate.request import SubmitRequest
from tests.replicate.conftest import Make, World, two_nodes
from tests.replicate.crashes import HELLO


@pytest.fixture
async def nodes(tmp_path: Path, postgres_url: str, make_world: Make) -> AsyncIterator[tuple[World, World]]:
    async with two_nodes(postgres_url, tmp_path, make_world) as both:
        yield both


def creates(world: World) -> int:
    return len(world.calls("POST", "/v1/predictions"))


async def in_flight(world: World, request: SubmitRequest = HELLO) -> asyncio.Task[Any]:
    """A submit whose create call is on its way and is not answered."""
    world.sandbox.faults.api_match = "POST /v1/predictions"
    world.sandbox.faults.hang_next = 1
    task = asyncio.create_task(world.submitter.submit(request))

    async def asked() -> bool:
        return creates(world) == 1

    await world.until(asked)
    return task


async def test_what_one_sends_the_other_leaves_alone(nodes: tuple[World, World]) -> None:
    one, other = nodes
    task = await in_flight(one)
    for _ in range(3):
        await other.submitter.resume_outbox()
    assert creates(one) == 1
    task.cancel()
    await asyncio.wait([task])  # it gives its claim back on its way out
    await other.submitter.resume_outbox()
    (job,), _, _ = await other.store.jobs.list()
    assert [job.provider_job_id] == list(one.sandbox.predictions)


async def test_the_claim_of_a_killed_daemon_runs_out(nodes: tuple[World, World]) -> None:
    one, other = nodes

    async def killed(_job: str, _owner: str) -> None:
        """Nobody is left to give it back."""

    one.store.claims.release = killed  # type: ignore[method-assign]
    task = await in_flight(one)
    task.cancel()
    await asyncio.wait([task])
    await other.submitter.resume_outbox()
    assert creates(one) == 1
    other.clock.steady = True
    other.clock.now += CLAIM_SECONDS + 1
    await other.submitter.resume_outbox()
    (job,), _, _ = await other.store.jobs.list()
    assert [job.provider_job_id] == list(one.sandbox.predictions)
    assert await other.store.claims.is_live(job.job_id, now=other.clock()) is False


async def test_who_lost_its_claim_sends_nothing_more(nodes: tuple[World, World]) -> None:
    """The process slept for longer than its claim (a suspended machine), and another one has taken the intent up."""
    one, other = nodes
    one.sandbox.faults.api_match = "POST /v1/predictions"
    one.sandbox.faults.reset_next = 1

    async def asleep(_: float) -> None:
        one.clock.now += CLAIM_SECONDS + 1
        await other.submitter.resume_outbox()

    one.submitter._outbox._sleep = asleep
    result = await one.submitter.submit(HELLO)
    assert [result.body["provider_job_id"]] == list(one.sandbox.predictions)
    assert creates(one) == 2  # the one that was cut, and the other daemon's


async def test_ten_submits_with_one_key_to_both(nodes: tuple[World, World]) -> None:
    one, other = nodes
    one.sandbox.faults.latency = 0.05
    results = await asyncio.gather(
        *((one, other)[number % 2].submitter.submit(HELLO, idempotency_key="k") for number in range(10))
    )
    assert sorted(result.status_code for result in results) == [200] * 9 + [201]
    assert {result.body["provider_job_id"] for result in results} == set(one.sandbox.predictions)
    assert creates(one) == 1


async def test_claims(nodes: tuple[World, World]) -> None:
    one, other = nodes
    await one.submitter.submit(HELLO)
    (job,), _, _ = await one.store.jobs.list()
    assert await one.store.claims.take(job.job_id, "a", now=0, until=10) is False  # it has a provider id
    assert await other.store.claims.take("nothing", "a", now=0, until=10) is False
