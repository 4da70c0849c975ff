"""Deliveries of all jobs: cancelled, listed page by page, tried again, warned of before they expire."""

from __future__ import annotations

import asyncio

import pytest

from daemon.errors import DestinationNotFound, InvalidRequest, JobNotFound, NothingToCancel
from daemon.store.deliveries import CANCELLED
from daemon.store.store import Store
from tests.support.events import NOW, append, body

TWO = {"destinations": [{"name": "hub", "type": "huggingface"}, {"name": "local", "type": "local"}]}


async def completed(store: Store, *names: str) -> list[str]:
    """A completed job for each provider id, a minute apart; our ids."""
    for minutes, name in enumerate(names):
        done = f"2026-01-05T10:{minutes:02}:00Z"
        await append(store, f"msg_{name}", body("succeeded", id=name, output="x", completed_at=done))
    return [f"job_{name}" for name in names]


async def fail(store: Store, job_id: str, destination: str = "local", generation: int = 0) -> None:
    assert await store.deliveries.update(
        job_id, destination, generation=generation, now=NOW, status="failed", error="it is full"
    )


async def statuses(store: Store, job_id: str) -> dict[str, tuple[str, int, str | None]]:
    rows = await store.deliveries.of_job(job_id)
    return {row.destination: (row.status, row.generation, row.error) for row in rows}


async def test_cancelling_ends_what_goes_on_and_fences_its_run(store: Store) -> None:
    await store.settings.put(TWO, now=NOW)
    [job] = await completed(store, "a")
    assert await store.deliveries.cancel(job, ["hub"], now=NOW) == ["hub"]
    assert await statuses(store, job) == {"hub": ("failed", 1, CANCELLED), "local": ("pending", 0, None)}
    assert not await store.deliveries.update(job, "hub", generation=0, now=NOW, status="delivered")
    assert await store.deliveries.active() == [(job, 0, "local")]  # not disturbed

    with pytest.raises(NothingToCancel, match="hub failed"):
        await store.deliveries.cancel(job, ["hub"], now=NOW)
    with pytest.raises(NothingToCancel, match="'nowhere'"):
        await store.deliveries.cancel(job, ["nowhere"], now=NOW)
    with pytest.raises(JobNotFound):
        await store.deliveries.cancel("job_none", None, now=NOW)
    assert await store.deliveries.cancel(job, None, now=NOW) == ["local"]
    assert await store.deliveries.redeliver(job, ["hub"], now=NOW) == 3
    assert (await statuses(store, job))["hub"] == ("pending", 3, None)


async def test_pages_of_failed_deliveries(store: Store) -> None:
    jobs = await completed(store, *"abcde")
    for job in jobs[:4]:
        await fail(store, job)
    seen, cursor = [], None
    while True:
        page, cursor, total = await store.dead_letters.page(status="failed", limit=3, cursor=cursor)
        assert total == 4
        seen += [row.job_id for row in page]
        if cursor is None:
            break
    assert seen == jobs[3::-1]  # newest first, none twice
    assert (await store.dead_letters.page(destination="hub"))[2] == 0
    assert (await store.dead_letters.page())[2] == 5
    assert await store.dead_letters.counts() == {"local": {"failed": 4, "pending": 1}}
    for cursor in ("x", "W10", "é"):
        with pytest.raises(InvalidRequest):
            await store.dead_letters.page(cursor=cursor)


async def test_redrive_tries_the_failed_ones_again(store: Store) -> None:
    await store.settings.put(TWO, now=NOW)
    first, second, third = await completed(store, *"abc")
    for job in (first, second):
        await fail(store, job, "hub")
        await fail(store, job, "local")
    await store.deliveries.cancel(third, ["hub"], now=NOW)

    done = await store.dead_letters.redrive(destination="hub", job_ids=None, now=NOW, limit=1)
    assert (done.redriven, done.skipped, done.more) == ([(second, "hub")], [], True)
    await store.settings.put({"destinations": [{"name": "local", "type": "local"}]}, now=NOW)
    done = await store.dead_letters.redrive(destination=None, job_ids=None, now=NOW, limit=10)
    assert set(done.redriven) == {(first, "local"), (second, "local")} and not done.more
    assert [(job, name) for job, name, reason in done.skipped] == [(first, "hub")]
    assert (await statuses(store, first))["hub"][0] == "failed"
    assert (await statuses(store, third))["hub"] == ("failed", 1, CANCELLED)  # nobody asked for it

    await store.settings.put(TWO, now=NOW)
    done = await store.dead_letters.redrive(destination=None, job_ids=[third], now=NOW, limit=10)
    assert done.redriven == [(third, "hub")]
    assert [row.job_id for row in (await store.dead_letters.dead(limit=10))[0]] == [first]


async def test_redrive_from_two_sides_makes_one_run(store: Store) -> None:
    [job] = await completed(store, "a")
    await fail(store, job)
    both = await asyncio.gather(
        *(store.dead_letters.redrive(destination=None, job_ids=None, now=NOW, limit=10) for _ in range(2))
    )
    assert sum(len(done.redriven) for done in both) == 1
    assert (await statuses(store, job))["local"] == ("pending", 1, None)


async def test_an_output_about_to_expire_is_warned_of_once(store: Store) -> None:
    first, second, third = await completed(store, *"abc")
    deadline = (await store.deliveries.of_job(first))[0].deadline
    assert deadline is not None
    await store.deliveries.update(second, "local", generation=0, now=NOW, status="delivered")

    assert await store.dead_letters.warn_expiring(before=deadline - 1, now=NOW) == []
    [warned] = await store.dead_letters.warn_expiring(before=deadline + 60, now=NOW)
    assert warned.job_id == first
    assert await store.dead_letters.warn_expiring(before=deadline + 60, now=NOW) == []
    [warned] = await store.dead_letters.warn_expiring(before=deadline + 120, now=NOW)
    assert warned.job_id == third
    assert len(await store.dead_letters.expiring(before=deadline + 120)) == 2  # it is so, told or not


async def test_one_destination_is_changed_whatever_else_is(store: Store) -> None:
    await store.settings.put(TWO, now=NOW)
    await asyncio.gather(
        store.settings.change_destination("hub", now=NOW, paused=True),
        store.settings.change_destination("local", now=NOW, concurrency=7),
    )
    found = {one.name: (one.paused, one.concurrency) for one in await store.settings.destinations()}
    assert found == {"hub": (True, 4), "local": (False, 7)}
    with pytest.raises(DestinationNotFound, match="hub, local"):
        await store.settings.change_destination("gone", now=NOW, paused=True)
