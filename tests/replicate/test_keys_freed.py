"""The idempotency key of a submit that failed: free again where Replicate cannot have the job, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daemon.core.jobs import JobStatus
from daemon.errors import NotReady, ProviderError
from daemon.replicate.request import SubmitRequest
from tests.replicate.conftest import Make, World
from tests.replicate.crashes import CREATE, HELLO
from tests.replicate.keyed import creates, good_day, jobs_of, keep, left_by_a_crash

# Each of them leaves no doubt: Replicate has nothing of it.
WITHOUT_EFFECT: dict[str, dict[str, Any]] = {
    "no credit": {"insufficient_credit_next": 1},
    "not valid": {"server_error_next": 1, "server_error_status": 422, "server_error_body": "json"},
    "token refused": {"server_error_next": 1, "server_error_status": 401, "server_error_body": "json"},
    "throttled for long": {"rate_limit_next": -1, "rate_limit_seconds": 600},
}


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
async def test_a_refused_submit_may_be_tried_again_with_its_key(world: World, name: str) -> None:
    world.sandbox.faults.api_match = CREATE
    world.sandbox.faults.update(WITHOUT_EFFECT[name])
    with pytest.raises(ProviderError):
        await keep(world)
    good_day(world)
    world.clock.now += 1
    first = await keep(world)
    assert await keep(world) == first
    (prediction,) = world.sandbox.predictions.values()
    again, failed = await jobs_of(world)
    assert (again.job_id, again.provider_job_id, again.idempotency_key) == (first, prediction.id, "k")
    assert (failed.status, failed.sent_at, failed.idempotency_key) == (JobStatus.FAILED, None, None)


async def test_a_key_is_free_again_where_no_connection_came_about(make_world: Make) -> None:
    world = await make_world(REPLICATE_BASE_URL="http://127.0.0.1:9")
    with pytest.raises(ProviderError, match="could not be reached"):
        await keep(world)
    world = await make_world()
    await keep(world)
    assert len(world.sandbox.predictions) == 1


async def test_a_key_is_free_again_where_the_upload_failed(world: World, tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "a.png").write_bytes(b"A")
    request = SubmitRequest(dataloader_config=[{"id": "cats", "instance_data_dir": str(tmp_path / "cats")}])
    world.sandbox.faults.api_match = "POST /v1/files"
    world.sandbox.faults.server_error_next = -1
    with pytest.raises(ProviderError, match="502"):
        await world.submitter.submit(request, idempotency_key="k")
    good_day(world)
    result = await world.submitter.submit(request, idempotency_key="k")
    assert (result.status_code, len(world.sandbox.predictions)) == (201, 1)


async def test_a_key_is_free_again_where_the_newest_version_could_not_be_asked_for(world: World) -> None:
    """Before the create call: a lost answer to that question says nothing of a job."""
    world.sandbox.faults.api_match = "GET /v1/models"
    world.sandbox.faults.server_error_next = -1
    with pytest.raises(ProviderError, match="502"):
        await keep(world)
    assert creates(world) == 0
    good_day(world)
    await keep(world)
    assert creates(world) == 1


async def test_a_refused_submit_is_not_looked_for(world: World) -> None:
    world.sandbox.faults.insufficient_credit_next = 1
    with pytest.raises(ProviderError):
        await keep(world)
    before = len(world.sandbox.requests)
    await world.submitter.resume_outbox()
    assert len(world.sandbox.requests) == before


async def test_the_recovery_frees_the_key_of_an_intent_that_is_refused(make_world: Make) -> None:
    await left_by_a_crash(await make_world())
    world = await make_world()
    world.sandbox.faults.insufficient_credit_next = 1
    await world.submitter.resume_outbox()
    (job,) = await jobs_of(world)
    assert (job.status, job.idempotency_key) == (JobStatus.FAILED, None)
    await keep(world)
    assert len(world.sandbox.predictions) == 1


# Something answered, and what became of the request is not known.
IN_DOUBT: dict[str, dict[str, Any]] = {
    "down": {"server_error_next": -1, "server_error_status": 502},
    "a proxy's page": {"server_error_next": 1, "server_error_status": 403, "server_error_body": "html"},
    "conflict": {"server_error_next": 1, "server_error_status": 409, "server_error_body": "json"},
    "redirect": {"server_error_next": 1, "server_error_status": 303, "server_error_body": "json"},
    "cut off": {"reset_next": -1},
}


@pytest.mark.parametrize("name", IN_DOUBT)
async def test_a_doubtful_submit_keeps_its_key(world: World, name: str) -> None:
    world.sandbox.faults.api_match = CREATE
    world.sandbox.faults.update(IN_DOUBT[name])
    with pytest.raises(ProviderError):
        await keep(world)
    good_day(world)
    asked = creates(world)
    with pytest.raises(ProviderError, match=r"may have its job all the same.*Submit with a new key\."):
        await keep(world)
    assert creates(world) == asked
    (job,) = await jobs_of(world)
    assert (job.idempotency_key, job.sent_at is None) == ("k", False)


async def test_a_refusal_after_a_lost_answer_does_not_free_the_key(world: World) -> None:
    """402 to the second call says nothing of the first, whose job shows itself later."""
    world.sandbox.faults.lose_create_answer_next = 1
    hidden: dict[str, Any] = {}

    async def then_refused(_: float) -> None:
        hidden.update(world.sandbox.predictions)
        world.sandbox.predictions.clear()
        world.sandbox.faults.insufficient_credit_next = 1

    world.submitter._outbox._sleep = then_refused
    with pytest.raises(ProviderError, match="402"):
        await keep(world)
    good_day(world)
    with pytest.raises(ProviderError, match="Submit with a new key"):
        await keep(world)
    world.sandbox.predictions.update(hidden)
    await world.submitter.resume_outbox()
    assert {record.status for record in world.sandbox.predictions.values()} <= {"canceled", "aborted"}


async def test_a_refusal_that_cannot_be_noted_is_repeated_by_the_recovery(make_world: Make) -> None:
    """Killed, or the disk is full, between the answer and the note: it counts as sent."""
    world = await make_world()
    world.sandbox.faults.insufficient_credit_next = 2
    unsent = world.store.claims.unsent

    async def full(*_: Any) -> bool:
        raise NotReady("database or disk is full", retry_after=5)

    world.store.claims.unsent = full  # type: ignore[method-assign]
    result = await world.submitter.submit(HELLO, idempotency_key="k")
    assert (result.status_code, result.body["status"]) == (201, "pending")
    world.store.claims.unsent = unsent  # type: ignore[method-assign]
    world = await make_world()
    await world.submitter.resume_outbox()
    (job,) = await jobs_of(world)
    assert (job.status, job.sends, job.idempotency_key) == (JobStatus.FAILED, 1, "k")
