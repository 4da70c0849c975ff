"""Whatever happens in whatever order, a limit that blocks admits nothing over it; on both stores.

The invariant: at the moment a job is admitted, spent + reserved, the job itself included, is within the limit. What
jobs turn out to cost beyond their estimates is spent all the same; it can only take the sum over the limit without an
admission. The test keeps its own books, of each job, and never asks the code under test.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.core.costs import HARDWARE
from daemon.core.jobs import Signal
from daemon.store.store import Store
from tests.support.events import append, body
from tests.support.money import cost_limit, state, submit

LIMIT = 10.0
PRICE = HARDWARE["gpu-l40s"].usd_per_second
MONTH = 31 * 86_400.0
CENT = 0.001  # what rounding to a ten-thousandth for each job may add up to
_examples = itertools.count()  # each in a month of its own, so that they share a store and not a budget
_ids = itertools.count()


@dataclass
class Entry:
    """One job in the test's own books."""

    job_id: str
    expected: float
    started: float | None = None
    cost: float | None = None  # once it has ended

    def counts(self, now: float) -> float:
        if self.cost is not None:
            return self.cost
        so_far = 0.0 if self.started is None else PRICE * (now - self.started)
        return max(self.expected, so_far)


@dataclass
class Books:
    store: Store
    now: float
    jobs: list[Entry] = field(default_factory=list)

    def total(self) -> float:
        return sum(job.counts(self.now) for job in self.jobs)

    def pick(self, number: int) -> Entry | None:
        going_on = [job for job in self.jobs if job.cost is None]
        return going_on[number % len(going_on)] if going_on else None

    async def submit(self, expected: float) -> bool:
        entry = Entry(f"job_limit{next(_ids)}", expected)
        job = await submit(self.store, entry.job_id, expected, cost_limit(LIMIT), now=self.now)
        if job is not None:
            self.jobs.append(entry)
            await self.store.jobs.bind_provider(entry.job_id, entry.job_id[4:], now=self.now, prediction=None)
        return job is not None

    async def tell(self, entry: Entry, status: str, **fields: object) -> None:
        content = body(status, id=entry.job_id[4:], **fields)
        await append(self.store, f"msg_{entry.job_id}_{status}", content, received_at=self.now)

    async def start(self, entry: Entry) -> None:
        if entry.started is None:
            entry.started = self.now
            await self.tell(entry, "processing", started_at=datetime.fromtimestamp(self.now, UTC).isoformat())

    async def complete(self, entry: Entry, seconds: float) -> None:
        entry.cost = PRICE * seconds
        await self.tell(entry, "succeeded", metrics={"predict_time": seconds})

    async def cancel(self, entry: Entry) -> None:
        entry.cost = 0.0 if entry.started is None else PRICE * (self.now - entry.started)
        await self.store.jobs.signal(entry.job_id, Signal.CANCELLED, now=self.now)


dollars = st.integers(1, 600).map(lambda cents: cents / 100)
number = st.integers(0, 20)
actions = st.one_of(
    st.tuples(st.just("submit"), st.lists(dollars, min_size=1, max_size=6)),
    st.tuples(st.just("start"), number),
    st.tuples(st.just("complete"), st.tuples(number, st.integers(0, 6000))),  # seconds: up to $5.85
    st.tuples(st.just("cancel"), number),
    st.tuples(st.just("wait"), st.integers(1, 3000)),
    # Submits while a job ends: which of them comes first is the database's choice.
    st.tuples(st.just("race"), st.tuples(number, st.integers(0, 6000), st.lists(dollars, min_size=1, max_size=4))),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(actions, min_size=1, max_size=12))
async def test_no_interleaving_passes_the_limit(store: Store, plan: list[tuple[str, object]]) -> None:
    books = Books(store, 1_767_300_000.0 + next(_examples) * MONTH)
    for name, argument in plan:
        await _act(books, name, argument)
        shown = await state(store, cost_limit(LIMIT), now=books.now)
        assert abs(shown.spent + shown.reserved - books.total()) < CENT, (name, argument)
    for entry in [job for job in books.jobs if job.cost is None]:  # the next example begins with nothing going on
        await books.cancel(entry)


async def _act(books: Books, name: str, argument: object) -> None:
    match name, argument:
        case "submit", list(wanted):
            before = books.total()
            admitted = await asyncio.gather(*(books.submit(each) for each in wanted))
            assert not any(admitted) or books.total() <= LIMIT + CENT
            room = LIMIT - before - sum(each for each, taken in zip(wanted, admitted, strict=True) if taken)
            refused = [each for each, taken in zip(wanted, admitted, strict=True) if not taken]
            assert all(each > room - CENT for each in refused), "what fits is not refused"
        case "wait", int(seconds):
            books.now += seconds
        case "start", int(index) if entry := books.pick(index):
            await books.start(entry)
        case "cancel", int(index) if entry := books.pick(index):
            await books.cancel(entry)
        case "complete", (int(index), int(seconds)) if entry := books.pick(index):
            await books.complete(entry, seconds)
        case "race", (int(index), int(seconds), list(wanted)) if entry := books.pick(index):
            before, held = books.total(), entry.counts(books.now)
            submits = [books.submit(each) for each in wanted]
            results = await asyncio.gather(*submits, books.complete(entry, seconds))
            overrun = max(0.0, PRICE * seconds - held)  # told after the last admission, at worst
            assert not any(results[:-1]) or books.total() <= max(LIMIT, before) + overrun + CENT
