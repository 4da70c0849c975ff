"""What goes is what was asked for; what stays is read byte for byte at every moment."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from daemon.errors import BodyPruned
from daemon.store.care import prune as prune_module
from daemon.store.care.place import Place
from daemon.store.care.prune import PruneClass, Pruned, Pruner
from daemon.store.care.space import release_some, rewrite
from daemon.store.care.verify import verify
from daemon.store.schema import events, jobs
from daemon.store.store import Store
from tests.store.care.conftest import EVENTS, KEY, OLD, prediction, run_job
from tests.store.conftest import Place as StorePlace
from tests.support.events import NOW, append

BEFORE = NOW - 50 * 86_400.0


def prune(place: Place, which: PruneClass, *, before: float = BEFORE) -> Pruned:
    pruner, total = Pruner(which, before=before, now=NOW), Pruned()
    with place.engine(writing=True) as engine, engine.connect() as connection:
        with connection.begin():
            counted = pruner.count(connection)
        while True:
            with connection.begin():
                some = pruner.some(connection)
            if not some:
                break
            total.add(some)
    expected = (total.bodies, total.jobs, total.events)
    assert (counted.bodies, counted.jobs, counted.events) == expected  # what a dry run says is what happens
    assert which == "bodies" or counted.bytes == total.bytes
    return total


def check(place: Place) -> None:
    with place.engine() as engine, engine.connect() as connection:
        report = verify(connection, [KEY])
    assert report.findings == []


async def bodies_of(store: Store) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for row in await store.journal.events(limit=10_000):
        try:
            content = await store.journal.body(row.seq)
            found[row.webhook_id] = None if content is None else content.body
        except BodyPruned:
            found[row.webhook_id] = None
    return found


def read(place: StorePlace) -> dict[str, bytes | None]:
    async def run() -> dict[str, bytes | None]:
        async with place.open() as store:
            return await bodies_of(store)

    return asyncio.run(run())


def test_bodies_of_finished_jobs_go_and_what_says_how_it_ended_stays(
    care: Place, place: StorePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune_module, "BATCH_EVENTS", 5)
    before = read(place)
    done = prune(care, "bodies")
    assert done.bodies == 2 * (EVENTS - 1)
    assert done.bytes > 0
    after = read(place)
    assert after.keys() == before.keys()  # each event is listed still
    kept = {webhook_id for webhook_id, content in after.items() if content is not None}
    last = EVENTS - 1
    running = {f"msg_running_{step}" for step in range(EVENTS)}
    assert kept == {f"msg_ours_{last}", f"msg_foreign_{last}", "odd", *running}
    assert all(after[webhook_id] == before[webhook_id] for webhook_id in kept)
    check(care)


def test_whole_jobs_go_with_all_that_is_theirs(care: Place, place: StorePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune_module, "BATCH_EVENTS", 7)
    done = prune(care, "jobs")
    assert (done.jobs, done.events) == (2, 2 * EVENTS)
    assert read(place).keys() == {"odd", *(f"msg_running_{step}" for step in range(EVENTS))}
    with care.engine() as engine, engine.connect() as connection:
        assert connection.execute(sa.select(jobs.c.job_id)).scalars().all() == ["job_running"]
        for table in ("deliveries", "artifacts"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() == 0
    check(care)


def test_unrecognized_events_go_by_their_age(care: Place, place: StorePlace) -> None:
    assert prune(care, "unrecognized", before=OLD - 1) == Pruned()
    assert prune(care, "unrecognized").events == 1
    assert "odd" not in read(place)
    check(care)


@pytest.mark.parametrize("status", ["pending", "running"])
def test_what_a_delivery_still_needs_stays(care: Place, place: StorePlace, status: str) -> None:
    with care.engine(writing=True) as engine, engine.begin() as connection:
        connection.execute(sa.text("UPDATE deliveries SET status = :status"), {"status": status})
    before = read(place)
    assert prune(care, "bodies") == Pruned()
    assert prune(care, "jobs") == Pruned()
    assert read(place) == before


def test_what_ended_lately_stays(care: Place) -> None:
    assert prune(care, "bodies", before=OLD) == Pruned()
    assert prune(care, "jobs", before=OLD) == Pruned()


async def test_an_event_that_comes_late_to_a_pruned_job_is_kept_whole(place: StorePlace) -> None:
    """The daemon runs on with the job's last body in its memory while another process prunes."""
    care = Place.of(place.url, place.data_dir)
    async with place.open() as store:
        await run_job(store, "late", at=OLD)
        await store.deliveries.update("job_late", "local", generation=0, now=OLD, status="delivered")
        await asyncio.to_thread(prune, care, "bodies")
        late = prediction("late", EVENTS - 1, last=True, note="again")
        await append(store, "late_1", late, received_at=NOW, verified=False)
        await append(store, "late_2", late + b" ", received_at=NOW, verified=False)
        await asyncio.to_thread(prune, care, "jobs", before=NOW + 1)
        await append(store, "late_3", late + b"  ", received_at=NOW, verified=False)  # a job of its own now
        assert await bodies_of(store) == {"late_3": late + b"  "}
    async with place.open() as store:  # nothing in memory
        assert await bodies_of(store) == {"late_3": late + b"  "}
    check(care)


async def test_bodies_before_and_after_a_prune_are_read_by_a_daemon_that_knows_nothing(place: StorePlace) -> None:
    care = Place.of(place.url, place.data_dir)
    async with place.open() as store:
        await run_job(store, "late", at=OLD)
        await store.deliveries.update("job_late", "local", generation=0, now=OLD, status="delivered")
        await asyncio.to_thread(prune, care, "bodies")
        late = prediction("late", EVENTS - 1, last=True, note="again")
        await append(store, "late_1", late, received_at=NOW, verified=False)
    async with place.open() as store:
        await append(store, "late_2", late + b" ", received_at=NOW, verified=False)
        found = await bodies_of(store)
        assert (found["late_1"], found["late_2"]) == (late, late + b" ")
        assert await store.journal.logs("job_late") != ""
    check(care)


def test_a_job_with_a_damaged_body_is_left_alone(care: Place) -> None:
    with care.engine(writing=True) as engine, engine.begin() as connection:
        last = events.c.webhook_id == f"msg_foreign_{EVENTS - 1}"
        connection.execute(events.update().where(last).values(body_crc32=1))
    pruner, total = Pruner("bodies", before=BEFORE, now=NOW), Pruned()
    with care.engine(writing=True) as engine, engine.begin() as connection:
        while some := pruner.some(connection):
            total.add(some)
        left = connection.execute(
            sa.select(sa.func.count()).where(events.c.job_id == "job_foreign", events.c.pruned_at.is_(None))
        ).scalar_one()
    assert total.bodies == EVENTS - 1
    assert (left, pruner.damaged) == (EVENTS, {"job_foreign"})


def test_the_file_shrinks(tmp_path: Path) -> None:
    place = StorePlace(None, tmp_path / "data")

    async def fill() -> None:
        async with place.open() as store:
            for number in range(40):
                await append(store, f"odd{number}", bytes(range(256)) * 4 + number.to_bytes(4) * 4096, received_at=OLD)
                await append(store, f"noise{number}", _noise(number), received_at=OLD)

    asyncio.run(fill())
    care = Place.of(None, place.data_dir)
    assert care.file is not None
    large = care.file.stat().st_size
    prune(care, "unrecognized")
    with care.engine(writing=True) as engine, engine.connect() as connection:
        while True:
            with connection.begin():
                if not release_some(connection):
                    break
    assert care.file.stat().st_size < large / 2
    rewrite(care)
    check(care)


def _noise(seed: int) -> bytes:
    import random

    return random.Random(seed).randbytes(16_384)


async def test_the_daemon_prunes_by_its_settings(place: StorePlace) -> None:
    async with place.open() as store:
        await run_job(store, "old", at=OLD)
        await store.deliveries.update("job_old", "local", generation=0, now=OLD, status="delivered")
        await run_job(store, "fresh", at=NOW - 86_400.0)
        keeper = store.housekeeper({"bodies": 30.0, "jobs": 90.0}, lambda: NOW)
        done = await keeper.tidy()
        assert done["bodies"].bodies == EVENTS - 1
        assert (done["jobs"].jobs, done["jobs"].events) == (1, EVENTS)
        assert [row.job_id for row in await store.jobs.unfinished()] == []
        assert await store.jobs.get("job_old") is None
        assert await store.jobs.get("job_fresh") is not None
        assert await store.housekeeper({}, lambda: NOW).tidy() == {}
