"""Clocks that a test moves."""

from __future__ import annotations

import time
from collections.abc import Callable

SOME_DAY = 1_800_000_000.0  # 2027-01-15


class Clock:
    """Unix seconds that stand still until a test changes ``now``."""

    def __init__(self, now: float = SOME_DAY) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class RunningClock:
    """Real time, and what a test puts it ahead."""

    def __init__(self, real: Callable[[], float] = time.time) -> None:
        self._real = real
        self.ahead = 0.0

    def __call__(self) -> float:
        return self._real() + self.ahead
