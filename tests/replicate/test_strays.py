"""What runs at Replicate and should not: found, cancelled where it is certainly ours and one too many, else told of."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from daemon.core.jobs import JobStatus
from daemon.core.prediction import parse_prediction
from daemon.errors import ProviderError
from daemon.replicate.request import SubmitRequest
from daemon.store.notifications import EndpointChange
from daemon.store.records import IncomingEvent, Job
from tests.replicate.conftest import Make, World
from tests.replicate.crashes import HELLO

ENDED = {"canceled", "aborted"}


class Hidden:
    """Jobs that Replicate makes and does not show in its lists yet."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.records: dict[str, Any] = {}

    def hide(self) -> None:
        self.records |= self.world.sandbox.predictions
        self.world.sandbox.predictions.clear()

    def show(self) -> None:
        self.world.sandbox.predictions.update(self.records)


async def only_submitted(world: World) -> Job:
    jobs, _, _ = await world.store.jobs.list()
    (job,) = [job for job in jobs if job.submitted]
    return job


async def twice(world: World) -> tuple[Job, Any, Any]:
    """A submit whose first create call is answered by a gateway, and whose job shows itself when it is too late."""
    hidden = Hidden(world)
    world.sandbox.faults.lose_create_answer_next = 1
    sleep = world.clock.sleep

    async def pass_by(seconds: float) -> None:
        hidden.hide()
        await sleep(seconds)

    world.submitter._outbox._sleep = pass_by
    await world.submitter.submit(HELLO)
    (bound,) = world.sandbox.predictions.values()
    hidden.show()
    (twin,) = hidden.records.values()
    return await only_submitted(world), bound, twin


async def listen(world: World) -> None:
    chat = EndpointChange(
        name="chat", shown_url="https://chat/…", events=["job.doubled"], allow_private=False, enabled=True
    )
    await world.store.notifications.put_endpoints([chat], now=1.0)


async def told(world: World) -> list[dict[str, Any]]:
    """The data of what waits for the listener."""
    later = world.clock() + 1e6
    messages = await world.store.notifications.claim("chat", "test", now=later, until=later + 1, most=100)
    return [msgspec.json.decode(message.payload)["data"] for message in messages]


async def test_a_second_job_is_found_cancelled_recorded_and_told(world: World) -> None:
    await listen(world)
    job, bound, twin = await twice(world)
    assert job.provider_job_id == bound.id
    assert job.sends == 2
    await world.submitter.resume_outbox()
    assert twin.status in ENDED
    assert bound.status == "starting"
    row = await world.store.jobs.get(twin.id)
    assert row is not None
    assert (row.status, row.submitted) == (JobStatus.CANCELLED, False)
    assert f"A second job of {job.job_id}" in (row.error or "")
    for _ in range(2):
        await world.submitter.resume_outbox()
    (notice,) = await told(world)
    assert notice["other_provider_job_id"] == twin.id
    assert (notice["cancelled"], notice["certain"]) == (True, True)


async def test_a_second_job_whose_event_came_first_takes_the_place_and_the_other_is_ended(world: World) -> None:
    """Whichever is bound first is the job; the one that our own call made is the one too many then."""
    hidden = Hidden(world)
    world.sandbox.faults.lose_create_answer_next = 1
    bind = world.store.jobs.bind_provider

    async def overtaken(job_id: str, provider_id: str, **more: Any) -> Job:
        hidden.show()
        (early,) = hidden.records.values()
        body = await world.client.get(early.id, "prediction")
        assert body is not None
        event = IncomingEvent("msg_1", "1", "v1,x", body, world.clock(), "webhook", "1.2.3.4", True)
        await world.store.journal.append(event, parse_prediction(body))
        return await bind(job_id, provider_id, **more)

    async def pass_by(_: float) -> None:
        hidden.hide()

    world.submitter._outbox._sleep = pass_by
    world.store.jobs.bind_provider = overtaken  # type: ignore[method-assign]
    result = await world.submitter.submit(HELLO)
    (first,) = hidden.records.values()
    assert result.body["provider_job_id"] == first.id
    await world.submitter.resume_outbox()
    (second,) = [record for record in world.sandbox.predictions.values() if record.id != first.id]
    assert second.status in ENDED
    assert first.status == "starting"


async def test_a_later_job_with_our_webhook_url_is_somebodys_own(world: World) -> None:
    job, _, twin = await twice(world)
    twin.created_at += 3600
    world.sandbox.faults.read_lag = -1e9  # it is shown, although it begins in an hour
    await world.submitter.resume_outbox()
    assert twin.status == "starting"
    row = await world.store.jobs.get(twin.id)
    assert row is not None
    assert job.job_id in (row.error or "")


async def given_up(make_world: Make, *, late: float | None = None, ahead: float = 0.0) -> tuple[World, Any]:
    """Without a webhook URL every create call answers 502, and one of them has made a job all the same."""
    world = await make_world(TUNERD_WEBHOOK_URL="")
    world.clock.now += ahead
    await listen(world)
    hidden = Hidden(world)
    world.sandbox.faults.lose_create_answer_next = 1

    async def pass_by(_: float) -> None:
        if not hidden.records:
            hidden.hide()
        world.sandbox.faults.api_match = "POST /v1/predictions"
        world.sandbox.faults.server_error_next = -1

    world.submitter._outbox._sleep = pass_by
    with pytest.raises(ProviderError):
        await world.submitter.submit(HELLO)
    world.sandbox.faults.server_error_next = 0
    hidden.show()
    (record,) = hidden.records.values()
    if late is not None:
        record.created_at = world.clock() + late
    return world, record


async def test_without_a_marker_the_only_one_like_it_is_ended(make_world: Make) -> None:
    world, record = await given_up(make_world)
    await world.submitter.resume_outbox()
    assert record.status in ENDED
    job = await only_submitted(world)
    assert (job.status, job.provider_job_id) == (JobStatus.FAILED, record.id)
    assert await told(world) == []


async def test_one_that_began_after_the_answer_is_told_of_and_left_alone(make_world: Make) -> None:
    """Whoever hears 502 may well start it by hand."""
    world, record = await given_up(make_world, late=30.0)
    for _ in range(3):
        await world.submitter.resume_outbox()
    assert record.status == "starting"
    (notice,) = await told(world)
    assert (notice["cancelled"], notice["certain"]) == (False, False)
    job = await only_submitted(world)
    assert job.provider_job_id is None
    assert (job.error or "").count(record.id) == 1


async def test_one_of_two_like_it_is_not_guessed(make_world: Make) -> None:
    world, record = await given_up(make_world)
    await world.client.create_prediction({"version": record.version, "input": dict(record.input)})
    await world.submitter.resume_outbox()
    assert {item.status for item in world.sandbox.predictions.values()} == {"starting"}
    assert len(await told(world)) == 2


async def test_the_repeated_submit_is_not_taken_for_the_lost_one(make_world: Make) -> None:
    world, record = await given_up(make_world)
    del world.sandbox.predictions[record.id]
    await world.submitter.submit(HELLO)
    await world.submitter.resume_outbox()
    (second,) = world.sandbox.predictions.values()
    assert second.status == "starting"
    assert await told(world) == []


async def test_many_failures_hide_no_stray(make_world: Make) -> None:
    """More than a page of them after it."""
    world, record = await given_up(make_world)
    world.sandbox.faults.insufficient_credit_next = -1
    for _ in range(60):
        with pytest.raises(ProviderError):
            await world.submitter.submit(SubmitRequest(model="acme/hello", input={"text": "y"}))
    world.sandbox.faults.insufficient_credit_next = 0
    await asyncio.wait_for(world.submitter.resume_outbox(), 60)
    assert record.status in ENDED


async def cancel_unanswered(make_world: Make) -> tuple[World, Any]:
    """It is found, and Replicate does not answer the cancel."""
    world, record = await given_up(make_world)
    world.sandbox.faults.api_match = "/cancel"
    world.sandbox.faults.server_error_next = -1
    await world.submitter.resume_outbox()
    return world, record


async def test_one_whose_first_cancel_is_not_answered_is_cancelled_in_the_next_round(make_world: Make) -> None:
    """It is bound by then, and Replicate has not said a word of it: nothing else would ever look at it again."""
    world, record = await cancel_unanswered(make_world)
    job = await only_submitted(world)
    assert (job.provider_job_id, job.provider_status, record.status) == (record.id, None, "starting")
    world.sandbox.faults.server_error_next = 0
    await world.submitter.resume_outbox()
    assert record.status in ENDED


async def test_one_in_a_state_of_an_unknown_name_is_cancelled_too(make_world: Make) -> None:
    world, record = await cancel_unanswered(make_world)
    body = msgspec.json.encode({"id": record.id, "status": "warming", "output": None})
    event = IncomingEvent("msg_1", "1", "v1,x", body, world.clock(), "webhook", "1.2.3.4", True)
    await world.store.journal.append(event, parse_prediction(body))
    world.sandbox.faults.server_error_next = 0
    await world.submitter.resume_outbox()
    assert record.status in ENDED


@pytest.mark.parametrize(("ahead", "ended"), [(120.0, True), (3600.0, False)])
async def test_where_our_clock_is_ahead_it_is_found_all_the_same(make_world: Make, ahead: float, ended: bool) -> None:
    """By a clock that is far off nothing is cancelled: then it is told of."""
    world, record = await given_up(make_world, ahead=ahead)
    await world.submitter.resume_outbox()
    assert (record.status in ENDED) is ended
    assert len(await told(world)) == (not ended)


async def test_a_second_job_is_ended_where_our_clock_is_ahead(world: World) -> None:
    world.clock.now += 3600.0
    _, _, twin = await twice(world)
    await world.submitter.resume_outbox()
    assert twin.status in ENDED
