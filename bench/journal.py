"""What the journal keeps of cumulative logs, and how long it takes to give a body back."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import uvloop
import zstandard

from daemon.core.prediction import parse_prediction
from daemon.store.records import IncomingEvent
from daemon.store.store import Store

from . import servers
from .bodies import log_text
from .report import Limit, Table

NOW = 1_767_600_000.0
_TOGETHER = 4  # events under way at once: a sender that does not wait for the answer before its next
_SAMPLES = 400  # bodies that are read back, evenly spread, the last one among them
_READS = 3  # of each body; the quickest counts: nothing is cached between them, and the machine pauses at times
KEPT_TO_ONCE = 2.0  # kept, of all bodies, for each byte of the log compressed in one piece; for a long training
REBUILD_MS = 50.0


class Case(msgspec.Struct):
    name: str
    log_bytes: int
    events: int
    window: int = 1  # arrivals are shuffled within so many: 1 is in order
    backwards: bool = False
    long: bool = False  # whole bodies of a short one weigh more than its growth


CASES = (
    Case("1 MB log, 500 events", 1_000_000, 500),
    Case("10 MB log, 2,000 events", 10_000_000, 2_000, long=True),
    Case("5 MB log, 5,000 events", 5_000_000, 5_000),
    Case("5 MB log, 5,000 events, out of order", 5_000_000, 5_000, window=8),
    Case("5 MB log, 5,000 events, shuffled", 5_000_000, 5_000, window=5_000),
    Case("5 MB log, 5,000 events, backwards", 5_000_000, 5_000, backwards=True),
)


class Bodies:
    """The bodies of one job, each with the whole log so far; escaped once, then cut."""

    def __init__(self, case: Case) -> None:
        log = log_text(1, case.log_bytes)
        self.log_bytes = len(log.encode())
        self.escaped = json.dumps(log, ensure_ascii=False)[1:-1].encode()
        # Cuts at line ends ("\r" begins a line), so that no escape is cut in two.
        starts = [at for at in range(len(self.escaped)) if self.escaped.startswith(b"\\r", at)]
        self.cuts = [starts[len(starts) * number // case.events] for number in range(1, case.events)]
        self.cuts.append(len(self.escaped))

    def body(self, number: int) -> bytes:
        tail = b'","output":null,"error":null,"status":"processing","metrics":{"batch":%d}}' % number
        return b'{"id":"bench000000000000000000000","logs":"' + self.escaped[: self.cuts[number]] + tail


def measure(folder: Path, *, progress: Callable[[str], None]) -> tuple[Table, list[Limit]]:
    rows, limits = [], []
    for case in CASES:
        data = folder / "journal"
        servers.remove(data)
        row, found = uvloop.run(_run(case, data))
        progress(", ".join([case.name, *row[1:]]))
        rows.append(row)
        limits += found
    servers.remove(folder / "journal")
    head = [
        "",
        "received MB",
        "bodies kept B",
        "per log byte",
        "log, zstd once",
        "file MB",
        "append s",
        "rebuild max ms",
    ]
    return Table("Journal", head, rows), limits


async def _run(case: Case, data: Path) -> tuple[list[str], list[Limit]]:
    made = Bodies(case)
    order = list(_arrivals(case))
    begun = time.perf_counter()
    async with Store.open(None, data) as store:
        for at in range(0, len(order), _TOGETHER):
            await asyncio.gather(*(_append(store, number, made) for number in order[at : at + _TOGETHER]))
    took = time.perf_counter() - begun
    slowest = await _read_back(data, made, order)
    kept, file_bytes = _kept(data)
    once = len(zstandard.ZstdCompressor(level=3).compress(made.escaped))
    received = sum(made.cuts)
    row = [
        case.name,
        f"{received / 1e6:,.0f}",
        f"{kept:,}",
        f"{kept / made.log_bytes:.2f}",
        f"{once / made.log_bytes:.2f}",
        f"{file_bytes / 1e6:.1f}",
        f"{took:.1f}",
        f"{slowest * 1e3:.1f}",
    ]
    limits = [Limit(f"{case.name}: slowest body back, ms", slowest * 1e3, at_most=REBUILD_MS)]
    if case.long:
        limits.append(Limit(f"{case.name}: kept, times the log compressed once", kept / once, at_most=KEPT_TO_ONCE))
    return row, limits


def _arrivals(case: Case) -> Iterator[int]:
    chance = random.Random(case.events)
    for at in range(0, case.events, case.window):
        together = list(range(at, min(at + case.window, case.events)))
        chance.shuffle(together)
        yield from ([case.events - 1 - number for number in together] if case.backwards else together)


async def _append(store: Store, number: int, made: Bodies) -> None:
    body = made.body(number)
    event = IncomingEvent(
        webhook_id=f"msg_{number}",
        timestamp=str(int(NOW)),
        signature="v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
        body=body,
        received_at=NOW + number,
        source="webhook",
        source_ip="127.0.0.1",
        verified=True,
    )
    await store.journal.append(event, parse_prediction(body))


async def _read_back(data: Path, made: Bodies, order: list[int]) -> float:
    """Seconds of the slowest read, in random order, by a process that has nothing cached; every byte is compared."""
    every = max(1, len(order) // _SAMPLES)
    wanted = [*range(1, len(order) + 1, every), len(order)]
    random.Random(2).shuffle(wanted)
    slowest = 0.0
    async with Store.open(None, data) as store:
        first = (await store.journal.events(limit=1))[0].seq
        for place in wanted:
            took = []
            for _ in range(_READS):
                begun = time.perf_counter()
                found = await store.journal.body(first + place - 1)
                took.append(time.perf_counter() - begun)
            slowest = max(slowest, min(took))
            expected = made.body(int(found.webhook_id.removeprefix("msg_"))) if found else b""
            if found is None or found.body != expected:
                raise SystemExit(f"the body of event {place} came back changed")
    return slowest


def _kept(data: Path) -> tuple[int, int]:
    """(bytes of all stored bodies, bytes of the database's files)."""
    files = [file for file in data.iterdir() if file.name.startswith("tunerd.sqlite3")]
    with closing(sqlite3.connect(data / "tunerd.sqlite3")) as connection:
        kept = connection.execute("SELECT sum(length(middle)) FROM events").fetchone()[0]
    return int(kept), sum(file.stat().st_size for file in files)
