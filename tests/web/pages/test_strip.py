"""The tile that says how Replicate is, in each of its states."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.waiting import until
from tests.support.webapp import Served, running_app

_TILE = re.compile(r'<span class="dot (\w+)"></span>(.*?)</span>\s*<span class="note">(.*?)</span>', re.DOTALL)


@asynccontextmanager
async def status_page(answer: Any) -> AsyncIterator[str]:
    async def handler(_request: web.Request) -> web.Response:
        return web.json_response(answer) if answer is not None else web.Response(status=500)

    app = web.Application()
    app.router.add_get("/summary", handler)
    async with TestServer(app) as server:
        yield str(server.make_url("/summary"))


async def tile(served: Served) -> tuple[str, str, str]:
    async with served.session.get(served.url + "/") as answer:
        found = _TILE.search(await answer.text())
    assert found is not None
    return found[1], found[2], found[3]


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (
            {"status": {"indicator": "none", "description": "All Systems Operational"}},
            ("good", "Operational", "All Systems Operational"),
        ),
        (
            {"status": {"indicator": "major", "description": "GPUs &amp; <b>queues</b>"}, "incidents": []},
            ("bad", "Incident", "GPUs &amp;amp; &lt;b&gt;queues&lt;/b&gt;"),
        ),
        (None, ("unknown", "Not known", "")),
    ],
    ids=["good", "incident", "out of reach"],
)
async def test_the_provider_s_tile(tmp_path: Path, answer: Any, shown: tuple[str, str, str]) -> None:
    async with (
        status_page(answer) as url,
        running_app(tmp_path, environ={"TUNERD_STATUS_URL": url}) as served,
    ):
        assert await tile(served) == ("unknown", "Asking …", "The status page is being read.")

        async def told() -> bool:
            return (await tile(served))[1] != "Asking …"

        await until(told)
        colour, word, note = await tile(served)
        assert (colour, word) == shown[:2]
        assert note == shown[2] or (answer is None and note)
