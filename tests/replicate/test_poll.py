"""What of an API answer is news, and becomes an event of the job."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from tests.replicate.conftest import Counterpart, Make, World
from tests.replicate.crashes import HELLO
from tests.replicate.known import job_of, seen, shown


async def test_nothing_new_is_no_event(world: World) -> None:
    result = await world.submitter.submit(HELLO)
    for _ in range(3):
        assert await world.reconciler.check_all() == 0
    assert await world.store.journal.events() == []
    job = await job_of(world, result.body["job_id"])
    assert (job.checked_at, job.check_after) == (world.clock(), None)


@pytest.mark.parametrize(
    ("change", "news"),
    [
        ({}, 0),
        ({"status": "starting"}, 0),  # a backend that lags behind
        ({"logs": "step 1\nstep 2\n"}, 1),
        ({"logs": None}, 0),
        ({"output": ["a", "b"]}, 0),  # as known, in another spelling
        ({"output": ["a", "b", "c"]}, 1),
        ({"error": "boom"}, 1),
        ({"status": "paused"}, 1),
        ({"status": "succeeded"}, 1),
        ({"extra": 1, "metrics": {"predict_time": 3}}, 0),
    ],
)
async def test_what_counts_as_new(
    make_world: Make, counterpart: Counterpart, change: dict[str, Any], news: int
) -> None:
    world = await make_world(REPLICATE_BASE_URL=counterpart.url)
    known = shown("abc", output=["a", "b"])
    await seen(world, known)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=json.dumps({**known, **change}, separators=(",", ":")).encode())

    counterpart.say(answer)
    assert await world.reconciler.check_all() == news
    assert await world.reconciler.check_all() == 0
    assert len(await world.store.journal.events()) == 1 + news
