"""The table of jobs as people look at it."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from daemon.core.jobs import JobStatus
from daemon.store import schema
from daemon.store.job_search import JobSearch
from daemon.store.store import Store
from tests.support.events import NOW, append, body, new_job

MANY = 10_000
PAGE_SECONDS = 1.0  # generous; measured 5 to 40 ms on an idle machine. A plan that is wrong takes 40 s


async def make(store: Store) -> None:
    for number, (status, model) in enumerate(
        [
            ("processing", "acme/flux"),
            ("succeeded", "acme/flux"),
            ("failed", "other/sdxl"),
            ("starting", "other/100%_x"),
        ]
    ):
        content = body(status, id=f"p{number}", model=model, output="x" if status == "succeeded" else None)
        await append(store, f"msg_{number}", content, received_at=NOW + number)


async def found(store: Store, **asked: object) -> list[str]:
    jobs, total = await store.job_searches.page(JobSearch(**asked))  # type: ignore[arg-type]
    assert total == len(jobs)
    return [str(job.provider_job_id) for job in jobs]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["p3", "p2", "p1", "p0"]),
        ({"descending": False}, ["p0", "p1", "p2", "p3"]),
        ({"text": "FLUX"}, ["p1", "p0"]),
        ({"text": "acme p1"}, ["p1"]),
        ({"text": "100%_X"}, ["p3"]),  # wildcards are plain characters
        ({"text": "%"}, ["p3"]),
        ({"text": "nothing\x00\ud800"}, []),
        ({"statuses": frozenset({JobStatus.FAILED, JobStatus.QUEUED})}, ["p3", "p2"]),
        ({"delivery": "pending"}, ["p1"]),
        ({"delivery": "failed"}, []),
        ({"sort": "status", "descending": False}, ["p0", "p3", "p2", "p1"]),
        ({"sort": "name", "descending": False}, ["p0", "p1", "p3", "p2"]),
        ({"sort": "updated"}, ["p3", "p2", "p1", "p0"]),
        ({"text": "other", "statuses": frozenset({JobStatus.FAILED})}, ["p2"]),
    ],
)
async def test_searched_filtered_and_sorted(store: Store, asked: dict[str, object], expected: list[str]) -> None:
    await make(store)
    assert await found(store, **asked) == expected


async def test_page_by_page(store: Store) -> None:
    await make(store)
    seen = []
    for offset in (0, 3, 6):
        jobs, total = await store.job_searches.page(JobSearch(sort="name", limit=3, offset=offset))
        assert total == 4
        seen += [job.provider_job_id for job in jobs]
    assert sorted(map(str, seen)) == ["p0", "p1", "p2", "p3"]


async def test_counted(store: Store) -> None:
    assert await store.job_searches.counts() == {}
    await make(store)
    assert await store.job_searches.counts() == {"running": 1, "completed": 1, "failed": 1, "queued": 1}
    assert await store.job_searches.failed_deliveries() == 0
    await store.deliveries.update("job_p1", "local", generation=0, now=NOW, status="failed")
    assert await store.job_searches.failed_deliveries() == 1


async def test_ten_thousand_jobs(store: Store) -> None:
    job, _ = await store.jobs.insert_intent(new_job(request="x" * 2000))

    def fill(connection: sa.Connection) -> None:
        row = connection.execute(sa.select(schema.jobs).where(schema.jobs.c.job_id == job.job_id)).one()
        rows = [
            {**row._mapping, "job_id": f"job_{number}", "created_at": NOW + number, "model": f"acme/model-{number % 7}"}
            for number in range(MANY - 1)
        ]
        connection.execute(schema.jobs.insert(), rows)
        delivery = {"destination": "local", "type": "local", "generation": 0, "attempts": 0, "bytes_done": 0}
        delivery |= {"status": "delivered", "updated_at": NOW}
        connection.execute(schema.deliveries.insert(), [delivery | {"job_id": row["job_id"]} for row in rows])

    await store.jobs._database.write(fill)
    for asked in (
        JobSearch(),
        JobSearch(offset=MANY - 50),
        JobSearch(text="model-3"),
        JobSearch(sort="name", descending=False),
        JobSearch(sort="status"),
        JobSearch(delivery="delivered"),
    ):
        quickest = float("inf")
        for _ in range(5):  # other processes may be at work
            began = time.perf_counter()
            jobs, _ = await store.job_searches.page(asked)
            quickest = min(quickest, time.perf_counter() - began)
        assert len(jobs) == 50
        assert quickest < PAGE_SECONDS, asked
