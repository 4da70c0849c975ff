"""Waiting for what nothing signals: the other side of a socket, a thread, a file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

SECONDS = 30.0  # generous: two cores, many processes
LOOK_SECONDS = 0.02


async def until(happened: Callable[[], bool | Awaitable[bool]], *, seconds: float = SECONDS, what: str = "it") -> None:
    """Return once ``happened()`` is true; fails with ``what`` did not come about after ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = happened()
                if found if isinstance(found, bool) else await found:
                    return
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise AssertionError(f"{what} did not come about within {seconds:g} s") from None
