"""A store, a simulated Replicate on a real socket, and the parts under test between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from daemon.config import Settings, load_settings
from daemon.replicate.client import ReplicateClient
from daemon.replicate.reconcile import Reconciler
from daemon.replicate.retry import RetryPolicy
from daemon.replicate.submit import Submitter
from daemon.replicate.token import TokenSource
from daemon.sandbox.server import Sandbox
from daemon.store.effective import EffectiveSettings
from daemon.store.store import Store

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
WEBHOOK = "https://hooks.example.com"


class Clock:
    """Unix seconds; ``sleep`` passes at once and is remembered."""

    def __init__(self) -> None:
        import time

        self.now = time.time()
        self.slept: list[float] = []
        self.steady = False  # the sandbox has its own clock: sleeping must not move ours away from it

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if not self.steady:
            self.now += seconds
        await asyncio.sleep(0)


@dataclass
class World:
    """Everything of one daemon, without its web server."""

    settings: Settings
    store: Store
    sandbox: Sandbox
    session: aiohttp.ClientSession
    clock: Clock
    effective: EffectiveSettings
    tokens: TokenSource
    client: ReplicateClient
    submitter: Submitter
    reconciler: Reconciler

    def calls(self, method: str, path: str) -> list[str]:
        """The paths of the API requests that were made, by method and a part of the path."""
        return [call.path for call in self.sandbox.requests if call.method == method and path in call.path]

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not await condition():  # noqa: ASYNC110 - the other side of a socket sets no event
                await asyncio.sleep(0.02)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(port=0, speed=50, seed=1) as running:
        running.faults.behaviour = {"stuck": True}  # nothing moves unless a test says so
        yield running


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(None, tmp_path / "data") as opened:
        yield opened


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trust_env=True) as opened:
        yield opened


@pytest.fixture
def make_world(
    tmp_path: Path, sandbox: Sandbox, store: Store, session: aiohttp.ClientSession, clock: Clock
) -> Callable[..., Awaitable[World]]:
    """A daemon's parts; called twice, the second is the daemon after a restart. ``over``: another store."""
    own = store

    async def make(over: Store | None = None, **environ: str) -> World:
        store = over or own
        base = {
            "HOME": str(tmp_path),
            "REPLICATE_API_TOKEN": sandbox.api_token,
            "REPLICATE_BASE_URL": sandbox.url,
            "TUNERD_WEBHOOK_URL": WEBHOOK,
        }
        settings = load_settings(environ={**base, **environ})
        effective = EffectiveSettings(settings, store.settings)
        await effective.load()
        tokens = TokenSource(settings, store.secrets)
        client = ReplicateClient(
            session,
            tokens.get,
            settings.replicate_base_url,
            policy=RetryPolicy(attempts=3),
            now=clock,
            sleep=clock.sleep,
            jitter=lambda: 0.5,
        )
        submitter = Submitter(
            store, effective, client, tokens, scratch=tmp_path / "data" / "tmp", now=clock, sleep=clock.sleep
        )
        reconciler = Reconciler(store, client, submitter, interval=settings.reconcile_seconds, now=clock)
        return World(settings, store, sandbox, session, clock, effective, tokens, client, submitter, reconciler)

    return make


@pytest.fixture
async def world(make_world: Callable[..., Awaitable[World]]) -> World:
    return await make_world()


class Counterpart:
    """A real server whose answers a test lists; the last one is repeated."""

    url: str

    def __init__(self) -> None:
        self.answers: list[Handler] = []
        self.seen: list[web.Request] = []
        self.bodies: list[bytes] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.read())
        self.seen.append(request)
        return await self.answers[min(len(self.seen), len(self.answers)) - 1](request)

    def say(self, *answers: dict[str, Any] | Handler) -> None:
        def fixed(answer: dict[str, Any]) -> Handler:
            async def handler(_: web.Request) -> web.Response:
                return web.json_response(**answer)

            return handler

        self.answers = [fixed(answer) if isinstance(answer, dict) else answer for answer in answers]


@pytest.fixture
async def counterpart() -> AsyncIterator[Counterpart]:
    part = Counterpart()
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{rest:.*}", part.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    part.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield part
    await runner.cleanup()
