"""Killed at any moment: nothing that was answered is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import sys
from pathlib import Path

import pytest

from daemon.sandbox.server import Sandbox
from tests.e2e.conftest import variables_for, wired_daemon
from tests.e2e.test_loop import delivered_files, submit
from tests.support.daemon import clean_environment, running_daemon
from tests.support.signed import PATH, prediction, signed


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


@pytest.mark.parametrize("listen", [("--listen", "127.0.0.1:0"), ()], ids=["another-port", "the-same-port"])
async def test_a_second_daemon_on_the_same_database_exits_78(
    tmp_path: Path, sandbox: Sandbox, listen: tuple[str, ...]
) -> None:
    async with running_daemon(tmp_path, **variables_for(sandbox)) as daemon:
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "daemon", "serve", *listen),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=clean_environment(tmp_path, **daemon.variables),
        )
        _, told = await asyncio.wait_for(second.communicate(), 30)
        assert second.returncode == 78
        assert daemon.process is not None
        (line,) = told.decode().splitlines()
        assert f"process {daemon.process.pid}" in json.loads(line)["reason"]


@pytest.mark.parametrize("seconds", [0, 0.15, 0.45])
async def test_stopped_before_it_has_begun_exits_0(tmp_path: Path, seconds: float) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "daemon", "serve", "--listen", "127.0.0.1:0"),
        stdout=asyncio.subprocess.PIPE,
        env=clean_environment(tmp_path, TUNERD_DATA_DIR=str(tmp_path / "data")),
    )
    async with asyncio.timeout(30):
        while not _catches_sigterm(process.pid):  # before that Python itself is starting  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await asyncio.sleep(seconds)
    process.terminate()
    await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0


_STOPPED_IN_A_FINALISER = """
import os, signal, time
from daemon.cli import main

class Finalised:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

def begin(_arguments):
    Finalised()
    return 5

main.build_app = lambda _name: begin
raise SystemExit(main.main(["serve"]))
"""


async def test_stopped_while_an_object_is_finalised_exits_0(tmp_path: Path) -> None:
    """An exception there is only printed: the daemon would begin, and whoever stopped it wait for ever."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _STOPPED_IN_A_FINALISER), env=clean_environment(tmp_path)
    )
    assert await asyncio.wait_for(process.wait(), 30) == 0


def _catches_sigterm(pid: int) -> bool:
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


async def test_an_output_that_comes_after_an_empty_delivery_arrives(tmp_path: Path, sandbox: Sandbox) -> None:
    """The final event had none; a later one has it, when the job is completed and its empty delivery over."""
    async with wired_daemon(tmp_path, sandbox) as daemon:
        job_id = await submit(daemon, output="file:model.safetensors", run_seconds=2)
        provider_id = (await daemon.job(job_id))["provider_job_id"]
        body = prediction(provider_id, status="succeeded", output=None)
        headers = signed(body, secret=sandbox.webhook_secret)
        async with daemon.session.post(daemon.url + PATH, data=body, headers=headers) as answer:
            assert (await answer.json())["event"] == "completed"
        await daemon.finished(job_id)
        async with asyncio.timeout(60):
            while not set(delivered_files(daemon, job_id)):  # noqa: ASYNC110 - another process sets no event here
                await asyncio.sleep(0.1)
        job = await daemon.finished(job_id)
        assert [item["status"] for item in job["deliveries"]] == ["delivered"]
        assert set(delivered_files(daemon, job_id)) == {"model.safetensors"}


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


async def test_a_daemon_that_wants_no_signatures_needs_no_secret(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, TUNERD_WEBHOOK_REQUIRE_SIGNATURE="false") as daemon:
        found = (await daemon.get("/readyz"))["checks"]
        assert found["webhook_secret"]["ok"] is True
        assert found["delivery"]["ok"] is True
        assert "delivers" in found["delivery"]["detail"]


async def test_the_data_directory_is_its_owners_alone_whatever_it_was(tmp_path: Path, sandbox: Sandbox) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    async with wired_daemon(tmp_path, sandbox) as daemon:
        await daemon.finished(await submit(daemon, output="file:model.safetensors"))
        assert modes_in(data)["dbos.sqlite3"] == 0o600
        assert set(modes_in(data).values()) == {0o600}
        assert stat.S_IMODE(data.stat().st_mode) == 0o700


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}
