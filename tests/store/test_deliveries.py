"""Deliveries: made in the transaction that completes a job, fenced by their generation."""

from __future__ import annotations

import pytest

from daemon.errors import JobNotFound, NothingToDeliver
from daemon.store.records import Artifact
from daemon.store.store import Store
from tests.support.events import NOW, PROVIDER_ID, append, body, new_job

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
    assert await store.deliveries.due() == [(JOB_ID, 0)]
    assert await store.deliveries.of_jobs([JOB_ID, "job_none"]) == {JOB_ID: rows, "job_none": []}
    assert await store.deliveries.of_jobs([]) == {}


@pytest.mark.parametrize("status", ["failed", "canceled", "aborted", "processing"])
async def test_other_jobs_go_nowhere(store: Store, status: str) -> None:
    await append(store, "msg_1", body(status, output="x"))
    assert await store.deliveries.due() == []


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
    assert await store.deliveries.due() == []
    assert await store.deliveries.redeliver(JOB_ID, None, now=NOW + 3) == 1

    assert not await store.deliveries.update(JOB_ID, "local", generation=0, now=NOW + 4, status="failed")
    (row,) = await store.deliveries.of_job(JOB_ID)
    assert (row.status, row.generation, row.attempts, row.url, row.deadline) == ("pending", 1, 0, None, NOW + 3603)
    assert await store.deliveries.due() == [(JOB_ID, 1)]
    assert not await store.deliveries.update(JOB_ID, "nowhere", generation=1, now=NOW, status="failed")
    with pytest.raises(TypeError):
        await store.deliveries.update(JOB_ID, "local", generation=1, now=NOW, job_id="job_other")


async def test_redelivering_to_one_destination_leaves_the_others(store: Store) -> None:
    await store.settings.put(TWO, now=NOW)
    await _complete(store)
    assert await store.deliveries.redeliver(JOB_ID, ["hub"], now=NOW + 1) == 1
    assert await store.deliveries.due() == [(JOB_ID, 0), (JOB_ID, 1)]
    assert await store.deliveries.redeliver(JOB_ID, ["local", "hub"], now=NOW + 2) == 2
    assert await store.deliveries.due() == [(JOB_ID, 2)]


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
    assert await store.deliveries.due() == [(JOB_ID, 0)]


async def test_artifacts(store: Store) -> None:
    first = Artifact("b.tar", 5_000_000_000, "aa", "https://replicate.delivery/b.tar")
    await store.deliveries.put_artifact(JOB_ID, first)
    await store.deliveries.put_artifact(JOB_ID, Artifact("a.png", 1, "bb", None))
    replaced = Artifact("b.tar", 6, "cc", None)
    await store.deliveries.put_artifact(JOB_ID, replaced)
    assert await store.deliveries.artifacts(JOB_ID) == [Artifact("a.png", 1, "bb", None), replaced]
    await store.deliveries.clear_artifacts(JOB_ID)
    assert await store.deliveries.artifacts(JOB_ID) == []
