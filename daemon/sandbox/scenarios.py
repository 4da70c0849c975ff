"""Sequences of events for ``tunerd trigger``: what a receiver must stand, sent over real sockets, each answer told.

A scenario is an async generator: ``async for answer in SCENARIOS[name](session, url, secret, clock=…, rng=…)``.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from ..core.signature import sign
from ..parsing import decode_webhook_secret
from . import ids
from .samples import KINDS, log_text, make_event
from .sending import Answer, Clock, Run, Scenario, post, send_event, send_signed

__all__ = ["KINDS", "SCENARIOS", "Answer", "make_event", "send_event", "send_signed"]

_STALE_SECONDS = 3600  # far outside of any tolerance
_HUGE_LOG_BYTES = 8 << 20  # far over what web frameworks accept by default, under the daemon's own limit
_FLOOD_EVENTS = 200
_FLOOD_CONNECTIONS = 32


def _scenario(steps: Any) -> Scenario:
    """Turn ``steps(run)``, an async generator of answers, into a ``Scenario``."""

    def start(
        session: aiohttp.ClientSession,
        url: str,
        secret: str,
        *,
        clock: Clock = time.time,
        rng: random.Random | None = None,
        overrides: Mapping[str, Any] | None = None,
        kind: str | None = None,
    ) -> AsyncIterator[Answer]:
        answers: AsyncIterator[Answer] = steps(Run(session, url, secret, clock, rng, overrides, kind))
        return answers

    start.__doc__ = steps.__doc__
    return start


async def _full_run(run: Run) -> AsyncIterator[Answer]:
    """Start, logs that grow, completed."""
    yield await run.send("start", run.body("start"))
    for share in (0.2, 0.5, 0.8):
        yield await run.send(f"logs {share:.0%}", run.body("logs", share=share))
    yield await run.send("completed", run.body("completed"))


async def _duplicates(run: Run) -> AsyncIterator[Answer]:
    """One event three times with one webhook-id, one after the other, then five at once: one is stored."""
    body, message = run.body(run.kind), ids.webhook_id(run.rng)
    for number in range(1, 4):
        yield await run.send(f"copy {number}", body, webhook_id=message)
    for answer in await asyncio.gather(*(run.send("at once", body, webhook_id=message) for _ in range(5))):
        yield answer


async def _reordering(run: Run) -> AsyncIterator[Answer]:
    """The end first, then what came before it: the job stays finished."""
    yield await run.send("completed", run.body("completed"))
    for share in (0.8, 0.2):
        yield await run.send(f"late logs {share:.0%}", run.body("logs", share=share))
    yield await run.send("late start", run.body("start"))


async def _bad_signature(run: Run) -> AsyncIterator[Answer]:
    """Another secret, a changed body, no headers: refused; then the right one: accepted."""
    refused = (401,)
    stranger = ids.webhook_secret(run.rng)
    yield await run.send("another secret", run.body(run.kind), secret=stranger, expected=refused)
    body, message, stamp = run.body(run.kind), ids.webhook_id(run.rng), str(int(run.clock()))
    good = sign(decode_webhook_secret(run.secret), message, stamp, body)
    for label, sent, headers in (
        ("changed body", body + b" ", (message, stamp, good)),
        ("unknown version", body, (message, stamp, "v9" + good[2:])),
        ("malformed", body, (message, stamp, "nonsense , v1,")),
        ("no headers", body, ("", "", "")),
    ):
        begun = time.monotonic()
        status, text = await post(run.session, run.url, sent, *headers)
        yield Answer(label, headers[0], status, text, refused, time.monotonic() - begun)
    yield await run.send("right", body)


async def _stale_timestamp(run: Run) -> AsyncIterator[Answer]:
    """Signed for an hour ago and for an hour ahead: refused; for a minute ago: accepted."""
    yield await run.send("an hour old", run.body(run.kind), age=_STALE_SECONDS, expected=(401,))
    yield await run.send("an hour ahead", run.body(run.kind), age=-_STALE_SECONDS, expected=(401,))
    yield await run.send("a minute old", run.body(run.kind), age=60)


async def _huge_logs(run: Run) -> AsyncIterator[Answer]:
    """A log of 8 MiB that goes on growing, whole in each event."""
    filler = _HUGE_LOG_BYTES
    for share in (0.5, 0.9):
        logs = log_text(run.prediction_id, share, filler_bytes=filler)
        yield await run.send(f"logs {share:.0%}", run.body("logs", logs=logs))
    logs = log_text(run.prediction_id, 1.0, filler_bytes=filler, ended=True)
    yield await run.send("completed", run.body("completed", logs=logs))


async def _flood(run: Run) -> AsyncIterator[Answer]:
    """200 events over 32 connections at once: all accepted, or told when to come back."""
    gate = asyncio.Semaphore(_FLOOD_CONNECTIONS)

    async def one(number: int) -> Answer:
        async with gate:
            body = run.body(run.kind, share=number / _FLOOD_EVENTS)
            return await run.send(f"event {number}", body, expected=(200, 429, 503))

    for answer in await asyncio.gather(*(one(number) for number in range(1, _FLOOD_EVENTS + 1))):
        yield answer


SCENARIOS: dict[str, Scenario] = {
    "full-run": _scenario(_full_run),
    "duplicates": _scenario(_duplicates),
    "reordering": _scenario(_reordering),
    "bad-signature": _scenario(_bad_signature),
    "stale-timestamp": _scenario(_stale_timestamp),
    "huge-logs": _scenario(_huge_logs),
    "flood": _scenario(_flood),
}
