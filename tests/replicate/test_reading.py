"""Bodies of answers: whole, or none where they are too long."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web

from daemon.replicate.reading import read_at_most
from tests.support.serving import serving


@pytest.mark.parametrize(("most", "whole"), [(10, True), (9, False), (0, False)])
async def test_a_body_is_whole_or_none(most: int, whole: bool) -> None:
    async def ten(_: web.Request) -> web.Response:
        return web.Response(body=b"0123456789")

    async with serving(ten) as url, aiohttp.ClientSession() as session, session.get(url) as answer:
        assert await read_at_most(answer.content, most) == (b"0123456789" if whole else None)


async def test_what_is_too_long_is_not_read_to_its_end() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * 65536)

    async with serving(endless) as url, aiohttp.ClientSession() as session, session.get(url) as answer:
        assert await read_at_most(answer.content, 100_000) is None
