"""Deliveries: made in the transaction that completes a job, fenced by their generation."""

from __future__ import annotations

import json

import pytest

from daemon.core.jobs import Signal
from daemon.core.prediction import parse_prediction
from daemon.errors import JobNotFound, NothingToDeliver
from daemon.store.records import Artifact
from daemon.store.store import Store
from tests.support.events import NOW, PROVIDER_ID, append, body, due_deliveries, new_job

JOB_ID = f"job_{PROVIDER_ID}"
TWO = {"destinations": [{"name": "local", "type": "local", "options": {}}, {"name": "hub", "type": "huggingface"}]}


async def _complete(store: Store, webhook_id: str = "msg_1", **fields: object) -> None:
    await append(store, webhook_id, body("succeeded", output="x", **fields))


async def test_a_completed_job_goes_to_every_destination(store: Store) -> None:
    await store.settings.put(TWO, now=NOW)
    await _complete(store, completed_at="2026-01-05T10:00:00Z")

    rows = await store.deliveries.of_job(JOB_ID)
    assert [(row.destination, row.type, row.status, row.generation) for row in rows] == [
        ("hub", "huggingface", "pending", 0),
        ("local", "local", "pending", 0),
    ]
    assert {row.deadline for row in rows} == {1767607200.0 + 3600}
    assert await due_deliveries(store) == [(JOB_ID, 0)]
    assert await store.deliveries.of_jobs([JOB_ID, "job_none"]) == {JOB_ID: rows, "job_none": []}
    assert await store.deliveries.of_jobs([]) == {}


@pytest.mark.parametrize("status", ["failed", "canceled", "aborted", "processing"])
async def test_other_jobs_go_nowhere(store: Store, status: str) -> None:
    await append(store, "msg_1", body(status, output="x"))
    assert await due_deliveries(store) == []


async def test_completing_again_makes_no_second_delivery(store: Store) -> None:
    await _complete(store)
    await _complete(store, "msg_2", logs="more")
    assert len(await store.deliveries.of_job(JOB_ID)) == 1


async def test_a_submit_may_choose(store: Store) -> None:
    await store.settings.put(TWO, now=NOW)
    await store.jobs.insert_intent(new_job(destinations='["hub","gone"]'))
    await store.jobs.bind_provider("job_ours", PROVIDER_ID, now=NOW, prediction=None)
    await _complete(store)
    rows = await store.deliveries.of_job("job_ours")
    assert [(row.destination, row.status) for row in rows] == [("gone", "failed"), ("hub", "pending")]
    assert rows[0].error is not None and "gone" in rows[0].error


async def test_updates_are_fenced_by_the_generation(store: Store) -> None:
    await _complete(store)
    assert await store.deliveries.update(
        JOB_ID, "local", generation=0, now=NOW + 1, status="running", attempts=1, bytes_done=5, bytes_total=10
    )
    assert await store.deliveries.update(JOB_ID, "local", generation=0, now=NOW + 2, status="delivered", url="/x\x00")
    assert await due_deliveries(store) == []
    assert await store.deliveries.redeliver(JOB_ID, None, now=NOW + 3) == 1

    assert not await store.deliveries.update(JOB_ID, "local", generation=0, now=NOW + 4, status="failed")
    (row,) = await store.deliveries.of_job(JOB_ID)
    assert (row.status, row.generation, row.attempts, row.url, row.deadline) == ("pending", 1, 0, None, NOW + 3603)
    assert await due_deliveries(store) == [(JOB_ID, 1)]
    assert not await store.deliveries.update(JOB_ID, "nowhere", generation=1, now=NOW, status="failed")
    with pytest.raises(TypeError):
        await store.deliveries.update(JOB_ID, "local", generation=1, now=NOW, job_id="job_other")


@pytest.mark.parametrize("end", ["delivered", "failed"])
async def test_what_is_over_stays_so_until_it_is_delivered_again(store: Store, end: str) -> None:
    """Of two runs of one generation the slower one changes nothing more."""
    await _complete(store)
    assert await store.deliveries.update(JOB_ID, "local", generation=0, now=NOW + 1, status=end, url="/x")
    for late in ("running", "failed", "delivered"):
        assert not await store.deliveries.update(JOB_ID, "local", generation=0, now=NOW + 2, status=late, url="/y")
    (row,) = await store.deliveries.of_job(JOB_ID)
    assert (row.status, row.url, row.updated_at) == (end, "/x", NOW + 1)


async def test_a_delivery_that_is_made_again_knows_of_the_one_before(store: Store) -> None:
    await _complete(store)
    await store.deliveries.update(
        JOB_ID, "local", generation=0, now=1_700_000_000.0, status="delivered", url="https://s3/m.bin?Signature=x"
    )
    told = "https://s3/m.bin at 2023-11-14T22:13:20.000Z"
    for generation in (1, 2):  # also beyond one that failed
        await store.deliveries.redeliver(JOB_ID, None, now=NOW + 2)
        (row,) = await store.deliveries.of_job(JOB_ID)
        assert (row.generation, row.status, row.url, row.delivered_before) == (generation, "pending", None, told)
        await store.deliveries.update(JOB_ID, "local", generation=generation, now=NOW + 3, status="failed", error="x")


async def test_redelivering_to_one_destination_leaves_the_others(store: Store) -> None:
    await store.settings.put(TWO, now=NOW)
    await _complete(store)
    assert await store.deliveries.redeliver(JOB_ID, ["hub"], now=NOW + 1) == 1
    assert await due_deliveries(store) == [(JOB_ID, 0), (JOB_ID, 1)]
    assert await store.deliveries.redeliver(JOB_ID, ["local", "hub"], now=NOW + 2) == 2
    assert await due_deliveries(store) == [(JOB_ID, 2)]


async def test_redelivering_to_a_destination_that_came_later(store: Store) -> None:
    await _complete(store)
    await store.settings.put(TWO, now=NOW)
    await store.deliveries.redeliver(JOB_ID, ["hub"], now=NOW)
    assert [row.destination for row in await store.deliveries.of_job(JOB_ID)] == ["hub", "local"]


async def test_there_may_be_nothing_to_deliver(store: Store) -> None:
    with pytest.raises(JobNotFound):
        await store.deliveries.redeliver("job_none", None, now=NOW)
    await append(store, "msg_1", body())
    with pytest.raises(NothingToDeliver):
        await store.deliveries.redeliver(JOB_ID, None, now=NOW)
    await _complete(store, "msg_2")
    for names in (["nowhere"], []):
        with pytest.raises(NothingToDeliver):
            await store.deliveries.redeliver(JOB_ID, names, now=NOW)
    assert await due_deliveries(store) == [(JOB_ID, 0)]


async def test_artifacts(store: Store) -> None:
    first = Artifact("b.tar", 5_000_000_000, "aa", "https://replicate.delivery/b.tar")
    await store.deliveries.put_artifact(JOB_ID, first)
    await store.deliveries.put_artifact(JOB_ID, Artifact("a.png", 1, "bb", None))
    replaced = Artifact("b.tar", 6, "cc", None)
    await store.deliveries.put_artifact(JOB_ID, replaced)
    assert await store.deliveries.artifacts(JOB_ID) == [Artifact("a.png", 1, "bb", None), replaced]
    await store.deliveries.clear_artifacts(JOB_ID)
    assert await store.deliveries.artifacts(JOB_ID) == []


async def test_an_output_that_comes_after_the_end_is_delivered(store: Store) -> None:
    """The final event had none, and its empty delivery is over."""
    await store.settings.put(TWO, now=NOW)
    await append(store, "msg_1", body("succeeded", output=None))
    for name in ("hub", "local"):
        await store.deliveries.update(JOB_ID, name, generation=0, now=NOW, status="delivered", url="/empty")
    assert await due_deliveries(store) == []
    await append(store, "msg_2", body("succeeded", output="x", logs="more"), received_at=NOW + 9)
    rows = await store.deliveries.of_job(JOB_ID)
    assert [(row.destination, row.status, row.generation, row.url) for row in rows] == [
        ("hub", "pending", 1, None),
        ("local", "pending", 1, None),
    ]
    assert {row.deadline for row in rows} == {NOW + 9 + 3600}
    assert await due_deliveries(store) == [(JOB_ID, 1)]
    # Once: the event that is sent again, another one, one without it.
    await append(store, "msg_2", body("succeeded", output="x", logs="more"))
    await append(store, "msg_3", body("succeeded", output="x", logs="more"))
    await append(store, "msg_4", body("succeeded", output=None))
    await append(store, "msg_5", body("processing", output="y"))
    assert await due_deliveries(store) == [(JOB_ID, 1)]


async def test_an_output_that_comes_late_goes_nowhere_where_nobody_wants_it(store: Store) -> None:
    await store.settings.put(TWO, now=NOW)
    await append(store, "msg_1", body("succeeded", output=None))
    await store.deliveries.cancel(JOB_ID, ["hub"], now=NOW)
    await append(store, "msg_2", body("succeeded", output="x"))
    rows = await store.deliveries.of_job(JOB_ID)
    assert [(row.destination, row.status, row.generation) for row in rows] == [
        ("hub", "failed", 1),
        ("local", "pending", 2),
    ]
    await store.jobs.insert_intent(new_job(destinations="[]"))
    await store.jobs.bind_provider("job_ours", "other", now=NOW, prediction=None)
    await append(store, "msg_3", body("succeeded", id="other", output=None))
    await append(store, "msg_4", body("succeeded", id="other", output="x"))
    assert await store.deliveries.of_job("job_ours") == []
    job = await store.jobs.get("job_ours")
    assert job is not None
    assert job.output == '"x"'


async def test_an_output_may_come_with_the_create_calls_answer(store: Store) -> None:
    """An event that named the job was faster than the answer, and had none."""
    await store.jobs.insert_intent(new_job())
    await append(store, "msg_1", body("succeeded", output=None), job_hint="job_ours")
    assert await due_deliveries(store) == [("job_ours", 0)]
    answer = parse_prediction(body("succeeded", output="x"))
    for _ in range(2):
        await store.jobs.bind_provider("job_ours", PROVIDER_ID, now=NOW, prediction=answer)
    assert await due_deliveries(store) == [("job_ours", 1)]


async def test_a_job_that_was_called_failed_and_had_succeeded_unheard_is_delivered(store: Store) -> None:
    """No create was answered, and yet one of them was carried out: the output is paid for."""
    await store.jobs.insert_intent(new_job())
    await store.jobs.signal("job_ours", Signal.FAILED, now=NOW, error="Replicate did not answer.")
    with pytest.raises(NothingToDeliver, match="is failed"):
        await store.deliveries.redeliver("job_ours", None, now=NOW)
    await append(store, "msg_1", body("succeeded", output="x"), job_hint="job_ours")
    assert await due_deliveries(store) == [("job_ours", 1)]
    job = await store.jobs.get("job_ours")
    assert job is not None
    assert (job.status, job.provider_job_id, job.output) == ("failed", PROVIDER_ID, '"x"')  # finished stays finished
    assert await store.deliveries.redeliver("job_ours", None, now=NOW) == 2


@pytest.mark.parametrize("before", ["starting", "processing", "paused"])
async def test_what_it_does_first_costs_a_job_that_was_called_failed_nothing(store: Store, before: str) -> None:
    await store.jobs.insert_intent(new_job())
    await store.jobs.signal("job_ours", Signal.FAILED, now=NOW, error="Replicate did not answer.")
    await append(store, "msg_1", body(before), job_hint="job_ours")
    await append(store, "msg_2", body("processing", output=["a"]))
    assert await due_deliveries(store) == []
    await append(store, "msg_3", body("succeeded", output=["a", "b"]))
    await append(store, "msg_4", body("succeeded", output=["a", "b"], logs="more"))
    assert await due_deliveries(store) == [("job_ours", 1)]
    job = await store.jobs.get("job_ours")
    assert job is not None
    assert (job.status, job.error, job.provider_status) == ("failed", "Replicate did not answer.", "succeeded")
    assert json.loads(job.output or "") == ["a", "b"]
    assert await store.deliveries.redeliver("job_ours", None, now=NOW) == 2


async def test_a_job_that_was_called_failed_may_be_bound_when_it_is_under_way(store: Store) -> None:
    """It is found in the list, still running; its end comes as an event."""
    await store.jobs.insert_intent(new_job())
    await store.jobs.signal("job_ours", Signal.FAILED, now=NOW, error="Replicate did not answer.")
    answer = parse_prediction(body("processing"))
    await store.jobs.bind_provider("job_ours", PROVIDER_ID, now=NOW, prediction=answer)
    await append(store, "msg_1", body("succeeded", output="x"))
    assert await due_deliveries(store) == [("job_ours", 1)]


async def test_what_somebody_cancelled_is_delivered_only_when_it_is_asked_for(store: Store) -> None:
    await store.jobs.insert_intent(new_job())
    await store.jobs.signal("job_ours", Signal.CANCELLED, now=NOW, error="Cancelled before it was sent.")
    await append(store, "msg_1", body("starting"), job_hint="job_ours")
    await append(store, "msg_2", body("succeeded", output="x"))
    assert await due_deliveries(store) == []
    assert await store.deliveries.redeliver("job_ours", None, now=NOW) == 1


async def test_what_the_provider_calls_failed_has_nothing_to_deliver(store: Store) -> None:
    await append(store, "msg_1", body("failed", output="half"))
    await append(store, "msg_2", body("succeeded", output="x"))
    assert await due_deliveries(store) == []
    with pytest.raises(NothingToDeliver, match="is failed"):
        await store.deliveries.redeliver(JOB_ID, None, now=NOW)
