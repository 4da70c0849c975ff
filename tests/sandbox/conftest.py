"""A sandbox, a receiver of its webhooks and an API session, all on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from daemon.sandbox import Sandbox
from tests.support.receiver import Receiver, running_receiver
from tests.support.waiting import until

ALL_EVENTS = ["start", "output", "logs", "completed"]
SPEED = 20  # a run of nine seconds takes under half a second


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=SPEED, seed=1) as running:
        yield running


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as running:
        yield running


async def settled(sandbox: Sandbox) -> None:
    """Until every webhook of the runs that are over was sent, or given up."""
    await until(lambda: not sandbox.platform.sender._tasks, what="the last webhook")


class Api:
    """The sandbox's API with its token."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox, self.session = sandbox, session

    async def call(self, method: str, path: str, *, status: int = 200, **kwargs: Any) -> Any:
        """The JSON answer, which must have ``status``."""
        url = path if path.startswith("http") else self.sandbox.url + path
        async with self.session.request(method, url, **kwargs) as answer:
            text = await answer.text()
            assert answer.status == status, text
            return await answer.json(content_type=None) if text else None

    async def predict(self, model: str = "acme/shapes", *, webhook: str | None = None, **given: Any) -> dict[str, Any]:
        """Create a prediction; the 201's body."""
        body: dict[str, Any] = {"version": model, "input": given}
        if webhook is not None:
            body |= {"webhook": webhook, "webhook_events_filter": ALL_EVENTS}
        answer: dict[str, Any] = await self.call("POST", "/v1/predictions", json=body, status=201)
        return answer

    async def get(self, prediction_id: str, *, status: int = 200) -> dict[str, Any]:
        answer: dict[str, Any] = await self.call("GET", f"/v1/predictions/{prediction_id}", status=status)
        return answer

    async def run(self, model: str = "acme/shapes", **given: Any) -> dict[str, Any]:
        """Create a prediction and wait for its end; GET's body."""
        created = await self.predict(model, **given)
        await self.sandbox.predictions[created["id"]].done.wait()
        return await self.get(created["id"])


@pytest.fixture
async def api(sandbox: Sandbox) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {sandbox.api_token}"}) as session:
        yield Api(sandbox, session)
