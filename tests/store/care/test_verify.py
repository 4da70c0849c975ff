"""Every kind of damage is found by what it is; an undamaged store has none."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from daemon.store.care.place import Place
from daemon.store.care.rebuild import rebuild
from daemon.store.care.verify import Report, verify
from daemon.store.records import Job
from tests.store.care.conftest import EVENTS, KEY, OLD, prediction
from tests.store.conftest import Place as StorePlace
from tests.support.events import NOW, append, body, due_deliveries, new_job

DERIVED = (
    "UPDATE jobs SET status = 'pending', provider_status = NULL, started_at = NULL, completed_at = NULL, output = NULL,"
    " error = NULL, progress = NULL, predict_time = NULL, cost_usd = NULL, events = 0, logs_chars = 0,"
    " output_digest = NULL, last_seq = NULL, logs_seq = NULL"
)


def look(place: Place, keys: list[bytes] | None = None) -> Report:
    with place.engine() as engine, engine.connect() as connection:
        return verify(connection, [KEY] if keys is None else keys)


def change(place: Place, statement: str) -> None:
    with place.engine(writing=True) as engine, engine.begin() as connection:
        assert connection.execute(sa.text(statement)).rowcount > 0


def mend(place: Place, *, dry_run: bool = False) -> list[tuple[str, list[str]]]:
    with place.engine(writing=True) as engine, engine.begin() as connection:
        return [(one.job_id, one.columns) for one in rebuild(connection, dry_run=dry_run).mended]


def all_jobs(place: StorePlace) -> list[Job]:
    async def read() -> list[Job]:
        async with place.open() as store:
            return (await store.jobs.list(limit=100))[0]

    return asyncio.run(read())


def test_a_sound_store_has_nothing_wrong(care: Place) -> None:
    report = look(care)
    assert report.findings == []
    assert (report.events, report.bodies, report.jobs) == (3 * EVENTS + 1, 3 * EVENTS + 1, 3)
    assert (report.valid, report.invalid, report.unsigned, report.unknown) == (3 * EVENTS, 0, 1, 0)


def test_without_a_secret_signatures_are_not_judged(care: Place) -> None:
    report = look(care, [])
    assert (report.found, report.unknown) == (0, 3 * EVENTS)


def test_with_another_secret_every_signature_is_wrong(care: Place) -> None:
    report = look(care, [b"another"])
    assert (report.invalid, report.found) == (3 * EVENTS, 3 * EVENTS)


def test_an_id_that_could_not_be_the_key_is_verified_as_it_was_sent(care: Place) -> None:
    renamed = "webhook_id_sent = CAST(webhook_id AS {type}), webhook_id = 'hashed_1' WHERE webhook_id = 'msg_running_3'"
    with care.engine(writing=True) as engine, engine.begin() as connection:
        type_ = "BLOB" if engine.dialect.name == "sqlite" else "BYTEA"
        assert connection.execute(sa.text(f"UPDATE events SET {renamed.format(type=type_)}")).rowcount == 1
    assert (look(care).invalid, look(care).valid) == (0, 3 * EVENTS)


DAMAGE = {
    "body": "UPDATE events SET body_crc32 = body_crc32 + 1 WHERE webhook_id = 'msg_running_3'",
    "signature": "UPDATE events SET webhook_timestamp = '1' WHERE webhook_id = 'msg_running_3'",
    "kind": "UPDATE events SET kind = 'output' WHERE webhook_id = 'msg_running_3'",
    "job": "UPDATE jobs SET status = 'failed' WHERE job_id = 'job_foreign'",
    "delivery": "INSERT INTO deliveries "
    "(job_id, destination, type, generation, status, attempts, bytes_done, updated_at)"
    " VALUES ('nobody', 'local', 'local', 0, 'delivered', 1, 1, 1)",
    "artifact": "INSERT INTO artifacts (job_id, name, bytes, sha256) VALUES ('nobody', 'x', 1, 'y')",
}


@pytest.mark.parametrize("check", DAMAGE)
def test_damage_is_named(care: Place, check: str) -> None:
    change(care, DAMAGE[check])
    assert check in {finding.check for finding in look(care).findings}


def test_a_body_whose_base_is_gone_is_named_with_all_that_stand_on_it(care: Place) -> None:
    change(care, "DELETE FROM events WHERE webhook_id = 'msg_running_3'")
    report = look(care)
    lost = [finding.seq for finding in report.findings if finding.check == "body"]
    assert len(lost) == report.damaged == EVENTS - 4
    assert any("counts" in finding.detail for finding in report.findings)


def test_a_sequence_that_would_give_numbers_out_again_is_named(care: Place) -> None:
    if care.file is not None:
        change(care, "UPDATE sqlite_sequence SET seq = 3 WHERE name = 'events'")
    else:
        with care.engine(writing=True) as engine, engine.begin() as connection:
            connection.exec_driver_sql("SELECT setval(pg_get_serial_sequence('events', 'seq'), 3)")
    assert "sequence" in {finding.check for finding in look(care).findings}


def test_rows_are_equal_before_and_after_they_were_made_anew(care: Place, place: StorePlace) -> None:
    before = all_jobs(place)
    assert mend(care) == []
    change(care, DERIVED)
    would = mend(care, dry_run=True)
    assert [job_id for job_id, _ in would] == ["job_foreign", "job_ours", "job_running"]
    assert look(care).found > 0
    assert mend(care) == would
    assert all_jobs(place) == before
    assert look(care).findings == []


def test_a_row_that_is_gone_is_made_anew(care: Place, place: StorePlace) -> None:
    before = all_jobs(place)
    change(care, "DELETE FROM deliveries WHERE job_id = 'job_foreign'")
    change(care, "DELETE FROM jobs WHERE job_id IN ('job_foreign', 'job_running')")
    assert sorted(mend(care)) == [("job_foreign", []), ("job_running", [])]
    assert all_jobs(place) == before

    async def due() -> list[tuple[str, int]]:
        async with place.open() as store:
            return await due_deliveries(store)

    assert asyncio.run(due()) == [("job_foreign", 0)]


def test_what_no_event_told_is_kept(place: StorePlace) -> None:
    """A submit that was refused, one that only waits, one whose create call already answered that it is over, one that
    was given up and succeeded all the same."""

    async def make() -> None:
        async with place.open() as store:
            from daemon.core.jobs import Signal
            from daemon.core.prediction import parse_prediction

            for name in ("refused", "waiting", "quick", "unheard"):
                await store.jobs.insert_intent(new_job(f"job_{name}", created_at=OLD))
            await store.jobs.signal("job_refused", Signal.FAILED, now=NOW, error="no credit")
            await store.jobs.signal("job_waiting", Signal.UPLOAD, now=NOW)
            answer = prediction("quick", 3, last=True, completed_at="2025-09-27T10:00:00Z")
            await store.jobs.bind_provider("job_quick", "quick", now=NOW, prediction=parse_prediction(answer))
            await store.jobs.signal("job_unheard", Signal.FAILED, now=NOW, error="no answer")
            for word, output in (("starting", None), ("processing", ["a"]), ("succeeded", ["a", "b"])):
                told = body(word, id="unheard", output=output)
                await append(store, word, told, job_hint="job_unheard", received_at=NOW, verified=False)
            await append(store, "late", body("processing", id="quick", logs="a"), received_at=NOW, verified=False)

    asyncio.run(make())
    care = Place.of(place.url, place.data_dir)
    before = all_jobs(place)
    assert mend(care) == []
    assert look(care).findings == []
    assert all_jobs(place) == before


def test_a_job_of_which_bodies_were_pruned_is_left_as_it_is(care: Place, place: StorePlace) -> None:
    change(care, "UPDATE events SET pruned_at = 1, middle = '' WHERE webhook_id = 'msg_foreign_0'")
    change(care, "UPDATE jobs SET cost_usd = 99 WHERE job_id = 'job_foreign'")
    assert mend(care) == []
    assert [job.cost_usd for job in all_jobs(place) if job.job_id == "job_foreign"] == [99]
