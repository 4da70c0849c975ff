"""One idempotency key, one job: however often, from wherever and after whatever it is submitted again."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest

from daemon.core.jobs import JobStatus
from daemon.errors import IdempotencyConflict, InvalidRequest, NotReady, ProviderError
from daemon.replicate.request import SubmitRequest
from daemon.store.records import Job
from tests.replicate.conftest import Make, World
from tests.replicate.crashes import CREATE, HELLO
from tests.replicate.keyed import creates, good_day, jobs_of, keep


async def test_the_same_key_twice(world: World) -> None:
    first = await world.submitter.submit(HELLO, idempotency_key="k1")
    again = await world.submitter.submit(msgspec.structs.replace(HELLO, idempotency_key="k1"))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.body == {**first.body, "idempotent_hit": True}
    assert len(world.sandbox.predictions) == 1


async def test_the_same_key_with_another_body(world: World) -> None:
    await world.submitter.submit(HELLO, idempotency_key="k1")
    with pytest.raises(IdempotencyConflict):
        await world.submitter.submit(SubmitRequest(model="acme/hello", input={"text": "y"}), idempotency_key="k1")
    with pytest.raises(InvalidRequest, match="differ"):
        await world.submitter.submit(msgspec.structs.replace(HELLO, idempotency_key="k2"), idempotency_key="k1")


async def test_ten_at_once_with_one_key_make_one_job(world: World) -> None:
    world.sandbox.faults.latency = 0.1
    results = await asyncio.gather(*(world.submitter.submit(HELLO, idempotency_key="k") for _ in range(10)))
    (prediction,) = world.sandbox.predictions.values()
    assert sorted(result.status_code for result in results) == [200] * 9 + [201]
    assert {result.body["provider_job_id"] for result in results} == {prediction.id}
    assert len({result.body["job_id"] for result in results}) == 1


async def test_who_waits_with_the_same_key_hears_the_failure_and_sends_nothing(nodes: tuple[World, World]) -> None:
    one, other = nodes
    one.sandbox.faults.insufficient_credit_next = 1
    waits = asyncio.Event()
    prepared, wait = one.submitter._outbox._prepared, other.submitter._outbox.wait_for_other

    async def once_the_other_waits(outgoing: Any) -> Any:
        await waits.wait()
        return await prepared(outgoing)

    async def waited_for(*arguments: Any) -> None:
        waits.set()
        await wait(*arguments)

    one.submitter._outbox._prepared = once_the_other_waits  # type: ignore[method-assign]
    other.submitter._outbox.wait_for_other = waited_for  # type: ignore[method-assign]
    first = asyncio.create_task(keep(one))

    async def written() -> bool:
        return bool(await jobs_of(one))

    await one.until(written)
    with pytest.raises(ProviderError, match=r"failed: Replicate answered 402.*The key may be used again\."):
        await keep(other)
    with pytest.raises(ProviderError, match="Insufficient credit"):
        await first
    assert creates(one) == 1
    assert await keep(other) == await keep(one)
    assert creates(one) == 2


async def test_a_cancelled_submit_keeps_its_key(world: World) -> None:
    """A repeat that comes late must not start what its user has cancelled."""
    world.sandbox.faults.api_match = "GET /v1/models/acme/hello$"
    world.sandbox.faults.hang_next = 1
    world.sandbox.faults.hang_seconds = 0.5
    prepared = world.submitter._outbox._require

    async def cancelled_meanwhile(job_id: str) -> Job:
        await world.store.jobs.request_cancel(job_id, now=world.clock())
        return await prepared(job_id)

    world.submitter._outbox._require = cancelled_meanwhile  # type: ignore[method-assign]
    first = await keep(world)
    assert await keep(world) == first
    assert not world.sandbox.predictions


ALIVE = {"starting", "processing"}
_FAULTS: list[dict[str, Any]] = [
    {},
    {"insufficient_credit_next": 1},
    {"api_match": CREATE, "server_error_next": 1, "server_error_status": 422, "server_error_body": "json"},
    {"api_match": CREATE, "server_error_next": 1},
    {"api_match": CREATE, "rate_limit_next": 1},
    {"api_match": CREATE, "reset_next": 1},
    {"lose_create_answer_next": 1},
    {"lose_create_answer_next": 1, "insufficient_credit_next": 1},
]


@pytest.mark.parametrize("webhook", ["https://a.example", ""])
async def test_whatever_happens_one_key_pays_for_one_job(make_world: Make, webhook: str) -> None:
    """Faults, kills and repeats, until a submit is answered; then one job of the key runs, or none where it failed."""
    chance = random.Random(f"keys{webhook}")
    for number in range(25):
        request = SubmitRequest(model="acme/hello", input={"text": str(number)})
        for _ in range(4):
            world = await make_world(TUNERD_WEBHOOK_URL=webhook)
            world.clock.steady = True
            good_day(world)
            world.sandbox.faults.update({"latency": 0.002, **chance.choice(_FAULTS)})
            submits = [
                asyncio.create_task(world.submitter.submit(request, idempotency_key=str(number)))
                for _ in range(chance.choice([1, 1, 2]))
            ]
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() * 0.06)
                for submit in submits:
                    submit.cancel()
            await asyncio.wait(submits)
        good_day(world)
        await (await make_world(TUNERD_WEBHOOK_URL=webhook)).submitter.resume_outbox()
        running = [item for item in world.sandbox.predictions.values() if item.status in ALIVE]
        assert len([item for item in running if item.input["text"] == str(number)]) <= 1
    jobs = await jobs_of(world)
    assert {item.id for item in running} == {
        job.provider_job_id for job in jobs if job.provider_job_id is not None and job.status is JobStatus.QUEUED
    }
    assert len(running) >= 10


# -- what the first answer says of it ---------------------------------------------------------------


async def test_the_first_answer_says_that_the_key_is_free(world: World) -> None:
    world.sandbox.faults.insufficient_credit_next = 2
    with pytest.raises(ProviderError, match=r"402.* The key may be used again\.$") as refused:
        await keep(world)
    assert "all the same" not in refused.value.detail
    with pytest.raises(ProviderError, match="402") as refused:
        await world.submitter.submit(HELLO)
    assert "key" not in refused.value.detail


async def test_the_first_answer_says_that_the_key_is_used(world: World) -> None:
    world.sandbox.faults.api_match = CREATE
    world.sandbox.faults.server_error_next = -1
    with pytest.raises(ProviderError, match=r"may have its job all the same.* Submit with a new key\.$"):
        await keep(world)
    with pytest.raises(ProviderError, match=r"may have its job all the same; what turns up of it is cancelled\.$"):
        await world.submitter.submit(HELLO)


# -- the store does not say whether it took the intent ----------------------------------------------


def answers_lost(world: World) -> None:
    """Every intent is written, and the connection breaks before the store has said so."""
    insert = world.store.jobs.insert_intent

    async def lost(*arguments: Any) -> Any:
        await insert(*arguments)
        raise NotReady("The store is not available.", retry_after=5)

    world.store.jobs.insert_intent = lost  # type: ignore[method-assign]


async def test_an_intent_whose_caller_was_told_to_come_again_is_not_sent(make_world: Make) -> None:
    world = await make_world()
    insert = world.store.jobs.insert_intent
    answers_lost(world)
    with pytest.raises(NotReady):
        await world.submitter.submit(HELLO)
    world.store.jobs.insert_intent = insert  # type: ignore[method-assign]
    await world.submitter.submit(HELLO)
    await world.submitter.resume_outbox()
    assert (len(world.sandbox.predictions), creates(world)) == (1, 1)
    (lost,) = [job for job in await jobs_of(world) if job.status is JobStatus.FAILED]
    assert "Its submit was answered 503" in (lost.error or "")
    assert not world.submitter._outbox.unanswered


async def test_with_a_key_it_is_sent_as_whoever_comes_again_finds_it(make_world: Make) -> None:
    world = await make_world()
    insert = world.store.jobs.insert_intent
    answers_lost(world)
    with pytest.raises(NotReady):
        await keep(world)
    world.store.jobs.insert_intent = insert  # type: ignore[method-assign]
    await world.submitter.resume_outbox()
    await keep(world)
    assert (len(world.sandbox.predictions), creates(world)) == (1, 1)


async def test_a_failure_is_told_also_where_its_secrets_cannot_be_thrown_away_now(world: World) -> None:
    """The job has ended by then: an answer that calls it pending would not be true."""
    world.sandbox.faults.insufficient_credit_next = 1

    async def full(_: str) -> None:
        raise NotReady("database or disk is full", retry_after=5)

    world.submitter._outbox.exact.drop = full  # type: ignore[method-assign]
    with pytest.raises(ProviderError, match="402"):
        await world.submitter.submit(HELLO)
