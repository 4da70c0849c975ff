"""When a message that was not taken is sent again, and what an answer means. No I/O: the jitter comes in."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..core import retry_after

# Seconds before the attempts after the first: 5 s, 15 s, 45 s, 2 min, 7 min, 20 min, 1 h, 3 h, 9 h, 10 h. About 24 h in
# all: a receiver that was down over night gets everything, one that blinked hears of it at once.
FIRST = 5.0
FACTOR = 3.0
LONGEST = 36_000.0
RETRIES = 10
SPREAD = 0.1  # of a pause, either way: what failed together shall not come again together
DISABLE_AFTER = 5 * 86_400.0  # seconds of failures and nothing else: nobody is there any more

GONE = 410  # the receiver's way to unsubscribe (Standard Webhooks)
_OBEY_RETRY_AFTER = {429, 503}


class Outcome(msgspec.Struct, frozen=True):
    """``error`` ``None``: it was taken. ``after``: seconds that the receiver asked us to wait."""

    error: str | None = None
    after: float | None = None
    gone: bool = False


def judge(status: int, headers: Mapping[str, str]) -> Outcome:
    """An answer's meaning: any 2xx has taken it. A redirect is not followed: the signed body is for that URL only."""
    if 200 <= status < 300:
        return Outcome()
    if status == GONE:
        return Outcome("the receiver answered HTTP 410: it wants no more", gone=True)
    if 300 <= status < 400:
        return Outcome(f"the receiver answered HTTP {status}: redirects are not followed; enter the final address")
    after = retry_after.seconds(headers.get("Retry-After", "")) if status in _OBEY_RETRY_AFTER else None
    return Outcome(f"the receiver answered HTTP {status}", after)


def pause(attempts: int, jitter: float, asked: float | None = None) -> float | None:
    """Seconds until the next attempt, after ``attempts`` of them; ``None``: that was the last. ``jitter``: 0 to 1."""
    if attempts > RETRIES:
        return None
    pause = min(LONGEST, FIRST * FACTOR ** (attempts - 1))
    return max(pause * (1 + SPREAD * (2 * jitter - 1)), min(asked or 0.0, LONGEST))
