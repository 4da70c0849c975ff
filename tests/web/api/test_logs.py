"""A job's log as text, with ranges, and the curves in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.webapp import Served, running_app

LOG = (
    "Bögen\r\nSteps:  10%|# | 1/10 [00:01<00:09, 1it/s, step_loss=0.5]\r"
    "Steps:  20%|## | 2/10 [00:02<00:08, 1it/s, step_loss=nan]\n"
)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path) as served:
        await served.event("p1", logs=LOG)
        yield served


async def fetch(served: Served, wanted: str | None = None, **headers: str) -> tuple[int, bytes, str | None]:
    given = {"Range": wanted, **headers} if wanted else headers
    async with served.session.get(f"{served.url}/api/cloud/jobs/p1/logs", headers=given) as answer:
        return answer.status, await answer.read(), answer.headers.get("Content-Range")


async def test_the_whole_log(served: Served) -> None:
    async with served.session.get(f"{served.url}/api/cloud/jobs/p1/logs") as answer:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert await answer.read() == LOG.encode()


async def test_ranges(served: Served) -> None:
    whole = LOG.encode()
    size = len(whole)
    assert await fetch(served, "bytes=1-3") == (206, whole[1:4], f"bytes 1-3/{size}")
    assert await fetch(served, "bytes=5-") == (206, whole[5:], f"bytes 5-{size - 1}/{size}")
    assert await fetch(served, "bytes=-5") == (206, whole[-5:], f"bytes {size - 5}-{size - 1}/{size}")
    assert await fetch(served, "bytes=0-1,3-4") == (200, whole, None)
    assert await fetch(served, "bytes=0-1", **{"If-Range": '"x"'}) == (200, whole, None)
    status, body, content_range = await fetch(served, f"bytes={size}-")
    assert (status, content_range) == (416, f"bytes */{size}")
    assert b"range_not_satisfiable" in body


async def test_no_log_yet(served: Served) -> None:
    await served.event("p2")
    async with served.session.get(f"{served.url}/api/cloud/jobs/p2/logs") as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_curves_follow_the_log(served: Served) -> None:
    found = await served.get("/api/cloud/jobs/p1/metrics")
    assert found["series"]["loss"] == [[1, 0.5], [2, None]]
    assert found["progress"] == {"step": 2, "total_steps": 10, "percent": 20.0, "eta_seconds": 8.0}
    assert await served.get("/api/cloud/jobs/p1/metrics") == found
    await served.event("p1", logs=LOG + "Steps:  30%|### | 3/10 [00:03<00:07, 1it/s, step_loss=0.25]\n")
    found = await served.get("/api/cloud/jobs/p1/metrics")
    assert found["series"]["loss"][-1] == [3, 0.25]
