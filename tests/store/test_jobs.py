"""Jobs: what submitting, binding, cancelling and listing do to them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from daemon.core.jobs import JobStatus, Signal
from daemon.core.prediction import parse_prediction
from daemon.errors import IdempotencyConflict, InvalidRequest, JobFinished, JobNotFound, ProviderError
from daemon.store.jobs import _WITHOUT_OUTPUT
from daemon.store.store import Store
from tests.support.events import NOW, PROVIDER_ID, append, body, due_deliveries, new_job


async def test_an_intent_is_a_pending_job(store: Store) -> None:
    job, existing = await store.jobs.insert_intent(new_job(metadata='{"a":1}', destinations='["local"]'))

    assert not existing
    assert (job.status, job.submitted, job.provider_job_id, job.events) == (JobStatus.PENDING, True, None, 0)
    assert (job.metadata, job.destinations, job.hardware) == ('{"a":1}', '["local"]', "gpu-l40s")
    assert await store.jobs.get("job_ours") == job
    assert await store.jobs.unfinished() == [job]
    assert await store.jobs.get("nothing") is None


@pytest.mark.parametrize("key", ["key", "k" * 5000, "\x00"])
async def test_an_idempotency_key_makes_one_job(store: Store, key: str) -> None:
    first, _ = await store.jobs.insert_intent(new_job(idempotency_key=key))
    again, existing = await store.jobs.insert_intent(new_job("job_other", idempotency_key=key))

    assert existing and again == first
    with pytest.raises(IdempotencyConflict):
        await store.jobs.insert_intent(new_job("job_third", idempotency_key=key, request_digest="another"))
    assert (await store.jobs.list())[2] == 1


async def test_one_key_from_many_tasks_makes_one_job(store: Store) -> None:
    jobs = [new_job(f"job_{number}", idempotency_key="key") for number in range(20)]
    results = await asyncio.gather(*(store.jobs.insert_intent(job) for job in jobs))
    assert sum(not existing for _, existing in results) == 1
    assert len({job.job_id for job, _ in results}) == 1


async def test_binding_after_the_answer(store: Store) -> None:
    await store.jobs.insert_intent(new_job())
    answer = parse_prediction(body("starting", version="f" * 64, created_at="2026-01-05T10:00:00Z"))
    job = await store.jobs.bind_provider("job_ours", PROVIDER_ID, now=NOW + 1, prediction=answer)

    assert (job.provider_job_id, job.status, job.version) == (PROVIDER_ID, JobStatus.QUEUED, "f" * 64)
    assert job.queued_at == 1767607200.0 and job.events == 0
    assert await store.jobs.get(PROVIDER_ID) == job
    again = await store.jobs.bind_provider("job_ours", PROVIDER_ID, now=NOW + 1, prediction=answer)
    assert again == job
    assert (await append(store, "msg_1", body())).job_id == "job_ours"


async def test_binding_without_an_answer(store: Store) -> None:
    await store.jobs.insert_intent(new_job())
    job = await store.jobs.bind_provider("job_ours", PROVIDER_ID, now=NOW + 1, prediction=None)
    assert (job.status, job.queued_at) == (JobStatus.QUEUED, NOW + 1)


async def test_events_that_were_faster_than_the_answer_become_the_job_s(store: Store) -> None:
    await store.jobs.insert_intent(new_job(destinations='["local"]'))
    early = await append(store, "msg_1", body("starting"))
    await append(store, "msg_2", body("succeeded", logs="all", output="x", metrics={"predict_time": 10}))
    assert early.job_id == f"job_{PROVIDER_ID}"

    job = await store.jobs.bind_provider(
        "job_ours", PROVIDER_ID, now=NOW + 9, prediction=parse_prediction(body("starting"))
    )

    assert (job.status, job.output, job.events, job.model) == (JobStatus.COMPLETED, '"x"', 2, "acme/trainer")
    assert (job.cost_usd, job.logs_seq, job.last_seq) == (0.0097, 2, 2)
    assert await store.jobs.get(f"job_{PROVIDER_ID}") is None
    assert {row.job_id for row in await store.journal.events()} == {"job_ours"}
    assert [row.job_id for row in await store.deliveries.of_job("job_ours")] == ["job_ours"]
    assert await due_deliveries(store) == [("job_ours", 0)]
    assert await store.journal.logs("job_ours") == "all"
    late = await append(store, "msg_3", body("succeeded", logs="all", output="x"))
    assert late.job_id == "job_ours"
    for row in await store.journal.events():
        assert await store.journal.body(row.seq) is not None


async def test_a_hint_in_the_url_binds_an_event_at_once(store: Store) -> None:
    await store.jobs.insert_intent(new_job())
    appended = await append(store, "msg_1", body("starting"), job_hint="job_ours")
    assert appended.job_id == "job_ours"
    job = await store.jobs.bind_provider("job_ours", PROVIDER_ID, now=NOW, prediction=None)
    assert (job.events, job.status) == (1, JobStatus.QUEUED)


async def test_the_signed_body_s_url_binds_before_the_request_s(store: Store) -> None:
    await store.jobs.insert_intent(new_job())
    await store.jobs.insert_intent(new_job("job_two"))
    content = body("starting", webhook="https://example.com/api/webhooks/replicate?job=job_two")
    assert (await append(store, "msg_1", content, job_hint="job_ours")).job_id == "job_two"


async def test_a_hint_never_takes_a_job_from_its_provider_id(store: Store) -> None:
    await store.jobs.insert_intent(new_job())
    await store.jobs.bind_provider("job_ours", "theirs", now=NOW, prediction=None)
    assert (await append(store, "msg_1", body(), job_hint="job_ours")).job_id == f"job_{PROVIDER_ID}"
    # Nor one that was not submitted here, nor one that does not exist.
    assert (await append(store, "msg_2", body(id="b"), job_hint=f"job_{PROVIDER_ID}")).job_id == "job_b"
    assert (await append(store, "msg_3", body(id="c", webhook="http://[x"), job_hint="job_none")).job_id == "job_c"


async def test_two_jobs_cannot_have_one_provider_id(store: Store) -> None:
    for job_id in ("job_ours", "job_two"):
        await store.jobs.insert_intent(new_job(job_id))
    await store.jobs.bind_provider("job_ours", PROVIDER_ID, now=NOW, prediction=None)
    with pytest.raises(ProviderError):
        await store.jobs.bind_provider("job_two", PROVIDER_ID, now=NOW, prediction=None)
    with pytest.raises(ProviderError):
        await store.jobs.bind_provider("job_ours", "another", now=NOW, prediction=None)
    with pytest.raises(JobNotFound):
        await store.jobs.bind_provider("job_none", "another", now=NOW, prediction=None)


async def test_job_ids_of_jobs_that_were_not_submitted_here(store: Store) -> None:
    odd = await append(store, "msg_1", body(id="Über/../x y"))
    assert odd.job_id is not None and odd.job_id.startswith("job_") and odd.job_id.isalnum() is False
    assert odd.job_id.removeprefix("job_").isalnum()
    await store.jobs.insert_intent(new_job("job_taken"))
    taken = await append(store, "msg_2", body(id="taken"))
    assert taken.job_id not in {"job_taken", None}
    assert (await append(store, "msg_3", body(id="taken"))).job_id == taken.job_id


async def test_our_own_signals(store: Store) -> None:
    await store.jobs.insert_intent(new_job())
    assert (await store.jobs.signal("job_ours", Signal.UPLOAD, now=NOW + 1)).status is JobStatus.UPLOADING
    failed = await store.jobs.signal("job_ours", Signal.FAILED, now=NOW + 2, error="refused\x00")
    assert (failed.status, failed.error, failed.completed_at) == (JobStatus.FAILED, r"refused\x00", NOW + 2)
    assert await store.jobs.signal("job_ours", Signal.CANCELLED, now=NOW + 3) == failed
    assert await store.jobs.unfinished() == []
    with pytest.raises(JobNotFound):
        await store.jobs.signal("job_none", Signal.FAILED, now=NOW)


async def test_a_cancel_request_is_remembered(store: Store) -> None:
    await store.jobs.insert_intent(new_job())
    assert (await store.jobs.request_cancel("job_ours", now=NOW + 1)).cancel_requested
    await store.jobs.signal("job_ours", Signal.CANCELLED, now=NOW + 2)
    with pytest.raises(JobFinished):
        await store.jobs.request_cancel("job_ours", now=NOW + 3)
    with pytest.raises(JobNotFound):
        await store.jobs.request_cancel("job_none", now=NOW)


async def test_checks_are_noted(store: Store) -> None:
    await store.jobs.insert_intent(new_job())
    await store.jobs.set_checked("job_ours", now=NOW + 1, check_after=NOW + 60)
    job = await store.jobs.get("job_ours")
    assert job is not None and (job.checked_at, job.check_after) == (NOW + 1, NOW + 60)


async def test_the_list_is_newest_first_page_by_page(store: Store) -> None:
    for number in range(7):  # two share each moment: the id decides
        await store.jobs.insert_intent(new_job(f"job_{number}", created_at=NOW + number // 2))
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        page, cursor, total = await store.jobs.list(limit=2, cursor=cursor)
        seen += [job.job_id for job in page]
        assert total == 7
    assert cursor is None
    assert seen == [f"job_{number}" for number in (6, 5, 4, 3, 2, 1, 0)]


async def test_the_list_under_filters(store: Store) -> None:
    for number in range(4):
        await store.jobs.insert_intent(new_job(f"job_{number}", created_at=NOW + number))
    await store.jobs.signal("job_1", Signal.FAILED, now=NOW)
    found, cursor, total = await store.jobs.list(status="pending", limit=2)
    assert ([job.job_id for job in found], total) == (["job_3", "job_2"], 3)
    found, cursor, _ = await store.jobs.list(status="pending", limit=2, cursor=cursor)
    assert ([job.job_id for job in found], cursor) == (["job_0"], None)
    assert await store.jobs.list(provider="another") == ([], None, 0)
    assert (await store.jobs.list(provider="replicate", status="failed"))[2] == 1


@pytest.mark.parametrize("cursor", ["", "?", "e30", "WzEsMl0", "a" * 5000, "é", "WyIxIiwiYSJd"])
async def test_a_broken_cursor_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidRequest):
        await store.jobs.list(cursor=cursor)


async def test_jobs_without_output_are_looked_up_by_their_time(tmp_path: Path) -> None:
    """Every half minute: what was completed before is not read, however much that is."""
    wanted = _WITHOUT_OUTPUT.params(since=NOW)
    text = wanted.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    async with Store.open(None, tmp_path) as store:
        plan = await store.jobs._database.rows(sa.text(f"EXPLAIN QUERY PLAN {text}"))
    assert [row[3] for row in plan] == ["SEARCH jobs USING INDEX jobs_completed (completed_at>?)"]
