"""Streams are taken up again at exactly the next message."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from daemon.cli.sse import Message, Reader
from tests.cli.conftest import StandIn, job


def read(text: bytes) -> tuple[list[Message], str | None]:
    reader = Reader()
    return list(reader.messages(text.splitlines(keepends=True))), reader.last_id


def test_messages_are_read_as_the_specification_says() -> None:
    stream = b": hello\nid: 1\nevent: logs\ndata: a\ndata:b\n\n\ndata: c\r\n\r\nid: 7\n\nevent: lost\ndata: cut off"
    assert read(stream) == ([Message("1", "logs", "a\nb"), Message("1", "message", "c")], "7")


def test_an_id_counts_only_with_its_whole_message() -> None:
    assert read(b"id: 1\ndata: a\n\nid: 2\ndata: cut")[1] == "1"


def sse(number: int) -> bytes:
    row = {"seq": number, "event": "logs", "job_id": "job_1", "source": "webhook", "verified": True}
    return f"id: {number}\nevent: logs\ndata: {json.dumps(row)}\n\n".encode()


async def stream(request: web.Request, *parts: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for part in parts:
        await response.write(part)
    return response


async def test_tail_resumes_where_it_was(start, stand_in: StandIn) -> None:
    connections: list[str | None] = []

    async def events(request: web.Request) -> web.StreamResponse:
        after = request.headers.get("Last-Event-ID")
        connections.append(after)
        match len(connections):
            case 1:  # tells where to resume, and breaks off before any event
                return await stream(request, b": events after 4\nid: 4\n\n")
            case 2:  # breaks off in the middle of an event
                response = await stream(request, sse(5), sse(6), sse(7)[:30])
                assert request.transport is not None
                request.transport.abort()
                return response
            case 3:
                return web.json_response({"title": "Not ready", "code": "not_ready"}, status=503)
            case _:
                return await stream(request, sse(7), sse(8))

    stand_in.routes["GET", "/api/cloud/events/stream"] = events
    started = await start("tail", "--json", TUNERD_URL=stand_in.url)
    seen = [json.loads(await started.line())["seq"] for _ in range(4)]
    assert seen == [5, 6, 7, 8]
    assert connections[:4] == [None, "4", "6", "6"]


async def test_tail_begins_where_it_is_told_and_filters(start, stand_in: StandIn) -> None:
    async def events(request: web.Request) -> web.StreamResponse:
        return await stream(request, sse(int(request.headers["Last-Event-ID"]) + 1))

    stand_in.routes["GET", "/api/cloud/events/stream"] = events
    started = await start("tail", "--from", "42", "--job", "a&b", "--event", "logs", TUNERD_URL=stand_in.url)
    assert (await started.line()).split()[0] == "42"
    assert stand_in.seen[0][1] == "/api/cloud/events/stream?job=a%26b&event=logs"


async def test_logs_come_out_once_whatever_the_connection_does(tunerd, stand_in: StandIn) -> None:
    text = "".join(f"\rstep {number} ✓" for number in range(200)).encode()
    connections: list[int] = []

    def log(begin: int, end: int) -> bytes:
        data = json.dumps({"offset": begin, "text": text[begin:end].decode()})
        return f"id: {end}\nevent: log\ndata: {data}\n\n".encode()

    size = len("\rstep 0 ✓".encode())  # the first ten lines are equally long

    async def logs(request: web.Request) -> web.StreamResponse:
        connections.append(int(request.headers.get("Last-Event-ID", 0)))
        if len(connections) == 1:
            return await stream(request, log(0, size), log(size, 3 * size), log(3 * size, 4 * size)[:40])
        # The server begins earlier than asked for.
        end = json.dumps({"offset": len(text), "status": "completed"})
        return await stream(request, log(2 * size, len(text)), f"event: end\ndata: {end}\n\n".encode())

    stand_in.routes["GET", "/api/cloud/jobs/job_1/logs/stream"] = logs
    result = await tunerd("logs", "-f", "job_1", TUNERD_URL=stand_in.url)
    assert result.code == 0 and result.out.encode() == text
    assert connections == [0, 3 * size]
    connections.clear()
    result = await tunerd("logs", "-f", "job_1", "--json", TUNERD_URL=stand_in.url)
    assert "".join(line["text"] for line in result.lines()).encode() == text
    assert [line["offset"] for line in result.lines()] == [0, size, 3 * size]


async def test_wait_outlives_a_restart_of_the_daemon(tunerd, stand_in: StandIn) -> None:
    looks = 0

    async def look(request: web.Request) -> web.StreamResponse:
        nonlocal looks
        looks += 1
        if looks in {2, 3}:
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
        return web.json_response({"job": job(status="running" if looks < 5 else "completed")})

    stand_in.routes["GET", "/api/cloud/jobs/job_1"] = look
    result = await tunerd("wait", "job_1", TUNERD_URL=stand_in.url)
    assert result.code == 0 and result.out == "job_1 completed\n"
    assert "waiting for it to come back" in result.err
