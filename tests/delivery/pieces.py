"""A file of many pieces, and a server that answers one of them otherwise."""

from __future__ import annotations

import random

from aiohttp import web

from tests.support.outputs import Handler, OutputServer

PIECE = 1_000_000
DATA = random.Random(4).randbytes(12 * PIECE + 345)


def ranges(server: OutputServer, path: str = "/x") -> list[tuple[int, int]]:
    """The parts that were asked for, first and last byte."""
    texts = [headers["Range"].removeprefix("bytes=") for headers in server.seen(path) if "Range" in headers]
    return sorted((int(text.partition("-")[0]), int(text.partition("-")[2])) for text in texts)


def on_range(server: OutputServer, first: int, handler: Handler) -> Handler:
    """``handler`` for the request that begins at byte ``first``; the others are waited for, as they are answered."""

    async def choose(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Range", "").startswith(f"bytes={first}-"):
            return await handler(request)
        server.script[request.path].append(choose)
        return server.answer(request)

    return choose


def spoil(server: OutputServer, first: int, handler: Handler) -> None:
    """The next request for the part at ``first`` is answered by ``handler``."""
    server.script["/x"] = [on_range(server, first, handler)]
