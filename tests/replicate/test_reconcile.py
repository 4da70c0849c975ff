"""Polling: what was lost is found, a 404 fails nothing, and one bad job or a full bucket stops no other."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from daemon.core.jobs import JobStatus
from daemon.errors import NotReady
from tests.replicate.conftest import Counterpart, Make, World
from tests.replicate.known import job_of, seen, shown, submitted


async def test_a_job_without_any_webhook_ends_by_polling_alone(world: World) -> None:
    job = await submitted(world, steps=3, run_seconds=5.0)

    async def ended() -> bool:
        await world.reconciler.check_all()
        return (await job_of(world, job.job_id)).status is JobStatus.COMPLETED

    await world.until(ended)
    final = await job_of(world, job.job_id)
    assert final.output is not None
    assert "replicate.delivery" in final.output or world.sandbox.url in final.output
    events = await world.store.journal.events(job_id=job.job_id)
    assert {event.source for event in events} == {"poll"}
    assert events[-1].kind.value == "completed"
    assert all(event.webhook_id.startswith(f"poll_{final.provider_job_id}_") for event in events)
    assert [delivery.destination for delivery in await world.store.deliveries.of_job(job.job_id)] == ["local"]
    assert await world.reconciler.check_all() == 0  # finished: not asked for again


async def test_404_is_never_failed_and_backs_off_over_a_restart(make_world: Make, counterpart: Counterpart) -> None:
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    job = await seen(world, shown("abc"))
    counterpart.say({"status": 404, "data": {"detail": "The requested resource could not be found."}})
    delays = []
    start = world.clock()
    while world.clock() - start < 86_000:
        await world.reconciler.check_all()
        job = await job_of(world, job.job_id)
        assert job.status is JobStatus.RUNNING
        assert job.check_after is not None
        delays.append(job.check_after - world.clock())
        world.clock.now = job.check_after - 1
        asked = len(counterpart.seen)
        assert await world.reconciler.check_all() == 0
        assert len(counterpart.seen) == asked
        world.clock.now += 1
        world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    assert [round(delay) for delay in delays[:7]] == [30, 60, 120, 240, 480, 600, 600]
    world.clock.now += 86_400
    await world.reconciler.check_all()
    job = await job_of(world, job.job_id)
    assert (job.check_after or 0) - world.clock() == pytest.approx(1200)  # on the way to hourly
    counterpart.say({"data": shown("abc", status="succeeded", output="done")})
    world.clock.now += 3600
    assert await world.reconciler.check_all() == 1
    assert (await job_of(world, job.job_id)).status is JobStatus.COMPLETED


async def test_a_training_that_its_own_address_does_not_show(make_world: Make, counterpart: Counterpart) -> None:
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    await seen(world, shown("abc", urls={"get": "https://api.replicate.com/v1/trainings/abc"}))
    counterpart.say({"status": 404, "data": {}}, {"data": shown("abc", status="succeeded")})
    assert await world.reconciler.check_all() == 1
    assert [request.path for request in counterpart.seen] == ["/v1/trainings/abc", "/v1/predictions/abc"]


@pytest.mark.parametrize("status", [400, 422, 500, 503])
async def test_one_bad_job_does_not_stop_the_round(make_world: Make, counterpart: Counterpart, status: int) -> None:
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    for number in range(20):
        await seen(world, shown(f"job{number}"))

    async def answer(request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        if name in {"job3", "job4"}:
            return web.Response(status=status, text="<html>")
        if name == "job5":
            return web.Response(text="not json")
        if name == "job6":
            return web.json_response(shown("somebody-else", status="failed"))
        return web.json_response(shown(name, status="succeeded"))

    counterpart.say(answer)
    assert await world.reconciler.check_all() == 16
    waiting = {job.provider_job_id for job in await world.store.jobs.unfinished()}
    assert waiting == {"job3", "job4", "job5", "job6"}
    assert await world.reconciler.check_all() == 0
    assert len(counterpart.seen) == 20


async def test_429_pauses_the_round(make_world: Make, counterpart: Counterpart) -> None:
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    for number in range(50):
        await seen(world, shown(f"job{number}"))
    counterpart.say({"status": 429, "data": {"detail": "throttled", "retry_after": 20}})
    assert await world.reconciler.check_all() == 0
    asked = len(counterpart.seen)
    assert asked <= 8
    world.clock.now += 19
    await world.reconciler.check_all()
    assert len(counterpart.seen) == asked
    counterpart.say({"data": shown("x")})
    world.clock.now += 2
    await world.reconciler.check_all()
    assert len(counterpart.seen) == asked + 50


@pytest.mark.parametrize("status", [401, 429])
async def test_a_pause_counts_in_the_round_it_comes_in(make_world: Make, counterpart: Counterpart, status: int) -> None:
    """Time goes on within a round."""
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    for number in range(50):
        await seen(world, shown(f"job{number}"))

    async def answer(_: web.Request) -> web.Response:
        world.clock.now += 0.01
        return web.json_response({"detail": "no", "retry_after": 20}, status=status)

    counterpart.say(answer)
    assert await world.reconciler.check_all() == 0
    assert len(counterpart.seen) <= 8


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_pauses_the_round(make_world: Make, counterpart: Counterpart, status: int) -> None:
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    for number in range(50):
        await seen(world, shown(f"job{number}"))
    counterpart.say({"status": status, "data": {"title": "Unauthenticated"}})
    assert await world.reconciler.check_all() == 0
    assert len(counterpart.seen) <= 8
    assert len(await world.store.jobs.unfinished()) == 50


async def test_without_a_token_nothing_is_asked(make_world: Make, counterpart: Counterpart) -> None:
    world = await make_world(REPLICATE_BASE_URL=counterpart.url, REPLICATE_API_TOKEN="")
    await seen(world, shown("abc"))
    assert await world.reconciler.check_all() == 0
    assert counterpart.seen == []


async def test_run_begins_at_once_and_goes_on(make_world: Make) -> None:
    world = await make_world(TUNERD_RECONCILE_SECONDS="0.05")
    job = await submitted(world, steps=2)
    running = asyncio.create_task(world.reconciler.run())

    async def ended() -> bool:
        return (await job_of(world, job.job_id)).status is JobStatus.COMPLETED

    await world.until(ended)
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_programming_error_is_not_swallowed(world: World) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    world.submitter.resume_outbox = broken  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        await world.reconciler.run()


async def completed_by_the_rounds(world: World, job_id: str) -> None:
    running = asyncio.create_task(world.reconciler.run())

    async def ended() -> bool:
        return (await job_of(world, job_id)).status is JobStatus.COMPLETED

    await world.until(ended)
    running.cancel()
    await asyncio.wait([running])


async def test_checks_do_not_wait_for_an_upload(make_world: Make) -> None:
    world = await make_world(TUNERD_RECONCILE_SECONDS="0.05")
    job = await submitted(world, steps=2)

    async def uploading() -> None:
        await asyncio.Event().wait()

    world.submitter.resume_outbox = uploading  # type: ignore[method-assign]
    await completed_by_the_rounds(world, job.job_id)


async def test_checks_go_on_where_the_intents_fail(make_world: Make) -> None:
    world = await make_world(TUNERD_RECONCILE_SECONDS="0.05")
    job = await submitted(world, steps=2)

    async def failing() -> None:
        raise NotReady("the temporary folder is not writable")

    world.submitter.resume_outbox = failing  # type: ignore[method-assign]
    await completed_by_the_rounds(world, job.job_id)


async def test_a_clock_that_is_set_back_ends_a_pause(make_world: Make, counterpart: Counterpart) -> None:
    """At boot the clock was hours ahead, and Replicate could not be reached yet."""
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    await seen(world, shown("abc"))
    counterpart.say({"status": 429, "data": {"detail": "throttled", "retry_after": 20}})
    await world.reconciler.check_all()
    counterpart.say({"data": shown("abc", status="succeeded")})
    assert await world.reconciler.check_all() == 0
    world.clock.now -= 3 * 3600
    assert await world.reconciler.check_all() == 1


async def test_a_clock_that_is_set_back_ends_a_backoff(make_world: Make, counterpart: Counterpart) -> None:
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    await seen(world, shown("abc"))
    counterpart.say({"status": 404, "data": {}})
    await world.reconciler.check_all()
    counterpart.say({"data": shown("abc", status="succeeded")})
    assert await world.reconciler.check_all() == 0
    world.clock.now -= 3 * 3600
    assert await world.reconciler.check_all() == 1
