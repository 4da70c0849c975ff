"""One stored event's signature, checked again."""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec
from aiohttp import web

from ... import keys
from ...core.signature import Verdict, verify
from ...errors import NotFound, NotReady
from ..answers import json_answer
from ..endpoint import Answer, Endpoint
from .events import event_seq


class Verification(msgspec.Struct):
    """``verdict`` is ``unsigned`` for what was polled, and ``unknown`` where no secret is there to check with.

    The time of the signature is not judged: it was when the event arrived.
    """

    seq: int
    verdict: Literal["valid", "invalid", "unsigned", "unknown"]
    detail: str
    secrets: int


_WORDS = {
    "valid": "The signature matches the body, byte for byte.",
    "invalid": "No signing secret that is known now matches. After a rotation that is so for events of before it.",
    "unsigned": "This event was found by asking the API; it carries no signature.",
    "unknown": "No signing secret can be had now: Replicate does not answer, or the API token is missing.",
}


async def verify_event(request: web.Request) -> web.Response:
    seq = event_seq(request)
    found = await request.app[keys.STORE].journal.body(seq)
    if found is None:
        raise NotFound(f"There is no event {seq}. GET /api/cloud/events lists them.")
    if not found.timestamp or not found.signature:
        return _answer(seq, "unsigned", 0)
    try:
        secrets = await request.app[keys.WEBHOOK_SECRETS].get()
    except NotReady:
        return _answer(seq, "unknown", 0)
    given = (found.webhook_id, found.timestamp, found.signature, found.body)
    verdict = await asyncio.to_thread(verify, secrets, *given, now=0.0, tolerance=float("inf"))
    return _answer(seq, "valid" if verdict is Verdict.OK else "invalid", len(secrets))


def _answer(seq: int, verdict: Literal["valid", "invalid", "unsigned", "unknown"], secrets: int) -> web.Response:
    return json_answer(Verification(seq, verdict, _WORDS[verdict], secrets))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/events/{seq}/verify",
        verify_event,
        "Check an event's signature again, with the signing secrets known now",
        {200: Answer("The verdict", Verification)},
        errors=(NotFound,),
    ),
)
