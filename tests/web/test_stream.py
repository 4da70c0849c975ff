"""The live stream of events: every event once and in order, whatever the client and the daemon do."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from pathlib import Path

import pytest

from daemon.web import sse
from daemon.web.application import begin_drain
from tests.support.sse import Frame, Reader, open_stream
from tests.support.waiting import until
from tests.support.webapp import Served, running_app

EVENTS = "/api/cloud/events/stream"


async def test_a_fresh_stream_brings_what_is_new(served: Served) -> None:
    await served.event("old")
    async with open_stream(served, EVENTS) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["X-Accel-Buffering"] == "no"
        reader = Reader(answer)
        await reader.opened()
        await served.event("new", logs="a\n\nb\rc")
        (frame,) = await reader.take(1)
    row = (await served.get("/api/cloud/events?after=1"))["events"][0]
    assert frame == Frame("2", "logs", row)


@pytest.mark.parametrize("beyond", ["6", "999999"])
async def test_a_point_beyond_the_end_is_the_end(served: Served, beyond: str) -> None:
    """After a restore of an older backup every client has one."""
    for number in range(5):
        await served.event(f"p{number}")
    async with open_stream(served, EVENTS, **{"Last-Event-ID": beyond}) as answer:
        reader = Reader(answer)
        await reader.opened()
        await served.event("new")
        assert [frame.id for frame in await reader.take(1)] == ["6"]


async def test_a_connection_lost_before_the_first_event_can_be_resumed(served: Served) -> None:
    await served.event("old")
    async with open_stream(served, EVENTS) as answer:
        reader = Reader(answer)
        await reader.opened()
        assert (await answer.content.readline()) == b"id: 1\n"
    await served.event("new")
    async with open_stream(served, EVENTS, **{"Last-Event-ID": "1"}) as answer:
        assert [frame.id for frame in await Reader(answer).take(1)] == ["2"]


async def test_resuming_by_header_and_by_query(served: Served) -> None:
    for number in range(5):
        await served.event(f"p{number}")
    async with open_stream(served, EVENTS + "?after=3") as answer:
        assert [frame.data["seq"] for frame in await Reader(answer).take(2)] == [4, 5]
    async with open_stream(served, EVENTS + "?after=0", **{"Last-Event-ID": "4"}) as answer:
        assert [frame.data["seq"] for frame in await Reader(answer).take(1)] == [5]


async def test_filters(served: Served) -> None:
    for provider_id in ("a", "b"):
        await served.event(provider_id, status="starting")
        await served.event(provider_id, logs="1")
    async with open_stream(served, EVENTS + "?after=0&job=b&event=logs") as answer:
        reader = Reader(answer)
        assert [frame.data["seq"] for frame in await reader.take(1)] == [4]
        await served.event("a", logs="12")
        await served.event("b", logs="12")
        assert [frame.data["seq"] for frame in await reader.take(1)] == [6]


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        ("?after=x", {}, 400, "invalid_request"),
        ("", {"Last-Event-ID": "-1"}, 400, "invalid_request"),
        ("", {"Last-Event-ID": "1" * 30}, 400, "invalid_request"),
        ("?event=end", {}, 400, "invalid_request"),
        ("?job=nobody", {}, 404, "job_not_found"),
    ],
)
async def test_what_cannot_be_followed(
    served: Served, query: str, headers: dict[str, str], status: int, code: str
) -> None:
    await served.problem("GET", EVENTS + query, status=status, code=code, headers=headers)


async def test_head_does_not_stay(served: Served) -> None:
    await served.event("p1")
    for path in (EVENTS, "/api/cloud/jobs/p1/logs/stream"):
        async with served.session.head(served.url + path) as answer:
            assert (answer.status, await answer.read()) == (200, b"")


async def test_every_event_once_and_in_order_under_load_and_reconnects(served: Served) -> None:
    writers, each = 8, 60
    chance = random.Random(7)

    async def write(name: str) -> None:
        for number in range(each):
            await served.event(name, logs="x" * number)
            if number % 7 == 0:
                await asyncio.sleep(0.01)

    async def follow(restless: bool) -> list[int]:
        seen: list[int] = []
        last = "0"
        while len(seen) < writers * each:
            async with open_stream(served, EVENTS, **{"Last-Event-ID": last}) as answer:
                reader = Reader(answer)
                for _ in range(chance.randrange(1, 60) if restless else writers * each):
                    if len(seen) == writers * each:
                        break
                    (frame,) = await reader.take(1)
                    seen.append(frame.data["seq"])
                    last = str(frame.id)
        return seen

    followers = [asyncio.create_task(follow(restless)) for restless in (False, True, True)]
    await asyncio.gather(*(write(f"w{number}") for number in range(writers)))
    for seen in await asyncio.gather(*followers):
        assert seen == list(range(1, writers * each + 1))


async def test_heartbeats_keep_a_quiet_connection(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.05)
    async with open_stream(served, EVENTS) as answer:
        reader = Reader(answer)
        waiting = asyncio.create_task(reader.next())
        await until(lambda: reader.comments.count("keep-alive") >= 3)
        await served.event("p1")
        frame = await waiting
        assert frame is not None
        assert frame.data["seq"] == 1


async def test_a_drain_ends_every_stream_at_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LOOK_AGAIN_SECONDS", 600.0)  # so that only the drain can end them
    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 600.0)
    await served.event("p1", logs="1")
    async with open_stream(served, EVENTS) as first, open_stream(served, "/api/cloud/jobs/p1/logs/stream") as second:
        readers = [Reader(first), Reader(second)]
        for reader in readers:
            await reader.opened()
        await readers[1].take(1)
        begin_drain(served.app)
        assert [await reader.next() for reader in readers] == [None, None]


def connect_without_reading(served: Served, path: str) -> socket.socket:
    """A client that asks and then takes nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, port = served.url.removeprefix("http://").split(":")
    client.connect((host, int(port)))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return client


def buffered(served: Served) -> int:
    """Bytes that the server holds for its clients."""
    assert served.server.runner is not None
    assert served.server.runner.server is not None
    transports = [one.transport for one in served.server.runner.server.connections]
    return sum(
        transport.get_write_buffer_size() for transport in transports if isinstance(transport, asyncio.Transport)
    )


async def test_a_client_that_does_not_read_costs_little_and_is_let_go(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served.event("p1", logs="ä" * 4_000_000)
    with connect_without_reading(served, "/api/cloud/jobs/p1/logs/stream"):
        await until(lambda: buffered(served) > 0)
        await asyncio.sleep(0.5)
        assert buffered(served) < 1_000_000
    monkeypatch.setattr(sse, "STALLED_SECONDS", 0.2)
    with connect_without_reading(served, "/api/cloud/jobs/p1/logs/stream"):
        await until(lambda: buffered(served) > 0)
        await until(lambda: buffered(served) == 0)


async def test_a_client_that_does_not_read_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        await served.event("p1", logs="x" * 8_000_000)
        with connect_without_reading(served, "/api/cloud/jobs/p1/logs/stream"):
            await until(lambda: buffered(served) > 0)
            started = time.monotonic()
            await served.server.close()
            assert time.monotonic() - started < sse.STALLED_SECONDS / 2
