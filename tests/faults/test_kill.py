"""kill -9 at random moments under load: every event that was answered 200 is kept, byte for byte."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from pathlib import Path

import aiohttp
import pytest

from daemon.core.signature import sign
from daemon.parsing import decode_webhook_secret
from tests.support.daemon import Daemon, running_daemon

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "8"))
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
SENDERS = 8  # concurrent, each its own job with a growing log


class Load:
    """Sends signed events without a pause, and remembers which were answered 200."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session
        self.acknowledged: dict[str, bytes] = {}
        self.steps = [0] * SENDERS

    async def send_until_cut(self, sender: int) -> None:
        """One job's events, until the connection breaks."""
        while True:
            self.steps[sender] += 1
            step = self.steps[sender]
            log = "".join(f"step {i}/100000 loss: {1 / (i + 1):.6f} ✓\r" for i in range(step))
            body = json.dumps({"id": f"job{sender}", "status": "processing", "logs": log}, ensure_ascii=False).encode()
            webhook_id, stamp = f"msg_{sender}_{step}", str(int(time.time()))
            signature = sign(decode_webhook_secret(SECRET), webhook_id, stamp, body)
            headers = {"webhook-id": webhook_id, "webhook-timestamp": stamp, "webhook-signature": signature}
            try:
                async with self.session.post(self.url, data=body, headers=headers) as answer:
                    await answer.read()
                    if answer.status == 200:
                        self.acknowledged[webhook_id] = body
            except (aiohttp.ClientError, OSError):
                return


async def journal(daemon: Daemon) -> dict[str, int]:
    """webhook-id → seq of everything in the journal."""
    found: dict[str, int] = {}
    after = 0
    while page := (await daemon.get(f"/api/cloud/events?after={after}&limit=500"))["events"]:
        found |= {event["webhook_id"]: event["seq"] for event in page}
        after = page[-1]["seq"]
    return found


@pytest.mark.parametrize("rounds", [2, pytest.param(ROUNDS, marks=pytest.mark.slow)], ids=["twice", "rounds"])
async def test_every_acknowledged_event_survives(tmp_path: Path, rounds: int) -> None:
    chance = random.Random(20260105)
    async with running_daemon(tmp_path, TUNERD_WEBHOOK_SECRET=SECRET, TUNERD_WEBHOOK_RATE_PER_SECOND="0") as daemon:
        load = Load(daemon.url + "/api/webhooks/replicate", daemon.session)
        for _ in range(rounds):
            senders = [asyncio.create_task(load.send_until_cut(sender)) for sender in range(SENDERS)]
            await asyncio.sleep(chance.uniform(0.02, 0.4))
            await daemon.kill()
            await asyncio.gather(*senders)
            await daemon.start()
        kept = await journal(daemon)
        assert len(load.acknowledged) > rounds
        assert load.acknowledged.keys() <= kept.keys()
        sample = chance.sample(sorted(load.acknowledged), min(300, len(load.acknowledged)))
        for webhook_id in sample:
            async with daemon.session.get(f"{daemon.url}/api/cloud/events/{kept[webhook_id]}/body") as answer:
                assert await answer.read() == load.acknowledged[webhook_id]
                assert answer.headers["webhook-id"] == webhook_id
        assert await daemon.stop() == 0


async def test_a_stop_under_load_drains_and_exits_0(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, TUNERD_WEBHOOK_SECRET=SECRET) as daemon:
        load = Load(daemon.url + "/api/webhooks/replicate", daemon.session)
        senders = [asyncio.create_task(load.send_until_cut(sender)) for sender in range(SENDERS)]
        await asyncio.sleep(0.5)
        assert await daemon.stop() == 0
        await asyncio.gather(*senders)
        await daemon.start()
        assert load.acknowledged.keys() <= (await journal(daemon)).keys()


async def test_200_requests_with_one_id_make_one_event(tmp_path: Path) -> None:
    body = b'{"id":"one","status":"starting","logs":"","output":null}'
    stamp = str(int(time.time()))
    headers = {
        "webhook-id": "msg_one",
        "webhook-timestamp": stamp,
        "webhook-signature": sign(decode_webhook_secret(SECRET), "msg_one", stamp, body),
    }
    async with running_daemon(tmp_path, TUNERD_WEBHOOK_SECRET=SECRET) as daemon:

        async def send() -> str:
            url = daemon.url + "/api/webhooks/replicate"
            async with daemon.session.post(url, data=body, headers=headers) as answer:
                assert answer.status == 200
                return str((await answer.json())["status"])

        answers = await asyncio.gather(*(send() for _ in range(200)))
        assert sorted(answers) == ["accepted"] + ["duplicate"] * 199
        assert list(await journal(daemon)) == ["msg_one"]
