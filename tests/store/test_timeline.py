"""A job's newest events, and when something last came which way."""

from __future__ import annotations

from daemon.core.events import EventKind
from daemon.store.store import Store
from tests.support.events import NOW, PROVIDER_ID, append, body

JOB_ID = f"job_{PROVIDER_ID}"


async def test_newest_first_with_their_growth(store: Store) -> None:
    bodies = [body(logs="a" * length) for length in (10, 1000, 400)]
    for number, content in enumerate(bodies):
        await append(store, f"msg_{number}", content)
    await append(store, "msg_other", body(id="other"))

    found, older = await store.timeline.newest(JOB_ID, 2)
    assert [(one.event.webhook_id, one.grew) for one in found] == [("msg_2", -600), ("msg_1", 990)]
    assert older
    found, older = await store.timeline.newest(JOB_ID, 3)
    assert (found[-1].grew, older) == (len(bodies[0]), False)
    assert found == [*found]
    row = (await store.journal.events(after=0, limit=1))[0]
    assert found[-1].event == row
    assert await store.timeline.newest("job_none", 3) == ([], False)


async def test_the_last_of_each_way(store: Store) -> None:
    assert await store.arrivals.last("webhook") is None
    await append(store, "msg_1", body(), received_at=NOW)
    await append(store, "poll_1", body(logs="x"), received_at=NOW + 5, source="poll")
    assert (await store.arrivals.last("webhook"), await store.arrivals.last("poll")) == (NOW, NOW + 5)
    await append(store, "poll_2", body(logs="xy"), received_at=NOW + 9, source="poll")
    assert (await store.arrivals.last("webhook"), await store.arrivals.last("poll")) == (NOW, NOW + 9)


async def test_newest_first_by_job_and_kind_page_by_page(store: Store) -> None:
    for number in range(4):
        await append(store, f"msg_{number}", body("processing", id="ab"[number % 2], logs="x" * number))
    await append(store, "msg_end", body("succeeded", id="a"))
    everything = await store.timeline.before(None, 10)
    numbers = [event.seq for event in everything]
    assert numbers == sorted(numbers, reverse=True) and len(numbers) == 5
    assert [event.seq for event in await store.timeline.before(numbers[1], 2)] == numbers[2:4]
    assert {event.job_id for event in await store.timeline.before(None, 10, job_id="job_a")} == {"job_a"}
    [end] = await store.timeline.before(None, 10, kind=EventKind.COMPLETED)
    assert end.webhook_id == "msg_end"
    assert await store.timeline.before(None, 10, job_id="nothing\0") == []
