"""Events in, events out: once each, in order, byte for byte, whoever else is writing."""

from __future__ import annotations

import asyncio
import random

import pytest

from daemon.core.events import EventKind
from daemon.core.prediction import parse_prediction
from daemon.errors import NotReady
from daemon.store.records import EventRow
from daemon.store.store import Store
from tests.support.events import NOW, PROVIDER_ID, append, body, event

from .conftest import Place

JOB_ID = f"job_{PROVIDER_ID}"


async def test_an_event_is_there_after_append(store: Store) -> None:
    content = body("starting")
    appended = await append(store, "msg_1", content)

    assert (appended.seq, appended.kind, appended.job_id, appended.duplicate) == (1, EventKind.START, JOB_ID, False)
    assert await store.journal.events() == [
        EventRow(
            seq=1,
            webhook_id="msg_1",
            kind=EventKind.START,
            job_id=JOB_ID,
            received_at=NOW,
            source="webhook",
            source_ip="192.0.2.1",
            verified=True,
            body_bytes=len(content),
        )
    ]
    found = await store.journal.body(1)
    assert found is not None and found.body == content
    assert (found.webhook_id, found.timestamp) == ("msg_1", "1767600000")
    assert found.signature is not None and found.signature.startswith("v1,")
    assert await store.journal.last_seq() == 1


async def test_an_empty_journal(store: Store) -> None:
    assert await store.journal.events() == []
    assert await store.journal.body(1) is None
    assert await store.journal.last_seq() == 0
    assert await store.journal.logs("job_none") == ""


async def test_the_same_id_again_changes_nothing(store: Store) -> None:
    first = await append(store, "msg_1", body("starting"))
    again = await append(store, "msg_1", body("succeeded", output="https://replicate.delivery/x"))

    assert again.duplicate and (again.seq, again.kind, again.job_id) == (first.seq, first.kind, first.job_id)
    job = await store.jobs.get(JOB_ID)
    assert job is not None and job.status == "queued" and job.events == 1


async def test_200_tasks_with_one_id_are_one_event(store: Store) -> None:
    content = body("starting")
    results = await asyncio.gather(*(append(store, "msg_1", content) for _ in range(200)))

    assert sum(not result.duplicate for result in results) == 1
    assert {(result.seq, result.kind, result.job_id) for result in results} == {(1, EventKind.START, JOB_ID)}
    assert len(await store.journal.events(limit=1000)) == 1


async def test_many_at_once_keep_their_order(store: Store) -> None:
    contents = [body(logs="x" * number) for number in range(600)]
    results = await asyncio.gather(*(append(store, f"msg_{n}", content) for n, content in enumerate(contents)))

    assert [result.seq for result in results] == list(range(1, 601))
    for number in (0, 1, 299, 599):
        found = await store.journal.body(number + 1)
        assert found is not None and found.body == contents[number]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\x00\xff\xfe not json", b'{"id":1,"status":"starting"}'])
async def test_whatever_is_no_prediction_is_kept_as_it_is(store: Store, content: bytes) -> None:
    appended = await append(store, "msg_1", content)

    assert (appended.kind, appended.job_id) == (EventKind.UNRECOGNIZED, None)
    found = await store.journal.body(appended.seq)
    assert found is not None and found.body == content
    assert await store.jobs.list() == ([], None, 0)


async def test_reading_by_place_job_and_kind(store: Store) -> None:
    for number in range(6):
        await append(store, f"msg_{number}", body("starting", id=f"job{number % 2}", logs="x" * (number // 2)))
    await append(store, "msg_6", b"?")

    assert [row.seq for row in await store.journal.events(after=2, limit=3)] == [3, 4, 5]
    assert [row.seq for row in await store.journal.events(job_id="job_job1")] == [2, 4, 6]
    assert [row.seq for row in await store.journal.events(kind=EventKind.UNRECOGNIZED)] == [7]
    assert [row.seq for row in await store.journal.events(job_id="job_job0", kind=EventKind.START)] == [1]


async def test_text_that_no_database_takes_is_written_out(store: Store) -> None:
    """Headers are whatever arrived; NUL and lone surrogates are refused by one store or both."""
    content = body("failed", error="nul \x00 inside", model="acme/\ud800")
    changes = {"timestamp": "1\x00", "signature": "v1,\udcff", "source_ip": "\x00"}
    appended = await append(store, "msg_\x00\udc80", content, **changes)

    assert (await append(store, "msg_\x00\udc80", content, **changes)).duplicate
    found = await store.journal.body(appended.seq)
    assert found is not None and found.body == content
    assert (found.webhook_id, found.timestamp, found.signature) == (r"msg_\x00\udc80", r"1\x00", r"v1,\udcff")


async def test_an_error_with_nul_is_kept_readable(store: Store) -> None:
    await append(store, "msg_1", body("failed", error="nul \x00 inside", output=["a\x00b"]))
    job = await store.jobs.get(PROVIDER_ID)
    assert job is not None and job.error == r"nul \x00 inside"
    assert job.output is not None and "\x00" not in job.output


async def test_an_id_of_any_length(store: Store) -> None:
    long = "msg_" + random.Random(1).randbytes(20_000).hex()  # no index takes this, nor packs it
    assert not (await append(store, long, body("starting"))).duplicate
    assert (await append(store, long, body("starting"))).duplicate
    assert not (await append(store, long + "x", body("starting"))).duplicate


async def test_one_bad_event_does_not_hurt_the_others(store: Store) -> None:
    content = body("starting")
    bad = event("msg_bad", content, received_at=object())
    prediction = parse_prediction(content)
    results = await asyncio.gather(
        append(store, "msg_1", content),
        store.journal.append(bad, prediction),
        append(store, "msg_2", content),
        return_exceptions=True,
    )

    assert [getattr(result, "duplicate", None) for result in results] == [False, None, False]
    assert isinstance(results[1], Exception) and not isinstance(results[1], NotReady)
    assert [row.webhook_id for row in await store.journal.events()] == ["msg_1", "msg_2"]


async def test_a_caller_that_goes_away_takes_nobody_with_it(store: Store) -> None:
    tasks = [asyncio.create_task(append(store, f"msg_{number}", body("starting"))) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert sum(isinstance(result, asyncio.CancelledError) for result in results) == 7
    assert all(not result.duplicate for result in results if not isinstance(result, BaseException))
    assert not (await append(store, "msg_last", body("starting"))).duplicate


async def test_closing_writes_what_is_waiting(place: Place) -> None:
    async with place.open() as store:
        waiting = [asyncio.create_task(append(store, f"msg_{number}", body("starting"))) for number in range(300)]
        await asyncio.sleep(0)
        journal = store.journal
    assert {(await task).duplicate for task in waiting} == {False}
    with pytest.raises(NotReady):
        await journal.append(event("msg_late", b"{}"), None)
    async with place.open() as store:
        assert len(await store.journal.events(limit=1000)) == 300


async def test_numbers_are_not_used_again(place: Place) -> None:
    async with place.open() as store:
        await append(store, "msg_1", body("starting"))
        await store.journal._database.write(_remove_everything)
        assert (await append(store, "msg_2", body("starting"))).seq == 2


def _remove_everything(connection) -> None:
    from daemon.store.schema import events, jobs

    connection.execute(events.delete())
    connection.execute(jobs.delete())


async def test_a_subscription_hears_of_every_append(store: Store) -> None:
    async with store.journal.subscribe() as changes:
        assert not await changes.wait(0.01)
        await append(store, "msg_1", body("starting"))
        assert await changes.wait(5)
        assert not await changes.wait(0.01)
        store.journal.notify()
        assert await changes.wait(5)


async def test_logs_are_the_longest_that_came(store: Store) -> None:
    await append(store, "msg_1", body(logs="one\n"))
    await append(store, "msg_2", body(logs="one\ntwo\n"))
    assert await store.journal.logs(JOB_ID) == "one\ntwo\n"
    await append(store, "msg_3", body(logs="one\n"))  # late
    await append(store, "msg_4", body("succeeded", logs=None, output=None, data_removed=True))
    assert await store.journal.logs(JOB_ID) == "one\ntwo\n"
    await append(store, "msg_5", body("succeeded", logs="one\ntwo\nthree\n"))
    assert await store.journal.logs(JOB_ID) == "one\ntwo\nthree\n"


async def test_two_daemons_on_one_server(postgres_url: str, tmp_path) -> None:
    """Both receive the same job's events at once: one row, one chain, no number out of order."""
    async with Store.open(postgres_url, tmp_path / "a") as one, Store.open(postgres_url, tmp_path / "b") as two:
        bodies = [body(id=f"shared{number % 5}", logs="line\n" * number) for number in range(200)]
        results = await asyncio.gather(
            *(append(store, f"msg_{n}", content) for n, content in enumerate(bodies) for store in (one, two))
        )
        assert sum(not result.duplicate for result in results) == 200
        assert (await one.jobs.list())[2] == 5
        rows = await two.journal.events(limit=1000)
        assert len(rows) == 200 and {row.job_id for row in rows} == {f"job_shared{number}" for number in range(5)}
        for row in rows:
            found = await one.journal.body(row.seq)
            assert found is not None and found.body == bodies[int(row.webhook_id.removeprefix("msg_"))]
