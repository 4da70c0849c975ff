"""The daemon as its own process, the way a user runs it: start, ask, kill, start again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.empty import lay_down

READY = re.compile(rb"tunerd ready on (http://\S+)")
START_SECONDS = 30  # generous: two cores, many processes
WAIT_SECONDS = 60
MEASURED = "COVERAGE_PROCESS_CONFIG"  # set by `make coverage`, for our processes too


def clean_environment(home: Path, **variables: str) -> dict[str, str]:
    """An environment in which nothing of the developer's own settings is seen."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONWARNINGS": "default",
        **{name: os.environ[name] for name in (MEASURED,) if name in os.environ},
        **variables,
    }


class Daemon:
    """One ``tunerd serve`` over one data directory; the directory outlives the process."""

    def __init__(self, home: Path, session: aiohttp.ClientSession, **variables: str) -> None:
        self.home = home
        self.session = session
        self.output_dir = home / "outputs"
        self.variables = {
            "TUNERD_LISTEN": "127.0.0.1:0",
            "TUNERD_DATA_DIR": str(home / "data"),
            "TUNERD_OUTPUT_DIR": str(self.output_dir),
            "TUNERD_RECONCILE_SECONDS": "1",
            "TUNERD_LOG_FORMAT": "json",
            "TUNERD_STATUS_URL": "http://127.0.0.1:9/",
            **variables,
        }
        self.url = ""
        self.process: asyncio.subprocess.Process | None = None
        self.log = home / "daemon.log"

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "daemon",
                "serve",
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=clean_environment(self.home, **self.variables),
            )
        assert self.process.stdout is not None
        try:
            line = await asyncio.wait_for(self.process.stdout.readline(), START_SECONDS)
        except TimeoutError:
            line = b""
        found = READY.search(line)
        if found is None:
            await self.kill()
            raise AssertionError(f"not ready: {line!r}\n{self.log.read_text()[-4000:]}")
        self.url = found[1].decode()
        # The same port at the next start, so that webhooks under way still find us.
        self.variables["TUNERD_LISTEN"] = self.url.removeprefix("http://")

    async def kill(self) -> None:
        """SIGKILL: no goodbye."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), WAIT_SECONDS)

    async def get(self, path: str) -> Any:
        async with self.session.get(self.url + path) as answer:
            body = await answer.json(content_type=None)
            assert answer.status == 200, body
            return body

    async def post(self, path: str, body: object, *, status: int | None = None) -> Any:
        async with self.session.post(self.url + path, json=body) as answer:
            content = await answer.json(content_type=None)
            assert status is None or answer.status == status, content
            return content

    async def job(self, job_id: str) -> Any:
        return (await self.get(f"/api/cloud/jobs/{job_id}"))["job"]

    async def finished(self, job_id: str, *, delivered: bool = True) -> Any:
        """The job, once it has ended and (if it completed) its deliveries are settled; survives a restarting daemon."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        job: Any = None
        while asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(aiohttp.ClientError):
                job = await self.job(job_id)
                settled = all(item["status"] in {"delivered", "failed"} for item in job["deliveries"])
                if job["status"] in {"failed", "cancelled"}:
                    return job
                if job["status"] == "completed" and (not delivered or (settled and job["deliveries"])):
                    return job
            await asyncio.sleep(0.1)
        raise AssertionError(f"not finished: {job}\n{self.log.read_text()[-4000:]}")


@contextlib.asynccontextmanager
async def running_daemon(home: Path, **variables: str) -> AsyncIterator[Daemon]:
    """A started daemon, its data directory laid down; killed at the end if it still runs."""
    async with aiohttp.ClientSession() as session:
        daemon = Daemon(home, session, **variables)
        lay_down(Path(daemon.variables["TUNERD_DATA_DIR"]))
        try:
            await daemon.start()
            yield daemon
        finally:
            if MEASURED in os.environ and daemon.url:  # what is killed tells nothing of itself
                with contextlib.suppress(TimeoutError):
                    await daemon.stop()
            await daemon.kill()
