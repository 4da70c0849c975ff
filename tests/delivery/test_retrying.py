"""How long is waited between attempts."""

from __future__ import annotations

import math

import pytest

from daemon.delivery import retrying
from daemon.delivery.errors import Permanent, Retry
from daemon.delivery.retrying import Backoff, persist


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
    limits = {"clock": lambda: 0.0, "no_retry_after": 1e6, "stop_at": math.inf}
    assert await persist(attempt, note, backoff=Backoff(1.0, 4.0, 100.0), **limits) == "done"  # type: ignore[arg-type]
    return seen


async def test_pauses_grow_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await waits(monkeypatch, None, None, None, None, None) == [1.0, 2.0, 4.0, 4.0, 4.0]


async def test_what_the_other_side_asks_for_is_kept_within_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await waits(monkeypatch, 55.0, 0.0, 10_000.0) == [55.0, 2.0, 100.0]


async def test_no_attempt_begins_after_the_end() -> None:
    async def attempt() -> str:
        raise Retry("not now", after=50.0)

    async def note(_reason: str) -> None:
        pass

    with pytest.raises(Permanent, match=r"not now .*no further attempt"):
        await persist(attempt, note, clock=lambda: 0.0, no_retry_after=49.0, stop_at=math.inf, backoff=Backoff())
