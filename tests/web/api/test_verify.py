"""A stored event, verified again."""

from __future__ import annotations

import time
from pathlib import Path

from daemon.core.prediction import parse_prediction
from daemon.core.signature import sign
from daemon.parsing import decode_webhook_secret
from daemon.store.records import IncomingEvent
from tests.support.webapp import Served, running_app

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = b'{"id":"p1","status":"processing"}'


async def store(served: Served, webhook_id: str, signature: str | None, *, timestamp: str | None = "1600000000") -> int:
    event = IncomingEvent(webhook_id, timestamp, signature, BODY, time.time(), "webhook", None, True)
    return (await served.store.journal.append(event, parse_prediction(BODY))).seq


async def test_the_verdicts(tmp_path: Path) -> None:
    key = decode_webhook_secret(SECRET)
    async with running_app(tmp_path, environ={"TUNERD_WEBHOOK_SECRET": SECRET}) as served:
        events = {
            # Signed years ago: the time was judged when it arrived.
            await store(served, "good", sign(key, "good", "1600000000", BODY)): "valid",
            await store(served, "forged", sign(b"another", "forged", "1600000000", BODY)): "invalid",
            await store(served, "polled", None, timestamp=None): "unsigned",
        }
        for seq, verdict in events.items():
            found = await served.get(f"/api/cloud/events/{seq}/verify")
            assert (found["seq"], found["verdict"]) == (seq, verdict)
            assert found["detail"]
        await served.problem("GET", "/api/cloud/events/99/verify", status=404, code="not_found")
        await served.problem("GET", "/api/cloud/events/x/verify", status=404, code="not_found")


async def test_without_a_secret_it_is_not_known(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        seq = await store(served, "msg", "v1,c2lnbmF0dXJl")
        assert (await served.get(f"/api/cloud/events/{seq}/verify"))["verdict"] == "unknown"
