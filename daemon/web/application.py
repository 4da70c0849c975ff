"""The web application: parts come in, every route and middleware is put together here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from .. import keys
from ..config import Settings
from ..core.options import Checked, OptionType
from ..metrics import Metrics
from ..replicate.client import ReplicateClient
from ..replicate.feeds import StatusFeed
from ..replicate.ip_ranges import RangesFeed
from ..replicate.preflight import Preflight
from ..replicate.submit import Submitter
from ..replicate.token import TokenSource
from ..replicate.webhook_secret import WebhookSecrets
from ..store.effective import EffectiveSettings
from ..store.records import DestinationConfig
from ..store.store import Store
from . import address, health, metrics, middleware, openapi, pages, receiver
from .answers import API_BODY_BYTES
from .api import (
    alerts,
    allowlist,
    configs,
    costs,
    deliveries,
    diagnosis,
    events,
    files,
    jobs,
    logs,
    notifications,
    pictures,
    process,
    providers,
    publishing,
    sessions,
    status,
    submit,
    uploads,
    verify,
)
from .endpoint import Endpoint
from .health import Check
from .sse import end_streams


@dataclass(frozen=True)
class WebParts:
    """What the application needs. ``clock`` gives unix seconds; ``wake_delivery`` says that a delivery is due."""

    settings: Settings
    store: Store
    effective: EffectiveSettings
    client: ReplicateClient
    tokens: TokenSource
    webhook_secrets: WebhookSecrets
    submitter: Submitter
    session: aiohttp.ClientSession
    preflight: Preflight
    ranges_feed: RangesFeed
    status_feed: StatusFeed
    destination_types: Mapping[str, OptionType]
    check_destination: Callable[[DestinationConfig], Awaitable[Checked]]
    checks: Mapping[str, Check] = field(default_factory=dict)
    wake_delivery: Callable[[], None] = lambda: None
    preview: Callable[[str, int], Awaitable[bytes]] | None = None
    reload: Callable[[], list[str]] = list
    listening: tuple[str, ...] = ()
    clock: Callable[[], float] = time.time
    metrics: Metrics = field(default_factory=Metrics)


def endpoints() -> tuple[Endpoint, ...]:
    """Every route."""
    groups = (
        jobs,
        deliveries,
        alerts,
        configs,
        notifications,
        submit,
        uploads,
        events,
        verify,
        logs,
        files,
        pictures,
        providers,
        costs,
        publishing,
        sessions,
        status,
        process,
        allowlist,
        diagnosis,
        health,
        metrics,
        openapi,
        *pages.GROUPS,
    )
    return (receiver.ENDPOINT, *(endpoint for group in groups for endpoint in group.ENDPOINTS))


def make_app(parts: WebParts) -> web.Application:
    """The application over open parts, whose owner closes them after it."""
    app = web.Application(middlewares=middleware.MIDDLEWARES, client_max_size=API_BODY_BYTES)
    app[keys.SETTINGS] = parts.settings
    app[keys.STORE] = parts.store
    app[keys.EFFECTIVE] = parts.effective
    app[keys.CLIENT] = parts.client
    app[keys.TOKENS] = parts.tokens
    app[keys.WEBHOOK_SECRETS] = parts.webhook_secrets
    app[keys.SUBMITTER] = parts.submitter
    app[keys.SESSION] = parts.session
    app[keys.PREFLIGHT] = parts.preflight
    app[keys.RANGES_FEED] = parts.ranges_feed
    app[keys.STATUS_FEED] = parts.status_feed
    app[keys.DESTINATION_TYPES] = parts.destination_types
    app[keys.CHECK_DESTINATION] = parts.check_destination
    app[keys.CHECKS] = parts.checks
    app[keys.METRICS] = parts.metrics
    app[keys.CLOCK] = parts.clock
    app[keys.WAKE_DELIVERY] = parts.wake_delivery
    app[keys.PREVIEW] = parts.preview
    app[keys.RELOAD] = parts.reload
    app[keys.LISTENING] = parts.listening
    app[keys.DRAINING] = asyncio.Event()
    app[keys.CLOSING] = asyncio.Event()
    app[keys.STREAMS] = set()
    routes = endpoints()
    middleware.set_up(app, routes)
    receiver.set_up(app)
    logs.set_up(app)
    pictures.set_up(app)
    diagnosis.set_up(app)
    uploads.set_up(app)
    pages.set_up(app)
    app[openapi.DOCUMENT] = openapi.Document(routes, publishing.schemas(parts.destination_types))
    for endpoint in routes:
        route = endpoint.route or endpoint.path
        if endpoint.method == "GET":
            app.router.add_get(route, endpoint.handler)  # answers HEAD too
        else:
            app.router.add_route(endpoint.method, route, endpoint.handler)
    app.on_shutdown.append(end_streams)
    return app


def settings_changed(app: web.Application) -> None:
    """Other values are in force: what was made of the old ones is made anew."""
    address.settings_changed(app)
    receiver.settings_changed(app)


async def drain(app: web.Application, leave: Callable[[], Awaitable[None]]) -> None:
    """Let every stream end while ``leave`` waits for the requests in progress; from then on take no more events."""
    begin_drain(app)
    await asyncio.gather(leave(), end_streams(app))
    app[keys.CLOSING].set()


def begin_drain(app: web.Application) -> None:
    """Let every stream end."""
    app[keys.DRAINING].set()
    app[keys.STORE].journal.notify()
