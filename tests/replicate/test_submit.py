"""Submit against the simulated Replicate: the request that goes out, every refusal, idempotency, cancel."""

from __future__ import annotations

import json

import msgspec
import pytest

from daemon.errors import (
    ConfigInvalid,
    InvalidRequest,
    TokenMissing,
    TunerdError,
    WebhookUrlInvalid,
)
from daemon.replicate.request import SubmitRequest
from tests.replicate.conftest import SECRET, WEBHOOK, Counterpart, Make, World
from tests.replicate.crashes import HELLO

CONFIG = {"--model_type": "lora", "--max_train_steps": 100, "resolution": 1.0}


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
    assert world.sent() == [
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
    assert [body["version"] for body in world.sent()] == [old, *[f"acme/hello:{old}"] * 3]
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


async def test_a_webhook_url_of_its_own(world: World) -> None:
    await world.submitter.submit(
        msgspec.structs.replace(HELLO, webhook_url="https://other.example.com/api/webhooks/replicate")
    )
    assert world.sent()[0]["webhook"].startswith("https://other.example.com/api/webhooks/replicate?job=job_")


async def test_the_events_are_named_without_a_webhook_url_too(make_world: Make) -> None:
    world = await make_world(TUNERD_WEBHOOK_URL="")
    await world.submitter.submit(HELLO)
    assert "webhook" not in world.sent()[0]
    assert world.sent()[0]["webhook_events_filter"] == ["start", "output", "logs", "completed"]


async def test_a_training(world: World) -> None:
    request = SubmitRequest(model="acme/trainer", input={"steps": 3}, destination="acme/my-lora")
    result = await world.submitter.submit(request)
    job = await world.store.jobs.get(result.body["job_id"])
    assert job is not None
    assert job.api_kind == "training"
    assert world.sent()[0]["destination"] == "acme/my-lora"
    assert world.sent()[0]["webhook_events_filter"] == ["start", "output", "logs", "completed"]
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
    body = world.sent()[0]
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
    assert len(world.sent()) == 1


async def test_the_stored_version_override(world: World) -> None:
    old = world.sandbox.platform.catalog.models["simpletuner/advanced-trainer"].versions[1].id
    await world.effective.update({"version_override": f"simpletuner/advanced-trainer:{old}"}, now=1.0)
    await world.submitter.submit(SubmitRequest(config=CONFIG))
    await world.submitter.submit(HELLO)  # of another model: the override is not meant for it
    assert [body["version"].rpartition(":")[2] == old for body in world.sent()] == [True, False]


async def test_a_saved_configuration(world: World) -> None:
    await world.store.settings.put({"configs": {"flux": {"config": CONFIG}}}, now=1.0)
    await world.submitter.submit(SubmitRequest(config_name="flux"))
    assert json.loads(world.sent()[0]["input"]["config_json"]) == CONFIG
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
