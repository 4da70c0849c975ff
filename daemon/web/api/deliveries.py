"""Deliveries of all jobs: listed by status, failed ones tried again, running ones cancelled."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from ... import keys
from ...core.deliveries import DeliveryStatus
from ...core.times import rfc3339
from ...errors import InvalidRequest, JobNotFound, NothingToCancel
from ...store.records import Delivery
from ..answers import decode_json, json_answer, query_choice, query_int, query_text, read_body
from ..endpoint import Answer, Endpoint, Param
from ..jobs_access import find_job
from ..render import DeliveryView, delivery_view

MAX_PAGE = 500
REDRIVE_AT_ONCE = 500  # deliveries; whoever has more asks again
STATUSES = tuple(status.value for status in DeliveryStatus)


class DeliveryOfJob(DeliveryView):
    """A delivery with its job. ``deadline``: the provider deletes the output then; ``fetched_at``: we have it since."""

    job_id: str
    deadline: str | None
    fetched_at: str | None
    updated_at: str | None


class DeliveryPage(msgspec.Struct):
    """Newest first; ``total`` counts all deliveries that match."""

    deliveries: list[DeliveryOfJob]
    next_cursor: str | None
    total: int


class Redrive(msgspec.Struct, forbid_unknown_fields=True):
    """Which failed deliveries; without any of these: all of them but those that were cancelled."""

    destination: str | None = None
    job_ids: list[str] | None = None


class DeliveryKey(msgspec.Struct):
    job_id: str
    destination: str


class Skipped(DeliveryKey):
    reason: str


class Redriven(msgspec.Struct):
    """``more``: there are further ones; ask again."""

    redriven: list[DeliveryKey]
    skipped: list[Skipped]
    more: bool


class CancelDeliveries(msgspec.Struct, forbid_unknown_fields=True):
    """Names of destinations; none = every one whose delivery is not over."""

    destinations: list[str] | None = None


class Cancelled(msgspec.Struct):
    success: bool
    job_id: str
    cancelled: list[str]


def delivery_of_job(delivery: Delivery) -> DeliveryOfJob:
    """What the API shows of a delivery outside its job."""
    return DeliveryOfJob(
        **msgspec.structs.asdict(delivery_view(delivery)),
        job_id=delivery.job_id,
        deadline=rfc3339(delivery.deadline),
        fetched_at=rfc3339(delivery.fetched_at),
        updated_at=rfc3339(delivery.updated_at),
    )


async def list_deliveries(request: web.Request) -> web.Response:
    found, next_cursor, total = await request.app[keys.STORE].dead_letters.page(
        status=query_choice(request, "status", STATUSES),
        destination=query_text(request, "destination"),
        limit=query_int(request, "limit", 50, low=1, high=MAX_PAGE),
        cursor=query_text(request, "cursor"),
    )
    return json_answer(DeliveryPage([delivery_of_job(one) for one in found], next_cursor, total))


async def redrive(request: web.Request) -> web.Response:
    order = await _order(request, Redrive)
    if order.job_ids is not None and len(order.job_ids) > REDRIVE_AT_ONCE:
        raise InvalidRequest(f"job_ids: at most {REDRIVE_AT_ONCE} at once.", field="job_ids")
    done = await request.app[keys.STORE].dead_letters.redrive(
        destination=order.destination,
        job_ids=order.job_ids,
        now=request.app[keys.CLOCK](),
        limit=REDRIVE_AT_ONCE,
    )
    request.app[keys.WAKE_DELIVERY]()
    answer = Redriven(
        [DeliveryKey(*key) for key in done.redriven], [Skipped(*skipped) for skipped in done.skipped], done.more
    )
    return json_answer(answer, status=202)


async def cancel_deliveries(request: web.Request) -> web.Response:
    order = await _order(request, CancelDeliveries)
    job = await find_job(request)
    names = list(dict.fromkeys(order.destinations or [])) or None
    ended = await request.app[keys.STORE].deliveries.cancel(job.job_id, names, now=request.app[keys.CLOCK]())
    request.app[keys.WAKE_DELIVERY]()
    return json_answer(Cancelled(True, job.job_id, ended), status=202)


async def _order(request: web.Request, model: type[Any]) -> Any:
    body = await read_body(request)
    return decode_json(body, model) if body.strip() else model()


_TEXT: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 1000}

ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/deliveries",
        list_deliveries,
        "List deliveries of all jobs, newest first; status=failed are the dead letters",
        {200: Answer("One page of deliveries", DeliveryPage)},
        params=(
            Param("status", "Only deliveries in this state", {"type": "string", "enum": list(STATUSES)}),
            Param("destination", "Only deliveries to this destination", _TEXT),
            Param("limit", "Deliveries a page", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": 50}),
            Param("cursor", "next_cursor of the page before", _TEXT),
        ),
        errors=(InvalidRequest,),
    ),
    Endpoint(
        "POST",
        "/api/cloud/deliveries/redrive",
        redrive,
        "Try failed deliveries again",
        {202: Answer("Those are pending", Redriven)},
        body=Redrive,
        body_required=False,
        errors=(InvalidRequest,),
        description="Each gets a new generation and an hour from now. Cancelled ones only where their job is named.",
    ),
    Endpoint(
        "POST",
        "/api/cloud/jobs/{job_id}/deliveries/cancel",
        cancel_deliveries,
        "Cancel deliveries that are not over",
        {202: Answer("They have failed, with the reason “cancelled by you”", Cancelled)},
        body=CancelDeliveries,
        body_required=False,
        errors=(JobNotFound, NothingToCancel, InvalidRequest),
    ),
)
