"""Socket activation: the daemon restarts again and again under load, and no request fails.

``systemd-socket-activate`` opens the socket and starts a shell, which stands for systemd: it keeps the socket and
starts one daemon after the other on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import system_program
from tests.support.daemon import clean_environment
from tests.support.ports import free_port
from tests.support.signed import PATH, SECRET, prediction, signed

RESTARTS = max(4, min(50, int(os.environ.get("FAULT_ROUNDS", "4"))))
REQUESTS_PER_SECOND = 50
PATIENCE = 60  # seconds for one answer: a start on a busy machine is in between
# One after the other, each told its own process number, as systemd does. It ends when a daemon ended unwell.
SUPERVISOR = """
trap 'stop=1; kill -TERM $child' TERM
while [ -z "$stop" ]; do
    "$0" -c 'export LISTEN_PID=$$; exec "$@"' "$@" &
    child=$!; echo $child > "$PIDFILE"
    wait $child; code=$?
    [ -n "$stop" ] && wait $child && code=$?
    [ $code -eq 0 ] || exit $code
done
"""


class Outcomes:
    def __init__(self) -> None:
        self.answered = 0
        self.failed: list[str] = []
        self.longest = 0.0


async def send(session: aiohttp.ClientSession, url: str, number: int, outcomes: Outcomes) -> None:
    body = prediction(f"p{number % 7}", number=number)
    began = time.monotonic()
    try:
        async with session.post(url + PATH, data=body, headers=signed(body, f"msg_{number}")) as answer:
            await answer.read()
            if answer.status != 200:
                outcomes.failed.append(f"{number}: {answer.status}")
            outcomes.answered += 1
    except (aiohttp.ClientError, OSError, TimeoutError) as problem:
        outcomes.failed.append(f"{number}: {problem!r}")
    outcomes.longest = max(outcomes.longest, time.monotonic() - began)


async def load(url: str, outcomes: Outcomes, stop: asyncio.Event) -> int:
    """``REQUESTS_PER_SECOND``, half of them on connections of their own; how many were sent."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    number = 0
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as kept,
        aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0, force_close=True)) as fresh,
        asyncio.TaskGroup() as group,
    ):
        while not stop.is_set():
            group.create_task(send(kept if number % 2 else fresh, url, number, outcomes))
            number += 1
            await asyncio.sleep(1 / REQUESTS_PER_SECOND)
    return number


@contextlib.asynccontextmanager
async def activated(tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    """The address, and the file that names the daemon's process."""
    port = free_port()
    pid_file, log = tmp_path / "pid", tmp_path / "daemon.log"
    variables = {"TUNERD_DATA_DIR": str(tmp_path / "data"), "TUNERD_WEBHOOK_SECRET": SECRET, "PIDFILE": str(pid_file)}
    passed = [f"--setenv={name}" for name in ("PATH", "HOME", "PIDFILE", "TUNERD_DATA_DIR", "TUNERD_WEBHOOK_SECRET")]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(system_program("systemd-socket-activate"), "--listen", f"127.0.0.1:{port}", *passed),
            *("/bin/bash", "-c", SUPERVISOR, "/bin/bash", "bash", sys.executable, "-m", "daemon", "serve"),
            env=clean_environment(tmp_path, **variables),
            stdout=output,
            stderr=output,
        )
    try:
        yield f"http://127.0.0.1:{port}", pid_file
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 60)
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode in {0, 143}, log.read_text()[-3000:]


async def ready(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(600):
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url + "/healthz", headers={"Connection": "close"}) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)
    raise AssertionError("not ready")


@pytest.mark.parametrize("restarts", [1, pytest.param(RESTARTS, marks=pytest.mark.slow)], ids=["once", "rounds"])
@pytest.mark.timeout(120 + 20 * RESTARTS)
async def test_restarts_under_load_lose_no_request(tmp_path: Path, restarts: int) -> None:
    outcomes, stop = Outcomes(), asyncio.Event()
    async with activated(tmp_path) as (url, pid_file):
        await ready(url)
        sending = asyncio.create_task(load(url, outcomes, stop))
        seen = set()
        for _ in range(restarts):
            await asyncio.sleep(1)
            pid = int(pid_file.read_text())
            seen.add(pid)
            os.kill(pid, signal.SIGTERM)
            for _ in range(600):
                if int(pid_file.read_text() or pid) != pid:
                    break
                await asyncio.sleep(0.1)
            await ready(url)
        stop.set()
        sent = await sending
        assert len(seen) == restarts
        assert outcomes.failed == []
        assert outcomes.answered == sent
        async with aiohttp.ClientSession() as session, session.get(url + "/api/cloud/jobs") as answer:
            assert (await answer.json())["total"] == 7
    print(f"{restarts} restarts, {sent} requests, the longest took {outcomes.longest:.1f} s")
