"""The create call goes wrong: refused, throttled, cut off, its answer lost, the disk full, the clock off."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daemon.core.jobs import JobStatus
from daemon.core.prediction import parse_prediction
from daemon.errors import (
    NotReady,
    ProviderError,
)
from daemon.replicate.request import SubmitRequest
from daemon.store.records import IncomingEvent
from tests.replicate.conftest import WEBHOOK, Make, World
from tests.replicate.crashes import HELLO, SECRETIVE, only_job


async def test_a_definite_refusal_fails_the_job_with_the_providers_words(world: World) -> None:
    world.sandbox.faults.insufficient_credit_next = 1
    with pytest.raises(ProviderError, match="402: Insufficient credit") as caught:
        await world.submitter.submit(HELLO)
    job = await only_job(world)
    assert caught.value.extra["provider_status"] == 402
    assert caught.value.extra["job_id"] == job.job_id
    assert (job.status, job.provider_job_id) == (JobStatus.FAILED, None)
    assert "Insufficient credit" in (job.error or "")
    assert len(world.sent()) == 1


async def test_an_input_that_the_provider_refuses(world: World) -> None:
    """As where its schema could not be had: that does not hold a submit up."""
    world.sandbox.faults.server_error_next = 1
    with pytest.raises(ProviderError, match="422: Input validation failed: - input: text is required"):
        await world.submitter.submit(SubmitRequest(model="acme/hello", input={}))


async def test_a_model_that_does_not_exist(world: World) -> None:
    """Mistyped, mostly: it is said before a job is begun, so none is left that failed."""
    with pytest.raises(ProviderError, match="404: it has no model acme/nope"):
        await world.submitter.submit(SubmitRequest(model="acme/nope", input={}))
    assert (await world.store.jobs.list())[0] == []
    assert world.sent() == []


async def test_a_model_that_does_not_exist_where_it_was_not_looked_up(world: World) -> None:
    world.sandbox.faults.server_error_next = 1
    with pytest.raises(ProviderError, match="404"):
        await world.submitter.submit(SubmitRequest(model="acme/nope", input={}))
    assert (await only_job(world)).status is JobStatus.FAILED


async def test_429_is_waited_for(world: World) -> None:
    world.sandbox.faults.api_match = "POST /v1/predictions"
    world.sandbox.faults.rate_limit_next = 1
    world.sandbox.faults.rate_limit_seconds = 4
    result = await world.submitter.submit(HELLO)
    assert result.body["provider_job_id"] is not None
    assert world.clock.slept == [pytest.approx(4.2)]


async def test_an_outage_is_a_provider_error_and_nothing_runs(world: World) -> None:
    world.sandbox.faults.api_match = "POST /v1/predictions"
    world.sandbox.faults.server_error_next = -1
    with pytest.raises(ProviderError, match="502"):
        await world.submitter.submit(HELLO)
    assert (await only_job(world)).status is JobStatus.FAILED
    assert not world.sandbox.predictions


@pytest.mark.parametrize("echo", [True, False])
async def test_a_lost_answer_makes_no_second_job(world: World, echo: bool) -> None:
    world.sandbox.faults.echo_webhook = echo
    world.sandbox.faults.lose_create_answer_next = 1
    result = await world.submitter.submit(HELLO)
    (prediction,) = world.sandbox.predictions.values()
    assert result.body["provider_job_id"] == prediction.id
    assert len(world.sent()) == 1


@pytest.mark.parametrize("webhook", [WEBHOOK, ""])
async def test_lost_answers_of_equal_jobs_are_not_mixed_up(make_world: Make, webhook: str) -> None:
    world = await make_world(TUNERD_WEBHOOK_URL=webhook)
    world.sandbox.faults.lose_create_answer_next = 3
    results = await asyncio.gather(*(world.submitter.submit(HELLO) for _ in range(5)))
    assert {result.body["provider_job_id"] for result in results} == set(world.sandbox.predictions)
    assert len(world.sandbox.predictions) == 5


async def test_a_request_that_was_cut_before_it_arrived_is_sent_again(world: World) -> None:
    world.sandbox.faults.api_match = "POST /v1/predictions"
    world.sandbox.faults.reset_next = 2
    result = await world.submitter.submit(HELLO)
    (prediction,) = world.sandbox.predictions.values()
    assert result.body["provider_job_id"] == prediction.id


async def test_a_secret_that_comes_back_masked_does_not_hide_the_job(world: World) -> None:
    world.sandbox.faults.echo_webhook = False
    world.sandbox.faults.lose_create_answer_next = 1
    await world.submitter.submit(SECRETIVE)
    assert len(world.sandbox.predictions) == 1


async def test_an_early_webhook_binds_and_the_submit_takes_its_word(world: World) -> None:
    """The answer is lost, and before we look the start event has arrived with our marker."""
    world.sandbox.faults.lose_create_answer_next = 1

    async def deliver(_: float) -> None:
        (record,) = world.sandbox.predictions.values()
        body = await world.client.get(record.id, "prediction")
        assert body is not None
        prediction = parse_prediction(body)
        await world.store.journal.append(
            IncomingEvent("msg_1", "1", "v1,x", body, world.clock(), "webhook", "1.2.3.4", True), prediction
        )

    world.submitter._outbox._sleep = deliver
    result = await world.submitter.submit(HELLO)
    (record,) = world.sandbox.predictions.values()
    assert result.body["provider_job_id"] == record.id
    assert len(await world.store.journal.events()) == 1
    assert (await only_job(world)).job_id == result.body["job_id"]


async def test_a_gateway_that_gave_up_does_not_make_a_second_job(world: World) -> None:
    """502, and the backend behind it makes the job seconds later."""
    world.sandbox.faults.lose_create_answer_next = 1
    hidden: dict[str, Any] = {}
    sleep, waited = world.clock.sleep, 0.0

    async def later(seconds: float) -> None:
        nonlocal waited
        hidden.update(world.sandbox.predictions)
        world.sandbox.predictions.clear()
        await sleep(seconds)
        waited += seconds
        if waited >= 8:
            world.sandbox.predictions.update(hidden)

    world.submitter._outbox._sleep = later
    result = await world.submitter.submit(HELLO)
    assert [result.body["provider_job_id"]] == list(world.sandbox.predictions)
    assert len(world.sent()) == 1


async def test_a_job_that_is_made_while_the_disk_is_full_is_answered_and_bound_later(world: World) -> None:
    """An answer that says "try again" would make a second one."""
    bind, failures = world.store.jobs.bind_provider, 2

    async def full(job_id: str, provider_id: str, **more: Any) -> Any:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise NotReady("database or disk is full", retry_after=5)
        return await bind(job_id, provider_id, **more)

    world.store.jobs.bind_provider = full  # type: ignore[method-assign]
    result = await world.submitter.submit(HELLO)
    (record,) = world.sandbox.predictions.values()
    assert result.status_code == 201
    assert (result.body["provider_job_id"], result.body["status"]) == (record.id, "queued")
    world.sandbox.predictions.clear()  # its id is remembered: no list has to show it
    await world.submitter.resume_outbox()
    await world.submitter.resume_outbox()
    job = await world.store.jobs.get(result.body["job_id"])
    assert job is not None
    assert (job.provider_job_id, job.status) == (record.id, JobStatus.QUEUED)
    assert len(world.calls("POST", "/v1/predictions")) == 1


async def test_an_intent_that_cannot_be_sent_as_the_disk_is_full_is_sent_later(world: World) -> None:
    sending, failures = world.store.claims.sending, 1

    async def full(job_id: str, owner: str, **more: Any) -> bool:
        nonlocal failures
        if failures:
            failures -= 1
            raise NotReady("database or disk is full", retry_after=5)
        return await sending(job_id, owner, **more)

    world.store.claims.sending = full  # type: ignore[method-assign]
    result = await world.submitter.submit(HELLO)
    assert (result.status_code, result.body["status"], result.body["provider_job_id"]) == (201, "pending", None)
    await world.submitter.resume_outbox()
    job = await world.store.jobs.get(result.body["job_id"])
    assert job is not None
    assert [job.provider_job_id] == list(world.sandbox.predictions)


@pytest.mark.parametrize("hours", [1.0, -1.0])
@pytest.mark.parametrize("webhook", [WEBHOOK, ""])
async def test_a_clock_that_is_off_makes_no_second_job(make_world: Make, webhook: str, hours: float) -> None:
    """Replicate's list is asked for jobs since the intent, and it goes by its own clock."""
    world = await make_world(TUNERD_WEBHOOK_URL=webhook)
    world.clock.now += hours * 3600
    world.sandbox.faults.lose_create_answer_next = 1
    result = await world.submitter.submit(HELLO)
    assert [result.body["provider_job_id"]] == list(world.sandbox.predictions)
    assert len(world.sent()) == 1
