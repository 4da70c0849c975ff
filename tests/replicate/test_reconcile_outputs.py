"""An output that the final event lacked is asked for, and so is an end whose answer is too long to read."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from daemon.core.jobs import JobStatus
from tests.replicate.conftest import Counterpart, Make
from tests.replicate.known import job_of, seen, shown


async def test_an_output_that_the_final_event_lacked_is_asked_for_once(
    make_world: Make, counterpart: Counterpart
) -> None:
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    job = await seen(world, shown("abc", status="succeeded"))
    await seen(world, shown("old", status="succeeded", completed_at="2020-01-01T00:00:00Z"))
    counterpart.say({"data": shown("abc", status="succeeded", output="https://replicate.delivery/x/out.zip")})
    assert await world.reconciler.check_all() == 1
    assert (await job_of(world, job.job_id)).output == '"https://replicate.delivery/x/out.zip"'
    (delivery,) = await world.store.deliveries.of_job(job.job_id)
    assert (delivery.status, delivery.generation) == ("pending", 1)
    assert await world.reconciler.check_all() == 0
    assert [request.path for request in counterpart.seen] == ["/v1/predictions/abc"]


async def test_an_output_that_is_null_is_asked_for_once(make_world: Make, counterpart: Counterpart) -> None:
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    await seen(world, shown("abc", status="succeeded"))
    counterpart.say({"data": shown("abc", status="succeeded", data_removed=True)})
    for _ in range(3):
        assert await world.reconciler.check_all() == 0
    assert len(counterpart.seen) == 1


async def test_an_output_is_asked_for_however_long_the_daemon_was_away(
    make_world: Make, counterpart: Counterpart
) -> None:
    """The final event came without it, and then the machine was off: its address in another store is still worth it."""
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    job = await seen(world, shown("abc", status="succeeded"))
    for number in range(120):  # nor does it matter how many came after it
        world.clock.now += 1
        await seen(world, shown(f"later{number}", status="succeeded", output="text"))
    world.clock.now += 5 * 86_400
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    counterpart.say({"data": shown("abc", status="succeeded", output="hf://me/model/lora.safetensors")})
    assert await world.reconciler.check_all() == 1
    assert (await job_of(world, job.job_id)).output == '"hf://me/model/lora.safetensors"'
    assert [request.path for request in counterpart.seen] == ["/v1/predictions/abc"]


@pytest.mark.parametrize("answer", [{"status": 500, "data": {}}, {"status": 404, "data": {}}])
async def test_an_output_is_asked_for_until_there_is_an_answer(
    make_world: Make, counterpart: Counterpart, answer: dict[str, Any]
) -> None:
    """Over an outage of hours, but not for ever."""
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    lost = await seen(world, shown("lost", status="succeeded"))
    job = await seen(world, shown("abc", status="succeeded"))
    counterpart.say(answer)
    for _ in range(30):
        await world.reconciler.check_all()
        world.clock.now += 600
    found = shown("abc", status="succeeded", output="https://replicate.delivery/x/out.zip")

    async def up_again(request: web.Request) -> web.Response:
        return web.json_response(found) if request.path.endswith("/abc") else web.json_response({}, status=404)

    counterpart.say(up_again)
    news = 0
    for _ in range(3):  # while the breaker is open one call at a time goes out on trial
        news += await world.reconciler.check_all()
        world.clock.now += 600
    assert news == 1
    assert (await job_of(world, job.job_id)).output == '"https://replicate.delivery/x/out.zip"'
    for _ in range(48):
        world.clock.now += 3600
        await world.reconciler.check_all()
    asked = len(counterpart.seen)
    world.clock.now += 86_400
    await world.reconciler.check_all()
    assert len(counterpart.seen) == asked
    assert (await job_of(world, lost.job_id)).output is None


@pytest.mark.parametrize("listed", [True, False])
async def test_a_job_with_a_log_that_is_too_long_ends_as_the_list_tells(
    make_world: Make, counterpart: Counterpart, listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body carries the whole log, and so large a one is not read."""
    monkeypatch.setattr("daemon.replicate.transport.BODY_LIMIT", 100_000)
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    job = await seen(world, shown("abc"))
    final = {"status": "succeeded", "output": "https://replicate.delivery/x/out.zip", "created_at": None}

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/abc"):
            return web.json_response(shown("abc", **{**final, "logs": "x" * 200_000}))
        item = {key: value for key, value in shown("abc", **final).items() if key != "logs"}
        return web.json_response({"results": [shown("other"), *([item] if listed else [])], "next": None})

    counterpart.say(answer)
    assert await world.reconciler.check_all() == int(listed)
    job = await job_of(world, job.job_id)
    assert job.status is (JobStatus.COMPLETED if listed else JobStatus.RUNNING)
    assert (job.output is not None) is listed
    assert (job.check_after is None) is listed
