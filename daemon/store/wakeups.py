"""Wake-ups for whoever follows the journal. Only a hint: the truth is in the database, and is asked for again."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Wakeups:
    """Hands every notice to every open subscription."""

    def __init__(self) -> None:
        self._open: set[Subscription] = set()

    def subscribe(self) -> Subscription:
        return Subscription(self)

    def notify(self) -> None:
        for subscription in self._open:
            subscription.changed.set()

    def add(self, subscription: Subscription) -> None:
        self._open.add(subscription)

    def remove(self, subscription: Subscription) -> None:
        self._open.discard(subscription)


class Subscription:
    """``async with journal.subscribe() as changes: await changes.wait(15)``. Nothing is missed while it is open."""

    def __init__(self, wakeups: Wakeups) -> None:
        self._wakeups = wakeups
        self.changed = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """Return on the next change since the last return, or after ``seconds``. True: something changed.

        Other nodes' changes give no wake-up: look again after the timeout, too.
        """
        try:
            async with asyncio.timeout(seconds):
                await self.changed.wait()
        except TimeoutError:
            return False
        self.changed.clear()
        return True

    async def __aenter__(self) -> Self:
        self._wakeups.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wakeups.remove(self)
