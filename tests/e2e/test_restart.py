"""Killed at any moment: nothing that was answered is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from daemon.sandbox.server import Sandbox
from tests.e2e.conftest import variables_for, wired_daemon
from tests.e2e.test_loop import delivered_files, submit
from tests.support.daemon import clean_environment, running_daemon


async def test_killed_while_the_training_runs(tmp_path: Path, sandbox: Sandbox) -> None:
    async with wired_daemon(tmp_path, sandbox) as daemon:
        job_id = await submit(daemon, output="file:model.safetensors", run_seconds=30)
        await asyncio.sleep(0.4)
        await daemon.kill()
        await asyncio.sleep(3)  # the end and its retries find nobody (they are over after about 63 s / speed)
        await daemon.start()
        job = await daemon.finished(job_id)
        assert job["status"] == "completed"
        assert set(delivered_files(daemon, job_id)) == {"model.safetensors"}


@pytest.mark.parametrize("after", [0.3, 1.0])
async def test_killed_while_the_result_is_fetched(tmp_path: Path, sandbox: Sandbox, after: float) -> None:
    sandbox.faults.output_bytes_per_second = 2_000_000
    async with wired_daemon(tmp_path, sandbox) as daemon:
        job_id = await submit(daemon, output="file:model.safetensors:6000000", run_seconds=1)
        await daemon.finished(job_id, delivered=False)
        await asyncio.sleep(after)
        await daemon.kill()
        folder = daemon.output_dir / job_id
        assert not (folder / "model.safetensors").exists() or (folder / "model.safetensors").stat().st_size == 6_000_000
        await daemon.start()
        job = await daemon.finished(job_id)
        assert [item["status"] for item in job["deliveries"]] == ["delivered"], job
        assert len(delivered_files(daemon, job_id)["model.safetensors"]) == 6_000_000
        manifest = json.loads((folder / "manifest.json").read_text())
        assert [entry["bytes"] for entry in manifest["files"]] == [6_000_000]


async def test_a_second_daemon_on_the_same_database_exits_78(tmp_path: Path, sandbox: Sandbox) -> None:
    async with running_daemon(tmp_path, **variables_for(sandbox)) as daemon:
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "daemon", "serve", "--listen", "127.0.0.1:0"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=clean_environment(tmp_path, **daemon.variables),
        )
        _, told = await asyncio.wait_for(second.communicate(), 30)
        assert second.returncode == 78
        assert daemon.process is not None
        assert str(daemon.process.pid) in told.decode()


async def test_a_taken_port_exits_1(tmp_path: Path, sandbox: Sandbox) -> None:
    async with running_daemon(tmp_path, **variables_for(sandbox)) as daemon:
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "daemon", "serve"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=clean_environment(
                tmp_path, TUNERD_LISTEN=daemon.url.removeprefix("http://"), TUNERD_DATA_DIR=str(tmp_path / "other")
            ),
        )
        _, told = await asyncio.wait_for(second.communicate(), 30)
        assert second.returncode == 1
        assert "cannot listen" in told.decode()
