"""Prometheus metrics, in a registry of their own: two daemons in one process (tests) must not share counters."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from .. import keys
from ..core.jobs import JobStatus
from .endpoint import Answer, Endpoint

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Seconds. A durable append takes 1 to 25 ms; the upper ones show a disk in trouble.
_RECEIVE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)


class Metrics:
    """What is counted as it happens. Gauges of the store are read when they are asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.webhooks = Counter(
            "tunerd_webhooks",
            "Requests to the webhook receiver by outcome: the event's kind, duplicate, or the error's code.",
            ["outcome"],
            registry=self.registry,
        )
        self.webhook_seconds = Histogram(
            "tunerd_webhook_seconds",
            "From the request's headers to the answer.",
            buckets=_RECEIVE_BUCKETS,
            registry=self.registry,
        )
        self.streams = Gauge("tunerd_event_streams", "Open Server-Sent Events answers.", registry=self.registry)
        self.jobs = Gauge("tunerd_jobs", "Jobs by status.", ["status"], registry=self.registry)
        self.deliveries_due = Gauge("tunerd_deliveries_due", "Deliveries not ended yet.", registry=self.registry)
        self.last_seq = Gauge("tunerd_journal_last_seq", "The newest event's sequence number.", registry=self.registry)


async def get_metrics(request: web.Request) -> web.Response:
    metrics, store = request.app[keys.METRICS], request.app[keys.STORE]
    for status in JobStatus:
        _, _, total = await store.jobs.list(status=status, limit=1)
        metrics.jobs.labels(status).set(total)
    metrics.deliveries_due.set(len(await store.deliveries.due()))
    metrics.last_seq.set(await store.journal.last_seq())
    metrics.streams.set(len(request.app[keys.STREAMS]))
    return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE})


ENDPOINTS = (
    Endpoint(
        "GET",
        "/metrics",
        get_metrics,
        "Prometheus metrics",
        {200: Answer("Text exposition format 0.0.4", {"type": "string"}, content="text/plain")},
    ),
)
