"""How long is waited between attempts."""

from __future__ import annotations

import pytest

from daemon.delivery import retrying
from daemon.delivery.errors import Permanent, Retry
from daemon.delivery.retrying import Backoff, persist
from tests.support.clock import Clock


async def waits(monkeypatch: pytest.MonkeyPatch, *asked: float | None) -> list[float]:
    """The pauses after failures that asked for so many seconds."""
    seen: list[float] = []
    left = list(asked)

    async def sleep(seconds: float) -> None:
        seen.append(seconds)

    async def attempt() -> str:
        if left:
            raise Retry("not now", after=left.pop(0))
        return "done"

    async def note(_reason: str) -> None:
        pass

    monkeypatch.setattr(retrying.asyncio, "sleep", sleep)
    backoff = Backoff(1.0, 4.0, 100.0)
    assert await persist(attempt, note, clock=lambda: 0.0, no_retry_after=lambda: 1e6, backoff=backoff) == "done"
    return seen


async def test_pauses_grow_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await waits(monkeypatch, None, None, None, None, None) == [1.0, 2.0, 4.0, 4.0, 4.0]


async def test_what_the_other_side_asks_for_is_kept_within_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await waits(monkeypatch, 55.0, 0.0, 10_000.0) == [55.0, 2.0, 100.0]


@pytest.mark.parametrize(
    ("asked", "began"),
    [
        (None, [0.0, 1.0, 3.0, 7.0, 11.0, 12.0]),
        (7.0, [0.0, 7.0, 9.0, 12.0]),  # the second time so much is no longer left
        (900.0, [0.0, 1.0, 3.0, 7.0, 11.0, 12.0]),  # as long as the file will not be there: no reason to give it up
    ],
)
async def test_attempts_are_made_until_the_end_and_none_after_it(
    monkeypatch: pytest.MonkeyPatch, asked: float | None, began: list[float]
) -> None:
    clock, seen = Clock(0.0), []

    async def sleep(seconds: float) -> None:
        clock.now += seconds

    async def attempt() -> str:
        seen.append(clock.now)
        raise Retry("not now", after=asked)

    async def note(_reason: str) -> None:
        pass

    monkeypatch.setattr(retrying.asyncio, "sleep", sleep)
    with pytest.raises(Permanent, match=r"not now .*no further attempt"):
        await persist(attempt, note, clock=clock, no_retry_after=lambda: 13.0, backoff=Backoff(1.0, 4.0, 1000.0))
    assert seen == began
