"""The way to the first job: what is done and what is to be done, until there is a job."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.webapp import Served, running_app

TOKEN = "r8_" + "x" * 37


async def states(served: Served) -> list[str]:
    async with served.session.get(served.url + "/") as answer:
        text = await answer.text()
    shown = text.partition('id="guide"')[2].partition("</section>")[0]
    return re.findall(r"</svg>(done|to do)</span>", shown)


async def test_steps_are_done_one_by_one_until_there_is_a_job(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        destinations = (await served.get("/api/cloud/publishing"))["destinations"]
        where = "done" if destinations else "to do"
        assert await states(served) == ["to do", "to do", where, "to do"]
        await served.call("PUT", "/api/cloud/providers/replicate", json={"webhook_url": "https://tuner.example"})
        assert await states(served) == ["to do", "done", where, "to do"]
        await served.event("p1")
        assert await states(served) == []


async def test_what_the_start_gives_is_done(tmp_path: Path) -> None:
    environ = {"REPLICATE_API_TOKEN": TOKEN, "TUNERD_WEBHOOK_URL": "https://tuner.example"}
    async with running_app(tmp_path, environ=environ) as served:
        assert (await states(served))[:2] == ["done", "done"]
        async with served.session.get(served.url + "/") as answer:
            text = await answer.text()
        assert TOKEN not in text
        assert 'href="/submit">Submit</a>' in text.partition('aria-current="step"')[2].partition("</li>")[0]
