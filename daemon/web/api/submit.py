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
    InvalidRequest,
    ProviderError,
    ProviderUnavailable,
    TokenMissing,
    WebhookUrlInvalid,
)
from ...replicate.outgoing import LeftOut
from ...replicate.rehearsal import SubmitCheck
from ...replicate.request import SubmitRequest, one_key
from ...replicate.under_way import SubmitProgress
from ..answers import json_answer, read_json
from ..endpoint import Answer, Endpoint, Param


class Submitted(msgspec.Struct, omit_defaults=True):
    """``idempotent_hit``: the job was there already, nothing was sent. ``webhook_warning``: the webhook URL
    could not be verified from this machine; polling covers events that webhooks do not deliver.
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
    """What would be sent, secrets redacted, and what a submit would be told."""

    dry_run: Literal[True]
    request: dict[str, Any]
    checks: list[SubmitCheck]
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


async def submit_progress(request: web.Request) -> web.Response:
    key = one_key(request.headers.get("Idempotency-Key"), None)
    if key is None:
        raise InvalidRequest("Name the submit by the header Idempotency-Key that it was sent with.", field=_KEY.name)
    return json_answer(await request.app[keys.SUBMITTER].under_way.look(key))


async def cost_estimate(request: web.Request) -> web.Response:
    return json_answer(await request.app[keys.SUBMITTER].estimate(await read_json(request, SubmitRequest)))


_KEY_SCHEMA = {"type": "string", "maxLength": 255}
_KEY = Param("Idempotency-Key", "Same key, same body: one job", _KEY_SCHEMA, "header")
_KEY_OF_SUBMIT = Param("Idempotency-Key", "The one that the submit was sent with", _KEY_SCHEMA, "header", required=True)

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
        params=(_KEY,),
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
        "GET",
        "/api/cloud/jobs/submit/progress",
        submit_progress,
        "How far a submit is that has not been answered yet",
        {200: Answer("Packing is known to the daemon that does it; what comes after it, to every one", SubmitProgress)},
        params=(_KEY_OF_SUBMIT,),
        errors=(InvalidRequest,),
    ),
    Endpoint(
        "POST",
        "/api/cloud/cost-estimate",
        cost_estimate,
        "What a submit would cost",
        {200: Answer("null where it is unknown: no table has it, and no job like it has finished", Estimate | None)},
        body=SubmitRequest,
        errors=(ConfigInvalid, DatasetEmpty, DatasetUnreadable, WebhookUrlInvalid),
    ),
)
