"""What a crash at any moment of a submit leaves, and what the next start makes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.core.jobs import JobStatus
from daemon.core.prediction import parse_prediction
from daemon.errors import ProviderError
from daemon.replicate.request import SubmitRequest
from daemon.store.records import IncomingEvent, Job
from tests.replicate.conftest import World

Make = Callable[..., Awaitable[World]]
HELLO = SubmitRequest(model="acme/hello", input={"text": "x"})
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


async def after_the_call(world: World, request: SubmitRequest = HELLO) -> Job:
    """Killed after Replicate made the job, before its answer was read."""
    world.sandbox.faults.lose_create_answer_next = 1

    async def made() -> bool:
        return bool(world.sandbox.predictions)

    async def never(_: float) -> None:
        await asyncio.Event().wait()

    world.submitter._outbox._sleep = never
    return await crash(world, request, made)


async def test_an_intent_that_was_not_sent_is_sent(make_world: Make) -> None:
    job = await before_the_call(await make_world())
    assert (job.status, job.provider_job_id) == (JobStatus.PENDING, None)
    world = await make_world()
    await world.submitter.resume_outbox()
    (prediction,) = world.sandbox.predictions.values()
    resumed = await only_job(world)
    assert (resumed.status, resumed.provider_job_id) == (JobStatus.QUEUED, prediction.id)
    assert prediction.webhook is not None
    assert prediction.webhook.endswith(f"?job={job.job_id}")
    await world.submitter.resume_outbox()
    assert creates(world) == 1


@pytest.mark.parametrize(("webhook", "echo"), [("https://a.example", True), ("https://a.example", False), ("", True)])
async def test_a_job_whose_answer_was_lost_is_found(make_world: Make, webhook: str, echo: bool) -> None:
    await after_the_call(await make_world(TUNERD_WEBHOOK_URL=webhook))
    world = await make_world(TUNERD_WEBHOOK_URL=webhook)
    world.sandbox.faults.echo_webhook = echo
    await world.submitter.resume_outbox()
    (prediction,) = world.sandbox.predictions.values()
    assert (await only_job(world)).provider_job_id == prediction.id
    assert creates(world) == 1


async def test_a_list_that_lags_behind_is_looked_at_twice(make_world: Make) -> None:
    await after_the_call(await make_world())
    world = await make_world()
    (prediction,) = world.sandbox.predictions.values()
    del world.sandbox.predictions[prediction.id]

    async def appears(_: float) -> None:
        world.sandbox.predictions[prediction.id] = prediction

    world.submitter._recovery._sleep = appears
    await world.submitter.resume_outbox()
    assert (await only_job(world)).provider_job_id == prediction.id
    assert creates(world) == 1


@pytest.mark.parametrize("webhook", ["https://a.example", ""])
async def test_ended_at_any_moment_every_job_is_made_once(make_world: Make, webhook: str) -> None:
    world = await make_world(TUNERD_WEBHOOK_URL=webhook)
    world.sandbox.faults.latency = 0.004
    world.clock.steady = True
    for number in range(30):
        request = SubmitRequest(model="acme/hello", input={"text": str(number)})
        submit = asyncio.create_task(world.submitter.submit(request))
        await asyncio.sleep(number * 0.003)
        submit.cancel()
        await asyncio.wait([submit])
        world = await make_world(TUNERD_WEBHOOK_URL=webhook)  # nothing is remembered but what is on disk
        await world.submitter.resume_outbox()
    jobs, _, _ = await world.store.jobs.list(limit=100)
    made = [record.input["text"] for record in world.sandbox.predictions.values()]
    assert len(made) == len(set(made)) == len(jobs)
    assert {job.provider_job_id for job in jobs} == set(world.sandbox.predictions)
    assert len(jobs) >= 5  # enough of them got as far as their intent


async def test_a_training_whose_answer_was_lost_is_found(make_world: Make) -> None:
    await after_the_call(await make_world(), SubmitRequest(model="acme/trainer", input={}, destination="acme/my-lora"))
    world = await make_world()
    await world.submitter.resume_outbox()
    (prediction,) = world.sandbox.predictions.values()
    assert (await only_job(world)).provider_job_id == prediction.id


async def test_an_equal_job_of_somebody_else_is_not_taken(make_world: Make) -> None:
    world = await make_world(TUNERD_WEBHOOK_URL="")
    version = world.sandbox.platform.catalog.models["acme/hello"].versions[0].id
    await world.client.create_prediction({"version": version, "input": {"text": "x"}})  # by hand, before
    await world.client.create_prediction({"version": version, "input": {"text": "other"}})
    for prediction in world.sandbox.predictions.values():
        prediction.created_at -= 120
    await before_the_call(world)
    world = await make_world(TUNERD_WEBHOOK_URL="")
    await world.submitter.resume_outbox()
    assert len(world.sandbox.predictions) == 3
    assert (await only_job(world)).provider_job_id == list(world.sandbox.predictions)[-1]


async def test_a_job_of_ours_is_not_taken_twice(make_world: Make) -> None:
    world = await make_world(TUNERD_WEBHOOK_URL="")
    first = await world.submitter.submit(HELLO)
    task = asyncio.create_task(world.submitter.submit(HELLO))
    world.sandbox.faults.api_match = CREATE
    world.sandbox.faults.hang_next = -1
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    world.sandbox.faults.hang_next = 0
    await (await make_world(TUNERD_WEBHOOK_URL="")).submitter.resume_outbox()
    jobs, _, _ = await world.store.jobs.list()
    assert {job.provider_job_id for job in jobs} == set(world.sandbox.predictions)
    assert len(jobs) == 2
    assert first.body["provider_job_id"] in world.sandbox.predictions


async def test_a_job_that_is_over_and_removed_is_found_all_the_same(make_world: Make) -> None:
    world = await make_world(TUNERD_WEBHOOK_URL="")
    await after_the_call(world)
    (prediction,) = world.sandbox.predictions.values()
    prediction.input = {}
    await (await make_world(TUNERD_WEBHOOK_URL="")).submitter.resume_outbox()
    assert (await only_job(world)).provider_job_id == prediction.id
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


async def test_secrets_survive_the_crash_and_go_out(make_world: Make) -> None:
    secret = "hf_" + "T" * 30
    config = {"--max_train_steps": 5, "--publishing_config": [{"secret_key": "deadbeef"}]}
    job = await before_the_call(await make_world(), SubmitRequest(config=config, input={"hf_token": secret}))
    assert secret not in str(job)
    assert "deadbeef" not in str(job)
    world = await make_world()
    await world.submitter.resume_outbox()
    (prediction,) = world.sandbox.predictions.values()
    assert prediction.input["hf_token"] == secret
    assert json.loads(prediction.input["config_json"]) == config
    assert await world.store.secrets.get(f"outbox/{job.job_id}") is None


async def test_a_dataset_that_was_not_uploaded_yet_is_packed_again(make_world: Make, tmp_path: Path) -> None:
    images = tmp_path / "cats"
    images.mkdir()
    (images / "a.png").write_bytes(b"A")
    request = SubmitRequest(dataloader_config=[{"id": "cats", "instance_data_dir": str(images)}])
    world = await make_world()
    world.sandbox.faults.api_match = "POST /v1/files"
    world.sandbox.faults.hang_next = -1

    async def uploading() -> bool:
        return bool(world.calls("POST", "/v1/files"))

    job = await crash(world, request, uploading)
    assert job.status is JobStatus.UPLOADING
    world = await make_world()
    await world.submitter.resume_outbox()
    assert (await only_job(world)).status is JobStatus.QUEUED
    (prediction,) = world.sandbox.predictions.values()
    assert prediction.input["images"].startswith(world.sandbox.url)


async def test_a_dataset_that_is_gone_ends_the_job_with_the_reason(make_world: Make, tmp_path: Path) -> None:
    images = tmp_path / "cats"
    images.mkdir()
    (images / "a.png").write_bytes(b"A")
    world = await make_world()
    world.sandbox.faults.api_match = "POST /v1/files"
    world.sandbox.faults.hang_next = -1

    async def uploading() -> bool:
        return bool(world.calls("POST", "/v1/files"))

    await crash(world, SubmitRequest(dataloader_config=[{"instance_data_dir": str(images)}]), uploading)
    (images / "a.png").unlink()
    world = await make_world()
    await world.submitter.resume_outbox()
    job = await only_job(world)
    assert (job.status, job.error) == (JobStatus.FAILED, f"There are no images, videos or sounds in {images}.")


async def test_an_intent_waits_while_replicate_is_down(make_world: Make) -> None:
    await before_the_call(await make_world())
    world = await make_world()
    world.sandbox.faults.server_error_next = -1
    await world.submitter.resume_outbox()
    assert (await only_job(world)).status is JobStatus.PENDING
    world.sandbox.faults.server_error_next = 0
    await world.submitter.resume_outbox()
    assert (await only_job(world)).status is JobStatus.QUEUED


async def test_an_intent_waits_for_a_token(make_world: Make) -> None:
    await before_the_call(await make_world())
    world = await make_world(REPLICATE_API_TOKEN="")
    await world.submitter.resume_outbox()
    assert (await only_job(world)).status is JobStatus.PENDING


async def test_an_intent_that_is_refused_fails(make_world: Make) -> None:
    await before_the_call(await make_world())
    world = await make_world()
    world.sandbox.faults.insufficient_credit_next = 1
    await world.submitter.resume_outbox()
    job = await only_job(world)
    assert job.status is JobStatus.FAILED
    assert "402: Insufficient credit" in (job.error or "")


async def test_an_intent_of_yesterday_is_not_sent(make_world: Make) -> None:
    world = await make_world()
    await before_the_call(world)
    world.clock.now += 90_000
    await (await make_world()).submitter.resume_outbox()
    job = await only_job(world)
    assert (job.status, job.error) == (JobStatus.FAILED, "It could not be sent for a day. Submit it again.")
    assert creates(world) == 0


async def test_an_intent_whose_cancel_was_asked_for_is_not_sent(make_world: Make) -> None:
    job = await before_the_call(await make_world())
    world = await make_world()
    assert (await world.submitter.cancel(job.job_id)).cancel_requested
    await world.submitter.resume_outbox()
    job = await only_job(world)
    assert (job.status, job.error) == (JobStatus.CANCELLED, "Cancelled before it was sent to Replicate.")
    assert creates(world) == 0


async def test_a_lost_job_whose_cancel_was_asked_for_is_cancelled_there(make_world: Make) -> None:
    job = await after_the_call(await make_world())
    world = await make_world()
    await world.submitter.cancel(job.job_id)
    await world.submitter.resume_outbox()
    assert (await only_job(world)).status is JobStatus.CANCELLED
    (prediction,) = world.sandbox.predictions.values()
    assert prediction.status in {"canceled", "aborted"}


async def test_a_live_submit_is_left_alone(world: World) -> None:
    world.sandbox.faults.latency = 0.2
    submit = asyncio.create_task(world.submitter.submit(HELLO))

    async def written() -> bool:
        return bool((await world.store.jobs.list())[2])

    await world.until(written)
    await world.submitter.resume_outbox()
    await submit
    assert creates(world) == 1
    assert len(world.sandbox.predictions) == 1


async def test_a_job_that_was_given_up_but_runs_is_cancelled(world: World) -> None:
    """Every answer is lost, and so is every look: 502. What Replicate made of it must not run on."""
    world.sandbox.faults.lose_create_answer_next = 1

    async def then_down(_: float) -> None:
        world.sandbox.faults.server_error_next = -1

    world.submitter._outbox._sleep = then_down
    with pytest.raises(ProviderError):
        await world.submitter.submit(HELLO)
    (prediction,) = world.sandbox.predictions.values()
    assert prediction.status == "starting"
    world.sandbox.faults.server_error_next = 0
    await world.submitter.resume_outbox()
    assert prediction.status in {"canceled", "aborted"}
    job = await only_job(world)
    assert (job.status, job.provider_job_id) == (JobStatus.FAILED, prediction.id)
    before = len(world.sandbox.requests)
    await world.submitter.resume_outbox()
    assert len(world.sandbox.requests) == before  # seen to, once and for all


async def test_a_job_that_was_given_up_and_then_shows_itself_is_cancelled(world: World) -> None:
    world.sandbox.faults.lose_create_answer_next = 1

    async def then_down(_: float) -> None:
        world.sandbox.faults.server_error_next = -1

    world.submitter._outbox._sleep = then_down
    with pytest.raises(ProviderError):
        await world.submitter.submit(HELLO)
    world.sandbox.faults.server_error_next = 0
    (record,) = world.sandbox.predictions.values()
    body: Any = await world.client.get(record.id, "prediction")
    event = IncomingEvent("msg_1", "1", "v1,x", body, world.clock(), "webhook", "1.2.3.4", True)
    await world.store.journal.append(event, parse_prediction(body))
    world.clock.now += 3600  # long after we stopped looking for it
    await world.submitter.resume_outbox()
    assert record.status in {"canceled", "aborted"}
