"""A store, a simulated Replicate on a real socket, and the parts under test between them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.fernet import Fernet

from daemon.config import Settings, load_settings
from daemon.replicate.client import ReplicateClient
from daemon.replicate.reconcile import Reconciler
from daemon.replicate.retry import RetryPolicy
from daemon.replicate.submit import Submitter
from daemon.replicate.token import TokenSource
from daemon.sandbox.server import Sandbox
from daemon.store.effective import EffectiveSettings
from daemon.store.store import Store
from tests.support import clock as clocks
from tests.support.empty import lay_down
from tests.support.serving import serving
from tests.support.waiting import until

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
WEBHOOK = "https://hooks.example.com"
SECRET = "hf_" + "T" * 30


class Clock(clocks.Clock):
    """``sleep`` passes at once and is remembered."""

    def __init__(self) -> None:
        super().__init__(time.time())
        self.slept: list[float] = []
        self.steady = False  # the sandbox has its own clock: sleeping must not move ours away from it

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

    def sent(self) -> list[dict[str, Any]]:
        """The bodies of the create calls."""
        ends = ("/predictions", "/trainings")
        return [
            json.loads(one.body) for one in self.sandbox.requests if one.method == "POST" and one.path.endswith(ends)
        ]

    @staticmethod
    async def until(condition: Callable[[], Awaitable[bool]]) -> None:
        await until(condition)


Make = Callable[..., Awaitable[World]]


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
    async with Store.open(None, lay_down(tmp_path / "data")) as opened:
        yield opened


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trust_env=True) as opened:
        yield opened


@pytest.fixture
def make_world(tmp_path: Path, sandbox: Sandbox, store: Store, session: aiohttp.ClientSession, clock: Clock) -> Make:
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
async def world(make_world: Make) -> World:
    return await make_world()


@contextlib.asynccontextmanager
async def two_nodes(url: str, folder: Path, make_world: Make) -> AsyncIterator[tuple[World, World]]:
    """Two daemons' parts, each with its own connection to the PostgreSQL database at ``url``."""
    key = Fernet.generate_key()
    async with (
        Store.open(url, folder / "a", secret_key=key) as one,
        Store.open(url, folder / "b", secret_key=key) as other,
    ):
        yield await make_world(one), await make_world(other)


@pytest.fixture(params=["sqlite", "postgresql"])
async def nodes(
    request: pytest.FixtureRequest, tmp_path: Path, store: Store, make_world: Make
) -> AsyncIterator[tuple[World, World]]:
    """Two daemons' submitters over one database."""
    if request.param == "sqlite":
        yield await make_world(store), await make_world(store)
        return
    async with two_nodes(request.getfixturevalue("postgres_url"), tmp_path, make_world) as both:
        yield both


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
    async with serving(part.handle) as part.url:
        yield part
