"""A webhook receiver on a port of its own that keeps what it is sent and answers as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from tests.support.serving import serving


class Received(msgspec.Struct, frozen=True):
    """One request: ``headers`` in lower case, ``body`` as on the wire."""

    headers: dict[str, str]
    body: bytes
    query: dict[str, str]

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """``answers`` are the statuses to give, in order; the last one stays."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[Received] = []
        self.answers = [200]
        self.hang_seconds = 0.0
        self._arrived = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(headers, await request.read(), dict(request.query)))
        self._arrived.set()
        await asyncio.sleep(self.hang_seconds)
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=status, headers={"Location": "/elsewhere"} if 300 <= status < 400 else None)

    async def wait_for(self, count: int, timeout: float = 10) -> list[Received]:  # noqa: ASYNC109
        """Until ``count`` requests have come."""
        async with asyncio.timeout(timeout):
            while len(self.received) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.received

    async def wait_for_end(self, timeout: float = 10) -> list[Received]:  # noqa: ASYNC109
        """Until a body with a terminal status has come."""
        ended = {"succeeded", "failed", "canceled", "aborted"}
        async with asyncio.timeout(timeout):
            while not any(item.json()["status"] in ended for item in self.received):
                self._arrived.clear()
                await self._arrived.wait()
        return self.received

    def statuses(self) -> list[str]:
        return [item.json()["status"] for item in self.received]


@asynccontextmanager
async def running_receiver(path: str = "/api/webhooks/replicate") -> AsyncIterator[Receiver]:
    receiver = Receiver()

    async def handle(request: web.Request) -> web.Response:
        if request.path != path:
            raise web.HTTPNotFound
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        return await receiver.handle(request)

    async with serving(handle, auto_decompress=False) as url:  # bodies are kept as they came on the wire
        receiver.url = f"{url}{path}"
        yield receiver
