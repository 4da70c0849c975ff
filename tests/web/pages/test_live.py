"""The streams that keep pages fresh: what changed and nothing else, resumed by digest."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.web.pages.live import Part, View, changes, element_id
from tests.support.webapp import Served, running_app

SECONDS = 20


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path) as served:
        yield served


def view(**rows: str) -> View:
    head = Part("head", '<p id="head">same</p>')
    return View([head, *(Part(name, f'<li id="{name}">{text}</li>', "rows") for name, text in rows.items())])


def test_only_what_changed_is_sent() -> None:
    assert changes(view(a="1", b="2"), view(a="1", b="2")) == ""
    assert re.findall(r'hx-target="#(\w+)" hx-swap="(\w+)"', changes(view(a="1", b="2"), view(a="1", b="3"))) == [
        ("b", "outerMorph")
    ]


@pytest.mark.parametrize("after", [view(b="2", a="1"), view(a="1"), view(a="1", b="2", c="3"), view()])
def test_rows_that_come_go_or_move_are_sent_as_the_list(after: View) -> None:
    sent = changes(view(a="1", b="2"), after)
    assert re.findall(r'hx-target="#(\w+)" hx-swap="(\w+)"', sent) == [("rows", "innerMorph")]
    assert str(after.list_html("rows")) in sent


def test_without_a_before_all_of_it_is_sent() -> None:
    assert re.findall(r'hx-target="#(\w+)"', changes(None, view(a="1"))) == ["head", "rows"]


def test_ids_are_safe_whatever_a_job_is_called() -> None:
    names = ["job_1", "", "a b", "#x", "\ud800", "é" * 500]
    ids = {element_id("job", name) for name in names}
    assert len(ids) == len(names)
    assert all(re.fullmatch(r"job-[0-9a-f]{16}", one) for one in ids)


class Reader:
    """The events of one open stream."""

    def __init__(self, content: asyncio.StreamReader) -> None:
        self._content = content

    async def event(self) -> tuple[str, str]:
        """``(id, data)`` of the next one."""
        found: dict[str, list[str]] = {"id": [], "data": []}
        async with asyncio.timeout(SECONDS):
            while True:
                line = (await self._content.readline()).decode().rstrip("\n")
                if not line and found["id"]:
                    return found["id"][0], "\n".join(found["data"])
                name, _, value = line.partition(": ")
                found.setdefault(name, []).append(value)


@contextlib.asynccontextmanager
async def stream(served: Served, path: str, **headers: str) -> AsyncIterator[Reader]:
    async with served.session.get(served.url + path, headers=headers) as answer:
        assert answer.content_type == "text/event-stream"
        yield Reader(answer.content)  # type: ignore[arg-type]


async def test_a_page_names_the_stream_that_continues_it(served: Served) -> None:
    await served.event("p1")
    for page, element in (("/", "rows"), ("/jobs/p1", "job-state")):
        async with served.session.get(served.url + page) as answer:
            text = await answer.text()
        path = re.search(r'hx-sse:connect="([^"]+)"', text)
        assert path is not None
        async with stream(served, path[1].replace("&amp;", "&")) as reader:
            await served.event("p1", logs=f"Steps:  10%|# | 1/10 [00:01<00:09, 1it/s, step_loss=0.5] {page}")
            await served.event(f"new{page}")
            data = ""
            while f'hx-target="#{element}"' not in data or "1 / 10" not in data:
                data += (await reader.event())[1]


async def test_what_was_seen_is_not_sent_again(served: Served) -> None:
    await served.event("p1", status="succeeded", output="x")
    async with stream(served, "/ui/jobs/p1/stream") as reader:
        digest, _ = await reader.event()
    async with stream(served, "/ui/jobs/p1/stream?seen=other", **{"Last-Event-ID": digest}) as reader:
        waiting = asyncio.create_task(reader.event())
        await asyncio.sleep(1)
        assert not waiting.done()
        await served.store.deliveries.update(
            "job_p1", "local", generation=0, now=0, status="delivered", url="file:///x"
        )
        other, data = await waiting
    assert other != digest
    assert "delivered" in data


@pytest.mark.parametrize("query", ["?status=nothing", "?sort=secret", "?page=0", "?page=x", "?order=up", "?delivery=x"])
async def test_what_cannot_be_asked_for(served: Served, query: str) -> None:
    for path in ("/", "/ui/jobs/stream"):
        await served.problem("GET", path + query, status=400, code="invalid_request")
    await served.problem("GET", "/ui/jobs/nobody/stream", status=404, code="job_not_found")
