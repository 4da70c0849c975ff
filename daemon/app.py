"""Composition root: the only file that knows every other. Opens the parts, wires them, closes them in reverse."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from .config import Settings
from .core.options import Checked
from .delivery.checking import check_destination
from .delivery.destinations.base import types as destination_types
from .errors import Misconfigured
from .metrics import Metrics
from .notify.sender import Sender
from .notify.watch import Watch
from .reloading import Reloader
from .replicate.client import ReplicateClient
from .replicate.feeds import StatusFeed
from .replicate.ip_ranges import RangesFeed
from .replicate.preflight import Preflight
from .replicate.reconcile import Reconciler
from .replicate.submit import Submitter
from .replicate.token import TokenSource
from .replicate.webhook_secret import WebhookSecrets
from .store.care.housekeeping import kept_days
from .store.effective import EffectiveSettings
from .store.records import DestinationConfig, Job
from .store.store import Store, refuse_held
from .web.application import WebParts, drain, make_app, settings_changed

if TYPE_CHECKING:
    from .delivery.workflow import DeliveryWorker

# One outgoing call: 10 s to connect, 60 s of silence. The whole is each caller's own matter: a download is long.
CLIENT_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)

WAKE_PAUSE = 0.25  # seconds between two looks for due deliveries: a flood of events is one reason to look
WAKE_IDLE = 60.0  # seconds; the worker sweeps by itself too


@dataclass(frozen=True)
class Parts:
    """The open daemon: its web application, and what runs behind it by name."""

    web: web.Application
    background: dict[str, Callable[[], Awaitable[Any]]]
    reload: Callable[[], list[str]]
    alive: Callable[[], Awaitable[object]]  # comes back unless the store hangs

    def start_background(self) -> list[asyncio.Task[Any]]:
        """Start what runs behind the receiver. None of these tasks ever ends while all is well."""
        return [asyncio.create_task(_run(run), name=name) for name, run in self.background.items()]

    async def drain(self, leave: Callable[[], Awaitable[None]]) -> None:
        """Let streams end while ``leave`` waits for the requests in progress; then take no more events."""
        await drain(self.web, leave)


@dataclass(frozen=True)
class _Common:
    """What every role has."""

    store: Store
    effective: EffectiveSettings
    session: aiohttp.ClientSession
    tokens: TokenSource
    client: ReplicateClient
    secrets: WebhookSecrets
    ranges_feed: RangesFeed
    status_feed: StatusFeed
    preflight: Preflight
    submitter: Submitter


@dataclass
class _Work:
    """What runs behind the receiver, and what a reload tells. A node that only receives does little of it."""

    background: dict[str, Callable[[], Awaitable[Any]]]
    on_reload: list[Callable[[], None]]
    wake_delivery: Callable[[], None] = lambda: None
    preview: Callable[[str, int], Awaitable[bytes]] | None = None


def refuse_second(settings: Settings) -> None:
    """Raise ``Misconfigured``, naming the process, where another daemon has the embedded database open."""
    refuse_held(settings.database_url, settings.data_dir)


@asynccontextmanager
async def open_parts(
    settings: Settings, reread: Callable[[], Settings], listening: tuple[str, ...] = ()
) -> AsyncIterator[Parts]:
    """Everything that ``settings`` ask for, open and wired. Raises ``Misconfigured`` where it cannot be opened.

    ``reread`` gives the settings anew, for a reload; ``listening`` are the addresses to tell.
    """
    metrics = Metrics(destination_types())
    async with AsyncExitStack() as stack:
        common = await _open_common(stack, settings, metrics)
        work = _receiving(settings, common)
        if settings.role != "ingest":
            await _add_worker(stack, settings, common, work, metrics)
        reloader = Reloader(settings, reread, work.on_reload)
        served = _application(settings, common, work, metrics, reloader, listening)
        work.on_reload.append(lambda: settings_changed(served))
        yield Parts(web=served, background=work.background, reload=reloader.reload, alive=common.store.ping)


async def _open_common(stack: AsyncExitStack, settings: Settings, metrics: Metrics) -> _Common:
    store = await stack.enter_async_context(
        Store.open(settings.database_url, settings.data_dir, secret_key=credential("tunerd.key"), metrics=metrics)
    )
    metrics.describe(role=settings.role, store=store.kind)
    effective = EffectiveSettings(settings, store.settings)
    await effective.load()
    session = await stack.enter_async_context(
        aiohttp.ClientSession(trust_env=True, timeout=CLIENT_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar())
    )
    now = time.time
    tokens = TokenSource(settings, store.secrets)
    client = ReplicateClient(session, tokens.get, settings.replicate_base_url, metrics=metrics)
    secrets = WebhookSecrets(settings.webhook_secret, client, tokens, store.secrets, now=now)
    preflight = Preflight(session, secrets, lambda: store.settings.daemon_id(now()), now=now)
    scratch = settings.data_dir / "tmp"
    return _Common(
        store=store,
        effective=effective,
        session=session,
        tokens=tokens,
        client=client,
        secrets=secrets,
        ranges_feed=RangesFeed(
            session,
            settings.ip_ranges_url,
            settings.data_dir / "ip-ranges.json",
            lambda: () if effective.webhook_ip_mode == "off" else effective.webhook_ip_scopes,
            now=now,
        ),
        status_feed=StatusFeed(session, settings.status_url, time.monotonic),
        preflight=preflight,
        submitter=Submitter(store, effective, client, tokens, scratch=scratch, now=now, preflight=preflight),
    )


def _receiving(settings: Settings, common: _Common) -> _Work:
    return _Work(
        background={"journal": common.store.wait_failed, "ip ranges": common.ranges_feed.run},
        on_reload=[
            common.effective.settings_changed,
            lambda: common.secrets.pin(settings.webhook_secret),
            lambda: setattr(common.status_feed, "url", settings.status_url),
            lambda: setattr(common.ranges_feed, "url", settings.ip_ranges_url),
        ],
    )


async def _add_worker(
    stack: AsyncExitStack, settings: Settings, common: _Common, work: _Work, metrics: Metrics
) -> None:
    """Reconciliation, delivery, notifications, housekeeping: what one node of a cluster is enough for."""
    store, now = common.store, time.time
    reconciler = Reconciler(
        store, common.client, common.submitter, interval=settings.reconcile_seconds, now=now, metrics=metrics
    )
    worker = await stack.enter_async_context(_delivery(settings, store, common.session, common.client, metrics))
    sender = await stack.enter_async_context(Sender(store, clock=now, metrics=metrics))
    work.background |= {
        "reconcile": reconciler.run,
        "delivery": worker.watch,
        "delivery wake-up": lambda: _wake_on_events(store, worker),
        "notifications": sender.run,
        "alerts": Watch(store, common.effective, settings, clock=now).run,
        "housekeeping": store.housekeeper(kept_days(settings), now).run,
    }
    work.on_reload.append(lambda: setattr(reconciler, "interval", settings.reconcile_seconds))
    work.wake_delivery, work.preview = worker.wake, worker.preview


def _application(
    settings: Settings,
    common: _Common,
    work: _Work,
    metrics: Metrics,
    reloader: Reloader,
    listening: tuple[str, ...],
) -> web.Application:
    store, secrets = common.store, common.secrets
    return make_app(
        WebParts(
            settings=settings,
            store=store,
            effective=common.effective,
            client=common.client,
            tokens=common.tokens,
            webhook_secrets=secrets,
            submitter=common.submitter,
            session=common.session,
            preflight=common.preflight,
            ranges_feed=common.ranges_feed,
            status_feed=common.status_feed,
            destination_types=destination_types(),
            check_destination=destination_check(store, settings),
            checks={
                "store": store.ping,
                "webhook_secret": lambda: _secret_known(secrets, common.effective),
                "delivery": lambda: _who_delivers(store),
            },
            wake_delivery=work.wake_delivery,
            preview=work.preview,
            metrics=metrics,
            reload=reloader.reload,
            listening=listening,
        )
    )


def destination_check(store: Store, settings: Settings) -> Callable[[DestinationConfig], Awaitable[Checked]]:
    """Could a delivery be put there?"""
    return lambda config: check_destination(config, store, settings)


def _delivery(
    settings: Settings, store: Store, session: aiohttp.ClientSession, client: ReplicateClient, metrics: Metrics
) -> DeliveryWorker:
    from .delivery.workflow import DeliveryWorker  # noqa: PLC0415 - a node that only receives does not load it

    async def fresh_output(job: Job) -> bytes | None:
        if not job.provider_job_id:
            return None
        found = await client.get(job.provider_job_id, job.api_kind)
        if found is None and job.api_kind == "training":  # predictions answer for trainings, too
            found = await client.get(job.provider_job_id, "prediction")
        return found

    return DeliveryWorker(settings, store, session, fresh_output, metrics=metrics)


async def _wake_on_events(store: Store, worker: DeliveryWorker) -> None:
    """Any change in the store may be a job that finished; the worker looks for itself."""
    async with store.journal.subscribe() as changes:
        while True:
            await changes.wait(WAKE_IDLE)
            worker.wake()
            await asyncio.sleep(WAKE_PAUSE)


async def _secret_known(secrets: WebhookSecrets, effective: EffectiveSettings) -> str:
    """Can signatures be judged? Without a token and a secret they cannot: events are answered 503 until then."""
    if not effective.webhook_require_signature:
        return "not needed: signatures are not required"
    return f"{len(await secrets.get())} known"


async def _who_delivers(store: Store) -> str:
    """No reason not to be ready: events are taken all the same. For everybody's eyes, so it names no machine."""
    holder = await store.sole.holder(time.time())
    if holder is None:
        return "no worker delivers"
    return "this worker delivers" if holder.ours else "another worker delivers"


def credential(name: str) -> bytes | None:
    """A secret that the service manager passed in (``LoadCredential=``), without trailing blanks."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    try:
        return (Path(folder) / name).read_bytes().strip()
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise Misconfigured(f"credential {name}: cannot be read: {problem.strerror}.") from None


async def _run(run: Callable[[], Awaitable[Any]]) -> Any:
    return await run()
