"""Pictures of an output that is not delivered yet: given out only where they are some."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.errors import NotFound
from tests.support.webapp import Served, running_app

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
BODIES = {
    "https://replicate.delivery/a.png": PNG,
    "https://replicate.delivery/b.jpg": b"\xff\xd8\xff\xe0",
    "https://replicate.delivery/c.webp": b"RIFF1234WEBPVP8 ",
    "https://replicate.delivery/d.gif": b"<html><script>alert(1)</script>",
    "https://replicate.delivery/model.safetensors": PNG,
}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async def preview(url: str, most: int) -> bytes:
        if url not in BODIES:
            raise NotFound("The output cannot be shown: answered 404.")
        return BODIES[url][:most]

    async with running_app(tmp_path, preview=preview) as served:
        output = [*BODIES, "https://replicate.delivery/gone.png", "a text"]
        await served.event("p1", output=output)
        yield served


@pytest.mark.parametrize(("index", "media_type"), [(0, "image/png"), (1, "image/jpeg"), (2, "image/webp")])
async def test_a_picture(served: Served, index: int, media_type: str) -> None:
    async with served.session.get(f"{served.url}/api/cloud/jobs/p1/picture?index={index}") as answer:
        assert (answer.status, answer.content_type) == (200, media_type)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("index", [3, 4, 5, 6, 99])
async def test_what_is_none(served: Served, index: int) -> None:
    await served.problem("GET", f"/api/cloud/jobs/p1/picture?index={index}", status=404, code="not_found")


async def test_the_page_shows_those_that_are_pictures_by_name(served: Served) -> None:
    async with served.session.get(f"{served.url}/jobs/p1") as answer:
        text = await answer.text()
    assert text.count("<img ") == 5
    assert "replicate.delivery/a.png" in text  # as text, in the model's answer
    assert 'src="https://' not in text


async def test_a_node_that_does_not_deliver_shows_none(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        await served.event("p1", output="https://replicate.delivery/a.png")
        await served.problem("GET", "/api/cloud/jobs/p1/picture?index=0", status=404, code="not_found")
        async with served.session.get(f"{served.url}/jobs/p1") as answer:
            assert "<img " not in await answer.text()
