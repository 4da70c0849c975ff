"""Try again, with growing pauses, as long as that lasts. An expected failure is ``Retry`` and no error log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeVar

import msgspec
import structlog

from ..connecting import FAULT
from ..errors import NotReady
from .errors import Permanent, Retry, Superseded

log = structlog.get_logger()

T = TypeVar("T")


class Backoff(msgspec.Struct, frozen=True):
    """Seconds between attempts: ``first``, then twice as long each time, at most ``longest``; or as asked for."""

    first: float = 1.0
    longest: float = 60.0
    longest_asked: float = 900.0  # that the other side may ask for: the Hub's windows have five minutes


async def persist(
    attempt: Callable[[], Awaitable[T]],
    note: Callable[[str], Awaitable[None]],
    *,
    clock: Callable[[], float],
    no_retry_after: Callable[[], float],
    backoff: Backoff,
    turn: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> T:
    """The result of the first ``attempt`` that works.

    ``note`` is told the reason before each pause. After ``no_retry_after`` no new attempt begins: ``Permanent`` with
    the last reason. One that runs is never cut off: what stands still it ends by itself. ``clock`` counts seconds
    that the machine was awake: a laptop that slept has lost no time. Each attempt is made within a ``turn``: waiting
    for it is no part of the attempt, as long as the clock does not count it.
    """
    pause = backoff.first
    while True:
        asked: float | None = None
        try:
            async with turn():
                return await attempt()
        except (Permanent, Superseded):
            raise
        except Retry as problem:
            reason, asked = str(problem), problem.after
        except NotReady as problem:  # the store, or a secret of it, for now
            reason = problem.detail
        except TimeoutError:
            reason = "it took too long"
        except OSError as problem:  # a folder that cannot be written, a file system that is read-only
            reason = f"{problem.strerror or problem}: {problem.filename}"
        except Exception:  # a fault of ours: said loudly, and tried again like any other
            log.exception("delivery_fault")
            reason = FAULT
        left = no_retry_after() - clock()
        if left <= backoff.first:
            raise Permanent(f"{reason} (the deadline has passed; no further attempt)")
        wait = _wait(min(pause, backoff.longest), min(asked or 0.0, backoff.longest_asked), left - backoff.first)
        with contextlib.suppress(NotReady):  # a store that cannot be written now shall not end the delivery
            await note(reason)
        await asyncio.sleep(wait)
        pause = min(pause * 2, backoff.longest)


def _wait(own: float, asked: float, most: float) -> float:
    """What is asked for may be longer than the file lives: then as we would, and once more before the end."""
    return min(max(own, asked) if asked <= most else own, most)
