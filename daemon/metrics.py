"""What is counted as it happens, in Prometheus' own form. ``web/metrics.py`` serves it, with what the store knows.

A registry of its own for each instance: two daemons in one process (tests) must not share counters. Every label takes
its value from a short list that is known beforehand; nothing that comes from outside becomes a label. What can happen
is there with 0 from the start: an alert on the first failure would not see a series that begins with 1.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

# A second series for each counter, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]

# Seconds. A durable append takes 1 to 25 ms; the upper ones show a disk in trouble.
RECEIVE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # events; the journal's batches end at 256
CALL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90)  # seconds; a create call may take 90

EVENT_KINDS = ("start", "logs", "output", "completed", "failed", "cancelled", "unrecognized")
EVENT_SOURCES = ("webhook", "poll")
# Of the provider's API: the first word of the path, as it documents them; anything else is "other".
API_ENDPOINTS = ("account", "deployments", "files", "hardware", "models", "predictions", "trainings", "webhooks")
OTHER = "other"
# not_found: 404, which is usual for a job that queues for long. throttled: 429. refused: any other 4xx. lost: a 5xx, or
# no answer. unreachable: no connection.
API_RESULTS = ("ok", "not_found", "throttled", "refused", "lost", "unreachable")
# news: the API told what no webhook had. same: nothing new. not_shown: the API does not show the job now.
FINDINGS = ("news", "same", "not_shown", "failed")
# taken: the endpoint has it. refused: tried again later. given_up: after the last attempt.
NOTIFICATION_OUTCOMES = ("taken", "refused", "given_up")
DELIVERY_OUTCOMES = ("delivered", "failed")


class Metrics:
    """Counters and histograms; whoever counts is given the one of its daemon. ``destinations``: the types there are."""

    def __init__(self, destinations: Iterable[str] = ()) -> None:
        self._destinations = sorted(destinations)
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._build = Info("tunerd_build", "The program that runs here.", registry=self.registry)
        self.describe()
        self._receiving()
        self._provider()
        self._delivering()

    def describe(self, **more: str) -> None:
        """What the program is, with further words of it, such as its role."""
        self._build.info({"version": version("tunerd"), "python": platform.python_version(), **more})

    def _receiving(self) -> None:
        self.webhook_requests = self._counter(
            "tunerd_webhook_requests",
            "Requests to the webhook receiver by outcome: the stored event's kind, duplicate, or the error's code.",
            ["outcome"],
        )
        self.webhook_receive_seconds = self._histogram(
            "tunerd_webhook_receive_seconds", "From a webhook's headers until its event was on disk.", RECEIVE_BUCKETS
        )
        self.events = self._counter(
            "tunerd_events",
            "Events that this process put into the journal, by kind and source.",
            ["kind", "source"],
            *((kind, source) for kind in EVENT_KINDS for source in EVENT_SOURCES),
        )
        self.batch_events = self._histogram(
            "tunerd_journal_batch_events", "Events written in one transaction with one sync.", BATCH_BUCKETS
        )
        self.batch_seconds = self._histogram(
            "tunerd_journal_batch_seconds", "One transaction of the journal, with its sync.", RECEIVE_BUCKETS
        )
        self.http_requests = self._counter(
            "tunerd_http_requests",
            "Requests to everything but the webhook receiver, by method, route and status.",
            ["method", "route", "status"],
        )

    def _provider(self) -> None:
        self.api_calls = self._counter(
            "tunerd_provider_api_calls",
            "Single attempts at the provider's API by endpoint and result.",
            ["endpoint", "result"],
            *((endpoint, result) for endpoint in (*API_ENDPOINTS, OTHER) for result in API_RESULTS),
        )
        self.api_seconds = self._histogram(
            "tunerd_provider_api_call_seconds", "Until the provider's API had answered whole.", CALL_BUCKETS
        )
        self.api_state = Enum(
            "tunerd_provider_api_state",
            "How the last call of the provider's API ended.",
            states=["unknown", *API_RESULTS],
            registry=self.registry,
        )
        self.reconcile_findings = self._counter(
            "tunerd_reconcile_findings",
            "Unfinished jobs that were asked for, by what came of it; news = a webhook was missing or late.",
            ["finding"],
            *((finding,) for finding in FINDINGS),
        )
        self.reconcile_round = Gauge(
            "tunerd_reconcile_last_round_timestamp_seconds",
            "When the last round of reconciliation ended, whatever it found.",
            registry=self.registry,
        )

    def _delivering(self) -> None:
        self.delivery_outcomes = self._counter(
            "tunerd_delivery_outcomes",
            "Deliveries that ended in this process, by destination type and outcome.",
            ["type", "outcome"],
            *((kind, outcome) for kind in self._destinations for outcome in DELIVERY_OUTCOMES),
        )
        self.fetched_bytes = self._counter(
            "tunerd_delivery_fetched_bytes", "Bytes of output files that were fetched whole.", []
        )
        self.published_bytes = self._counter(
            "tunerd_delivery_published_bytes",
            "Bytes put at a destination, by its type.",
            ["type"],
            *((kind,) for kind in self._destinations),
        )
        self.notifications = self._counter(
            "tunerd_notifications",
            "Attempts to send an outgoing webhook, by outcome.",
            ["outcome"],
            *((outcome,) for outcome in NOTIFICATION_OUTCOMES),
        )

    def api_call(self, path: str, result: str, seconds: float) -> None:
        """Count one attempt at the provider's API; ``path`` after ``/v1/``, ``result`` one of ``API_RESULTS``."""
        word = path.strip("/").partition("/")[0]
        self.api_calls.labels(word if word in API_ENDPOINTS else OTHER, result).inc()
        self.api_state.state(result)
        self.api_seconds.observe(seconds)

    def _counter(self, name: str, says: str, labels: Sequence[str], *known: tuple[str, ...]) -> Counter:
        counter = Counter(name, says, labels, registry=self.registry)
        for values in known:
            counter.labels(*values)
        return counter

    def _histogram(self, name: str, says: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, says, buckets=buckets, registry=self.registry)
