"""Submit against the simulated Replicate: the request that goes out, every refusal, idempotency, cancel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from daemon.core.jobs import JobStatus
from daemon.errors import (
    ConfigInvalid,
    IdempotencyConflict,
    InvalidRequest,
    JobFinished,
    JobNotFound,
    ProviderError,
    TokenMissing,
    TunerdError,
    WebhookUrlInvalid,
)
from daemon.replicate.request import SubmitRequest
from tests.replicate.conftest import WEBHOOK, Counterpart, World

Make = Callable[..., Awaitable[World]]
HELLO = SubmitRequest(model="acme/hello", input={"text": "x"})
CONFIG = {"--model_type": "lora", "--max_train_steps": 100, "resolution": 1.0}
SECRET = "hf_" + "T" * 30


def sent(world: World) -> list[dict[str, Any]]:
    """The bodies of the create calls."""
    creates = [
        c for c in world.sandbox.requests if c.method == "POST" and c.path.endswith(("/predictions", "/trainings"))
    ]
    return [json.loads(call.body) for call in creates]


async def only_job(world: World) -> Any:
    jobs, _, total = await world.store.jobs.list()
    assert total == 1
    return jobs[0]


# -- what goes out --------------------------------------------------------------------------------


async def test_a_model_with_its_input(world: World) -> None:
    result = await world.submitter.submit(HELLO)
    (prediction,) = world.sandbox.predictions.values()
    job_id = result.body["job_id"]
    assert result.status_code == 201
    assert result.body == {
        "success": True,
        "job_id": job_id,
        "provider_job_id": prediction.id,
        "status": "queued",
        "cost_estimate": None,
        "cost_limit_warning": None,
        "data_uploaded": False,
        "idempotent_hit": False,
    }
    latest = world.sandbox.platform.catalog.models["acme/hello"].versions[0].id
    assert sent(world) == [
        {
            "version": f"acme/hello:{latest}",
            "input": {"text": "x"},
            "webhook": f"{WEBHOOK}/api/webhooks/replicate?job={job_id}",
            "webhook_events_filter": ["start", "output", "logs", "completed"],
        }
    ]
    job = await world.store.jobs.get(job_id)
    assert job is not None
    assert (job.submitted, job.api_kind, job.hardware, job.provider_job_id) == (
        True,
        "prediction",
        "gpu-l40s",
        prediction.id,
    )


async def test_a_version_is_sent_as_given(world: World) -> None:
    old = world.sandbox.platform.catalog.models["acme/hello"].versions[1].id
    await world.submitter.submit(SubmitRequest(version=old, input={"text": "x"}))
    await world.submitter.submit(SubmitRequest(version=f"acme/hello:{old}", input={"text": "x"}))
    await world.submitter.submit(SubmitRequest(model="acme/hello", version=old, input={"text": "x"}))
    await world.submitter.submit(SubmitRequest(model=f"acme/hello:{old}", input={"text": "x"}))
    assert [body["version"] for body in sent(world)] == [old, *[f"acme/hello:{old}"] * 3]
    assert world.calls("GET", "/models/") == [f"/v1/models/acme/hello/versions/{old}"]  # its schema, once


async def test_an_official_model_without_a_public_version_is_called_by_its_name(
    make_world: Make, counterpart: Counterpart
) -> None:
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    counterpart.say(
        *[{"data": {"owner": "meta", "name": "llama", "latest_version": None}}] * 2,  # for its schema, and to send
        {
            "status": 201,
            "data": {"id": "abc", "status": "starting", "model": "replicate/lifeboat", "version": "hidden"},
        },
    )
    result = await world.submitter.submit(SubmitRequest(model="meta/llama", input={"prompt": "x"}))
    assert result.body["provider_job_id"] == "abc"
    assert counterpart.seen[2].path == "/v1/models/meta/llama/predictions"
    assert "version" not in json.loads(counterpart.bodies[2])


async def test_without_a_webhook_url_there_are_no_webhook_keys(make_world: Make) -> None:
    world = await make_world(TUNERD_WEBHOOK_URL="")
    await world.submitter.submit(HELLO)
    assert sent(world)[0].keys() == {"version", "input"}


async def test_a_webhook_url_of_its_own(world: World) -> None:
    await world.submitter.submit(
        msgspec.structs.replace(HELLO, webhook_url="https://other.example.com/api/webhooks/replicate")
    )
    assert sent(world)[0]["webhook"].startswith("https://other.example.com/api/webhooks/replicate?job=job_")


async def test_a_training(world: World) -> None:
    request = SubmitRequest(model="acme/trainer", input={"steps": 3}, destination="acme/my-lora")
    result = await world.submitter.submit(request)
    job = await world.store.jobs.get(result.body["job_id"])
    assert job is not None
    assert job.api_kind == "training"
    assert sent(world)[0]["destination"] == "acme/my-lora"
    assert sent(world)[0]["webhook_events_filter"] == ["start", "output", "logs", "completed"]
    assert world.calls("POST", "/trainings") == [
        f"/v1/models/acme/trainer/versions/{world.sandbox.platform.catalog.models['acme/trainer'].versions[0].id}/trainings"
    ]


async def test_a_simpletuner_config(world: World) -> None:
    config = {**CONFIG, "output_dir": "/home/me/out", "--data_backend_config": "config/mdb.json"}
    dataloader = [{"id": "pets", "type": "huggingface", "dataset_name": "me/pets"}]
    request = SubmitRequest(
        config=config, dataloader_config=dataloader, input={"hf_token": SECRET}, hub_model_id="me/my-lora"
    )
    result = await world.submitter.submit(request)
    body = sent(world)[0]
    assert json.loads(body["input"]["config_json"]) == CONFIG
    assert json.loads(body["input"]["dataloader_json"]) == dataloader
    assert (body["input"]["hf_token"], body["input"]["hub_model_id"]) == (SECRET, "me/my-lora")
    assert body["version"].startswith("simpletuner/advanced-trainer:")
    job = await world.store.jobs.get(result.body["job_id"])
    assert job is not None
    assert SECRET not in str(job)
    assert json.loads(job.metadata) == {"hub_model_id": "me/my-lora"}
    assert await world.store.secrets.get(f"outbox/{job.job_id}") is None  # sent: not needed any more


async def test_a_prompt_that_begins_with_a_slash_is_no_path(world: World) -> None:
    await world.submitter.submit(SubmitRequest(config={"--validation_prompt": "/imagine a cat"}))
    assert len(sent(world)) == 1


async def test_the_stored_version_override(world: World) -> None:
    old = world.sandbox.platform.catalog.models["simpletuner/advanced-trainer"].versions[1].id
    await world.effective.update({"version_override": f"simpletuner/advanced-trainer:{old}"}, now=1.0)
    await world.submitter.submit(SubmitRequest(config=CONFIG))
    await world.submitter.submit(HELLO)  # of another model: the override is not meant for it
    assert [body["version"].rpartition(":")[2] == old for body in sent(world)] == [True, False]


async def test_a_saved_configuration(world: World) -> None:
    await world.store.settings.put({"configs": {"flux": {"config": CONFIG}}}, now=1.0)
    await world.submitter.submit(SubmitRequest(config_name="flux"))
    assert json.loads(sent(world)[0]["input"]["config_json"]) == CONFIG
    with pytest.raises(ConfigInvalid, match="no saved configuration 'nope'"):
        await world.submitter.submit(SubmitRequest(config_name="nope"))
    await world.submitter.submit(SubmitRequest(config_name="just a label", config=CONFIG))


async def test_dry_run_sends_and_keeps_nothing(make_world: Make) -> None:
    world = await make_world(REPLICATE_API_TOKEN="")
    config = {**CONFIG, "--aws_secret_access_key": "deadbeef", "publishing_config": [{"access_key": "AKIA"}]}
    result = await world.submitter.submit(SubmitRequest(config=config, input={"hf_token": SECRET}, dry_run=True))
    assert result.status_code == 200
    assert result.body["dry_run"] is True
    shown = result.body["request"]
    assert shown["webhook_events_filter"] == ["start", "output", "logs", "completed"]
    assert shown["model"] == "simpletuner/advanced-trainer"
    text = json.dumps(result.body)
    assert not any(secret in text for secret in (SECRET, "deadbeef", "AKIA"))
    assert not world.sandbox.requests
    assert (await world.store.jobs.list())[2] == 0


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        (SubmitRequest(), ConfigInvalid, "config"),
        (SubmitRequest(input={"a": 1}), ConfigInvalid, "config"),
        (SubmitRequest(model="acme/hello"), ConfigInvalid, "config"),
        (SubmitRequest(config=[]), ConfigInvalid, "config"),
        (SubmitRequest(config="x"), ConfigInvalid, "config"),
        (SubmitRequest(config={}), ConfigInvalid, "config"),
        (SubmitRequest(config={"--base_model": "/models/flux"}), ConfigInvalid, "config"),
        (SubmitRequest(config={"a": [{"b": "C:\\models\\flux"}]}), ConfigInvalid, "config"),
        (SubmitRequest(config={"a": {"b": "file:///models"}}), ConfigInvalid, "config"),
        (SubmitRequest(model="acme/hello", input=[1]), ConfigInvalid, "input"),
        (SubmitRequest(model="hello", input={}), InvalidRequest, "model"),
        (SubmitRequest(model="a/b", version="c/d:1", input={}), InvalidRequest, "version"),
        (SubmitRequest(model="a/b:1", version="2", input={}), InvalidRequest, "version"),
        (SubmitRequest(model="a/b", version="no good", input={}), InvalidRequest, "version"),
        (SubmitRequest(model="a/b", input={}, destination="x"), InvalidRequest, "destination"),
        (SubmitRequest(config=CONFIG, hub_model_id="x"), InvalidRequest, "hub_model_id"),
        (SubmitRequest(model="acme/hello", input={}, hub_model_id="me/bad--name"), InvalidRequest, "hub_model_id"),
        (SubmitRequest(config=CONFIG, destinations=["nope"]), InvalidRequest, "destinations"),
        (SubmitRequest(config=CONFIG, destinations=[]), InvalidRequest, "destinations"),
        (SubmitRequest(config=CONFIG, idempotency_key=""), InvalidRequest, "idempotency_key"),
        (SubmitRequest(config=CONFIG, idempotency_key="k" * 256), InvalidRequest, "idempotency_key"),
        (SubmitRequest(config=CONFIG, webhook_url="http://example.com"), WebhookUrlInvalid, "webhook_url"),
        (SubmitRequest(config=CONFIG, webhook_url="nonsense"), WebhookUrlInvalid, "webhook_url"),
    ],
)
async def test_a_bad_request(world: World, request_: SubmitRequest, error: type[TunerdError], field: str) -> None:
    with pytest.raises(error) as caught:
        await world.submitter.submit(request_)
    assert caught.value.extra["field"] == field
    assert not world.sandbox.requests
    assert (await world.store.jobs.list())[2] == 0


async def test_without_a_token(make_world: Make) -> None:
    world = await make_world(REPLICATE_API_TOKEN="")
    with pytest.raises(TokenMissing, match="REPLICATE_API_TOKEN not set"):
        await world.submitter.submit(HELLO)
    assert (await world.store.jobs.list())[2] == 0


async def test_a_definite_refusal_fails_the_job_with_the_providers_words(world: World) -> None:
    world.sandbox.faults.insufficient_credit_next = 1
    with pytest.raises(ProviderError, match="402: Insufficient credit") as caught:
        await world.submitter.submit(HELLO)
    job = await only_job(world)
    assert caught.value.extra["provider_status"] == 402
    assert caught.value.extra["job_id"] == job.job_id
    assert (job.status, job.provider_job_id) == (JobStatus.FAILED, None)
    assert "Insufficient credit" in (job.error or "")
    assert len(sent(world)) == 1


async def test_an_input_that_the_provider_refuses(world: World) -> None:
    """As where its schema could not be had: that does not hold a submit up."""
    world.sandbox.faults.server_error_next = 1
    with pytest.raises(ProviderError, match="422: Input validation failed: - input: text is required"):
        await world.submitter.submit(SubmitRequest(model="acme/hello", input={}))


async def test_a_model_that_does_not_exist(world: World) -> None:
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


# -- the answer that was lost -----------------------------------------------------------------------


@pytest.mark.parametrize("echo", [True, False])
async def test_a_lost_answer_makes_no_second_job(world: World, echo: bool) -> None:
    world.sandbox.faults.echo_webhook = echo
    world.sandbox.faults.lose_create_answer_next = 1
    result = await world.submitter.submit(HELLO)
    (prediction,) = world.sandbox.predictions.values()
    assert result.body["provider_job_id"] == prediction.id
    assert len(sent(world)) == 1


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
    await world.submitter.submit(SubmitRequest(config=CONFIG, input={"hf_token": SECRET}))
    assert len(world.sandbox.predictions) == 1


# -- idempotency ------------------------------------------------------------------------------------


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


async def test_a_key_whose_submit_failed_fails_again(world: World) -> None:
    world.sandbox.faults.insufficient_credit_next = 1
    for words in ("402", "failed: Replicate answered 402"):
        with pytest.raises(ProviderError, match=words):
            await world.submitter.submit(HELLO, idempotency_key="k")
    assert len(sent(world)) == 1


# -- cancel -----------------------------------------------------------------------------------------


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
