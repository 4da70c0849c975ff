"""Bodies in the database: how much is kept, how chains end, what damage looks like. Sizes are asserted, never times."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
import zstandard

from daemon.errors import JournalDamaged
from daemon.store import bodies, growth
from daemon.store.bodies import LastBodies, LastBody
from daemon.store.schema import events
from daemon.store.store import Store
from tests.support.events import PROVIDER_ID, append
from tests.support.training_log import training_log

from .conftest import Place

JOB_ID = f"job_{PROVIDER_ID}"


class Growing(Sequence[bytes]):
    """``count`` bodies, each with the log so far, as Replicate sends them; made when asked for: all are gigabytes."""

    def __init__(self, log: str, count: int) -> None:
        self._log = json.dumps(log, ensure_ascii=False)[1:-1].encode()
        starts = [found.start() for found in re.finditer(rb"\\", self._log)]  # no escape is cut in two
        self._cuts = [starts[len(starts) * number // count] for number in range(1, count)] + [len(self._log)]

    def __len__(self) -> int:
        return len(self._cuts)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        head = f'{{"completed_at":null,"error":null,"id":"{PROVIDER_ID}","logs":"'.encode()
        return head + self._log[: self._cuts[index]] + b'","metrics":{},"output":null,"status":"processing"}'


async def _kept(store: Store) -> tuple[int, int]:
    """(bytes of all stored middles, number of whole bodies)."""
    row = await store.journal._database.first(
        sa.select(
            sa.func.sum(sa.func.length(events.c.middle)), sa.func.count().filter(events.c.whole_seq.is_(None))
        ).select_from(events)
    )
    assert row is not None
    return int(row[0]), int(row[1])


async def test_a_log_of_10_mb_in_500_events_is_kept_in_its_compressed_size(tmp_path: Path) -> None:
    """On SQLite only: the columns are the same in both, and 2.5 GB through the journal take a while."""
    place = Place(None, tmp_path / "data")
    all_bodies = Growing(training_log(60_000, seed=1), 500)
    async with place.open() as store:
        for number, content in enumerate(all_bodies):
            await append(store, f"msg_{number}", content)
        kept, _ = await _kept(store)
        once = len(zstandard.compress(all_bodies[-1], 3))
        assert len(all_bodies[-1]) > 9_000_000
        assert kept < 1.6 * once
        assert kept < 0.2 * len(all_bodies[-1])
    async with place.open() as store:  # nothing in memory
        for seq in (1, 2, 250, 499, 500):
            found = await store.journal.body(seq)
            assert found is not None and found.body == all_bodies[seq - 1]


@pytest.mark.parametrize("order", ["in order", "shuffled", "reversed", "twice"])
async def test_bodies_of_any_order_come_back_after_a_restart(place: Place, order: str) -> None:
    all_bodies = Growing(training_log(2500, seed=2), 120)[:]
    if order == "shuffled":
        random.Random(3).shuffle(all_bodies)
    elif order == "reversed":
        all_bodies.reverse()
    elif order == "twice":
        all_bodies = [content for content in all_bodies for _ in range(2)]
    async with place.open() as store:
        for number, content in enumerate(all_bodies[:60]):
            await append(store, f"msg_{number}", content)
    async with place.open() as store:  # the last body must be rebuilt for the chain to go on
        for number, content in enumerate(all_bodies[60:], 60):
            await append(store, f"msg_{number}", content)
        kept, _ = await _kept(store)
        assert kept < sum(len(zstandard.compress(content)) for content in all_bodies)
    async with place.open() as store:
        for number in random.Random(4).sample(range(len(all_bodies)), 60):
            found = await store.journal.body(number + 1)
            assert found is not None and found.body == all_bodies[number]


@pytest.mark.parametrize("order", ["shuffled", "reversed"])
async def test_how_much_is_read_for_one_body_has_a_bound_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """Counted, not timed (bench/journal.py has the time): rows of the chain, and bytes that are unpacked of them."""
    log = training_log(500, seed=7)
    all_bodies = Growing(log, bodies.CHAIN_EVENTS + 300)[:]
    if order == "shuffled":
        random.Random(8).shuffle(all_bodies)
    else:
        all_bodies.reverse()
    place, unpacked = Place(None, tmp_path / "data"), 0
    async with place.open() as store:
        await asyncio.gather(*(append(store, f"msg_{number}", content) for number, content in enumerate(all_bodies)))
        rows = await store.journal._database.rows(sa.select(events.c.seq, events.c.whole_seq))
    assert max(row.seq - (row.whole_seq or row.seq) for row in rows) < bodies.CHAIN_EVENTS
    decompress = growth._decompress

    def counted(data: bytes, size: int) -> bytes:
        nonlocal unpacked
        unpacked += size
        return decompress(data, size)

    monkeypatch.setattr(growth, "_decompress", counted)
    most = max(len(content) for content in all_bodies)
    async with place.open() as store:
        for number in [*random.Random(9).sample(range(len(all_bodies)), 100), len(all_bodies) - 1]:
            unpacked = 0
            found = await store.journal.body(number + 1)
            assert found is not None and found.webhook_id == f"msg_{number}" and found.body == all_bodies[number]
            assert unpacked <= 2 * most, number


async def test_a_chain_goes_on_after_a_restart(place: Place) -> None:
    grown = Growing(training_log(300, seed=5), 20)
    for number, content in enumerate(grown):
        async with place.open() as store:
            await append(store, f"msg_{number}", content)
    async with place.open() as store:
        assert (await _kept(store))[1] < 4
        for number, content in enumerate(grown):
            found = await store.journal.body(number + 1)
            assert found is not None and found.body == content


async def test_what_has_nothing_in_common_is_kept_whole(store: Store) -> None:
    randomness = random.Random(6)
    contents = [
        json.dumps({"id": PROVIDER_ID, "status": "processing", "logs": randomness.randbytes(3000).hex()}).encode()
        for _ in range(20)
    ]
    for number, content in enumerate(contents):
        await append(store, f"msg_{number}", content)
    kept, whole = await _kept(store)
    assert whole >= 7
    assert kept < 1.1 * sum(len(zstandard.compress(content)) for content in contents)


async def test_a_chain_ends_by_its_length_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "CHAIN_EVENTS", 5)
    for number in range(12):
        await append(store, f"msg_{number}", Growing("abc" * 10 + "x" * number, 1)[0])
    rows = await store.journal._database.rows(sa.select(events.c.whole_seq).order_by(events.c.seq))
    assert [row[0] for row in rows] == [None, 1, 1, 1, 1, None, 6, 6, 6, 6, None, 11]


async def _damage(store: Store, **columns: object) -> None:
    statement = events.update().where(events.c.seq == 1).values(**columns)
    await store.journal._database.write(lambda connection: connection.execute(statement).rowcount)


@pytest.mark.parametrize("columns", [{"middle": b"rubbish"}, {"body_crc32": 1}, {"body_bytes": 3}])
async def test_damage_is_said_and_new_events_are_still_taken(place: Place, columns: dict[str, object]) -> None:
    grown = Growing("line\n" * 50, 3)
    async with place.open() as store:
        for number, content in enumerate(grown[:2]):
            await append(store, f"msg_{number}", content)
        await _damage(store, **columns)
    async with place.open() as store:
        with pytest.raises(JournalDamaged, match="event 1"):
            await store.journal.body(1)
        await append(store, "msg_2", grown[2])
    async with place.open() as store:
        found = await store.journal.body(3)
        assert found is not None and found.body == grown[2]


def test_last_bodies_are_bounded_in_bytes() -> None:
    cache = LastBodies(limit=5000)
    for number in range(100):
        body = bytes(1000)
        cache.keep({f"job_{number}": LastBody(number, body, number, 9, 1000, 0, 1)})
        if number:
            assert cache.get("job_0", 0) is not None or number > 3  # kept by being used
        assert cache.bytes <= 5000
    assert cache.get("job_99", 99) is not None and cache.get("job_99", 98) is None
    assert cache.get("job_50", 50) is None
    cache.keep({"job_big": LastBody(1, bytes(6000), 1, 9, 6000, 0, 1)})
    assert cache.bytes <= 5000 and cache.get("job_big", 1) is None
