"""kill -9 at every step of a submit: one job row and one job at Replicate afterwards, never two, never none."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from daemon.sandbox.server import Sandbox
from tests.support.daemon import Daemon, running_daemon

# Fewer than elsewhere: half of them wait out a create call that was cut off.
ROUNDS = max(3, int(os.environ.get("FAULT_ROUNDS", "8")) // 3)
PATIENCE = 90  # seconds for a restarted daemon to put things right; a cut-off create call is waited for for 20 s
SUBMIT = "/api/cloud/jobs/submit"
NOBODY = "https://0.0.0.0:9"  # leads nowhere, and not provably so


@dataclass(frozen=True)
class Window:
    """Holds a submit at one step: ``faults`` slow or cut that step, ``reached`` tells when it is there."""

    faults: dict[str, Any]
    reached: Callable[[Sandbox, int], bool]
    dataset: bool = False
    written: bool = True  # the intent is on disk by then: a restart alone finishes the submit


def asked(method: str, part: str) -> Callable[[Sandbox, int], bool]:
    """Whether such a request came after the first ``seen`` ones."""
    return lambda sandbox, seen: any(
        call.method == method and part in call.path for call in list(sandbox.requests)[seen:]
    )


WINDOWS = {
    "before the intent": Window(
        {"api_match": "GET /v1/models", "hang_next": 1}, asked("GET", "/v1/models"), written=False
    ),
    "create on its way": Window({"api_match": "POST /v1/pred", "latency": 1.0}, asked("POST", "/v1/predictions")),
    "after the intent": Window({"api_match": "POST /v1/pred", "hang_next": 1}, asked("POST", "/v1/predictions")),
    "created, answer lost": Window({"lose_create_answer_next": 1}, lambda sandbox, _: bool(sandbox.predictions)),
    "during the upload": Window(
        {"api_match": "POST /v1/files", "hang_next": 1}, asked("POST", "/v1/files"), dataset=True
    ),
    "after the upload": Window(
        {"api_match": "POST /v1/pred", "hang_next": 1}, asked("POST", "/v1/predictions"), dataset=True
    ),
}


def a_dataset(folder: Path) -> Path:
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + random.Random(number).randbytes(20_000))
        (folder / f"{number}.txt").write_text(f"a dog, number {number}")
    return folder


def order(key: str, folder: Path | None = None) -> dict[str, Any]:
    if folder is None:
        return {"model": "acme/hello", "input": {"text": key}, "idempotency_key": key}
    dataloader = [{"id": "dogs", "type": "local", "instance_data_dir": str(folder), "caption_strategy": "textfile"}]
    config = {"--max_train_steps": 10, "--validation_prompt": key}
    return {"config": config, "dataloader_config": dataloader, "idempotency_key": key}


async def try_submit(daemon: Daemon, body: dict[str, Any]) -> int | None:
    """The status; ``None`` where the daemon was killed over it."""
    with contextlib.suppress(aiohttp.ClientError):
        async with daemon.session.post(daemon.url + SUBMIT, json=body) as answer:
            await answer.read()
            return answer.status
    return None


async def settled(daemon: Daemon, count: int) -> list[Any]:
    """All jobs, once there are ``count`` and each is bound."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    jobs: list[Any] = []
    while asyncio.get_running_loop().time() < deadline:
        jobs = (await daemon.get("/api/cloud/jobs?limit=500"))["jobs"]
        if len(jobs) >= count and all(job["provider_job_id"] for job in jobs):
            break
        await asyncio.sleep(0.1)
    return jobs


def assert_one_each(jobs: list[Any], sandbox: Sandbox, count: int) -> None:
    shown = [(job["job_id"], job["status"], job["provider_job_id"], job["error"]) for job in jobs]
    assert len(jobs) == count, shown
    assert len(sandbox.predictions) == count, (shown, list(sandbox.predictions))
    assert {job["provider_job_id"] for job in jobs} == set(sandbox.predictions), shown


@pytest.fixture
async def sandbox() -> Any:
    async with Sandbox(port=0, seed=7) as running:
        running.faults.behaviour = {"stuck": True}
        yield running


def variables(sandbox: Sandbox, *, webhooks: bool) -> dict[str, str]:
    base = {"REPLICATE_BASE_URL": sandbox.url, "REPLICATE_API_TOKEN": sandbox.api_token}
    return base | ({"TUNERD_WEBHOOK_URL": NOBODY} if webhooks else {})


# Without a webhook URL there is no marker: a job that may be at Replicate is told by its likeness.
MAYBE_SENT = ("create on its way", "created, answer lost")


QUICK = ("before the intent", "create on its way")  # the others wait out a create call that was cut off
CASES = [(name, True) for name in WINDOWS] + [(name, False) for name in MAYBE_SENT]


@pytest.mark.parametrize(
    ("name", "webhooks"), [pytest.param(*case, marks=() if case[0] in QUICK else pytest.mark.slow) for case in CASES]
)
async def test_killed_in_a_window(tmp_path: Path, sandbox: Sandbox, name: str, webhooks: bool) -> None:
    window = WINDOWS[name]
    folder = a_dataset(tmp_path / "dogs") if window.dataset else None
    async with running_daemon(tmp_path, **variables(sandbox, webhooks=webhooks)) as daemon:
        seen = len(sandbox.requests)
        sandbox.faults.update(window.faults)
        submit = asyncio.create_task(try_submit(daemon, order("one", folder)))
        async with asyncio.timeout(20):
            while not window.reached(sandbox, seen):  # noqa: ASYNC110 - the other side of a socket sets no event
                await asyncio.sleep(0.002)
        await daemon.kill()
        assert await submit is None
        sandbox.faults.reset()
        sandbox.faults.behaviour = {"stuck": True}
        await daemon.start()
        written = int(window.written)
        assert_one_each(await settled(daemon, written), sandbox, written)
        # The user's own retry, with its key: it makes the job that is missing, and only that.
        assert await try_submit(daemon, order("one", folder)) == (200 if window.written else 201)
        assert_one_each(await settled(daemon, 1), sandbox, 1)


@pytest.mark.slow
@pytest.mark.parametrize("webhooks", [True, False], ids=["marked", "unmarked"])
async def test_killed_at_any_moment(tmp_path: Path, sandbox: Sandbox, webhooks: bool) -> None:
    """The moments are spread over the whole of a submit, the answer included; the user repeats it with its key."""
    chance = random.Random(20260105)
    sandbox.faults.latency = 0.03
    async with running_daemon(tmp_path, **variables(sandbox, webhooks=webhooks)) as daemon:
        before = answered = 0
        for number in range(ROUNDS):
            body = order(f"round {number}")
            submit = asyncio.create_task(try_submit(daemon, body))
            await asyncio.sleep(chance.uniform(0.0, 0.15))
            await daemon.kill()
            answered += await submit is not None
            await daemon.start()
            status = await try_submit(daemon, body)
            assert status in {200, 201}
            before += status == 201  # nothing was written down: the first one left no trace
            assert_one_each(await settled(daemon, number + 1), sandbox, number + 1)
        texts = [record.input["text"] for record in sandbox.predictions.values()]
        assert sorted(texts) == sorted({f"round {number}" for number in range(ROUNDS)})
        print(f"{ROUNDS} rounds: {before} killed before the intent, {answered} after the answer")


async def test_ten_at_once_with_one_key_make_one_job(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.faults.latency = 0.05
    async with running_daemon(tmp_path, **variables(sandbox, webhooks=True)) as daemon:
        statuses = await asyncio.gather(*(try_submit(daemon, order("same")) for _ in range(10)))
        assert sorted(status or 0 for status in statuses) == [200] * 9 + [201]
        assert_one_each(await settled(daemon, 1), sandbox, 1)
        problem = await daemon.post(SUBMIT, order("same") | {"input": {"text": "another"}}, status=409)
        assert problem["code"] == "idempotency_conflict"
        assert_one_each(await settled(daemon, 1), sandbox, 1)
