"""Events and jobs as the store takes them."""

from __future__ import annotations

import json
from typing import Any

from daemon.core.prediction import parse_prediction
from daemon.store.records import Appended, IncomingEvent, NewJob
from daemon.store.store import Store

NOW = 1_767_600_000.0
PROVIDER_ID = "vcscvthbaxrm80cq9xqtcbaw4m"


def body(status: str = "processing", **fields: Any) -> bytes:
    """A prediction object's bytes; ``id`` is PROVIDER_ID unless given."""
    return json.dumps({"id": PROVIDER_ID, "status": status, **fields}).encode()


def event(webhook_id: str, content: bytes, **changes: Any) -> IncomingEvent:
    fields: dict[str, Any] = {
        "webhook_id": webhook_id,
        "timestamp": "1767600000",
        "signature": "v1,yY+Byda8KwINSIunZFKg/sU5AjzyDFkuhnG+5ENE5d8=",
        "body": content,
        "received_at": NOW,
        "source": "webhook",
        "source_ip": "192.0.2.1",
        "verified": True,
        **changes,
    }
    return IncomingEvent(**fields)


async def append(store: Store, webhook_id: str, content: bytes, **changes: Any) -> Appended:
    """Append as the receiver does."""
    return await store.journal.append(event(webhook_id, content, **changes), parse_prediction(content))


def new_job(job_id: str = "job_ours", **changes: Any) -> NewJob:
    fields: dict[str, Any] = {
        "job_id": job_id,
        "api_kind": "training",
        "model": "acme/trainer",
        "version": None,
        "hardware": "gpu-l40s",
        "config_name": None,
        "created_at": NOW,
        "cost_estimate": None,
        "metadata": "{}",
        "idempotency_key": None,
        "request_digest": "digest",
        "request": "{}",
        "destinations": None,
        **changes,
    }
    return NewJob(**fields)


async def due_deliveries(store: Store) -> list[tuple[str, int]]:
    """``(job id, generation)`` of everything that is not over."""
    return list(dict.fromkeys((job_id, generation) for job_id, generation, _ in await store.deliveries.active()))
