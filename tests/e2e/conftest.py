"""A simulated Replicate in this process and the daemon as its own, wired as a user wires them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.sandbox.server import Sandbox
from tests.support.daemon import Daemon, running_daemon

SPEED = 20  # a run of the sandbox's eight seconds takes under half a second


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(host="127.0.0.1", port=0, speed=SPEED) as running:
        yield running


def variables_for(sandbox: Sandbox) -> dict[str, str]:
    """What points a daemon at the sandbox."""
    return {"REPLICATE_BASE_URL": sandbox.url, "REPLICATE_API_TOKEN": sandbox.api_token}


@contextlib.asynccontextmanager
async def wired_daemon(home: Path, sandbox: Sandbox, **variables: str) -> AsyncIterator[Daemon]:
    """A daemon that is pointed at the sandbox and tells it its own address as the webhook URL."""
    async with running_daemon(home, **variables_for(sandbox), **variables) as daemon:
        async with daemon.session.put(
            daemon.url + "/api/cloud/providers/replicate", json={"webhook_url": daemon.url}
        ) as answer:
            assert answer.status == 200, await answer.text()
        yield daemon


@pytest.fixture
async def daemon(tmp_path: Path, sandbox: Sandbox) -> AsyncIterator[Daemon]:
    async with wired_daemon(tmp_path, sandbox) as running:
        yield running
