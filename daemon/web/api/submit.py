"""Submitting a job, and what it would cost. What a submit means is ``replicate/submit.py``'s matter."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from aiohttp import web

from ... import keys, tracing
from ...core.estimate import Estimate
from ...core.jobs import JobStatus
from ...errors import (
    ArchiveTooLarge,
    ConfigInvalid,
    CostLimitExceeded,
    DatasetEmpty,
    DatasetUnreadable,
    IdempotencyConflict,
    ProviderError,
    ProviderUnavailable,
    TokenMissing,
    WebhookUrlInvalid,
)
from ...replicate.outgoing import LeftOut
from ...replicate.request import SubmitRequest
from ..answers import json_answer, read_json
from ..endpoint import Answer, Endpoint, Param


class Submitted(msgspec.Struct, omit_defaults=True):
    """``idempotent_hit``: the job was there already, nothing was sent. ``webhook_warning``: whether the webhook URL
    leads here could not be told from here; what webhooks do not bring, polling does.
    """

    success: bool
    job_id: str
    provider_job_id: str | None
    status: JobStatus
    cost_estimate: Estimate | None
    cost_limit_warning: str | None
    data_uploaded: bool
    idempotent_hit: bool
    data_left_out: list[LeftOut] = []
    data_notes: list[str] = []
    webhook_warning: str | None = None


class DryRun(msgspec.Struct):
    """What would be sent; secrets are redacted."""

    dry_run: Literal[True]
    request: dict[str, Any]
    data_left_out: list[LeftOut] = []
    data_notes: list[str] = []


async def submit_job(request: web.Request) -> web.Response:
    order = await read_json(request, SubmitRequest)
    result = await request.app[keys.SUBMITTER].submit(
        order,
        idempotency_key=request.headers.get("Idempotency-Key"),
        traceparent=tracing.checked(request.headers.get("traceparent")),
    )
    return json_answer(result.body, status=result.status_code)


async def cost_estimate(request: web.Request) -> web.Response:
    return json_answer(await request.app[keys.SUBMITTER].estimate(await read_json(request, SubmitRequest)))


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/cloud/jobs/submit",
        submit_job,
        "Submit a training, or any Replicate model",
        {
            200: Answer("The same order was there already, or a dry run", (Submitted, DryRun)),
            201: Answer("Submitted", Submitted),
        },
        body=SubmitRequest,
        params=(
            Param("Idempotency-Key", "Same key, same body: one job", {"type": "string", "maxLength": 255}, "header"),
        ),
        errors=(
            ConfigInvalid,
            DatasetEmpty,
            DatasetUnreadable,
            WebhookUrlInvalid,
            CostLimitExceeded,
            IdempotencyConflict,
            TokenMissing,
            ArchiveTooLarge,
            ProviderError,
            ProviderUnavailable,
        ),
    ),
    Endpoint(
        "POST",
        "/api/cloud/cost-estimate",
        cost_estimate,
        "What a submit would cost",
        {200: Answer("null where nothing tells: no table has it, and no job like it has finished", Estimate | None)},
        body=SubmitRequest,
        errors=(ConfigInvalid, DatasetEmpty, DatasetUnreadable, WebhookUrlInvalid),
    ),
)
