"""Jobs that the daemon knows before it polls, and how Replicate shows them."""

from __future__ import annotations

import json
from typing import Any

from daemon.core.prediction import parse_prediction
from daemon.replicate.request import SubmitRequest
from daemon.store.records import IncomingEvent, Job
from tests.replicate.conftest import World


async def submitted(world: World, **more: Any) -> Job:
    result = await world.submitter.submit(SubmitRequest(model="acme/trainer", input={"stuck": False, **more}))
    job = await world.store.jobs.get(result.body["job_id"])
    assert job is not None
    return job


async def seen(world: World, body: dict[str, Any]) -> Job:
    """A job that this daemon knows from an event."""
    raw = json.dumps(body).encode()
    event = IncomingEvent(f"msg_{body['id']}", "1", "v1,x", raw, world.clock(), "webhook", "1.2.3.4", True)
    appended = await world.store.journal.append(event, parse_prediction(raw))
    return await job_of(world, appended.job_id or "")


async def job_of(world: World, job_id: str) -> Job:
    job = await world.store.jobs.get(job_id)
    assert job is not None
    return job


def shown(provider_id: str, **more: Any) -> dict[str, Any]:
    return {"id": provider_id, "status": "processing", "logs": "step 1\n", "output": None, "input": {}, **more}
