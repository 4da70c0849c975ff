"""Why a connection failed, in words: each met for real, as aiohttp and http.client raise it."""

from __future__ import annotations

import asyncio
import http.client
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from daemon.connecting import explain_connection

PACKAGE = Path(__file__).parents[1] / "daemon"


@asynccontextmanager
async def answering(said: bytes) -> AsyncIterator[int]:
    """The port of a server that says ``said`` to whoever comes, and hangs up."""

    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def aiohttps(url: str) -> str:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(url) as answer:
                await answer.read()
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            return explain_connection(problem)
    return "it was answered"


async def http_clients(url: str) -> str:
    def get() -> str:
        connection = http.client.HTTPConnection(url.removeprefix("http://").rstrip("/"), timeout=30)
        try:
            connection.request("GET", "/")
            with connection.getresponse() as answer:
                answer.read()
        except (OSError, http.client.HTTPException) as problem:
            return explain_connection(problem)
        finally:
            connection.close()
        return "it was answered"

    return await asyncio.to_thread(get)


BOTH = pytest.mark.parametrize("ask", [aiohttps, http_clients])
Ask = Callable[[str], object]


@BOTH
async def test_refused(ask: Ask) -> None:
    async with answering(b"") as port:
        pass  # free again
    assert await ask(f"http://127.0.0.1:{port}/") == "the connection was refused"


@BOTH
async def test_a_name_that_does_not_resolve(ask: Ask) -> None:
    assert await ask("http://nowhere.invalid/") == "the name does not resolve"


@BOTH
@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "the connection was closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", "the connection was closed"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "what answers there does not speak HTTP"),
    ],
)
async def test_what_answers_is_odd(ask: Ask, said: bytes, words: str) -> None:
    async with answering(said) as port:
        assert await ask(f"http://127.0.0.1:{port}/") == words


async def test_no_tls_there() -> None:
    async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert "TLS" in await aiohttps(f"https://127.0.0.1:{port}/")


async def test_the_url_is_not_shown() -> None:
    assert await aiohttps("http://[secret/") == "the URL is not valid"


def test_silence_and_what_nobody_knows() -> None:
    assert explain_connection(TimeoutError(), 10) == "no answer within 10 s"
    assert explain_connection(TimeoutError()) == "no answer in time"
    assert explain_connection(RuntimeError("r8_secret")) == "the connection failed"


def test_no_text_for_people_holds_the_name_of_a_class() -> None:
    """Of an exception's class. Traces and the simulated Replicate's own log are read by developers."""
    named = {
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        if re.search(r"type\(\w+\)\.__(qual)?name__", file.read_text(encoding="utf-8"))
    }
    assert named <= {"tracing.py", "sandbox/sending.py", "sandbox/webhooks.py", "web/metrics.py"}
