"""The controls of delivery on a running daemon, and notifications that a kill does not lose."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from daemon.sandbox.server import Sandbox
from tests.e2e.conftest import wired_daemon
from tests.e2e.test_loop import submit
from tests.support.daemon import WAIT_SECONDS, Daemon
from tests.support.receiver import running_receiver
from tests.support.waiting import until


async def put(daemon: Daemon, path: str, body: dict[str, Any]) -> Any:
    async with daemon.session.put(daemon.url + path, json=body) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def delivery(daemon: Daemon, job_id: str, name: str, *statuses: str) -> Any:
    """The delivery, once it is in one of these states."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            for one in (await daemon.job(job_id))["deliveries"]:
                if one["destination"] == name and one["status"] in statuses:
                    return one
            await asyncio.sleep(0.1)


async def test_pause_restart_resume_fail_redrive_redeliver(tmp_path: Path, sandbox: Sandbox) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    async with wired_daemon(tmp_path, sandbox) as daemon:
        destinations = [
            {"name": "local", "type": "local"},
            {"name": "held", "type": "local", "options": {"path": str(tmp_path / "held")}, "paused": True},
            {"name": "blocked", "type": "local", "options": {"path": str(blocked)}},
        ]
        await put(daemon, "/api/cloud/publishing", {"destinations": destinations})
        job_id = await submit(daemon, output="file:model.bin", run_seconds=1)
        await delivery(daemon, job_id, "local", "delivered")  # the others hold it up in no way
        await daemon.kill()
        await daemon.start()

        async def held_says_so() -> bool:
            held = await delivery(daemon, job_id, "held", "pending")
            return held["url"] is None and "paused" in str(held["error"])

        await until(held_says_so, seconds=WAIT_SECONDS)
        alerts = (await daemon.get("/api/cloud/alerts"))["alerts"]
        assert [one["destination"] for one in alerts if one["kind"] == "destination_paused"] == ["held"]

        await daemon.post(f"/api/cloud/jobs/{job_id}/deliveries/cancel", {"destinations": ["blocked"]}, status=202)
        cancelled = await delivery(daemon, job_id, "blocked", "failed")
        assert cancelled["error"] == "cancelled by you"
        assert (await daemon.post("/api/cloud/deliveries/redrive", {}, status=202))["redriven"] == []
        blocked.unlink()
        done = await daemon.post("/api/cloud/deliveries/redrive", {"job_ids": [job_id]}, status=202)
        assert done["redriven"] == [{"job_id": job_id, "destination": "blocked"}]
        await delivery(daemon, job_id, "blocked", "delivered")
        assert (blocked / job_id / "model.bin").exists()

        await daemon.post(f"/api/cloud/jobs/{job_id}/redeliver", {"destinations": ["local"]}, status=202)
        await delivery(daemon, job_id, "local", "delivered")
        assert (await delivery(daemon, job_id, "held", "pending"))["url"] is None  # undisturbed
        await daemon.post("/api/cloud/publishing/held/resume", {}, status=200)
        await delivery(daemon, job_id, "held", "delivered")
        assert (tmp_path / "held" / job_id / "model.bin").exists()


async def test_a_killed_daemon_has_lost_no_notification(tmp_path: Path, sandbox: Sandbox) -> None:
    async with running_receiver("/hook") as receiver, wired_daemon(tmp_path, sandbox) as daemon:
        receiver.hang_seconds = 30  # it takes the connection, and the daemon dies before it hears the answer
        endpoints = {"endpoints": [{"name": "chat", "url": receiver.url, "events": ["job.finished"]}]}
        [made] = (await put(daemon, "/api/cloud/notifications", endpoints))["endpoints"]
        job_id = await submit(daemon, output="file:model.bin", run_seconds=1)
        [first] = await receiver.wait_for(1, timeout=WAIT_SECONDS)
        await daemon.kill()
        receiver.hang_seconds = 0
        await daemon.start()
        [_, again] = await receiver.wait_for(2, timeout=WAIT_SECONDS)
        assert again.webhook_id == first.webhook_id
        body = Webhook(made["secret"]).verify(again.body, again.headers)
        assert (body["type"], body["data"]["job_id"]) == ("job.finished", job_id)

        async def nothing_waits() -> bool:
            return not (await daemon.get("/api/cloud/notifications"))["endpoints"][0]["pending"]

        await until(nothing_waits, seconds=WAIT_SECONDS)
        assert len(receiver.received) == 2
        log = daemon.log.read_text()
        assert made["secret"] not in log and "/hook" not in log
