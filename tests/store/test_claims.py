"""Claims on intents, and what is noted of their create calls."""

from __future__ import annotations

import pytest

from daemon.core.jobs import Signal
from daemon.store.records import Job
from daemon.store.store import Store
from tests.support.events import new_job

NOW = 1_700_000_000.0


async def an_intent(store: Store) -> None:
    await store.jobs.insert_intent(new_job("job_1", idempotency_key="k"))


async def the_job(store: Store) -> Job:
    job = await store.jobs.get("job_1")
    assert job is not None
    return job


async def sending(store: Store, owner: str = "a", *, before: int = 0, now: float = NOW) -> bool:
    return await store.claims.sending("job_1", owner, now=now, until=now + 10, before=before)


async def test_one_owner_at_a_time(store: Store) -> None:
    await an_intent(store)
    assert await store.claims.take("job_1", "a", now=NOW, until=NOW + 10)
    assert not await store.claims.take("job_1", "b", now=NOW + 9, until=NOW + 20)
    assert await store.claims.take("job_1", "b", now=NOW + 10, until=NOW + 20)
    assert not await store.claims.take("job_1", "a", now=NOW + 10, until=NOW + 20)


async def test_what_has_ended_is_nobodys_to_send(store: Store) -> None:
    await an_intent(store)
    await store.jobs.signal("job_1", Signal.FAILED, now=NOW, error="refused")
    assert not await store.claims.take("job_1", "a", now=NOW, until=NOW + 10)
    assert not await sending(store)


async def test_nobody_sends_who_does_not_know_of_an_earlier_call(store: Store) -> None:
    await an_intent(store)
    assert await sending(store)
    await store.claims.release("job_1", "a")
    assert not await sending(store, "b")
    assert (await the_job(store)).sends == 1
    assert await sending(store, "b", before=1, now=NOW + 1)
    job = await the_job(store)
    assert (job.sends, job.sent_at) == (2, NOW + 1)


async def test_a_call_without_effect_is_taken_back(store: Store) -> None:
    await an_intent(store)
    await sending(store)
    assert await store.claims.unsent("job_1", "a") is True
    job = await the_job(store)
    assert (job.sends, job.sent_at) == (0, None)
    assert await store.claims.unsent("job_1", "b") is False
    assert (await the_job(store)).sends == 0


async def test_of_two_calls_the_other_one_stays(store: Store) -> None:
    await an_intent(store)
    await sending(store)
    await sending(store, before=1, now=NOW + 1)
    await store.claims.unsent("job_1", "a")
    job = await the_job(store)
    assert (job.sends, job.sent_at) == (1, NOW + 1)


@pytest.mark.parametrize(
    ("signal", "was_sent", "kept"),
    [(Signal.FAILED, False, False), (Signal.FAILED, True, True), (Signal.CANCELLED, False, True)],
)
async def test_a_failed_job_that_was_never_sent_gives_its_key_back(
    store: Store, signal: Signal, was_sent: bool, kept: bool
) -> None:
    await an_intent(store)
    if was_sent:
        await sending(store)
    job = await store.jobs.signal("job_1", signal, now=NOW)
    assert (job.idempotency_key == "k") is kept
    again, existed = await store.jobs.insert_intent(new_job("job_2", idempotency_key="k"))
    assert (again.job_id, existed) == (("job_1", True) if kept else ("job_2", False))


async def test_what_the_provider_has_keeps_its_key(store: Store) -> None:
    await an_intent(store)
    await store.jobs.bind_provider("job_1", "abc", now=NOW, prediction=None)
    job = await store.jobs.signal("job_1", Signal.FAILED, now=NOW)
    assert job.idempotency_key == "k"


async def test_a_call_that_is_tried_again_is_one_call(store: Store) -> None:
    await an_intent(store)
    await sending(store)
    assert await store.claims.sending("job_1", "a", now=NOW + 5, until=NOW + 15, before=1, again=True)
    job = await the_job(store)
    assert (job.sends, job.sent_at) == (1, NOW + 5)
    assert not await store.claims.sending("job_1", "b", now=NOW + 6, until=NOW + 16, before=1, again=True)
