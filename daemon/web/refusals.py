"""A line in the log for each refused request, yet never a log that a stranger can fill."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import structlog
from aiohttp import web

from ..errors import TunerdError

PERIOD_SECONDS = 60.0
ID_CHARS = 80  # of a webhook-id in a line; anybody can send one of any length. Replicate's have about 30
LINES_A_PERIOD = 10  # for each error code; the rest of the period is counted and told with the next line

log = structlog.get_logger()


class RefusalLog:
    """``clock`` gives seconds and only goes forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._periods: dict[str, tuple[float, int]] = {}  # error code → when its period began, refusals in it

    def note(self, error: TunerdError, **fields: object) -> None:
        """Tell of one refusal, where this period still has a line for its code."""
        now = self._clock()
        began, count = self._periods.get(error.code, (now, 0))
        unspoken = 0
        if now - began >= PERIOD_SECONDS:
            began, count, unspoken = now, 0, max(0, count - LINES_A_PERIOD)
        self._periods[error.code] = (began, count + 1)
        if count < LINES_A_PERIOD:
            more = {"not_logged_before": unspoken} if unspoken else {}
            log.warning("request refused", code=error.code, reason=error.detail, **fields, **more)


def named(headers: Mapping[str, str]) -> dict[str, str]:
    """The ``webhook_id`` that a refused request came with, where it has one: as much as a line may hold of it."""
    given = headers.get("webhook-id")
    if not given:
        return {}
    return {"webhook_id": "".join(char if char.isprintable() else "?" for char in given[:ID_CHARS])}


REFUSALS: web.AppKey[RefusalLog] = web.AppKey("refusals")
