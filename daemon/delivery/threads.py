"""Threads for what blocks for long: a download holds several from its first byte to its last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class Threads:
    def __init__(self, most: int) -> None:
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="tunerd-fetch")

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
