"""Clients that do not finish what they send, and the answers that never reach the application."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from daemon.web.deadlines import BODY_SECONDS, HEADERS_SECONDS
from daemon.web.runner import make_runner
from tests.support.signed import Raw, connected, request_bytes

HEADERS, BODY = 0.4, 0.8  # seconds
SLACK = 3.0  # a busy machine is late; what is sent slowly takes longer than this, so it cannot end by itself


class Upstream:
    """A handler for each kind of answer."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.bodies: list[bytes] = []

    async def echo(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        return web.json_response({"bytes": len(self.bodies[-1])})

    async def slow(self, _request: web.Request) -> web.Response:
        await self.release.wait()
        return web.json_response({})

    async def unread(self, _request: web.Request) -> web.Response:
        await asyncio.sleep(3 * BODY)  # busy before it gets to the body, which is larger than what is buffered
        return web.json_response({"bytes": len(await _request.read())})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for number in range(5):
            await asyncio.sleep(BODY / 2)
            await answer.write(b"data: %d\n\n" % number)
        return answer


@contextlib.asynccontextmanager
async def serving(**limits: float) -> AsyncIterator[tuple[str, Upstream]]:
    upstream, app = Upstream(), web.Application(client_max_size=1 << 24)
    app.router.add_post("/echo", upstream.echo)
    app.router.add_get("/slow", upstream.slow)
    app.router.add_post("/unread", upstream.unread)
    app.router.add_get("/stream", upstream.stream)
    options = {"headers_seconds": HEADERS, "body_seconds": BODY, "keepalive_seconds": 5.0, "shutdown_seconds": 0.5}
    runner = make_runner(app, **{**options, **limits})
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", upstream
    finally:
        upstream.release.set()
        await runner.cleanup()


async def trickle(raw: Raw, data: bytes, every: float = 0.05) -> None:
    with contextlib.suppress(ConnectionError):
        for number in range(len(data)):
            await raw.send(data[number : number + 1])
            await asyncio.sleep(every)


def test_the_contract_s_deadlines() -> None:
    assert (HEADERS_SECONDS, BODY_SECONDS) == (15.0, 60.0)


@pytest.mark.parametrize("start", [b"", b"P", b"POST /echo HTTP/1.1\r\nHost: x\r\n"])
async def test_headers_that_stop(start: bytes) -> None:
    async with serving() as (url, _), connected(url) as raw:
        await raw.send(start)
        assert await raw.closed_within(HEADERS + SLACK) >= HEADERS - 0.1


async def test_headers_that_trickle() -> None:
    async with serving() as (url, _), connected(url) as raw:
        sending = asyncio.create_task(trickle(raw, request_bytes(path="/echo", X_Filler="x" * 100)))
        await raw.closed_within(HEADERS + SLACK)
        await sending


async def test_headers_of_a_later_request() -> None:
    async with serving() as (url, _), connected(url) as raw:
        await raw.send(request_bytes(b"one", path="/echo"))
        assert (await raw.answer())[2] == {"bytes": 3}
        await asyncio.sleep(2 * HEADERS)  # idle between requests is no crime
        await raw.send(request_bytes(b"two", path="/echo"))
        assert (await raw.answer())[2] == {"bytes": 3}
        await raw.send(b"POST /ec")
        assert await raw.closed_within(HEADERS + SLACK) >= HEADERS - 0.1


async def test_a_body_that_stops() -> None:
    async with serving() as (url, upstream), connected(url) as raw:
        await raw.send(request_bytes(path="/echo", Content_Length="10") + b"12345")
        assert await raw.closed_within(BODY + SLACK) >= BODY - 0.1
        assert upstream.bodies == []


async def test_a_body_that_trickles() -> None:
    async with serving() as (url, upstream), connected(url) as raw:
        await raw.send(request_bytes(path="/echo", Content_Length="100"))
        sending = asyncio.create_task(trickle(raw, b"x" * 100))
        await raw.closed_within(BODY + SLACK)
        await sending
        assert upstream.bodies == []


async def test_a_chunked_body_that_never_ends() -> None:
    async with serving() as (url, _), connected(url) as raw:
        await raw.send(request_bytes(path="/echo", Content_Length="", Transfer_Encoding="chunked"))
        sending = asyncio.create_task(trickle(raw, b"1\r\nx\r\n" * 100, every=0.01))
        await raw.closed_within(BODY + SLACK)
        await sending


async def test_a_slow_but_finished_request_is_answered() -> None:
    """Longer altogether than either part may take; each part has two thirds of a second to spare."""
    async with serving(headers_seconds=1.5, body_seconds=1.5) as (url, _), connected(url) as raw:
        head = request_bytes(path="/echo", Content_Length="4")
        await asyncio.sleep(0.4)
        await raw.send(head[:20])
        await asyncio.sleep(0.4)
        await raw.send(head[20:])
        for piece in (b"1", b"2", b"3", b"4"):
            await asyncio.sleep(0.2)
            await raw.send(piece)
        assert (await raw.answer())[2] == {"bytes": 4}


async def test_the_body_deadline_ends_with_the_body() -> None:
    async with serving() as (url, _), connected(url) as raw:
        for _ in range(4):
            await raw.send(request_bytes(path="/echo", Content_Length="2") + b"1")
            await asyncio.sleep(BODY / 3)
            await raw.send(b"2")
            assert (await raw.answer())[2] == {"bytes": 2}


async def test_a_slow_handler_is_not_the_client_s_fault() -> None:
    async with serving() as (url, upstream), connected(url) as raw:
        await raw.send(request_bytes(method="GET", path="/slow"))
        await asyncio.sleep(0.05)
        await raw.send(b"GET /slow HTTP/1.1\r\nHo")  # the next one, begun behind it
        await asyncio.sleep(3 * HEADERS)
        upstream.release.set()
        assert (await raw.answer())[0] == 200
        await raw.send(b"st: x\r\n\r\n")
        assert (await raw.answer())[0] == 200


async def test_a_body_that_we_do_not_read_yet_is_not_the_client_s_fault() -> None:
    async with serving() as (url, _), connected(url) as raw:
        body = b"x" * 8_000_000
        sending = asyncio.create_task(raw.send(request_bytes(body, path="/unread")))
        assert (await raw.answer())[2] == {"bytes": len(body)}
        await sending


async def test_an_event_stream_goes_on() -> None:
    async with serving() as (url, _), connected(url) as raw:
        await raw.send(request_bytes(method="GET", path="/stream"))
        text = await raw.reader.readuntil(b"data: 4\n\n")
        assert text.count(b"data:") == 5


async def test_an_idle_connection_is_closed() -> None:
    async with serving(keepalive_seconds=0.5) as (url, _), connected(url) as raw:
        await raw.send(request_bytes(b"one", path="/echo"))
        await raw.answer()
        assert await raw.closed_within(0.5 + SLACK) >= 0.4


async def test_many_slow_clients_at_once_hold_nothing_up() -> None:
    seconds = 3.0
    async with serving(headers_seconds=seconds) as (url, _), contextlib.AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(connected(url)) for _ in range(100)]
        for raw in slow:
            await raw.send(b"POST /echo HTTP/1.1\r\n")
        async with connected(url) as raw:
            began = time.monotonic()
            await raw.send(request_bytes(b"one", path="/echo"))
            await raw.answer()
            assert time.monotonic() - began < seconds
        await asyncio.gather(*(raw.closed_within(seconds + 2 * SLACK) for raw in slow))


@pytest.mark.parametrize(
    "request_line",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS on a plain port
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad Header: 1\r\n\r\n",
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n",
    ],
)
async def test_what_the_parser_refuses_is_a_problem_too(request_line: bytes) -> None:
    async with serving() as (url, _), connected(url) as raw:
        await raw.send(request_line)
        status, headers, found = await raw.answer()
        assert (status, found["code"], found["status"]) == (400, "invalid_request", 400)
        assert headers["content-type"] == "application/problem+json"
        assert headers["x-content-type-options"] == "nosniff"
        await raw.closed_within(SLACK)


async def test_an_expectation_that_nobody_meets() -> None:
    async with serving() as (url, _), connected(url) as raw:
        await raw.send(request_bytes(b"x", path="/echo", Expect="something"))
        status, headers, _ = await raw.answer()
        assert (status, headers["content-type"]) == (400, "application/problem+json")


async def test_a_client_that_waits_for_100_continue() -> None:
    async with serving() as (url, _), connected(url) as raw:
        await raw.send(request_bytes(path="/echo", Content_Length="3", Expect="100-continue"))
        assert (await raw.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        await raw.send(b"one")
        assert (await raw.answer())[2] == {"bytes": 3}
