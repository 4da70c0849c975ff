"""The load: one process, uvloop, bare sockets; every request is its own prediction, uniquely signed before the clock
starts. Closed loop: each connection sends the next request when the last is answered.

Usage: python -m bench.load '{"url": …}' (the fields of ``Plan``); prints the fields of ``Outcome`` as JSON.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hmac
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec
import uvloop

from . import bodies

WARM_UP_SECONDS = 0.5  # answered and kept like all others, not counted in the figures


class Plan(msgspec.Struct):
    url: str
    secret: str
    kind: str  # start | logs
    connections: int
    seconds: float
    prepare: int  # requests to sign; when they are used up the run ends early
    run: str  # makes the ids of this run unique


class Outcome(msgspec.Struct):
    per_second: float
    p50_ms: float
    p99_ms: float
    answered: int  # 2xx, warm-up included
    refused: int  # any other answer
    exhausted: bool  # all prepared requests were used
    last_id: int  # the ids 0…last_id were sent
    unanswered: list[int]  # of them, those without a 2xx


class Request(msgspec.Struct):
    number: int
    head: bytes
    body: tuple[bytes, bytes]


def webhook_id(plan: Plan, number: int) -> str:
    return f"msg_{plan.run}_{number}"


def sign(plan: Plan, now: float) -> list[Request]:
    """All requests of a run, ready to be written."""
    host = urlsplit(plan.url).netloc
    key = base64.b64decode(plan.secret.removeprefix("whsec_"))
    rests = bodies.start_rests() if plan.kind == "start" else bodies.logs_rests()
    found = []
    for number in range(plan.prepare):
        ident = webhook_id(plan, number)
        body = (bodies.body_head(bodies.prediction_id(number, plan.run)), rests[number % len(rests)])
        signed = b"".join((f"{ident}.{int(now)}.".encode(), *body))
        signature = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
        head = (
            f"POST /api/webhooks/replicate HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body[0]) + len(body[1])}\r\nwebhook-id: {ident}\r\n"
            f"webhook-timestamp: {int(now)}\r\nwebhook-signature: v1,{signature}\r\n\r\n"
        )
        found.append(Request(number, head.encode(), body))
    return found


class Results:
    """What all connections of a run share."""

    def __init__(self, requests: list[Request]) -> None:
        self.queue: Iterator[Request] = iter(requests)
        self.finished: list[float] = []  # perf_counter of each 2xx
        self.latencies: list[float] = []
        self.acknowledged = bytearray(len(requests))
        self.refused = 0
        self.sent = 0
        self.stop_at = 0.0
        self.exhausted = False


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way."""

    def __init__(self, results: Results, done: asyncio.Future[None]) -> None:
        self.results = results
        self.done = done
        self.buffer = b""
        self.started = 0.0
        self.current: Request | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport
        self.send()

    def send(self) -> None:
        now = time.perf_counter()
        self.current = None if now >= self.results.stop_at else next(self.results.queue, None)
        if self.current is None:
            self.results.exhausted |= now < self.results.stop_at
            self.transport.close()
            return
        self.results.sent = max(self.results.sent, self.current.number + 1)
        self.started = now
        self.transport.writelines((self.current.head, *self.current.body))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        length = 0
        if (at := head.find(b"content-length:")) >= 0:
            length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self.buffer) < end + 4 + length:
            return
        self.record(self.buffer[9:12])
        self.buffer = b""
        self.send()

    def record(self, status: bytes) -> None:
        assert self.current is not None
        now = time.perf_counter()
        if status not in {b"200", b"204"}:
            self.results.refused += 1
            return
        self.results.acknowledged[self.current.number] = 1
        self.results.finished.append(now)
        self.results.latencies.append(now - self.started)

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def drive(plan: Plan, requests: list[Request]) -> Outcome:
    loop = asyncio.get_running_loop()
    address = urlsplit(plan.url)
    results = Results(requests)
    begun = time.perf_counter()
    results.stop_at = begun + WARM_UP_SECONDS + plan.seconds
    waiters = [loop.create_future() for _ in range(plan.connections)]
    for waiter in waiters:
        await loop.create_connection(partial(Connection, results, waiter), address.hostname or "", address.port or 80)
    await asyncio.gather(*waiters)
    return summarise(results, begun + WARM_UP_SECONDS)


def summarise(results: Results, count_from: float) -> Outcome:
    counted = [(at, took) for at, took in zip(results.finished, results.latencies, strict=True) if at >= count_from]
    if not counted:
        raise SystemExit(f"no answer was counted ({results.refused} refused, {results.sent} sent)")
    took = sorted(latency for _, latency in counted)
    window = counted[-1][0] - count_from
    return Outcome(
        per_second=len(counted) / window,
        p50_ms=took[len(took) // 2] * 1e3,
        p99_ms=took[len(took) * 99 // 100] * 1e3,
        answered=len(results.finished),
        refused=results.refused,
        exhausted=results.exhausted,
        last_id=results.sent - 1,
        unanswered=[number for number in range(results.sent) if not results.acknowledged[number]],
    )


def main() -> None:
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    requests = sign(plan, time.time())
    gc.freeze()  # a million live objects, none of them garbage: the collector would only cost latency
    outcome = uvloop.run(drive(plan, requests))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
