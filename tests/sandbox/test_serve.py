"""The sandbox as a process of its own."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys

import aiohttp
import pytest

from daemon.sandbox import Sandbox

PROGRAM = "import asyncio; from daemon.sandbox import serve_sandbox; asyncio.run(serve_sandbox('127.0.0.1', 0))"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_prints_what_points_a_daemon_at_it_and_stops(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode() for _ in range(2)]
    url = re.fullmatch(r"export REPLICATE_BASE_URL=(http://127\.0\.0\.1:\d+)\n", lines[0])
    token = re.fullmatch(r"export REPLICATE_API_TOKEN=(r8_\w{37})\n", lines[1])
    assert url and token
    headers = {"Authorization": f"Bearer {token[1]}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url[1] + "/v1/account") as answer:
        assert answer.status == 200
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), 30) == 0


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("localhost", "localhost"), ("::", "[::1]")]
)
async def test_it_shows_an_address_that_can_be_called(host: str, shown: str) -> None:
    async with Sandbox(host) as sandbox, aiohttp.ClientSession() as session:
        assert sandbox.url.startswith(f"http://{shown}:")
        async with session.get(sandbox.url + "/_sandbox/state") as answer:
            assert answer.status == 200


async def test_a_taken_port_is_an_oserror() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        sandbox = Sandbox(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            await sandbox.__aenter__()
