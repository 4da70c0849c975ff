"""The check of an input before anything is sent: asked once for a version, and never in the way where it cannot be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from daemon.errors import ConfigInvalid
from daemon.replicate.request import SubmitRequest
from tests.replicate.conftest import Counterpart, Make, World


@pytest.mark.parametrize(
    ("model", "given", "field"),
    [
        ("acme/hello", {}, "input.text"),
        ("acme/hello", {"text": 1}, "input.text"),
        ("acme/hello", {"text": "x", "txt": "y"}, "input.txt"),
        ("acme/image", {"prompt": "x", "num_outputs": 5}, "input.num_outputs"),
        ("acme/image", {"prompt": "x", "aspect_ratio": "3:1"}, "input.aspect_ratio"),
        ("simpletuner/advanced-trainer", {"max_train_steps": "100"}, "input.max_train_steps"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_misfit_is_refused_before_anything_is_sent(
    world: World, model: str, given: dict[str, Any], field: str, dry_run: bool
) -> None:
    with pytest.raises(ConfigInvalid, match="Nothing was sent") as refused:
        await world.submitter.submit(SubmitRequest(model=model, input=given, dry_run=dry_run))
    assert refused.value.extra["field"] == field
    assert refused.value.extra["problems"][0]["field"] == field
    assert not world.calls("POST", "")
    assert (await world.store.jobs.list())[2] == 0


async def test_a_trainings_input_is_checked(world: World) -> None:
    with pytest.raises(ConfigInvalid, match=r"input\.steps must be at most 1000000"):
        await world.submitter.submit(
            SubmitRequest(model="acme/trainer", input={"steps": 2_000_000}, destination="acme/my-lora")
        )


async def test_a_version_is_asked_for_once_and_sent(world: World) -> None:
    for text in ("a", "b"):
        await world.submitter.submit(SubmitRequest(model="acme/hello", input={"text": text}))
    newest = world.sandbox.platform.catalog.models["acme/hello"].versions[0].id
    assert len(world.calls("GET", "/models/acme/hello")) == 1
    assert [job.version for job in (await world.store.jobs.list())[0]] == [newest, newest]
    world.clock.now += 61  # the newest may be another one by now
    await world.submitter.submit(SubmitRequest(model="acme/hello", input={"text": "c"}))
    assert len(world.calls("GET", "/models/acme/hello")) == 2


async def test_a_dataset_counts_as_the_images(world: World, tmp_path: Path) -> None:
    schema = world.sandbox.platform.catalog.models["simpletuner/advanced-trainer"].versions[0].schema
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nx")
    try:
        schema["required"] = ["images"]
        result = await world.submitter.submit(
            SubmitRequest(config={"--seed": 1}, dataloader_config=[{"instance_data_dir": str(tmp_path)}])
        )
    finally:
        del schema["required"]  # one schema for all sandboxes of the process
    assert result.status_code == 201


@pytest.mark.parametrize("fault", ["server_error_next", "reset_next", "rate_limit_next", "hang_next"])
async def test_without_the_schema_the_submit_goes_on(world: World, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.replicate.inputs._LOOK_UP_SECONDS", 0.3)
    setattr(world.sandbox.faults, fault, 1)
    world.sandbox.faults.api_match = "GET /v1/models"
    result = await world.submitter.submit(SubmitRequest(model="acme/hello", input={"text": "x"}))
    assert result.status_code == 201


@pytest.mark.parametrize("answer", [b"[]", b'{"latest_version": 7}', b'{"latest_version": {"id": 7}}', b"<html>"])
async def test_answers_that_are_no_schema(make_world: Make, counterpart: Counterpart, answer: bytes) -> None:
    async def odd(_: web.Request) -> web.Response:
        return web.Response(body=answer, content_type="application/json")

    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    counterpart.say(odd)
    result = await world.submitter.submit(SubmitRequest(model="acme/hello", input={"text": "x"}, dry_run=True))
    assert result.body["request"]["input"] == {"text": "x"}


async def test_a_repeated_submit_is_answered_whatever_has_changed_since(world: World, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nx")
    request = SubmitRequest(config={"--seed": 1}, dataloader_config=[{"instance_data_dir": str(tmp_path)}])
    first = await world.submitter.submit(request, idempotency_key="k")
    (tmp_path / "a.png").unlink()
    again = await world.submitter.submit(request, idempotency_key="k")
    assert (again.status_code, again.body["job_id"]) == (200, first.body["job_id"])
    assert len(world.calls("POST", "/v1/files")) == 1


async def test_many_at_once(world: World) -> None:
    results = await asyncio.gather(
        *(world.submitter.submit(SubmitRequest(model="acme/hello", input={"text": str(n)})) for n in range(10))
    )
    assert {result.status_code for result in results} == {201}
