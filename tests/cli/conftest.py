"""The program as a subprocess, as a shell runs it, and a small server that answers as the contract says."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.daemon import clean_environment
from tests.support.serving import serving

TIMEOUT = 60  # seconds; generous: two cores, many processes


@dataclass
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Program = Callable[..., Awaitable["Started"]]


@dataclass
class Started:
    """A command that runs."""

    process: asyncio.subprocess.Process

    async def result(self, given: bytes | None = None) -> Result:
        out, err = await asyncio.wait_for(self.process.communicate(given), TIMEOUT)
        assert self.process.returncode is not None
        result = Result(self.process.returncode, out.decode(), err.decode())
        assert "Traceback" not in result.err, result.err
        return result

    async def line(self) -> str:
        assert self.process.stdout is not None
        try:
            return (await asyncio.wait_for(self.process.stdout.readline(), TIMEOUT)).decode().rstrip("\n")
        except TimeoutError:
            self.process.kill()
            out, err = await self.process.communicate()
            raise AssertionError(f"no line within {TIMEOUT} s; it said {out.decode()!r} and {err.decode()!r}") from None

    async def remark(self) -> str:
        """The next line on standard error."""
        assert self.process.stderr is not None
        return (await asyncio.wait_for(self.process.stderr.readline(), TIMEOUT)).decode().rstrip("\n")


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Program]:
    """``await start("jobs", "--json", TUNERD_URL=…)``: a command that runs; killed at the end of the test."""
    running: list[asyncio.subprocess.Process] = []

    async def start(*arguments: str, **variables: str) -> Started:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "daemon", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=clean_environment(tmp_path, **variables),
        )
        running.append(process)
        return Started(process)

    yield start
    for process in running:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
def tunerd(start: Program) -> Callable[..., Awaitable[Result]]:
    """``await tunerd("jobs", TUNERD_URL=…)``: a command run to its end."""

    async def run(*arguments: str, given: bytes | None = None, **variables: str) -> Result:
        started: Started = await start(*arguments, **variables)
        return await started.result(given)

    return run


@dataclass
class StandIn:
    """A server whose answers a test chooses; ``seen`` holds the requests."""

    url: str = ""
    routes: dict[tuple[str, str], Callable[[web.Request], Awaitable[web.StreamResponse]]] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def answer(self, method: str, path: str, body: Any, status: int = 200, kind: str = "application/json") -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()

        async def handler(request: web.Request) -> web.Response:
            return web.Response(status=status, body=content, content_type=kind)

        self.routes[method, path] = handler

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        found = self.routes.get((request.method, request.path))
        if found is None:
            problem = {"type": "about:blank", "title": "Nothing is here", "status": 404, "code": "not_found"}
            return web.json_response(problem, status=404, content_type="application/problem+json")
        return await found(request)


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    server = StandIn()
    async with serving(server.handle) as server.url:
        yield server


def problem(status: int, code: str, **more: Any) -> dict[str, Any]:
    """An error answer's body."""
    return {
        "type": "about:blank",
        "title": "It went wrong",
        "status": status,
        "detail": "Do this next.",
        "code": code,
    } | more


def job(**changes: Any) -> dict[str, Any]:
    """A job as the API shows it."""
    return {
        "job_id": "job_1",
        "provider": "replicate",
        "provider_job_id": "1",
        "status": "running",
        "model": "acme/trainer",
        "version": None,
        "hardware": "gpu-l40s",
        "config_name": None,
        "created_at": "2026-01-05T10:00:00.000Z",
        "started_at": None,
        "completed_at": None,
        "duration_seconds": None,
        "cost_usd": None,
        "cost_estimate_usd": None,
        "error": None,
        "output": None,
        "progress": None,
        "deliveries": [],
        "metadata": {},
    } | changes


def delivery(**changes: Any) -> dict[str, Any]:
    """A delivery as the API shows it."""
    return {
        "destination": "local",
        "type": "local",
        "status": "delivered",
        "url": None,
        "attempts": 1,
        "error": None,
        "bytes_done": 1,
        "bytes_total": 1,
    } | changes
