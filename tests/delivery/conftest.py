"""One output server, one store, and a worker that any test can start over them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from daemon.config import Settings
from daemon.delivery import download
from daemon.delivery.fetch import Fetcher
from daemon.delivery.limits import Limits
from daemon.delivery.origins import Origins
from daemon.delivery.retrying import Backoff
from daemon.delivery.workflow import DeliveryWorker
from daemon.store.records import Job
from daemon.store.store import Store
from tests.conftest import skip_or_fail
from tests.delivery.pieces import DATA, PIECE
from tests.delivery.test_origins import Names
from tests.support.empty import lay_down
from tests.support.fetching import fetcher_for
from tests.support.outputs import OutputServer, output_server, settings_for
from tests.support.swift import SwiftMissing, running_swift

StartWorker = Callable[..., AbstractAsyncContextManager[DeliveryWorker]]


@pytest.fixture
async def server() -> AsyncIterator[OutputServer]:
    async with output_server() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, server: OutputServer) -> Settings:
    return settings_for(tmp_path, server.url)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    async with Store.open(settings.database_url, lay_down(settings.data_dir)) as opened:
        yield opened


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def fetcher(server: OutputServer) -> AsyncIterator[Fetcher]:
    """The server is the API's own origin; every other name resolves to a private address."""
    names = Names(replicate_delivery=["169.254.169.254"], pbxt_replicate_delivery=["::ffff:10.0.0.1"])
    async with fetcher_for(Origins(server.url, ()), names) as made:
        yield made


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PIECE", PIECE)
    monkeypatch.setattr(download, "WIDEN_SECONDS", 0)
    monkeypatch.setattr(download, "ENOUGH", math.inf)


@pytest.fixture
async def piecewise(server: OutputServer, small_pieces: None) -> AsyncIterator[Fetcher]:
    """A fetcher of up to four pieces at once, and ``DATA`` at ``/x``."""
    server.files["/x"] = DATA
    resolver = Names(replicate_delivery=["169.254.169.254"])
    async with fetcher_for(Origins(server.url, ()), resolver, limits=Limits(connections=4)) as made:
        yield made


@pytest.fixture
def start_worker(settings: Settings, store: Store, session: aiohttp.ClientSession) -> StartWorker:
    """``async with start_worker(fresh_output=…, clock=…)``: a worker with short pauses."""

    @asynccontextmanager
    async def start(**options: Any) -> AsyncIterator[DeliveryWorker]:
        fresh = options.pop("fresh_output", nothing_fresh)
        options.setdefault("backoff", Backoff(first=0.05, longest=0.2))
        async with DeliveryWorker(settings, store, session, fresh, **options) as worker:
            yield worker

    return start


async def nothing_fresh(_job: Job) -> bytes | None:
    return b'{"status": "succeeded", "output": null, "data_removed": true}'


@pytest.fixture(scope="session")
def swift_url() -> Iterator[str]:
    try:
        with running_swift() as url:
            yield url
    except SwiftMissing as missing:
        skip_or_fail(str(missing))
