"""schemathesis against the real daemon and the sandbox: no 5xx, and no answer that the document does not have.

It reads ``/openapi.json``, sends what fits the schemas and what does not, and follows the links from a submit to the
job, its events, its log. With FAULT_ROUNDS=100, as `make test-all` has it, it sends a dozen times as much;
what `make test` has is one of everything.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest

from daemon.sandbox.server import Sandbox
from tests.support.daemon import Daemon

CONFIG = Path(__file__).with_name("schemathesis.toml")
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "8"))
SEED = 20_260_101 + ROUNDS  # the same requests each time; a longer run takes others
MOST_SECONDS = 300 + 30 * ROUNDS
GENERATED = re.compile(r"(\d+) generated")


async def schemathesis(daemon: Daemon, folder: Path, *, examples: int, phases: str) -> int:
    """Run it; the number of requests that it made up."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", f"{daemon.url}/openapi.json"),
        *("--phases", phases, "--max-examples", str(examples), "--seed", str(SEED)),
        *("--request-timeout", "60", "--continue-on-failure", "--no-shrink", "--suppress-health-check", "all"),
        *(
            "--warnings",
            "off",
            "--report",
            "ndjson",
            "--report-ndjson-path",
            str(folder / "calls.ndjson"),
            "--no-color",
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "HOME": str(folder)},
    )
    try:
        async with asyncio.timeout(MOST_SECONDS):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = told.decode(errors="replace")
    assert process.returncode == 0, text[-20_000:]
    lines = [json.loads(line) for line in daemon.log.read_text().splitlines() if line.startswith("{")]
    assert [line for line in lines if line["level"] in {"error", "critical"}] == []
    found = GENERATED.search(text)
    assert found is not None, text[-4000:]
    return int(found[1])


async def seeded(daemon: Daemon) -> None:
    """A job with everything about it, so that what follows links finds something."""
    answer = await daemon.post("/api/cloud/jobs/submit", {"model": "acme/shapes", "input": {}}, status=201)
    await daemon.finished(answer["job_id"])


@pytest.mark.timeout(MOST_SECONDS)
async def test_one_of_everything(daemon: Daemon, sandbox: Sandbox, tmp_path: Path) -> None:
    await seeded(daemon)
    assert await schemathesis(daemon, tmp_path, examples=1, phases="examples,fuzzing,stateful") > 60


@pytest.mark.slow
@pytest.mark.timeout(MOST_SECONDS)
async def test_every_operation(daemon: Daemon, sandbox: Sandbox, tmp_path: Path) -> None:
    await seeded(daemon)
    phases = "examples,coverage,fuzzing"
    assert await schemathesis(daemon, tmp_path, examples=max(2, ROUNDS // 4), phases=phases) > 500


@pytest.mark.slow
@pytest.mark.timeout(MOST_SECONDS)
async def test_links(daemon: Daemon, sandbox: Sandbox, tmp_path: Path) -> None:
    await seeded(daemon)
    assert await schemathesis(daemon, tmp_path, examples=max(8, ROUNDS // 2), phases="stateful") > 20
