"""The web application on a real port over a real store, with the sandbox as its provider where a test wants one."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import aiohttp
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer
from blockbuster import blockbuster_ctx

from daemon.config import load_settings
from daemon.core.prediction import parse_prediction
from daemon.delivery.checking import check_destination
from daemon.delivery.destinations.base import types
from daemon.metrics import Metrics
from daemon.replicate.client import ReplicateClient
from daemon.replicate.feeds import StatusFeed
from daemon.replicate.ip_ranges import RangesFeed
from daemon.replicate.preflight import Preflight
from daemon.replicate.submit import Submitter
from daemon.replicate.token import TokenSource
from daemon.replicate.webhook_secret import WebhookSecrets
from daemon.store.effective import EffectiveSettings
from daemon.store.records import Appended, IncomingEvent
from daemon.store.store import Store
from daemon.web.application import WebParts, make_app
from daemon.web.runner import make_runner
from tests.support.empty import lay_down

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


@dataclass
class Served:
    """The running application and what is behind it."""

    url: str
    app: web.Application
    server: BaseTestServer
    store: Store
    session: aiohttp.ClientSession
    wakes: list[None] = field(default_factory=list)
    _ids: int = 0

    async def call(self, method: str, path: str, *, status: int = 200, **options: Any) -> Any:
        """The JSON answer; the status must be ``status``."""
        async with self.session.request(method, self.url + path, **options) as answer:
            body = await answer.read()
            assert answer.status == status, body
            wanted = "application/json" if status < 400 else "application/problem+json"
            assert answer.content_type == wanted
            return json.loads(body)

    async def get(self, path: str, *, status: int = 200, **options: Any) -> Any:
        return await self.call("GET", path, status=status, **options)

    async def problem(self, method: str, path: str, *, status: int, code: str, **options: Any) -> Any:
        """The problem object of a refusal."""
        found = await self.call(method, path, status=status, **options)
        assert found["code"] == code, found
        assert found["detail"]
        return found

    async def event(
        self,
        provider_id: str | None = "p1",
        *,
        raw: bytes | None = None,
        source: Literal["webhook", "poll"] = "webhook",
        **prediction: Any,
    ) -> Appended:
        """Append one event to the journal, as the receiver would."""
        self._ids += 1
        body = raw
        if body is None:
            content = {"id": provider_id, "status": "processing", "model": "acme/shapes", **prediction}
            body = json.dumps(content).encode()
        incoming = IncomingEvent(
            webhook_id=f"msg_{self._ids}",
            timestamp=str(int(time.time())),
            signature="v1,c2lnbmF0dXJl",
            body=body,
            received_at=time.time(),
            source=source,
            source_ip="127.0.0.1",
            verified=True,
        )
        return await self.store.journal.append(incoming, parse_prediction(body))


class Server(TestServer):
    """aiohttp's test server over the daemon's own runner: raw bodies, deadlines."""

    def __init__(self, app: web.Application, options: Mapping[str, Any]) -> None:
        super().__init__(app)
        self._options = {"shutdown_seconds": 1.0, **options}

    async def _make_runner(self, **_: Any) -> web.BaseRunner:
        return make_runner(self.app, **self._options)


@contextlib.asynccontextmanager
async def running_app(
    directory: Path,
    *,
    replicate_url: str = NOWHERE,
    environ: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.time,
    runner: Mapping[str, Any] | None = None,
    **parts: Any,
) -> AsyncIterator[Served]:
    """A served application over a fresh store in ``directory``. ``runner`` goes to ``make_runner``."""
    environment = {"HOME": str(directory), "REPLICATE_BASE_URL": replicate_url, **(environ or {})}
    settings = load_settings(environ=environment)
    metrics = Metrics(types())
    async with (
        Store.open(None, lay_down(directory / "data"), metrics=metrics) as store,
        aiohttp.ClientSession() as outgoing,
        aiohttp.ClientSession() as session,
    ):
        await store.sole.held(clock())  # as the worker does that delivers, which is not there
        effective = EffectiveSettings(settings, store.settings)
        await effective.load()
        tokens = TokenSource(settings, store.secrets)
        client = ReplicateClient(outgoing, tokens.get, settings.replicate_base_url, metrics=metrics)
        wakes: list[None] = []
        secrets = WebhookSecrets(settings.webhook_secret, client, tokens, store.secrets, now=clock)
        everything: dict[str, Any] = {
            "settings": settings,
            "store": store,
            "effective": effective,
            "client": client,
            "tokens": tokens,
            "webhook_secrets": secrets,
            "session": outgoing,
            "ranges_feed": RangesFeed(
                outgoing,
                settings.ip_ranges_url,
                directory / "data" / "ip-ranges.json",
                lambda: () if effective.webhook_ip_mode == "off" else effective.webhook_ip_scopes,
                now=clock,
            ),
            "preflight": Preflight(outgoing, secrets, lambda: store.settings.daemon_id(clock()), now=clock),
            "submitter": Submitter(store, effective, client, tokens, scratch=directory / "data" / "tmp", now=clock),
            "status_feed": StatusFeed(outgoing, settings.status_url, time.monotonic),
            "destination_types": types(),
            "check_destination": lambda config: check_destination(config, store, settings),
            "wake_delivery": lambda: wakes.append(None),
            "clock": clock,
            "metrics": metrics,
            **parts,
        }
        app = make_app(WebParts(**everything))
        async with Server(app, runner or {}) as server:
            with _nothing_blocks_the_loop():
                yield Served(str(server.make_url("")).rstrip("/"), app, server, store, session, wakes)


@contextlib.contextmanager
def _nothing_blocks_the_loop() -> Iterator[None]:
    """A handler that sleeps, waits for a socket or asks a database on the event loop holds up all webhooks: it raises.

    Looking at a file's name is let through: a template that is looked up and a module that is imported late do it.
    """
    with blockbuster_ctx("daemon") as watched:
        for name, function in watched.functions.items():
            if name.startswith(("os.", "io.", "builtins.")):
                function.deactivate()
        yield
