"""A circuit breaker for Replicate's API: while it does not answer at all, most calls are spared the wait.

Only silence and 5xx count. A refusal (4xx), a 429 or a redirect is an answer: the API is there.
"""

from __future__ import annotations

from collections.abc import Callable

FAILURES = 10  # in a row before it opens: two calls with all their attempts
FIRST_PAUSE = 1.0  # seconds until a call is let through on trial; doubles with each trial that fails
LONGEST_PAUSE = 30.0  # seconds; the reconciler's own interval: no longer blind than without webhooks


class Breaker:
    """``now`` gives unix seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failures = 0
        self._pause = 0.0
        self._opened_at = 0.0
        self._on_trial = False

    def wait(self) -> float:
        """Seconds that a call had better wait; 0.0: it goes ahead, while the breaker is open as the one on trial."""
        if not self._pause:
            return 0.0
        passed = self._now() - self._opened_at
        left = self._pause - passed if passed >= 0 else 0.0  # a clock that was set back holds nothing up
        if left > 0 or self._on_trial:
            return max(left, FIRST_PAUSE)
        self._on_trial = True
        return 0.0

    def answered(self) -> None:
        """Any answer below 500."""
        self._failures, self._pause, self._on_trial = 0, 0.0, False

    def failed(self) -> bool:
        """No answer, or a 5xx; ``True`` where that opened it just now."""
        self._failures += 1
        if self._pause and not self._on_trial:
            return False  # it was on its way before, or went ahead although this is open
        if self._failures < FAILURES:
            return False
        opened = not self._pause
        self._pause = min(LONGEST_PAUSE, 2 * self._pause or FIRST_PAUSE)
        self._opened_at, self._on_trial = self._now(), False
        return opened

    def over(self) -> None:
        """The call is over, whatever came of it: one that was cancelled says nothing, and the next goes on trial."""
        self._on_trial = False
