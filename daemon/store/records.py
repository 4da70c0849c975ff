"""What goes into the store and comes out of it, as plain values."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..core.deliveries import DeliveryStatus
from ..core.events import EventKind
from ..core.jobs import JobStatus


class IncomingEvent(msgspec.Struct, frozen=True):
    """One event as it arrived, before anything is derived from it."""

    webhook_id: str
    timestamp: str | None  # the header's text
    signature: str | None  # the header's text
    body: bytes
    received_at: float  # unix seconds
    source: Literal["webhook", "poll"]
    source_ip: str | None
    verified: bool
    traceparent: str | None = None  # the trace it belongs to
    job_hint: str | None = None  # ?job=… of the request: unsigned, trusted only to bind a job that has no provider id
    id_sent: str | None = None  # the header's text, where webhook_id is only made from it
    missed: bool = False  # a poll's answer that a webhook should have brought


class Appended(msgspec.Struct, frozen=True):
    """Where an event ended up. For a duplicate: the event that was there already."""

    seq: int
    kind: EventKind
    job_id: str | None
    duplicate: bool


class EventRow(msgspec.Struct, frozen=True):
    """A journal row without its body."""

    seq: int
    webhook_id: str
    kind: EventKind
    job_id: str | None
    received_at: float
    source: Literal["webhook", "poll"]
    source_ip: str | None
    verified: bool
    body_bytes: int


class EventBody(msgspec.Struct, frozen=True):
    """A body exactly as received, with the headers that sign it."""

    seq: int
    webhook_id: str  # as sent, also where the journal's own is made from it
    timestamp: str | None
    signature: str | None
    body: bytes


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``jobs``; the columns are explained in ``schema.py``. JSON columns are text here."""

    job_id: str
    provider: str
    provider_job_id: str | None
    api_kind: Literal["prediction", "training"]
    submitted: bool
    status: JobStatus
    provider_status: str | None
    model: str | None
    version: str | None
    hardware: str | None
    config_name: str | None
    created_at: float
    queued_at: float | None
    started_at: float | None
    completed_at: float | None
    updated_at: float
    predict_time: float | None
    cost_usd: float | None
    cost_estimate: str | None
    error: str | None
    output: str | None
    progress: str | None
    metadata: str
    events: int
    logs_chars: int
    output_digest: str | None
    last_seq: int | None
    logs_seq: int | None
    idempotency_key: str | None
    request_digest: str | None
    request: str | None
    destinations: str | None
    cancel_requested: bool
    checked_at: float | None
    check_after: float | None
    delivery_generation: int
    traceparent: str | None = None
    cost_limit_warning: str | None = None
    usd_per_second: float | None = None
    sent_at: float | None = None
    sends: int | None = None


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """The intent to submit, written down before the provider is called."""

    job_id: str
    api_kind: Literal["prediction", "training"]
    model: str | None
    version: str | None
    hardware: str | None
    config_name: str | None
    created_at: float
    cost_estimate: str | None
    metadata: str
    idempotency_key: str | None
    request_digest: str
    request: str
    destinations: str | None
    claimed_by: str | None = None  # the process that writes it down works on it
    claimed_until: float | None = None
    traceparent: str | None = None
    usd_per_second: float | None = None  # what the hardware costs now


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``deliveries``."""

    job_id: str
    destination: str
    type: str
    generation: int
    status: DeliveryStatus
    url: str | None
    attempts: int
    error: str | None
    bytes_done: int
    bytes_total: int | None
    deadline: float | None
    fetched_at: float | None
    expiring_at: float | None
    updated_at: float
    delivered_before: str | None


class Artifact(msgspec.Struct, frozen=True):
    """A row of ``artifacts``: one fetched file."""

    name: str
    bytes: int
    sha256: str
    source_url: str | None


class DestinationConfig(msgspec.Struct, frozen=True):
    """One configured destination: an entry of the ``destinations`` setting."""

    name: str
    type: str
    options: dict[str, object] = {}
    paused: bool = False  # nothing new is started there
    concurrency: int = 4  # deliveries at once, in each daemon
