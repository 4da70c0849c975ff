"""Threads for what blocks for long: a download holds several from its first byte to its last.

They move gigabytes and are many; the event loop wakes for a moment at a time, and webhooks wait for it. So that it does
not have to queue for a core behind them, they are nicer than it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


NICER = 10  # than the loop's thread, which gets nine times the share of each of these where they want the same core
NICEST = 19  # of any process


def worker_pool(most: int, name: str) -> ThreadPoolExecutor:
    """At most so many threads, made as they are needed."""
    return ThreadPoolExecutor(most, thread_name_prefix=f"tunerd-{name}", initializer=step_back)


def step_back() -> None:
    """Let the rest of the process go first. On Linux a thread has a niceness of its own; elsewhere nothing is done.

    Counted from the main thread's: a thread begins with that of whoever started it, which may have stepped back itself.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # forbidden by a filter of system calls: then they are as everybody
            nice = min(os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICER, NICEST)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


class Threads:
    def __init__(self, most: int) -> None:
        self._pool = worker_pool(most, "fetch")

    def start(self, function: Callable[P, T], *arguments: P.args, **more: P.kwargs) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*arguments, **more))

    async def run(self, abort: Callable[[], None], function: Callable[..., T], *arguments: Any) -> T:
        """``function``'s result. Cancelled: ``abort`` has to make it end, which is waited for.

        So nothing is still being written when the one who cancelled goes on.
        """
        future = self.start(function, *arguments)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            abort()
            await ended(future)
            raise

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


async def ended(*futures: asyncio.Future[Any]) -> None:
    """Wait until all have ended, whatever came of them, and however often somebody cancels the waiting."""
    again = False
    while not all(future.done() for future in futures):
        try:
            await asyncio.wait(futures)
        except asyncio.CancelledError:
            again = True
    for future in futures:
        if not future.cancelled():
            future.exception()  # looked at: nobody else will
    if again:
        raise asyncio.CancelledError
