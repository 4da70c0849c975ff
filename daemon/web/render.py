"""Store rows → the JSON that the API shows. The Structs are also where OpenAPI's schemas come from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from ..core.costs import cost_usd
from ..core.deliveries import DeliveryStatus
from ..core.events import EventKind
from ..core.jobs import FINISHED, JobStatus
from ..core.times import rfc3339
from ..core.training_log import Progress
from ..store.records import Artifact, Delivery, EventRow, Job

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DeliveryView(msgspec.Struct):
    """How far a job's result is on its way to one destination."""

    destination: str
    type: str
    status: DeliveryStatus
    url: str | None
    attempts: int
    error: str | None
    bytes_done: int
    bytes_total: int | None


class JobView(msgspec.Struct):
    """A job. Times are RFC 3339 in UTC, money is US dollars."""

    job_id: str
    provider: str
    provider_job_id: str | None
    status: JobStatus
    model: str | None
    version: str | None
    hardware: str | None
    config_name: str | None
    created_at: str | None
    started_at: str | None
    completed_at: str | None
    duration_seconds: float | None  # while it runs: so far
    cost_usd: float | None  # while it runs: so far, at list price
    cost_final: bool  # told by the provider: it changes no more
    cost_estimate_usd: float | None
    error: str | None
    output: msgspec.Raw
    progress: Progress | None
    deliveries: list[DeliveryView]
    metadata: dict[str, Any]
    provider_status: str | None  # the provider's own word
    queue_seconds: float | None  # accepted → started; while it waits: so far
    cancel_requested: bool
    updated_at: str | None


class EventView(msgspec.Struct):
    """A journal row without its body; ``job_id`` is null for an ``unrecognized`` event."""

    seq: int
    webhook_id: str
    event: EventKind
    job_id: str | None
    received_at: str | None
    source: Literal["webhook", "poll"]
    source_ip: str | None
    verified: bool
    body_bytes: int


class ArtifactView(msgspec.Struct):
    name: str
    bytes: int
    sha256: str
    source_url: str | None


def job_view(job: Job, deliveries: Sequence[Delivery], *, now: float) -> JobView:
    """What the API shows of ``job`` at ``now``."""
    return JobView(
        job_id=job.job_id,
        provider=job.provider,
        provider_job_id=job.provider_job_id,
        status=job.status,
        model=job.model,
        version=job.version,
        hardware=job.hardware,
        config_name=job.config_name,
        created_at=rfc3339(job.created_at),
        started_at=rfc3339(job.started_at),
        completed_at=rfc3339(job.completed_at),
        duration_seconds=_duration(job, now),
        cost_usd=job.cost_usd if job.status in FINISHED else _cost_so_far(job, now),
        cost_final=job.status in FINISHED and job.cost_usd is not None,
        cost_estimate_usd=_expected_usd(job.cost_estimate),
        error=job.error,
        output=msgspec.Raw((job.output or "null").encode()),
        progress=_progress(job.progress),
        deliveries=[delivery_view(delivery) for delivery in deliveries],
        metadata=msgspec.json.decode(job.metadata or "{}", type=dict[str, Any]),
        provider_status=job.provider_status,
        queue_seconds=_queue(job, now),
        cancel_requested=job.cancel_requested,
        updated_at=rfc3339(job.updated_at),
    )


def delivery_view(delivery: Delivery) -> DeliveryView:
    """What the API shows of one delivery."""
    return DeliveryView(
        destination=delivery.destination,
        type=delivery.type,
        status=delivery.status,
        url=delivery.url,
        attempts=delivery.attempts,
        error=delivery.error,
        bytes_done=delivery.bytes_done,
        bytes_total=delivery.bytes_total,
    )


def event_view(row: EventRow) -> EventView:
    """What the API shows of one event."""
    return EventView(
        seq=row.seq,
        webhook_id=row.webhook_id,
        event=row.kind,
        job_id=row.job_id,
        received_at=rfc3339(row.received_at),
        source=row.source,
        source_ip=row.source_ip,
        verified=row.verified,
        body_bytes=row.body_bytes,
    )


def artifact_view(artifact: Artifact) -> ArtifactView:
    """What the API shows of one fetched file."""
    return ArtifactView(artifact.name, artifact.bytes, artifact.sha256, artifact.source_url)


def _duration(job: Job, now: float) -> float | None:
    if job.started_at is None:
        return None
    if job.status in FINISHED:
        return None if job.completed_at is None else _span(job.started_at, job.completed_at)
    return _span(job.started_at, now)


def _cost_so_far(job: Job, now: float) -> float | None:
    return None if job.started_at is None else cost_usd(job.hardware, _span(job.started_at, now), job.usd_per_second)


def _queue(job: Job, now: float) -> float | None:
    if job.queued_at is None:
        return None
    until = job.started_at or job.completed_at or (None if job.status in FINISHED else now)
    return None if until is None else _span(job.queued_at, until)


def _span(start: float, end: float) -> float:
    # Two clocks are compared (the provider's and ours): a small negative span is no time at all.
    return round(max(0.0, end - start), 3)


def _expected_usd(estimate: str | None) -> float | None:
    if estimate is None:
        return None
    value = msgspec.json.decode(estimate).get("expected_usd")
    return float(value) if isinstance(value, (int, float)) else None


def _progress(text: str | None) -> Progress | None:
    return None if text is None else msgspec.json.decode(text, type=Progress)
