"""The main job: submit, signed events in, every one kept, the finished model on disk."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest

from daemon.sandbox.server import Sandbox
from tests.support.daemon import WAIT_SECONDS, Daemon


async def submit(daemon: Daemon, *, model: str = "acme/shapes", **given: Any) -> str:
    """Submit one job of a model whose input says what it does; our id of it."""
    answer = await daemon.post("/api/cloud/jobs/submit", {"model": model, "input": given}, status=201)
    return str(answer["job_id"])


def delivered_files(daemon: Daemon, job_id: str) -> dict[str, bytes]:
    """What lies in the job's folder, the manifest aside."""
    folder = daemon.output_dir / job_id
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}


async def test_a_training_from_submit_to_the_file_on_disk(daemon: Daemon, sandbox: Sandbox) -> None:
    answer = await daemon.post(
        "/api/cloud/jobs/submit",
        {"model": "simpletuner/advanced-trainer", "input": {"max_train_steps": 50}, "metadata": {"note": "mine"}},
        status=201,
    )
    assert answer["success"] is True
    sent = next(
        json.loads(call.body) for call in sandbox.requests if call.method == "POST" and "predictions" in call.path
    )
    assert sent["webhook"].startswith(daemon.url + "/api/webhooks/replicate")
    assert sent["webhook_events_filter"] == ["start", "output", "logs", "completed"]

    job = await daemon.finished(answer["job_id"])
    assert job["status"] == "completed", job
    assert job["provider_job_id"] == answer["provider_job_id"]
    assert job["metadata"] == {"note": "mine"}
    assert job["progress"]["total_steps"] == 50
    assert [item["status"] for item in job["deliveries"]] == ["delivered"]

    files = delivered_files(daemon, job["job_id"])
    manifest = json.loads((daemon.output_dir / job["job_id"] / "manifest.json").read_text())
    assert {entry["name"]: entry["sha256"] for entry in manifest["files"]} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }
    artifacts = (await daemon.get(f"/api/cloud/jobs/{job['job_id']}/artifacts"))["artifacts"]
    assert {item["name"] for item in artifacts} == set(files) != set()

    events = (await daemon.get(f"/api/cloud/jobs/{job['job_id']}/events"))["events"]
    assert events[0]["event"] == "start"
    assert "logs" in {event["event"] for event in events}
    assert "completed" in {event["event"] for event in events if event["source"] == "webhook"}
    assert all(event["verified"] for event in events)
    async with daemon.session.get(f"{daemon.url}/api/cloud/jobs/{job['job_id']}/logs") as log:
        text = await log.text()
    async with daemon.session.get(f"{daemon.url}/api/cloud/events/{events[-1]['seq']}/body") as body:
        assert json.loads(await body.read())["logs"] == text != ""


@pytest.mark.parametrize(
    ("output", "names", "kept"),
    [
        ("file:model.safetensors", {"model.safetensors"}, None),
        (["file:a.png", "file:b.png"], {"a.png", "b.png"}, None),
        ({"weights": "file:lora.tar", "log": {"deep": ["file:x.txt"]}}, {"lora.tar", "x.txt"}, None),
        ("data:text/plain;base64,aGVsbG8=", 1, None),
        ("just some text, see https://example.com/", set(), "just some text, see https://example.com/"),
        (None, set(), None),
        (["token ", "by ", "token"], set(), ["token ", "by ", "token"]),
    ],
    ids=["string", "list", "nested", "data", "text", "null", "tokens"],
)
async def test_every_shape_of_output_ends_on_disk(
    daemon: Daemon, output: Any, names: set[str] | int, kept: Any
) -> None:
    job = await daemon.finished(await submit(daemon, output=output, run_seconds=1))
    assert job["status"] == "completed"
    assert [item["status"] for item in job["deliveries"]] == ["delivered"], job
    files = delivered_files(daemon, job["job_id"])
    assert len(files) == names if isinstance(names, int) else set(files) == names
    if kept is not None:
        manifest = json.loads((daemon.output_dir / job["job_id"] / "manifest.json").read_text())
        assert manifest["output"] == kept


@pytest.mark.parametrize(
    ("behaviour", "status"), [({"fail": "oom"}, "failed"), ({"abort": True}, "cancelled")], ids=["failed", "aborted"]
)
async def test_jobs_that_end_otherwise(daemon: Daemon, behaviour: dict[str, Any], status: str) -> None:
    job = await daemon.finished(await submit(daemon, **behaviour))
    assert job["status"] == status
    assert job["deliveries"] == []
    if status == "failed":
        assert "out of memory" in job["error"]


async def test_cancel_reaches_the_provider(daemon: Daemon, sandbox: Sandbox) -> None:
    job_id = await submit(daemon, run_seconds=10_000)
    await daemon.post(f"/api/cloud/jobs/{job_id}/cancel", {}, status=202)
    job = await daemon.finished(job_id)
    assert job["status"] == "cancelled"
    assert any(call.path.endswith("/cancel") for call in sandbox.requests)
    assert (await daemon.post(f"/api/cloud/jobs/{job_id}/cancel", {}, status=409))["code"] == "job_finished"


@pytest.mark.parametrize(
    "faults",
    [
        {"webhook_drop": ["logs"]},
        {"webhook_drop": ["completed"]},
        {"webhook_drop": ["start", "logs", "output", "completed"]},
        {"webhook_duplicates": 2},
        {"webhook_reorder": True, "webhook_jitter": 4.0},
        {"webhook_extra_signatures": True, "webhook_style": "python", "webhook_trailing_newline": True},
        {"webhook_style": "django", "extra_keys": {"new": {"key": [1]}}, "timestamp_digits": 9},
        {"webhook_sign_with": "wrong"},
        {"unknown_status": "warming"},
        {"read_lag": 20.0},
    ],
    ids=str,
)
async def test_the_job_ends_right_whatever_happens_to_its_events(
    daemon: Daemon, sandbox: Sandbox, faults: dict[str, Any]
) -> None:
    sandbox.faults.update(faults)
    job = await daemon.finished(await submit(daemon, output="file:model.safetensors"))
    assert job["status"] == "completed"
    assert [item["status"] for item in job["deliveries"]] == ["delivered"], job
    assert set(delivered_files(daemon, job["job_id"])) == {"model.safetensors"}
    events = (await daemon.get(f"/api/cloud/jobs/{job['job_id']}/events?limit=500"))["events"]
    assert len({event["webhook_id"] for event in events}) == len(events)


async def test_a_lost_answer_makes_no_second_job(daemon: Daemon, sandbox: Sandbox) -> None:
    sandbox.faults.lose_create_answer_next = 1
    job = await daemon.finished(await submit(daemon, output="file:model.safetensors"))
    assert job["status"] == "completed"
    assert len(sandbox.predictions) == 1
    assert (await daemon.get("/api/cloud/jobs"))["total"] == 1


async def test_a_job_of_somebody_else_is_kept_and_delivered(daemon: Daemon, sandbox: Sandbox) -> None:
    """The webhook URL was given at the provider's own page: the daemon did not submit it."""
    async with daemon.session.post(
        f"{sandbox.url}/v1/models/acme/shapes/predictions",
        json={
            "input": {"output": "file:model.safetensors", "run_seconds": 1},
            "webhook": f"{daemon.url}/api/webhooks/replicate",
            "webhook_events_filter": ["start", "completed"],
        },
        headers={"Authorization": f"Bearer {sandbox.api_token}"},
    ) as answer:
        provider_id = (await answer.json())["id"]
    async with asyncio.timeout(WAIT_SECONDS):
        while not (await daemon.get("/api/cloud/jobs"))["jobs"]:  # noqa: ASYNC110 - a webhook sets no event here
            await asyncio.sleep(0.05)
    job = await daemon.finished(provider_id)
    assert job["status"] == "completed"
    assert set(delivered_files(daemon, job["job_id"])) == {"model.safetensors"}


async def test_stop_drains_and_exits_0(daemon: Daemon) -> None:
    await submit(daemon, run_seconds=100)
    assert await daemon.stop() == 0
