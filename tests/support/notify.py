"""The service manager's end of sd_notify: a real socket that keeps what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

Message = dict[str, str]


class Manager:
    """``messages`` in their order, each as its assignments."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.messages: list[Message] = []
        self._came = asyncio.Event()

    def read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := self._listener.recv(4096):
                self.messages.append(dict(line.split("=", 1) for line in data.decode().splitlines()))
                self._came.set()

    async def until(self, holds: Callable[[list[Message]], bool], seconds: float = 60) -> list[Message]:
        """The messages, once ``holds`` is true of them."""
        try:
            async with asyncio.timeout(seconds):
                while not holds(self.messages):
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise AssertionError(f"not told: {self.messages}") from None
        return self.messages

    async def told(self, assignment: str, count: int = 1) -> list[Message]:
        """Until ``NAME=value`` was said ``count`` times."""
        name, value = assignment.split("=", 1)
        return await self.until(lambda messages: sum(m.get(name) == value for m in messages) >= count)


@contextlib.asynccontextmanager
async def service_manager(path: Path) -> AsyncIterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.setblocking(False)
        manager, loop = Manager(listener), asyncio.get_running_loop()
        loop.add_reader(listener, manager.read)
        try:
            yield manager
        finally:
            loop.remove_reader(listener)
