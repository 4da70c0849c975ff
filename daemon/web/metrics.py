"""``GET /metrics``: what was counted (``daemon/metrics.py``), and what store, disk and streams say at this moment."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator

import structlog
from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from .. import keys
from ..core.deliveries import DeliveryStatus
from ..core.jobs import JobStatus
from ..core.periods import PERIODS, period_start
from ..core.spend import LimitState, limit_state, spent_usd
from ..errors import NotReady
from ..files import space
from ..store.overview import Overview
from .alerts import AlertKind, current_alerts
from .endpoint import Answer, Endpoint

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
READ_SECONDS = 5.0  # Prometheus gives up after 10: what the process itself knows is told though the disk hangs
DELIVERY_STATUSES = tuple(status.value for status in DeliveryStatus)

log = structlog.get_logger()


class Snapshot(Collector):
    """What was found for one scrape; a figure that is not known is left out rather than told as 0."""

    def __init__(self, now: float, destinations: Collection[str]) -> None:
        self.now = now
        self.destinations = destinations  # the types there are
        self.streams = 0
        self.overview: Overview | None = None
        self.spent: dict[str, float] = {}  # USD by period
        self.limit: LimitState | None = None
        self.alerts: dict[AlertKind, int] = {}
        self.disks: dict[str, tuple[int, int]] = {}  # folder → bytes free, bytes in all

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield _gauge("tunerd_event_streams", "Open Server-Sent Events answers.", self.streams)
        yield _gauge("tunerd_store_up", "Whether the store could be read for this answer.", self.overview is not None)
        yield from self._disk_figures()
        if self.overview is not None:
            yield from _job_figures(self.overview, self.now)
            yield from _delivery_figures(self.overview, self.destinations, self.now)
        alerts = GaugeMetricFamily("tunerd_alerts", "What needs attention, as GET /api/cloud/alerts.", labels=["kind"])
        for kind, count in self.alerts.items():
            alerts.add_metric([kind.value], count)
        yield alerts
        yield from self._money()

    def _disk_figures(self) -> Iterator[GaugeMetricFamily]:
        free = GaugeMetricFamily("tunerd_disk_free_bytes", "What the folder's disk still takes.", labels=["folder"])
        size = GaugeMetricFamily("tunerd_disk_size_bytes", "The size of the folder's disk.", labels=["folder"])
        for folder, (left, whole) in self.disks.items():
            free.add_metric([folder], left)
            size.add_metric([folder], whole)
        yield free
        yield size

    def _money(self) -> Iterator[GaugeMetricFamily]:
        spent = GaugeMetricFamily(
            "tunerd_spent_usd",
            "What jobs that ended since the period began have cost, as far as the journal knows.",
            labels=["period"],
        )
        for period, usd in self.spent.items():
            spent.add_metric([period], usd)
        yield spent
        if self.limit is not None:
            limit = self.limit
            yield _gauge("tunerd_cost_limit_enabled", "Whether a cost limit is set.", limit.enabled)
            yield _gauge("tunerd_cost_limit_usd", "The limit of its period.", limit.amount)
            yield _gauge("tunerd_cost_limit_spent_usd", "Spent in the limit's period.", limit.spent)
            yield _gauge("tunerd_cost_limit_reserved_usd", "What unfinished jobs will still cost.", limit.reserved)
            yield _gauge("tunerd_cost_limit_exceeded", "Whether no further job fits the limit.", limit.exceeded)


def _gauge(name: str, says: str, value: float | None) -> GaugeMetricFamily:
    """One figure; without samples where it is not known."""
    family = GaugeMetricFamily(name, says)
    if value is not None:
        family.add_metric([], float(value))
    return family


def _job_figures(found: Overview, now: float) -> Iterator[GaugeMetricFamily]:
    jobs = GaugeMetricFamily("tunerd_jobs", "Jobs by status.", labels=["status"])
    for status in JobStatus:
        jobs.add_metric([status.value], found.jobs.get(status.value, 0))
    yield jobs
    yield _gauge(
        "tunerd_oldest_unfinished_job_age_seconds",
        "Since when the oldest unfinished job is under way; 0: there is none.",
        _age(found.oldest_unfinished, now),
    )
    yield _gauge(
        "tunerd_queue_age_seconds",
        "Since when a job waits for hardware at the provider; 0: none does.",
        _age(found.oldest_queued, now),
    )
    yield _gauge("tunerd_journal_last_seq", "The newest event's sequence number.", found.last_seq)
    yield _gauge("tunerd_database_size_bytes", "What the database takes on its disk.", found.database_bytes)


def _delivery_figures(found: Overview, types: Collection[str], now: float) -> Iterator[GaugeMetricFamily]:
    family = GaugeMetricFamily(
        "tunerd_deliveries", "Deliveries by destination type and status.", labels=["type", "status"]
    )
    for kind in sorted({*types, *(kind for kind, _ in found.deliveries)}):
        for status in DELIVERY_STATUSES:
            family.add_metric([kind, status], found.deliveries.get((kind, status), 0))
    yield family
    yield _gauge(
        "tunerd_next_deadline_seconds",
        "Until the most urgent output that is not delivered is gone at the provider; below 0: it is late. "
        "Absent: everything is delivered.",
        None if found.next_deadline is None else found.next_deadline - now,
    )


def _age(since: float | None, now: float) -> float:
    return 0.0 if since is None else max(0.0, now - since)


async def get_metrics(request: web.Request) -> web.Response:
    app = request.app
    types = app[keys.DESTINATION_TYPES]
    snapshot = Snapshot(app[keys.CLOCK](), types)
    snapshot.streams = len(app[keys.STREAMS])
    for read in (_read_disks, _read_store):
        try:
            async with asyncio.timeout(READ_SECONDS):
                await read(app, snapshot)
        except (NotReady, TimeoutError, OSError) as problem:  # an alert must be able to tell of this very thing
            log.warning("metrics incomplete", reason=str(problem) or type(problem).__name__)
    body = generate_latest(app[keys.METRICS].registry) + generate_latest(snapshot)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})


async def _read_disks(app: web.Application, snapshot: Snapshot) -> None:
    settings = app[keys.SETTINGS]
    for folder, path in (("data", settings.data_dir), ("output", settings.output_dir)):
        snapshot.disks[folder] = await asyncio.to_thread(space, path)


async def _read_store(app: web.Application, snapshot: Snapshot) -> None:
    store, limit = app[keys.STORE], app[keys.EFFECTIVE].cost_limit()
    snapshot.overview = await store.overview()
    found = await current_alerts(store, app[keys.EFFECTIVE], app[keys.SETTINGS], snapshot.now)
    snapshot.alerts = found.counts
    for period in PERIODS:
        ledger = await store.spending.ledger(since=period_start(snapshot.now, period, limit.zone))
        snapshot.spent[period] = spent_usd(ledger, limit)
        if period == limit.period:
            snapshot.limit = limit_state(ledger, limit, snapshot.now)


ENDPOINTS = (
    Endpoint(
        "GET",
        "/metrics",
        get_metrics,
        "Prometheus metrics",
        {200: Answer("Text exposition format 0.0.4", {"type": "string"}, content="text/plain")},
        description="For the admin, as everything: let Prometheus send the admin token, or scrape from loopback.",
    ),
)
