"""A proxy before a server, whose answers it can give itself or lose. It keeps the Host, which signatures cover."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator, Callable

import aiohttp
from aiohttp import web

from tests.support.serving import serving


class Gate:
    """``answer``: what to say instead of the server; ``lose``: whether its answer gets lost on the way back."""

    def __init__(self, behind: str) -> None:
        self.behind = behind
        self.url = ""
        self.requests: list[tuple[str, str]] = []  # (method, path with query)
        self.answer: Callable[[web.Request], web.Response | None] = lambda _: None
        self.lose: Callable[[web.Request], bool] = lambda _: False

    def sent(self, method: str) -> list[str]:
        return [path for one, path in self.requests if one == method]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        try:
            body = await request.read()
        except ConnectionError:
            return web.Response(status=400)  # whoever sent it has gone
        if (own := self.answer(request)) is not None:
            return own
        answer = await self._forward(request, body)
        if self.lose(request):
            assert request.transport is not None
            request.transport.abort()
        return answer

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        url = f"{self.behind}{request.raw_path}"
        content = io.BytesIO(body) if body else None
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(request.method, url, data=content, headers=request.headers) as answer,
        ):
            said = await answer.read()
            headers = {key: value for key, value in answer.headers.items() if key != "Transfer-Encoding"}
            if request.method == "HEAD":
                return web.Response(status=answer.status, headers=headers)
            headers.pop("Content-Length", None)
            return web.Response(status=answer.status, body=said, headers=headers)


@contextlib.asynccontextmanager
async def running_gate(behind: str) -> AsyncIterator[Gate]:
    gate = Gate(behind)
    async with serving(gate.handle) as gate.url:
        yield gate


def once(method: str, part: str) -> Callable[[web.Request], bool]:
    """For ``lose``: the first ``method`` request with ``part`` in its path."""
    left = 1

    def lose(request: web.Request) -> bool:
        nonlocal left
        if left and request.method == method and part in request.path_qs:
            left -= 1
            return True
        return False

    return lose
