"""The journal through the API: rows with paging, and bodies as they came."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from daemon.store.records import IncomingEvent
from daemon.web.api import events
from tests.support.webapp import Served, running_app


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path) as served:
        yield served


async def pages(served: Served, path: str, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = await served.get(f"{path}?after={cursor}&limit={limit}")
        found += page["events"]
        cursor = page["next_cursor"]
    return found


async def test_rows_of_all_and_of_one_job(served: Served) -> None:
    first = await served.event("a", status="starting")
    await served.event("b")
    await served.event(raw=b"\x00not json")
    await served.event("a", logs="1\n")
    rows = await pages(served, "/api/cloud/events", 3)
    assert [(row["seq"], row["event"]) for row in rows] == [
        (1, "start"),
        (2, "start"),
        (3, "unrecognized"),
        (4, "logs"),
    ]
    assert rows[0].keys() == {
        "seq", "webhook_id", "event", "job_id", "received_at", "source", "source_ip", "verified", "body_bytes",
    }  # fmt: skip
    assert rows[2]["job_id"] is None
    assert (rows[0]["webhook_id"], rows[0]["source"], rows[0]["verified"]) == ("msg_1", "webhook", True)
    mine = await pages(served, f"/api/cloud/jobs/{first.job_id}/events", 1)
    assert [row["seq"] for row in mine] == [1, 4]
    only = await served.get("/api/cloud/events?event=logs")
    assert [row["seq"] for row in only["events"]] == [4]
    assert (await served.get("/api/cloud/events?cursor=3"))["events"][0]["seq"] == 4


@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "limit=0", "limit=1001", "event=end", "cursor=x", f"after={2**70}"]
)
async def test_a_wrong_query_names_the_field(served: Served, query: str) -> None:
    problem = await served.problem("GET", f"/api/cloud/events?{query}", status=400, code="invalid_request")
    assert problem["field"] == query.split("=", maxsplit=1)[0]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{ "id":"a",\r\n"status" : "processing", "x": 1e999}\n', "application/json"),
        (b'{"id":"a"', "application/octet-stream"),
        (b'{"id":"\xff"}', "application/octet-stream"),
        (b"", "application/octet-stream"),
        (b'"' + b"x" * (events.LARGE_BODY + 10) + b'"', "application/json"),
    ],
)
async def test_a_body_comes_back_byte_for_byte(served: Served, body: bytes, content_type: str) -> None:
    appended = await served.event(raw=body)
    async with served.session.get(f"{served.url}/api/cloud/events/{appended.seq}/body") as answer:
        assert answer.status == 200
        assert await answer.read() == body
        assert answer.content_type == content_type
        assert answer.headers["webhook-id"] == "msg_1"
        assert answer.headers["webhook-signature"] == "v1,c2lnbmF0dXJl"
        assert int(answer.headers["webhook-timestamp"]) > 0
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_headers_that_could_split_the_answer_are_cleaned(served: Served) -> None:
    event = IncomingEvent("id\r\nX-Evil: 1", "1\n", None, b"{}", 1.0, "poll", None, True)
    appended = await served.store.journal.append(event, None)
    async with served.session.get(f"{served.url}/api/cloud/events/{appended.seq}/body") as answer:
        assert "X-Evil" not in answer.headers
        assert (answer.headers["webhook-id"], answer.headers["webhook-timestamp"]) == ("idX-Evil: 1", "1")
        assert "webhook-signature" not in answer.headers


async def test_a_job_s_body_is_the_job_s(served: Served) -> None:
    a = await served.event("a")
    b = await served.event("b")
    async with served.session.get(f"{served.url}/api/cloud/jobs/a/events/{a.seq}/body") as answer:
        assert (await answer.json())["id"] == "a"
    await served.problem("GET", f"/api/cloud/jobs/a/events/{b.seq}/body", status=404, code="not_found")
    for seq in ("0", "99", "x", "-1", str(2**70)):
        await served.problem("GET", f"/api/cloud/events/{seq}/body", status=404, code="not_found")
        await served.problem("GET", f"/api/cloud/jobs/a/events/{seq}/body", status=404, code="not_found")


async def test_head_tells_the_size_and_sends_nothing(served: Served) -> None:
    appended = await served.event("a")
    async with served.session.head(f"{served.url}/api/cloud/events/{appended.seq}/body") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert int(answer.headers["Content-Length"]) > 10
